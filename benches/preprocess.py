"""A picture's bytes to pixel values: ours beside Pillow and transformers, on one thread, in time on a processor.

    cargo bench --no-run --bench pixels     # says where the program is
    python benches/preprocess.py PROGRAM [PICTURE ...] [--rounds 9]

Needs `pip install -r fixtures/requirements.txt`. Without pictures, JPEGs of quality 90 (4:2:0) and the other formats are made of a
photograph among the fixtures. In each round every contestant has one turn; the table has medians of the rounds' times, and of the ratios
within a round, so that a minute in which the machine is slow moves all of its figures together.
"""

import argparse
import io
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import PIL.Image
import torch
from transformers import CLIPImageProcessor, CLIPImageProcessorPil

FIXTURES = Path(__file__).parent.parent / "fixtures/images"
SIZES = [(640, 480), (1920, 1080)]
RUNS = 9  # of which a turn takes the median
SIZE = {"size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}}


def make(directory: Path) -> list[Path]:
    """A photograph in two sizes and several formats."""
    photo = PIL.Image.open(FIXTURES / "coffee.png").convert("RGB")
    kinds = {"jpg": {"quality": 90}, "png": {}, "webp": {"quality": 85}, "gif": {}}
    paths = []
    for size in SIZES:
        resized = photo.resize(size, PIL.Image.Resampling.LANCZOS)
        for suffix, options in kinds.items():
            paths.append(directory / f"{size[0]}x{size[1]}.{suffix}")
            resized.save(paths[-1], **options)
    return paths


class Ours:
    """The benchmark program, which answers `STEP PATH` with seconds."""

    def __init__(self, program: str, backend: str) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([program, "--serve", "--backend", backend], stdin=pipe, stdout=pipe, text=True)

    def seconds(self, step: str, path: Path) -> float:
        self.process.stdin.write(f"{step} {path.resolve()}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


def seconds(work) -> float:
    """The median of some runs, after one that does not count."""
    work()
    times = []
    for _ in range(RUNS):
        start = time.thread_time()
        work()
        times.append(time.thread_time() - start)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("pictures", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    pil, torchvision = CLIPImageProcessorPil(**SIZE), CLIPImageProcessor(**SIZE)
    ours = {backend: Ours(arguments.program, backend) for backend in ("pil", "torchvision")}

    with tempfile.TemporaryDirectory() as directory:
        print(f"{'ms, and how many times as fast as theirs':42}{'decode':>18}{'pil':>18}{'torchvision':>18}")
        for path in arguments.pictures or make(Path(directory)):
            data = path.read_bytes()

            def decode() -> PIL.Image.Image:
                return PIL.Image.open(io.BytesIO(data)).convert("RGB")

            turns = {
                "decode": (lambda: ours["pil"].seconds("decode", path), lambda: seconds(decode)),
                "pil": (lambda: ours["pil"].seconds("all", path), lambda: seconds(lambda: pil(decode(), return_tensors="np"))),
                "torchvision": (
                    lambda: ours["torchvision"].seconds("all", path),
                    lambda: seconds(lambda: torchvision(decode(), return_tensors="pt")),
                ),
            }
            rounds = [{name: (mine(), theirs()) for name, (mine, theirs) in turns.items()} for _ in range(arguments.rounds)]
            cells = []
            for name in turns:
                mine = statistics.median(round_[name][0] for round_ in rounds) * 1e3
                ratio = statistics.median(round_[name][1] / round_[name][0] for round_ in rounds)
                cells.append(f"{mine:9.3f} ms {ratio:5.2f}")
            print(f"{path.name:42}" + "".join(f"{cell:>18}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
