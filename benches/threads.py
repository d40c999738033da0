"""How `preprocess` of the Python module goes with one thread, with several, and in as many processes, which show the machine's own bound.

    pip install target/wheels/*.whl
    python benches/threads.py [PICTURE ...] [--threads 2] [--count 200] [--rounds 9]

Without pictures, JPEGs of quality 90 (4:2:0) are made of a photograph among the fixtures. A turn is one call with `--count` pictures from
disk into an array that is given, as a training reads its batches; each process has its share of them. The table has medians of the rounds'
times by the clock, and of the ratios within a round.
"""

import argparse
import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import PIL.Image

FIXTURES = Path(__file__).parent.parent / "fixtures"
SIZES = [(640, 480), (1920, 1080)]


def preprocess(paths: list[Path], threads: int, out: np.ndarray) -> None:
    import clip_features

    clip_features.preprocess(paths, FIXTURES / "checkpoints/vision", image_size=224, threads=threads, out=out)


def work(pipe, paths: list[Path]) -> None:
    """A process that has its share done whenever it is told."""
    out = np.empty((len(paths), 3, 224, 224), np.float32)
    while pipe.recv():
        preprocess(paths, 1, out)
        pipe.send(True)


def measure(path: Path, count: int, threads: int, rounds: int) -> None:
    paths = [path] * count
    out = np.empty((count, 3, 224, 224), np.float32)
    context = multiprocessing.get_context("spawn")
    pipes = []
    for share in range(threads):
        ours, theirs = context.Pipe()
        context.Process(target=work, args=(theirs, paths[share::threads]), daemon=True).start()
        pipes.append(ours)

    def apart() -> None:
        for pipe in pipes:
            pipe.send(True)
        for pipe in pipes:
            pipe.recv()

    def seconds(turn) -> float:
        start = time.perf_counter()
        turn()
        return time.perf_counter() - start

    turns = [lambda: preprocess(paths, 1, out), lambda: preprocess(paths, threads, out), apart]
    for turn in turns:
        turn()
    found = [[seconds(turn) for turn in turns] for _ in range(rounds)]
    one, several, processes = (statistics.median(column) for column in zip(*found))
    by_threads = statistics.median(row[0] / row[1] for row in found)
    by_processes = statistics.median(row[0] / row[2] for row in found)
    print(f"{path.name:20} 1 thread {count / one:7.0f} images/s, {threads} threads {count / several:7.0f} ({by_threads:.2f} times), "
          f"{threads} processes {count / processes:7.0f} ({by_processes:.2f} times)", flush=True)
    for pipe in pipes:
        pipe.send(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="*", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        pictures = arguments.pictures
        if not pictures:
            photo = PIL.Image.open(FIXTURES / "images/coffee.png").convert("RGB")
            for size in SIZES:
                pictures.append(Path(directory) / f"{size[0]}x{size[1]}.jpg")
                photo.resize(size, PIL.Image.Resampling.LANCZOS).save(pictures[-1], quality=90)
        for path in pictures:
            measure(path, arguments.count, arguments.threads, arguments.rounds)


if __name__ == "__main__":
    main()
