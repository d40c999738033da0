#!/usr/bin/env python3
"""What the crate shows its users: every item of its documentation with its methods and traits, as cargo doc wrote it.

Compares it with .ci/face.txt, so that a change is seen in review; with --write it is written there. It may hold no more than
MOST types, traits, functions and constants, and each has an example.
"""

import difflib
import html.parser
import pathlib
import sys

MOST = 70
ROOT = pathlib.Path(__file__).parent.parent
FACE = ROOT / ".ci/face.txt"


class Links(html.parser.HTMLParser):
    """The pages that all.html names, but for its own navigation."""

    def __init__(self):
        super().__init__()
        self.pages, self.in_list = [], False

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "ul":
            self.in_list = "all-items" in attributes.get("class", "")
        elif tag == "a" and self.in_list:
            self.pages.append(attributes["href"])

    def handle_endtag(self, tag):
        if tag == "ul":
            self.in_list = False


class Page(html.parser.HTMLParser):
    """An item's declaration, the signatures of its own functions, the traits that it implements, and whether it has an example."""

    # Elements that are never closed.
    VOID = {"br", "hr", "img", "input", "link", "meta", "wbr"}

    def __init__(self):
        super().__init__()
        self.lines, self.open, self.text, self.ends = [], [], None, None
        self.has_example = False

    def within(self, key, name):
        return any(name in attributes.get(key, "").split() for _, attributes in self.open)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag not in self.VOID:
            self.open.append((tag, attributes))
        css = attributes.get("class", "")
        # Those of its functions and traits stand elsewhere.
        self.has_example |= "rust-example-rendered" in css and self.within("class", "top-doc")
        if self.text is None and "item-decl" in css:
            self.text, self.ends = "", tag
        elif self.text is None and "code-header" in css:
            is_own = tag == "h4" and self.within("id", "implementations-list")
            is_trait = tag == "h3" and self.within("id", "trait-implementations-list")
            if is_own or is_trait:
                self.text, self.ends = "", tag

    def handle_endtag(self, tag):
        if tag in self.VOID:
            return
        while self.open and self.open.pop()[0] != tag:
            pass
        if self.text is not None and tag == self.ends:
            self.lines.append(" ".join(self.text.split()))
            self.text = None

    def handle_data(self, data):
        if self.text is not None and not self.within("class", "hideme"):
            self.text += data


def face(documentation):
    links = Links()
    links.feed((documentation / "all.html").read_text())
    lines, bare = [], []
    for path in sorted(links.pages):
        page = Page()
        page.feed((documentation / path).read_text())
        kind, name, _ = pathlib.PurePath(path).name.split(".")
        module = "::".join(pathlib.PurePath(path).parts[:-1])
        item = f"{kind} {module + '::' if module else ''}{name}"
        lines += [item, *(f"    {line}" for line in page.lines), ""]
        if not page.has_example:
            bare.append(item)
    return len(links.pages), "\n".join(lines), bare


def main():
    target = pathlib.Path(sys.argv[1] if sys.argv[1:2] not in ([], ["--write"]) else ROOT / "target")
    count, found, bare = face(target / "doc/clip_features")
    if "--write" in sys.argv:
        FACE.write_text(found)
    known = FACE.read_text()
    changes = difflib.unified_diff(known.splitlines(), found.splitlines(), "before", "now", lineterm="", n=1)
    print(*changes, sep="\n", end="")
    if known != found:
        sys.exit("\nwhat the crate shows has changed: python3 .ci/face.py --write, and see that it was meant")
    if count > MOST:
        sys.exit(f"{count} items are shown, and at most {MOST} are to be")
    if bare:
        sys.exit(f"without an example in the documentation: {', '.join(bare)}")


if __name__ == "__main__":
    main()
