"""The command: `clip-features` and `python -m clip_features`."""

import signal
import sys

from ._clip_features import main as run


def main() -> None:
    # The command has its own way with Ctrl-C; Python's would raise after it has ended.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(run(["clip-features", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
