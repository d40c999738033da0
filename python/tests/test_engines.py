"""The examples, on the real engines: every image once, broken ones with their reason, the command's bytes."""

import glob
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from clip_features import Extractor

EXAMPLES = Path(__file__).parents[1] / "examples"
GOOD, BAD = 45, 5


@pytest.fixture
def folder(tmp_path, pictures) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(GOOD):
        path = pictures[number % len(pictures)]
        (folder / f"{number:04}{path.suffix}").write_bytes(path.read_bytes())
    for number in range(BAD):
        (folder / f"broken-{number}.jpg").write_bytes(b"\xff\xd8\xff junk %d" % number)
    return folder


@pytest.fixture
def parquet(tmp_path, folder) -> Path:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    paths = sorted(folder.iterdir())
    table = pa.table({"path": [path.name for path in paths], "bytes": [path.read_bytes() for path in paths]})
    pyarrow.parquet.write_table(table, tmp_path / "pictures.parquet")
    return tmp_path / "pictures.parquet"


def expected(model: Path, folder: Path) -> dict[str, np.ndarray]:
    """By the command, one file an image."""
    out = folder.parent / "expected"
    words = [sys.executable, "-m", "clip_features", "-m", model, folder, "-o", out, "--keep-extension", "-q"]
    assert subprocess.run(list(map(str, words))).returncode == 1
    return {path.name.removesuffix(".npy"): np.load(path)[0] for path in out.glob("*.npy")}


def run(script: str, *arguments: object, **environment: str) -> str:
    words = [sys.executable, EXAMPLES / script, *arguments]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, env={**os.environ, **environment}, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith(f"{GOOD} rows with features, {BAD} failed"), done.stdout
    assert done.stdout.count("not an image") + done.stdout.count("JPEG") >= BAD
    return done.stdout


def check(output: Path, reference: dict[str, np.ndarray]) -> None:
    import pyarrow.parquet

    rows = [row for path in glob.glob(f"{output}/**/*.parquet", recursive=True) for row in pyarrow.parquet.read_table(path).to_pylist()]
    assert len(rows) == len({row["path"] for row in rows}) == GOOD + BAD
    good = {os.path.basename(row["path"]): row for row in rows if row["error"] is None}
    assert set(good) == set(reference)
    for name, row in good.items():
        found = np.asarray(row["features"], np.float32).reshape(row.get("shape") or reference[name].shape)
        assert found.tobytes() == reference[name].tobytes(), name


def test_ray(model, folder, parquet, tmp_path):
    pytest.importorskip("ray")
    import ray

    reference = expected(model, folder)
    for source in (folder, parquet):
        output = tmp_path / f"ray-{source.name}"
        run("ray_data.py", source, output, "--model", model, "--actors", 2, "--batch-size", 8)
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, ignore_reinit_error=True)
        rows = ray.data.read_parquet(str(output)).take_all()
        assert len(rows) == GOOD + BAD
        for row in rows:
            if row["error"] is None:
                assert row["features"].tobytes() == reference[os.path.basename(row["path"])].tobytes()
            else:
                assert np.isnan(row["features"]).all()
        ray.shutdown()


def test_ray_writes_webdataset(model, folder, tmp_path):
    pytest.importorskip("ray")
    import tarfile

    run("ray_data.py", folder, tmp_path / "tars", "--model", model, "--actors", 2, "--format", "webdataset")
    reference, found = expected(model, folder), 0
    for path in glob.glob(f"{tmp_path}/tars/*.tar"):
        with tarfile.open(path) as tar:
            for member in tar.getmembers():
                key = member.name.removesuffix(".npy")
                values = np.load(io.BytesIO(tar.extractfile(member).read()))
                name = next(name for name in reference if name.startswith(key + "."))
                assert values.tobytes() == reference[name].tobytes()
                found += 1
    assert found == GOOD


def test_ray_does_again_what_a_killed_actor_had(model, folder):
    ray = pytest.importorskip("ray")
    reference = expected(model, folder)
    mark = folder.parent / "killed"

    class Mortal(Extractor):
        """Dies once, in the middle."""

        def __call__(self, batch):
            if not mark.exists() and any("0020" in path for path in batch["path"]):
                mark.touch()
                os._exit(1)
            return super().__call__(batch)

        def __reduce__(self):
            return object.__reduce__(self)

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, ignore_reinit_error=True)
    rows = (
        ray.data.read_binary_files(str(folder), include_paths=True, num_cpus=0)
        .map_batches(
            Mortal,
            fn_constructor_kwargs={"model": str(model), "threads": 1},
            batch_size=4,
            compute=ray.data.ActorPoolStrategy(size=2),
            num_cpus=1,
        )
        .take_all()
    )
    ray.shutdown()
    assert mark.exists()
    good = {os.path.basename(row["path"]): row["features"] for row in rows if row["error"] is None}
    assert len(rows) == GOOD + BAD and set(good) == set(reference)
    assert all(good[name].tobytes() == reference[name].tobytes() for name in reference)


@pytest.mark.skipif(shutil.which("java") is None and not os.environ.get("JAVA_HOME"), reason="Spark needs Java")
def test_spark(model, folder, parquet, tmp_path):
    pytest.importorskip("pyspark")
    reference = expected(model, folder)
    for source, more in ((folder, ()), (parquet, ("--column", "bytes"))):
        output = tmp_path / f"spark-{source.name}"
        run("spark.py", source, output, "--model", model, *more, PYSPARK_PYTHON=sys.executable, MASTER="local[2]")
        check(output, reference)


def test_daft(model, folder, parquet, tmp_path):
    pytest.importorskip("daft")
    reference = expected(model, folder)
    for source in (folder, parquet):
        output = tmp_path / f"daft-{source.name}"
        run("daft_job.py", source, output, "--model", model, "--threads", 1)
        check(output, reference)
