"""The example of a training, and every snippet of Python in the READMEs and the guide, as they are written."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def photos(tmp_path, pictures) -> Path:
    for number in range(24):
        path = pictures[number % len(pictures)]
        to = tmp_path / "photos" / "ab"[number % 2] / f"{number:02}{path.suffix}"
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(path.read_bytes())
    return tmp_path / "photos"


@pytest.mark.parametrize("head", ["projector", "probe"])
def test_a_head_is_trained_from_features(head, photos, model, tmp_path):
    pytest.importorskip("torch")
    words = [ROOT / "python" / "examples" / "train_projector.py", photos, "--model", model, "--head", head]
    words += ["--output", tmp_path / "x.safetensors", "--hidden", 64, "--epochs", 3, "--batch-size", 8, "--threads", 1]
    done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-4000:]
    lines = done.stdout.splitlines()
    assert re.match(r"<Features of 24 images in .*: hidden_states.2 \[25, 36\] float16>, 0 failed", lines[0]), lines
    losses = [float(loss) for loss in lines[1].removeprefix("loss by epoch: ").split()]
    assert len(losses) == 3 and losses[2] < losses[0]
    assert re.match(r"an epoch takes [\d.]+ s from features, [\d.]+ s extracting anew: [\d.]+ times as long", lines[2])
    assert "epoch 0" in done.stderr or shutil.which("tqdm") is None


def snippets() -> list[tuple[str, str]]:
    found = []
    for page in ("README.md", "python/README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))):
        text = (ROOT / page).read_text()
        for number, match in enumerate(re.finditer(r"^```python\n(.*?)^```", text, re.M | re.S)):
            found.append((f"{page}-{number}", match[1]))
    return found


@pytest.mark.parametrize("name, snippet", snippets(), ids=[name for name, _ in snippets()])
def test_a_snippet_runs(name, snippet, photos, model, tmp_path):
    """In a directory with what the pages speak of, on a tiny model in the place of ViT-L/14."""
    for module in ("ray", "webdataset", "datasets", "torch", "lance"):
        if re.search(rf"^(import|from) {module}\b|\b{module}\.", snippet, re.M):
            pytest.importorskip(module)
    make(photos, model, tmp_path, "00042.tar" in snippet)
    snippet = snippet.replace('"openai/clip-vit-large-patch14"', repr(str(model)))
    setup = f"""
import glob, io, os, sys
os.environ["CLIP_MODEL"] = {str(model)!r}
images = paths = sorted(glob.glob("photos/**/*.*", recursive=True))
from clip_features import Extractor
"""
    if "Extractor, fn_constructor_kwargs" in snippet:
        snippet = snippet.replace('{"layer"', f'{{"model": {str(model)!r}, "layer"').replace("size=8", "size=1")
        snippet += "\nassert ds.count() == 25 and set(ds.take(1)[0]) >= {'features', 'error'}\n"
        setup += "import ray\nray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)\n"
    content = (tmp_path / "stream.npy").open("rb")
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-W", "ignore:This DataLoader will create", "-c", setup + snippet],
        cwd=tmp_path, stdin=content, capture_output=True, text=True, timeout=240, env={**os.environ, "HF_HOME": str(tmp_path)},
    )
    assert done.returncode == 0, snippet + done.stderr[-4000:]


def make(photos: Path, model: Path, at: Path, tars: bool) -> None:
    """The pictures and outputs that the snippets open."""

    def command(*words: object, stdout=None) -> None:
        subprocess.run([sys.executable, "-m", "clip_features", "-q", "-m", *map(str, (model, *words))], cwd=at, check=True, stdout=stdout)

    for name in ("photo.jpg", "other.png", "holiday/cat.jpg"):
        (photos / name).parent.mkdir(exist_ok=True)
        (photos / name).write_bytes(next(photos.glob("a/*.jpg")).read_bytes())
        if "/" not in name:
            (photos / name).rename(at / name)
    command("photos", "-o", "features.npy")
    command("photos", "-o", "archive.safetensors")
    (at / "archive.safetensors").rename(at / "features.safetensors")
    if tars:
        (at / "shards").mkdir()
        with tarfile.open(at / "shards" / "00042.tar", "w") as tar:
            for path in sorted(photos.rglob("*.*")):
                tar.add(path, path.name)
        command("shards", "-o", "features")
    with (at / "stream.npy").open("wb") as stream:
        command("photos", "-o", "-", stdout=stream)
