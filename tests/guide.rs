//! What a newcomer reads: every command of the README and of the guide is run as it stands, on tiny models under the names that are
//! typed; where a page shows what is printed, that is what is printed but for its numbers. Snippets of Python are run by python/tests.
#![cfg(all(unix, feature = "cli"))]

mod support;

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use support::{
    fixture,
    run::{command, tar},
};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The README, the package's, and the pages of the guide.
fn pages() -> Vec<PathBuf> {
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let docs = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let mut pages: Vec<_> = docs.chain([root().join("README.md"), root().join("python/README.md")]).collect();
    pages.sort();
    pages
}

/// What stands between two fences.
struct Block {
    page: String,
    line: usize,
    /// `sh`, `console` and so on.
    language: String,
    /// Why it is not run, where it is not.
    excuse: Option<String>,
    text: String,
}

fn blocks(page: &Path) -> Vec<Block> {
    let text = fs::read_to_string(page).unwrap();
    let mut found: Vec<Block> = Vec::new();
    let mut is_inside = false;
    for (number, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), is_inside) {
            (Some(info), false) => {
                let (language, rest) = info.split_once(' ').unwrap_or((info, ""));
                found.push(Block {
                    page: page.strip_prefix(root()).unwrap().display().to_string(),
                    line: number + 2,
                    language: language.to_owned(),
                    excuse: rest.strip_prefix("no-run: ").map(str::to_owned),
                    text: String::new(),
                });
                is_inside = true;
            }
            (Some(_), true) => is_inside = false,
            (None, true) => found.last_mut().unwrap().text += &format!("{line}\n"),
            (None, false) => {
                assert!(!line.starts_with("    "), "{}: code without a fence: {line}", page.display());
            }
        }
    }
    found
}

/// The models that pages name, and the tiny ones that stand for them.
const MODELS: [(&str, &str); 5] = [
    ("openai/clip-vit-large-patch14", "checkpoints/clip-model"),
    ("facebook/dinov2-base", "checkpoints/dinov2"),
    ("google/siglip2-base-patch16-naflex", "checkpoints/siglip2-model"),
    ("llava-hf/llava-1.5-7b-hf", "language/llava"),
    ("llava-hf/llava-v1.6-mistral-7b-hf", "language/llava-next"),
];

/// A place with what the pages speak of: pictures, tars, a list, a checkpoint, and models in the cache of a home directory.
fn world(at: &Path) {
    let copy = |from: &str, to: &str| {
        let to = at.join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(fixture("images").join(from), to).unwrap();
    };
    for (from, to) in [
        ("jpeg-420.jpg", "photo.jpg"),
        ("png-rgb-8.png", "other.png"),
        ("png-rgba-8.png", "logo.png"),
        ("jpeg-exif-6.jpg", "sideways.jpg"),
        ("jpeg-420.jpg", "photos/cat.jpg"),
        ("png-rgb-8.png", "photos/dog.png"),
        ("jpeg-444.jpg", "photos/holiday/beach.jpg"),
        ("jpeg-420.jpg", "inbox/good.jpg"),
        ("bad/truncated.jpg", "inbox/cut.jpg"),
        ("coffee.png", "coffee.png"),
        ("rocket.jpg", "rocket.jpg"),
        ("chelsea.png", "chelsea.png"),
    ] {
        copy(from, to);
    }
    fs::write(at.join("list.txt"), "photo.jpg\nother.png\n").unwrap();
    fs::create_dir_all(at.join("shards")).unwrap();
    let [jpeg, png] =
        ["jpeg-420.jpg", "png-rgb-8.png"].map(|name| fs::read(fixture("images").join(name)).unwrap());
    for name in ["00042", "00043"] {
        let members: [(&str, &[u8]); 4] =
            [("one.jpg", &jpeg), ("one.txt", b"a caption"), ("two.png", &png), ("two.txt", b"another")];
        fs::write(at.join(format!("shards/{name}.tar")), tar(&members)).unwrap();
    }
    symlink(root().join("fixtures"), at.join("fixtures")).unwrap();
    let copy_model = |from: PathBuf, to: &Path| {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    };
    copy_model(fixture("checkpoints/vision"), &at.join("checkpoint"));
    for (name, tiny) in MODELS {
        let cached =
            at.join("home/.cache/huggingface/hub").join(format!("models--{}", name.replace('/', "--")));
        let commit = "0123456789abcdef0123456789abcdef01234567";
        copy_model(fixture(tiny), &cached.join("snapshots").join(commit));
        fs::create_dir_all(cached.join("refs")).unwrap();
        fs::write(cached.join("refs/main"), commit).unwrap();
    }
    // In a clone, cargo builds the binary that is tested here, and runs this test.
    let cargo = "#!/bin/sh\ncase \"$*\" in 'run --release -- '*) shift 3; exec clip-features \"$@\";; test) ;; *) exit 64;; esac\n";
    fs::create_dir(at.join("bin")).unwrap();
    fs::write(at.join("bin/cargo"), cargo).unwrap();
    fs::set_permissions(at.join("bin/cargo"), fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs a script there; gives whether it succeeded, and all that it printed.
fn bash(script: &str, at: &Path) -> (bool, String) {
    let mut path = at.join("bin").into_os_string();
    for more in [Path::new(env!("CARGO_BIN_EXE_clip-features")).parent().unwrap().as_os_str()]
        .into_iter()
        .chain(std::env::var_os("PATH").as_deref())
    {
        path.push(":");
        path.push(more);
    }
    let mut bash = Command::new("bash");
    bash.args(["-eu", "-o", "pipefail", "-c", &format!("exec 2>&1\n{script}")])
        .current_dir(at)
        .env("PATH", path);
    for name in ["HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT", "HF_TOKEN", "XDG_CACHE_HOME"] {
        bash.env_remove(name);
    }
    bash.env("HOME", at.join("home")).env("HF_HUB_OFFLINE", "1").stdin(Stdio::null());
    let output = bash.output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

/// The text with each number as `#`, as the models that are run are smaller than those that are shown.
fn without_numbers(text: &str) -> String {
    let mut plain = String::new();
    for character in text.trim_end().chars() {
        match character {
            '0'..='9' if plain.ends_with('#') => {}
            '0'..='9' => plain.push('#'),
            other => plain.push(other),
        }
    }
    plain
}

#[test]
fn every_command_does_what_it_says() {
    let failed = std::thread::scope(|scope| {
        let runs: Vec<_> = pages().into_iter().map(|page| scope.spawn(move || run_page(&page))).collect();
        runs.into_iter().flat_map(|run| run.join().unwrap()).collect::<Vec<String>>()
    });
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Runs a page's commands one after the other; gives what did not do what it says.
fn run_page(page: &Path) -> Vec<String> {
    let mut failed = Vec::new();
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    world(at);
    for Block { page, line, language, excuse, text } in blocks(page) {
        let what = format!("{page}:{line}");
        if excuse.is_some() {
            continue;
        }
        match language.as_str() {
            "sh" => {
                let (is_done, printed) = bash(&text, at);
                if !is_done {
                    failed.push(format!("{what}:\n{text}fails: {printed}"));
                }
            }
            "console" => {
                let mut shown = text.as_str();
                while let Some(rest) = shown.strip_prefix("$ ") {
                    let (typed, rest) = rest.split_once('\n').unwrap();
                    let (answer, rest) = match rest.find("\n$ ").map(|end| end + 1) {
                        _ if rest.starts_with("$ ") => ("", rest),
                        Some(end) => rest.split_at(end),
                        None => (rest, ""),
                    };
                    let (_, printed) = bash(typed, at);
                    if without_numbers(&printed) != without_numbers(answer) {
                        failed.push(format!(
                            "{what}: {typed}\nis said to print\n{answer}and prints\n{printed}"
                        ));
                    }
                    shown = rest;
                }
                assert_eq!(shown, "", "{what}");
            }
            "python" | "text" => {}
            other => failed.push(format!("{what}: what is {other:?}?")),
        }
    }
    failed
}

#[test]
fn what_is_not_run_has_a_reason() {
    let excused = |block: &Block| block.excuse.is_some();
    let all: Vec<Block> = pages().iter().flat_map(|page| blocks(page)).collect();
    for block in &all {
        if let Some(excuse) = &block.excuse {
            let known = [
                "needs the network",
                "needs a cluster",
                "needs a card",
                "builds ",
                "needs the pinned Python",
            ];
            assert!(
                known.iter().any(|known| excuse.starts_with(known)),
                "{}:{}: {excuse}",
                block.page,
                block.line
            );
        }
    }
    let is_command = |block: &&Block| ["sh", "console"].contains(&block.language.as_str());
    let (not_run, commands) = (
        all.iter().filter(is_command).filter(|block| excused(block)).count(),
        all.iter().filter(is_command).count(),
    );
    assert!(commands > 40 && not_run * 4 < commands, "{not_run} of {commands} are not run");
}

#[test]
fn links_between_pages_lead_somewhere_and_the_guide_lists_every_page() {
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: {link} leads nowhere", page.display());
            let heads = || fs::read_to_string(&target).unwrap();
            let is_head = |line: &str| {
                let head = line.trim_start_matches('#').trim().to_lowercase();
                let head = head.replace(' ', "-");
                line.starts_with('#')
                    && head.replace(|c: char| !c.is_alphanumeric() && !"-_".contains(c), "") == anchor
            };
            assert!(anchor.is_empty() || heads().lines().any(is_head), "{}: no {link}", page.display());
        }
        if page.starts_with(root().join("docs")) {
            let name = page.file_name().unwrap().to_str().unwrap();
            assert!(
                name == "SUMMARY.md" || summary.contains(&format!("({name})")),
                "SUMMARY.md lacks {name}"
            );
        }
    }
}

#[test]
fn the_readme_is_read_in_some_minutes_and_short_help_fits_a_screen() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let words = readme.split_whitespace().count();
    assert!(words <= 1500, "{words} words");
    let help = command().arg("-h").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.lines().count() <= 60, "{} lines\n{help}", help.lines().count());
    assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    let long = String::from_utf8(command().arg("--help").output().unwrap().stdout).unwrap();
    assert!(long.lines().all(|line| line.chars().count() <= 100), "{long}");
    let options = |text: &str| -> BTreeSet<String> {
        text.split([' ', ',', '['])
            .filter(|word| word.starts_with("--"))
            .map(str::trim)
            .map(str::to_owned)
            .collect()
    };
    assert!(long.find("Examples:") < long.find("Inputs:") && long.contains("Exit codes:"), "{long}");
    assert!(options(&help).is_subset(&options(&long)), "{:?}", options(&help).difference(&options(&long)));
}
