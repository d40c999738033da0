"""Mutated pictures through Pillow and transformers, and through ours, in batches.

What both open must be bit for bit the same; what only one of the two opens is counted by kind. No batch may end otherwise than with
exit code 0 or 1, lose a record, take more than 10 seconds for an image, or more than 1 GB.

    python fuzz/differential.py BINARY --count 100000 --seed 0
    python fuzz/differential.py BINARY --count 20000 --formats jpeg     # of pictures that Pillow opens as JPEG

Needs `pip install -r fixtures/requirements.txt`. The kinds, and what differs, are printed as JSON; an example of each kind is kept in
fuzz/target/differential.
"""

import argparse
import collections
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
from safetensors import safe_open

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "fixtures"))
from reference import load_processor, open_image  # noqa: E402

LONGEST_IMAGE = 10.0  # seconds
LARGEST_PROCESS = 1 << 30  # bytes
# The processor as it is, and one that leaves pixels as they are, so that no difference drowns in a resize.
RAW = {
    "image_processor_type": "CLIPImageProcessor", "do_resize": False, "do_center_crop": False, "do_rescale": False,
    "do_normalize": False,
}
# Raw pixels of large pictures would only fill the disk.
RAW_PIXELS = 250_000
WORDS = [0, 1, 2, 3, 4, 8, 16, 32, 127, 128, 255, 256, 257, 1023, 4096, 32767, 32768, 65535, 65536]


def mutate(rng: random.Random, sources: list[bytes]) -> bytes:
    data = bytearray(rng.choice(sources))
    for _ in range(rng.choice([1, 1, 1, 1, 2, 4])):
        if not data:
            break
        # Headers decide most.
        reach = min(len(data), rng.choice([16, 64, 256, len(data), len(data)]))
        at = rng.randrange(reach)
        kind = rng.choice([0, 0, 0, 0, 2, 2, 2, 3, 3, 4, 5, 6, 7, 8])
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            data[at] = rng.randrange(256)
        elif kind == 3:
            size = rng.choice([1, 2, 4])
            word = rng.choice(WORDS) & (1 << 8 * size) - 1
            data[at : at + size] = word.to_bytes(size, rng.choice(["big", "little"]))
        elif kind == 4:
            del data[rng.randrange(len(data)) :]
        elif kind == 5:
            del data[at : at + rng.choice([1, 2, 8, 100])]
        elif kind == 6:
            data[at:at] = rng.randbytes(rng.choice([1, 2, 8, 100]))
        elif kind == 7:
            other = rng.choice(sources)
            start = rng.randrange(len(other) + 1)
            data[at:] = other[start:] if rng.random() < 0.5 else bytes(data[:0]) + other[start : start + 200] + data[at + 200 :]
        else:
            start = rng.randrange(len(data))
            data[at:at] = data[start : start + rng.choice([4, 16, 64, 500])]
    data = bytes(data)
    return checked(data) if rng.random() < 0.8 else data


def checked(data: bytes) -> bytes:
    """A PNG whose checksums are right again: without, few would be looked into."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    out, at = bytearray(data), 8
    while at + 12 <= len(out):
        end = at + 8 + int.from_bytes(out[at : at + 4], "big")
        if end + 4 > len(out):
            break
        out[end : end + 4] = zlib.crc32(out[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(out)


def theirs(path: Path, processor, limit: int | None) -> tuple[np.ndarray | None, str]:
    """The reference's pixel values, or what it says."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = open_image(path)
            if limit and image.width * image.height > limit:
                return None, "larger than the limit of this run"
            values = processor(images=image, return_tensors="np")["pixel_values"]
            return np.asarray(values, np.float32), image.format or "?"
    except (Exception, SystemError) as error:  # noqa: BLE001 — any refusal is a refusal
        return None, f"{type(error).__name__}: {error}"



def format_of(path: Path) -> str | None:
    """What Pillow takes a picture for, in lower case; none where it takes it for no picture."""
    try:
        with PIL.Image.open(path) as image:
            return image.format.lower()
    except Exception:  # noqa: BLE001 — any refusal is a refusal
        return None


def kind_of(text: str) -> str:
    """A message without its numbers, names and bytes."""
    text = re.sub(r"/\S*|<[^>]*>|b'[^']*'|\"[^\"]*\"|'[^']*'", "…", text)
    return re.sub(r"(0x[0-9a-f]+|\d+(\.\d+)?)", "N", text)[:110]


# A process counts what its parent had in memory when it began, so a small one starts them: this reads a command a line and says how
# it ended, with its times and its memory.
STARTER = """
import json, os, subprocess, sys, time
for line in sys.stdin:
    job = json.loads(line)
    with open("stdout", "wb") as out, open("stderr", "wb") as err:
        child = subprocess.Popen(job["command"], stdout=out, stderr=err)
    end = time.monotonic() + job["seconds"]
    while True:
        found, status, usage = os.wait4(child.pid, os.WNOHANG)
        if found:
            break
        if time.monotonic() > end:
            child.kill()
        time.sleep(0.005)
    print(json.dumps([os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024]), flush=True)
"""


class Ours:
    """The binary, run on batches in one directory."""

    def __init__(self, binary: Path, directory: Path) -> None:
        self.binary, self.directory = binary, directory
        pipe = subprocess.PIPE
        self.starter = subprocess.Popen([sys.executable, "-c", STARTER], cwd=directory, stdin=pipe, stdout=pipe, text=True)

    def run(self, model: Path, names: list[str], limit: int | None) -> dict:
        """One process on a batch: its records, its tensors, its time on a processor and its memory."""
        listing, out = self.directory / "list", self.directory / "out.safetensors"
        listing.write_text("".join(f"{name}\n" for name in names))
        out.unlink(missing_ok=True)
        command = [self.binary, "-m", model, "--tensor", "pixel_values", "--files-from", listing, "--json", "-q", "--overwrite"]
        command += ["-o", out]
        command += ["--max-pixels", limit] if limit else []
        # Longer than any machine needs that others use too; a picture's own limit is of time on a processor.
        job = {"command": [str(part) for part in command], "seconds": 600}
        self.starter.stdin.write(json.dumps(job) + "\n")
        self.starter.stdin.flush()
        code, seconds, size = json.loads(self.starter.stdout.readline())
        lines = [json.loads(line) for line in (self.directory / "stdout").read_text().splitlines()]
        records = [line for line in lines if "key" in line]  # the last line is the run's summary
        return {
            "code": code, "records": {record["key"]: record for record in records}, "count": len(records), "cpu": seconds,
            "bytes": size, "stderr": (self.directory / "stderr").read_text(errors="replace"), "out": out,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", type=Path)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=250)
    parser.add_argument("--ours-only", action="store_true", help="compare with nothing: only how ours ends")
    parser.add_argument("--formats", nargs="+", metavar="FORMAT", help="mutate pictures of these formats alone, by Pillow's names")
    parser.add_argument("--more", type=Path, action="append", default=[], help="a directory of further pictures to mutate")
    arguments = parser.parse_args()
    binary = arguments.binary.resolve()
    directories = [ROOT / "fixtures/images", ROOT / "fixtures/images/bad", *arguments.more]
    files = sorted(path for directory in directories for path in directory.iterdir() if path.is_file() and path.suffix != ".md")
    if arguments.formats:
        files = [path for path in files if format_of(path) in map(str.lower, arguments.formats)]
        if not files:
            parser.error(f"no picture of {', '.join(arguments.formats)} to mutate")
    small = [path.read_bytes() for path in files if path.stat().st_size <= 20_000]
    photos = [path.read_bytes() for path in files if path.stat().st_size > 20_000]

    kept = ROOT / "fuzz/target/differential"
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    counts = collections.Counter()
    only = {"ours": collections.Counter(), "pillow": collections.Counter()}
    different, broken = [], []
    peak, slowest = 0, 0.0

    def keep(name: str, data: bytes) -> str:
        path = kept / re.sub(r"[^A-Za-z0-9.-]+", "_", name)[:100]
        if not path.exists():
            path.write_bytes(data)
        return path.name

    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as scratch:
        directory = Path(scratch)
        models = {None: ROOT / "fixtures/checkpoints/vision", RAW_PIXELS: directory / "raw"}
        models[RAW_PIXELS].mkdir()
        (models[RAW_PIXELS] / "preprocessor_config.json").write_text(json.dumps(RAW))
        shutil.copy(models[None] / "config.json", models[RAW_PIXELS])
        ours_on = Ours(binary, directory)
        processors = {limit: load_processor(model) for limit, model in models.items()}
        for batch, start in enumerate(range(0, arguments.count, arguments.batch)):
            rng = random.Random(f"{arguments.seed}/{batch}")
            limit = RAW_PIXELS if batch % 2 else None
            # A photograph takes as long as a hundred of the small ones.
            count = min(arguments.batch, arguments.count - start)
            choose = lambda: photos if photos and (not small or rng.random() < 0.02) else small  # noqa: E731
            pictures = [mutate(rng, choose()) for _ in range(count)]
            names = [f"{start + index:06}" for index in range(count)]
            for name, data in zip(names, pictures):
                (directory / name).write_bytes(data)
            ours = ours_on.run(models[limit], names, limit)
            peak, slowest = max(peak, ours["bytes"]), max(slowest, ours["cpu"])
            trouble = []
            if ours["code"] not in (0, 1):
                trouble.append(f"exit code {ours['code']}: {ours['stderr'][-300:]}")
            if ours["count"] != count or set(ours["records"]) != set(names):
                trouble.append(f"{ours['count']} records of {count} images")
            if "panicked" in ours["stderr"] or any("decoder failed" in str(r.get("reason")) for r in ours["records"].values()):
                trouble.append("a panic")
            if ours["bytes"] > LARGEST_PROCESS:
                trouble.append(f"{ours['bytes'] >> 20} MiB")
            if ours["cpu"] > LONGEST_IMAGE:  # of time on a processor: others' work is not ours
                alone = max(ours_on.run(models[limit], [name], limit)["cpu"] for name in names)
                if alone > LONGEST_IMAGE:
                    trouble.append(f"{alone:.1f} s for an image")
            if trouble:
                folder = kept / f"batch-{batch}"
                shutil.copytree(directory, folder, dirs_exist_ok=True)
                broken.append({"batch": batch, "what": trouble})
            tensors = safe_open(ours["out"], "np") if ours["out"].exists() else None
            keys = set(tensors.keys()) if tensors else set()
            for name, data in zip(names, pictures if not arguments.ours_only else []):
                record = ours["records"].get(name, {})
                values = tensors.get_tensor(name) if name in keys else None
                expected, said = theirs(directory / name, processors[limit], limit)
                if limit and said == "larger than the limit of this run" and "pixels allowed" not in str(record.get("reason")):
                    counts["left out"] += 1
                elif values is not None and expected is not None:
                    counts["both"] += 1
                    if values.shape != expected.shape or values.tobytes() != expected.astype(np.float32).tobytes():
                        format = record["image"]["format"]
                        example = keep(f"different-{format}-{name}", data)
                        different.append({"format": format, "pillow": said, "example": example})
                elif values is not None:
                    kind = f"{record['image']['format']} | {kind_of(said)}"
                    only["ours"][kind] += 1
                    keep(f"only-ours-{kind}", data)
                elif expected is not None:
                    kind = f"{said} | {kind_of(str(record.get('reason')))}"
                    only["pillow"][kind] += 1
                    keep(f"only-pillow-{kind}", data)
                else:
                    counts["neither"] += 1
            for name in names:
                (directory / name).unlink()
            if sys.stderr.isatty() or batch % 20 == 0:
                print(f"{start + count}: {dict(counts)}, {len(different)} different, {len(broken)} broken", file=sys.stderr, flush=True)
    report = {
        "pictures": arguments.count, "seed": arguments.seed, **counts, "different": different, "broken": broken,
        "only ours": dict(only["ours"].most_common()), "only Pillow": dict(only["pillow"].most_common()),
        "peak MiB of a process": peak >> 20, "most seconds of a batch on a processor": round(slowest, 2),
    }
    print(json.dumps(report, indent=1, ensure_ascii=False))
    (kept / "report.json").write_text(json.dumps(report, indent=1, ensure_ascii=False))
    sys.exit(bool(different or broken))


if __name__ == "__main__":
    main()
