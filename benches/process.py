"""One photograph, whole processes: clip-features against the script that it replaces.

    cargo build --release && python benches/process.py DIR photo.jpg [--threads N] [--rounds 5]

Both read the checkpoint in DIR, which the first round leaves in the page cache and does not count, and write
last_hidden_state to a file. They run in turn, one at a time; the outputs are compared.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def run(command: list[str], threads: int) -> tuple[float, float]:
    """Seconds from start to exit, and the peak of resident memory in MB."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    assert status == 0, f"{command[0]} failed"
    return seconds, usage.ru_maxrss / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="DIR")
    parser.add_argument("image", metavar="PHOTO")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ours", default=str(HERE.parent / "target" / "release" / "clip-features"))
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as directory:
        outputs = {name: f"{directory}/{name}.npy" for name in ("ours", "reference")}
        threads = ["--threads", str(args.threads)]
        ours = [args.ours, "--quiet", *threads, "--model", args.model, args.image, "-o", outputs["ours"], "--overwrite"]
        reference = [sys.executable, str(HERE / "reference.py"), args.model, args.image, outputs["reference"]]
        commands = {"ours": ours, "reference": reference}
        rounds = [{name: run(command, args.threads) for name, command in commands.items()} for _ in range(args.rounds + 1)]
        features = {name: np.load(path).astype(np.float64) for name, path in outputs.items()}

    difference = np.linalg.norm(features["ours"] - features["reference"]) / np.linalg.norm(features["reference"])
    print(f"{args.threads} threads, medians of {args.rounds} rounds; the outputs differ by {difference:.1e}")
    for name in commands:
        seconds, memory = (statistics.median(round_[name][i] for round_ in rounds[1:]) for i in (0, 1))
        ratio = statistics.median(round_[name][0] / round_["ours"][0] for round_ in rounds[1:])
        print(f"{name:10}{seconds:6.2f} s  {memory:6.0f} MB  ours is faster by {ratio:.2f}")


if __name__ == "__main__":
    main()
