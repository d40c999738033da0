"""One peer as a server: answers `run` on stdin with seconds on stdout. Started by peers.py; protocol in README.md."""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

Forward = Callable[[], np.ndarray]


def torch_forward(args: argparse.Namespace, pixels: np.ndarray) -> tuple[Forward, str]:
    import torch
    from transformers import CLIPVisionModel

    torch.set_num_threads(args.threads)
    torch.set_float32_matmul_precision(args.precision)
    autocast = args.peer == "torch-autocast"
    model = CLIPVisionModel.from_pretrained(args.model, dtype=torch.float32, attn_implementation="sdpa").eval()
    inputs = torch.from_numpy(pixels)

    def forward() -> np.ndarray:
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            return model(pixel_values=inputs).last_hidden_state.float().numpy()

    return forward, f"torch {torch.__version__}"


def onnxruntime_forward(args: argparse.Namespace, pixels: np.ndarray) -> tuple[Forward, str]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(args.onnx), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"pixel_values": pixels})[0], f"onnxruntime {onnxruntime.__version__}"


def openvino_forward(args: argparse.Namespace, pixels: np.ndarray) -> tuple[Forward, str]:
    import openvino

    core = openvino.Core()
    model = core.read_model(args.onnx)
    model.reshape(list(pixels.shape))
    # It has float32 and bfloat16, and nothing between.
    hint = "bf16" if args.precision == "medium" else "f32"
    settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": args.threads, "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    return lambda: request.infer([pixels])[0], f"openvino {openvino.__version__.split('-')[0]}"


PEERS = {"torch": torch_forward, "torch-autocast": torch_forward, "onnxruntime": onnxruntime_forward, "openvino": openvino_forward}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--onnx", type=Path, required=True)
    parser.add_argument("--pixels", type=Path, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--precision", choices=["highest", "high", "medium"], default="highest")
    args = parser.parse_args()

    pixels = np.repeat(np.load(args.pixels), args.batch, axis=0)
    forward, version = PEERS[args.peer](args, pixels)
    forward()
    print(f"ready {version}", flush=True)
    for line in sys.stdin:
        match line.split(maxsplit=1):
            case ["run"]:
                start = time.perf_counter()
                forward()
                print(f"{time.perf_counter() - start:.6f}", flush=True)
            case ["save", path]:
                np.save(path.strip(), forward())
                print("saved", flush=True)
            case _:
                print(f"error unknown command {line.strip()}", flush=True)


if __name__ == "__main__":
    main()
