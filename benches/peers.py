"""The vision tower against PyTorch, ONNX Runtime and OpenVINO, in turn, on the same weights and pixels.

    python benches/peers.py [--model DIR] [--image PHOTO] [--threads N] [--batch 1 8] [--rounds 7] [--precision medium]

Without --model the towers are ViT-L/14 on the weights of --random-weights. Every contestant is a
process that answers "run" with seconds (README.md), so rounds interleave and a slow minute of the
machine hits all alike. Who is absent is skipped with a word. Errors are those against PyTorch in float64.
"""

import argparse
import hashlib
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
CACHE = Path(tempfile.gettempdir()) / "clip-features-bench"
OURS = "cargo run --release --quiet --example tower_server --"
PEERS = ("torch", "torch-autocast", "onnxruntime", "openvino")


class Server:
    """A contestant's process; each question is a line, and so is each answer."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, cwd=HERE.parent
        )
        self.version = self.answer().removeprefix("ready ")

    def answer(self) -> str:
        line = self.process.stdout.readline().strip()
        if not line or line.startswith("error"):
            self.process.kill()
            self.log.seek(0)
            words = line or (self.log.read().strip().splitlines() or ["it ended without a word"])[-1]
            raise RuntimeError(words)
        return line

    def ask(self, question: str) -> str:
        self.process.stdin.write(question + "\n")
        self.process.stdin.flush()
        return self.answer()

    def seconds(self, runs: int) -> float:
        """The median of `runs` forwards, after one that brings the weights back into the caches."""
        self.ask("run")
        return statistics.median(float(self.ask("run")) for _ in range(runs))

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def random_checkpoint() -> Path:
    """ViT-L/14 on the seed-0 random weights, made once."""
    directory = CACHE / "l14-seed-0"
    if not (directory / "preprocessor_config.json").exists():  # the last file to be written
        print("writing ViT-L/14 with random weights")
        subprocess.run([sys.executable, HERE.parent / "fixtures" / "full_size.py", directory], check=True)
    return directory


def preprocess(model: Path, image: Path) -> Path:
    """The reference's pixel_values of one picture, f32 [1, 3, height, width], as .npy."""
    from PIL import Image
    from transformers import CLIPImageProcessorPil

    path = CACHE / "pixels.npy"
    np.save(path, CLIPImageProcessorPil.from_pretrained(model)(images=Image.open(image), return_tensors="np")["pixel_values"])
    return path


def export_onnx(model: Path, pixels: Path) -> Path:
    """pixel_values -> last_hidden_state with any batch, made once for each checkpoint."""
    facts = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(model.iterdir())]
    path = CACHE / f"{hashlib.sha256(repr(facts).encode()).hexdigest()[:16]}.onnx"
    if path.exists():
        return path
    import torch
    from transformers import CLIPVisionModel

    class LastHiddenState(torch.nn.Module):
        def __init__(self, tower: torch.nn.Module) -> None:
            super().__init__()
            self.tower = tower

        def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
            return self.tower(pixel_values=pixel_values).last_hidden_state

    print("exporting to ONNX")
    tower = CLIPVisionModel.from_pretrained(model, dtype=torch.float32, attn_implementation="sdpa").eval()
    partial = path.with_suffix(".partial")
    torch.onnx.export(
        LastHiddenState(tower), (torch.from_numpy(np.load(pixels)),), str(partial), dynamo=False, opset_version=17,
        input_names=["pixel_values"], output_names=["last_hidden_state"],
        dynamic_axes={"pixel_values": {0: "batch"}, "last_hidden_state": {0: "batch"}},
    )  # fmt: skip
    partial.rename(path)
    return path


def flops_per_image(model: Path) -> float:
    """Multiplications and additions of the matrix products; norms, softmax and activations are not counted."""
    config = json.loads((model / "config.json").read_text())
    config = config.get("vision_config", config)
    width, inner, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    patches = (config["image_size"] // config["patch_size"]) ** 2
    tokens = patches + 1
    embedding = 2 * patches * 3 * config["patch_size"] ** 2 * width
    layer = 2 * tokens * width * (4 * width + 2 * inner) + 4 * tokens**2 * width
    return embedding + layers * layer


def start(args: argparse.Namespace, model: Path, onnx: Path, pixels: Path, batch: int) -> list[Server]:
    common = ["--model", str(model), "--pixels", str(pixels), "--batch", str(batch), "--threads", str(args.threads)]
    precision = ["--precision", args.precision]
    commands = {"ours": [*shlex.split(args.ours), *common, *precision]}
    for extra in args.server:
        name, _, command = extra.partition("=")
        commands[name] = [*shlex.split(command), *common]
    for peer in args.peers:
        commands[peer] = [sys.executable, str(HERE / "peer.py"), peer, "--onnx", str(onnx), *common, *precision]
    servers = []
    for name, command in commands.items():
        try:
            servers.append(Server(name, command))
        except (OSError, RuntimeError) as error:
            print(f"{name} is skipped: {error}")
    return servers


def exact(model: Path, pixels: Path) -> np.ndarray:
    """last_hidden_state of one picture in float64."""
    import torch
    from transformers import CLIPVisionModel

    tower = CLIPVisionModel.from_pretrained(model, dtype=torch.float64).eval()
    with torch.inference_mode():
        return tower(pixel_values=torch.from_numpy(np.load(pixels)).double()).last_hidden_state.numpy()


def errors(servers: list[Server], reference: np.ndarray, most: float) -> dict[str, float]:
    """Relative errors. All must have computed the same thing, or their times mean nothing."""
    found = {}
    for server in servers:
        path = CACHE / f"{server.name}.npy"
        server.ask(f"save {path}")
        found[server.name] = np.linalg.norm(np.load(path)[:1] - reference) / np.linalg.norm(reference)
        assert found[server.name] < most, f"{server.name} differs from float64 by {found[server.name]:.1e}"
    return found


def measure(servers: list[Server], args: argparse.Namespace) -> tuple[dict[str, list[float]], list[float]]:
    """Seconds per forward and the machine's peak in GFLOP/s, by round. Each round starts with another contestant."""
    seconds: dict[str, list[float]] = {server.name: [] for server in servers}
    peaks = []
    ours = next((server for server in servers if server.name == "ours"), None)

    def peak() -> list[float]:
        time.sleep(args.pause)  # thread pools spin on for a while after their last run
        return [float(ours.ask("peak"))] if ours else []

    for round_ in range(args.rounds):
        around = peak()
        shift = round_ % len(servers)
        for server in servers[shift:] + servers[:shift]:
            time.sleep(args.pause)
            seconds[server.name].append(server.seconds(args.runs))
        around += peak()
        peaks += [max(around)] if around else []
    return seconds, peaks


def print_table(servers: list[Server], seconds: dict, peaks: list[float], batch: int, flops: float, found: dict) -> None:
    print(f"\n## batch {batch}\n")
    if peaks:
        print(f"FMA peak {statistics.median(peaks):.1f} GFLOP/s ({min(peaks):.1f} to {max(peaks):.1f})\n")
    print("| | images/s | share of the FMA peak | ours is faster by | error |\n|---|---|---|---|---|")
    for server in servers:
        times = seconds[server.name]
        speed = statistics.median(batch / t for t in times)
        share = statistics.median(batch * flops / t / 1e9 / peak for t, peak in zip(times, peaks)) if peaks else None
        ratio = statistics.median(t / us for t, us in zip(times, seconds["ours"])) if "ours" in seconds else None
        cells = [f"{speed:.3f}", f"{share:.2f}" if share else "–", f"{ratio:.2f}" if ratio else "–", f"{found[server.name]:.1e}"]
        print(f"| {server.name} ({server.version}) | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--image", type=Path, default=HERE.parent / "fixtures" / "images" / "coffee.png")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--runs", type=int, default=2, help="forwards in a round, of which the median counts")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds of rest before each contestant's turn")
    parser.add_argument("--precision", choices=["highest", "high", "medium"], default="highest", help="ours, and that of peers that have one")
    parser.add_argument("--peers", nargs="*", choices=PEERS)
    parser.add_argument("--ours", default=OURS, help="command of our server, without its options")
    parser.add_argument("--server", action="append", default=[], metavar="NAME=COMMAND", help="one more server of the same protocol")
    args = parser.parse_args()
    if args.peers is None:
        args.peers = [peer for peer in PEERS if peer != "torch-autocast" or args.precision == "medium"]

    sys.stdout.reconfigure(line_buffering=True)  # a table is seen when it is done, also through a pipe
    CACHE.mkdir(exist_ok=True)
    model = (args.model or random_checkpoint()).resolve()
    pixels = preprocess(model, args.image)
    onnx = export_onnx(model, pixels)
    reference = exact(model, pixels)
    flops = flops_per_image(model)
    print(f"{flops / 1e9:.1f} GFLOP an image, {args.threads} threads, medians of {args.rounds} rounds")
    for batch in args.batch:
        servers = start(args, model, onnx, pixels, batch)
        if not servers:
            sys.exit("nobody to measure")
        found = errors(servers, reference, 1e-5 if args.precision == "highest" else 5e-2)
        seconds, peaks = measure(servers, args)
        print_table(servers, seconds, peaks, batch, flops, found)
        for server in servers:
            server.close()


if __name__ == "__main__":
    main()
