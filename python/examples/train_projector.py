"""LLaVA's projector, or a linear probe, trained from features that are extracted once, against extracting them anew in each epoch.

    python train_projector.py photos/ --model clip-vit-large-patch14 --epochs 3
    python train_projector.py photos/ --head probe            # classes are the names of the directories

There is no language model here: the projector learns to give each picture's tokens back from what it makes of them, which costs what a
step of LLaVA's first stage costs up to the language model. Features are read by a DataLoader as they stand.
"""

import argparse
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

import clip_features
from clip_features import Extractor


def projector(width: int, hidden: int) -> nn.Module:
    """LLaVA 1.5's: two layers with a GELU between them."""
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden))


class Reconstruction(nn.Module):
    """A projector, and a way back from it: [B, tokens, width] → the loss."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.projector, self.back = projector(width, hidden), nn.Linear(hidden, width)

    def forward(self, tokens: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return nn.functional.mse_loss(self.back(self.projector(tokens)), tokens)


class Probe(nn.Module):
    """A linear layer over the mean of the tokens: [B, tokens, width] → the loss."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(width, classes)

    def forward(self, tokens: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(self.head(tokens.mean(1)), labels)


def train(batches, head: nn.Module, optimizer: torch.optim.Optimizer) -> float:
    """One epoch; gives the mean loss."""
    total = count = 0.0
    for tokens, labels in batches:
        loss = head(tokens.float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total, count = total + loss.item() * len(tokens), count + len(tokens)
    return total / count


def bar(batches, what: str):
    """The same batches behind a progress bar, where tqdm is installed."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return batches
    return tqdm(batches, desc=what, file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos")
    parser.add_argument("--model", default="openai/clip-vit-large-patch14")
    parser.add_argument("--output", default="features.safetensors", help="where features are kept")
    parser.add_argument("--head", choices=["projector", "probe"], default="projector")
    parser.add_argument("--hidden", type=int, default=1024, help="width of the projector; a language model's is 4096")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()

    # LLaVA's features: the patches of the layer before the last one.
    extractor = Extractor(args.model, layer=-2, tokens="patch", dtype="float16", threads=args.threads)
    started = time.perf_counter()
    result = extractor.extract_folder(args.photos, args.output, progress=True)
    features = clip_features.open(args.output)
    once = time.perf_counter() - started
    print(f"{features}, {result['failed']} failed, in {once:.1f} s")

    # A class is a directory; what lies in none is of one class.
    classes = sorted({str(Path(key).parent) for key in features})
    labels = {key: classes.index(str(Path(key).parent)) for key in features}
    width = features[0].shape[-1]

    def new_head() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        head = Reconstruction(width, args.hidden) if args.head == "projector" else Probe(width, len(classes))
        return head, torch.optim.AdamW(head.parameters(), lr=1e-3)

    head, optimizer = new_head()
    loader = DataLoader(
        features.with_labels(labels), batch_size=args.batch_size, shuffle=True, num_workers=args.workers,
        persistent_workers=args.workers > 0,
    )
    started = time.perf_counter()
    losses = [train(bar(loader, f"epoch {epoch}"), head, optimizer) for epoch in range(args.epochs)]
    read = (time.perf_counter() - started) / args.epochs
    print("loss by epoch:", *(f"{loss:.4f}" for loss in losses))

    # The same epoch on features that are made as it goes. Each record knows the picture that it was made of.
    inputs = [(record["input"], labels[record["key"]]) for record in features.records]

    def anew():
        for start in range(0, len(inputs), args.batch_size):
            paths, numbers = zip(*inputs[start : start + args.batch_size])
            yield torch.from_numpy(extractor(list(paths))), torch.tensor(numbers)

    head, optimizer = new_head()
    started = time.perf_counter()
    train(bar(anew(), "extracting anew"), head, optimizer)
    made = time.perf_counter() - started
    print(f"an epoch takes {read:.2f} s from features, {made:.2f} s extracting anew: {made / read:.1f} times as long")


if __name__ == "__main__":
    main()
