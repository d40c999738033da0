"""What was written, read back: the extractor's bytes from every kind of output, by the tools that read features."""

import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import clip_features
from clip_features import Extractor, Features

# What is asked for, and how.
KINDS = {
    "directory": ("out", {}),
    "archives": ("out", {"format": "safetensors"}),
    "stack": ("x.npy", {}),
    "archive": ("x.safetensors", {}),
    "tar": ("x.tar", {}),
    "shards": ("x.npy", {"shard_size": "9KB"}),
    "tars": ("out", {}),
}


@pytest.fixture
def folder(tmp_path, pictures) -> Path:
    folder = tmp_path / "in"
    for number in range(11):
        path = pictures[number % len(pictures)]
        to = folder / "abc"[number % 3] / f"{number:02}{path.suffix}"
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(path.read_bytes())
    return folder


def written(kind: str, folder: Path, model: Path, **options) -> Path:
    target, more = KINDS[kind]
    source: Path | list[Path] = folder
    if kind == "tars":
        import tarfile

        shards = folder.parent / "shards"
        shards.mkdir()
        for directory in sorted(folder.iterdir()):
            with tarfile.open(shards / f"{directory.name}.tar", "w") as tar:
                for path in sorted(directory.iterdir()):
                    tar.add(path, path.name)
        source = shards
    result = Extractor(model, **options).extract_folder(source, folder.parent / target, **more)
    assert result["complete"] and result["failed"] == 0
    return folder.parent / target


def picture(folder: Path, key: str) -> Path:
    """The picture of a key, which of a tar's member is the tar's path and the member's."""
    return folder / key.replace(".tar/", "/")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_output_gives_the_extractors_bytes(kind, folder, model):
    features = clip_features.open(written(kind, folder, model))
    extractor = Extractor(model)
    assert len(features) == len(list(features)) == 11
    for place, key in enumerate(features):
        expected = extractor([picture(folder, key)])[0]
        for found in (features[key], features[place], features[place - 11], features[np.int64(place)]):
            assert found.dtype == np.float32 and found.shape == (26, 36) and found.tobytes() == expected.tobytes()
        assert key in features and features.records[place]["key"] == features.records[key]["key"] == key
        assert picture(folder, key).name in features.records[key]["input"]
        assert os.path.exists(features.records[key]["output"])
    assert features[2:5].shape == (3, 26, 36) and (features[2:5][1] == features[3]).all()
    assert list(features.items())[3][1].tobytes() == features[3].tobytes()
    assert features.verify() == []


def test_what_is_not_there_is_told(folder, model):
    features = clip_features.open(written("stack", folder, model))
    assert "no.jpg" not in features and 3 not in features
    assert features.missing(["a/00.jpg", *features, "b"]) == [key for key in ["a/00.jpg", "b"] if key not in features]
    for key, kind in (("no.jpg", KeyError), (11, IndexError), (-12, IndexError), (1.5, TypeError)):
        with pytest.raises(kind):
            features[key]
    assert features.get("no.jpg") is None
    with pytest.raises(KeyError, match="no tensor 'attentions'"):
        features.tensor("attentions")
    with pytest.raises(FileNotFoundError, match="there is no such output"):
        clip_features.open(folder.parent / "typo.npy")
    with pytest.raises(ValueError, match="no manifest in it"):
        clip_features.open(folder)
    with pytest.raises(ValueError, match="framework is 'tf'"):
        clip_features.open(folder.parent / "x.npy", framework="tf")


def test_what_is_written_into_an_array_stays_there(folder, model):
    # Large enough to be mapped.
    features = clip_features.open(written("stack", folder, model, tensor="pixel_values", image_size=224))
    before = (folder.parent / "x.npy").read_bytes()
    one = features[0]
    assert one.flags.writeable and one.nbytes == 3 * 224 * 224 * 4
    expected = one.copy()
    one *= 2
    assert (features[0] == expected).all() and (one == 2 * expected).all()
    assert (folder.parent / "x.npy").read_bytes() == before


def test_several_tensors_are_a_dict_and_one_of_them_can_be_chosen(folder, model):
    options = {"tensor": ["hidden_states", "pooler_output"], "layer": [0, -1]}
    features = clip_features.open(written("archive", folder, model, **options))
    assert features.tensors == ["hidden_states.0", "hidden_states.3", "pooler_output"]
    expected = Extractor(model, **options)([picture(folder, key) for key in features])
    for name in features.tensors:
        chosen = pickle.loads(pickle.dumps(features.tensor(name)))
        assert isinstance(chosen, Features) and len(chosen) == 11
        for place in range(11):
            assert features[place][name].tobytes() == chosen[place].tobytes() == expected[name][place].tobytes()
    assert features[:2]["pooler_output"].shape == (2, 36)
    assert features.records[0]["shapes"]["pooler_output"] == [36]
    table = features.to_arrow()
    assert table.column_names == ["key", *features.tensors]


def test_halves_are_types_of_numpy_ml_dtypes_and_torch(folder, model):
    ml_dtypes, torch = pytest.importorskip("ml_dtypes"), pytest.importorskip("torch")
    path = written("archive", folder, model, dtype="bfloat16")
    features = clip_features.open(path)
    expected = Extractor(model, dtype=ml_dtypes.bfloat16)([picture(folder, key) for key in features])
    assert features.dtype == "bfloat16" and features[3].dtype == ml_dtypes.bfloat16
    assert features[3].tobytes() == expected[3].tobytes()
    tensor = clip_features.open(path, framework="pt")[3]
    assert tensor.dtype == torch.bfloat16 and tensor.shape == (26, 36)
    assert (tensor.float().numpy() == expected[3].astype(np.float32)).all()
    column = features.to_arrow()["features"].chunk(0).to_numpy_ndarray()
    assert (column[3] == expected[3].astype(np.float32)).all()


def test_it_says_what_it_is(folder, model):
    path = written("stack", folder, model)
    features = clip_features.open(path)
    assert repr(features) == f"<Features of 11 images in {str(path)!r}: last_hidden_state [26, 36] float32>"
    assert features.metadata["tensor"] == "last_hidden_state" and features.metadata["dtype"] == "f32"
    record = features.records[0]
    assert record["grid"] == [5, 5] and len(record["crop_box"]) == 4 and record["image"]["width"] > 0


def test_lists_and_patterns_are_one_collection(folder, model):
    extractor = Extractor(model)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    for number, some in enumerate((paths[:4], paths[4:])):
        for path in some:
            extractor.extract_folder(folder / path.parent.name, folder.parent / f"{path.parent.name}.npy")
    both = clip_features.open([folder.parent / "a.npy", folder.parent / "b.npy"])
    pattern = clip_features.open(folder.parent / "[abc].npy")
    assert len(both) == 8 and len(pattern) == 11 and list(pattern)[:8] == list(both)
    assert (pickle.loads(pickle.dumps(pattern))[10] == pattern[10]).all()
    Extractor(model, layer=-2).extract_folder(folder / "a", folder.parent / "d.npy")
    with pytest.raises(ValueError, match="d.npy: made with layer -2, not -1; with tensor"):
        clip_features.open([folder.parent / "b.npy", folder.parent / "d.npy"])
    with pytest.raises(ValueError, match="a.npy holds too"):
        extractor.extract_folder(folder / "a", folder.parent / "e.npy")
        clip_features.open([folder.parent / "a.npy", folder.parent / "e.npy"])


def test_what_is_unfinished_is_refused_unless_asked_for(folder, model):
    Extractor(model).extract_folder(folder, folder.parent / "x.npy", part=(0, 2))
    with pytest.raises(OSError, match="there is no part-1-of-2\n.*unfinished=True reads what is there"):
        clip_features.open(folder.parent / "x.npy")
    features = clip_features.open(folder.parent / "x.npy", unfinished=True)
    assert len(pickle.loads(pickle.dumps(features))) == len(features) == 6


def test_a_bit_that_is_another_is_named(folder, model, capfd):
    path = written("archive", folder, model)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    features = clip_features.open(path)
    (difference,) = features.verify(progress=True)
    assert difference.key == list(features)[-1] and difference.path == str(path)
    assert difference.reason == "its bytes are not those that were written"
    assert "11" in capfd.readouterr().err
    path.write_bytes(content[:-1])
    with pytest.raises(OSError, match="is damaged: it has"):
        clip_features.open(path)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("workers", [2, 4])
@pytest.mark.parametrize("kind", ["directory", "shards", "tar"])
def test_a_dataloader_takes_it_as_it_is(kind, workers, method, folder, model):
    torch = pytest.importorskip("torch")
    features = clip_features.open(written(kind, folder, model))
    features[0]  # a file that is open goes with the fork
    labels = {key: number for number, key in enumerate(features)}
    data = features.with_labels(labels)
    loader = torch.utils.data.DataLoader(data, batch_size=4, shuffle=True, num_workers=workers, multiprocessing_context=method)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.from_numpy(features[0])
    found = {}
    for batch, numbers in loader:
        assert batch.shape[1:] == (26, 36) and batch.dtype == torch.float32
        found |= {int(number): row.numpy().tobytes() for number, row in zip(numbers, batch)}
    assert found == {number: features[number].tobytes() for number in range(11)}
    bare = torch.utils.data.DataLoader(features, batch_size=11)
    assert (next(iter(bare)).numpy() == features[:]).all()


def test_labels_without_features_are_refused(folder, model):
    features = clip_features.open(written("stack", folder, model))
    with pytest.raises(KeyError, match="no features of x.jpg and 1 more"):
        features.with_labels({"x.jpg": 1, "y.jpg": 2})
    some = features.with_labels({list(features)[7]: "seven", list(features)[2]: "two"})
    assert len(some) == 2 and [some[0][1], some[1][1]] == ["two", "seven"]
    assert (some[1][0] == features[7]).all() and len(pickle.loads(pickle.dumps(some))) == 2


@pytest.mark.parametrize("kind", ["directory", "stack", "archive", "tar", "shards"])
def test_arrow_and_parquet_hold_the_same_bytes(kind, folder, model):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet

    features = clip_features.open(written(kind, folder, model))
    table = features.to_arrow()
    assert table.schema.field("features").type == pa.fixed_shape_tensor(pa.float32(), (26, 36))
    assert table["key"].to_pylist() == list(features)
    assert table["features"].combine_chunks().to_numpy_ndarray().tobytes() == features[:].tobytes()
    path = folder.parent / "x.parquet"
    features.to_parquet(path, row_group_bytes=10_000)
    assert pa.parquet.ParquetFile(path).num_row_groups > 2
    rows = pa.parquet.read_table(path)["features"].to_pylist()
    assert np.array(rows, np.float32).tobytes() == features[:].tobytes()


def test_a_stack_is_not_copied_into_arrow(folder, model):
    pa = pytest.importorskip("pyarrow")
    features = clip_features.open(written("stack", folder, model, tensor="pixel_values", image_size=224))
    before = pa.total_allocated_bytes()
    column = features.to_arrow()["features"]
    assert column.num_chunks == 1 and pa.total_allocated_bytes() - before < 100_000
    assert (column.chunk(0).to_numpy_ndarray()[5] == features[5]).all()


def test_pictures_of_many_shapes_are_lists_in_arrow(tmp_path, model, pictures):
    pytest.importorskip("pyarrow")
    Extractor(model, fit="keep").extract_folder(pictures, tmp_path / "x.safetensors")
    features = clip_features.open(tmp_path / "x.safetensors")
    table = features.to_arrow()
    features.to_parquet(tmp_path / "x.parquet")
    import pyarrow.parquet

    for rows in (table.to_pylist(), pyarrow.parquet.read_table(tmp_path / "x.parquet").to_pylist()):
        for place, row in enumerate(rows):
            assert np.array(row["features"], np.float32).reshape(row["features.shape"]).tobytes() == features[place].tobytes()


def test_datasets_polars_and_duckdb_read_the_parquet_file(folder, model):
    features = clip_features.open(written("stack", folder, model))
    path = str(folder.parent / "x.parquet")
    features.to_parquet(path)
    expected = features[:].tobytes()
    datasets = pytest.importorskip("datasets")
    dataset = datasets.Dataset.from_parquet(path, cache_dir=str(folder.parent / "cache"))
    assert dataset.features["features"] == datasets.Array2D((26, 36), "float32")
    assert np.asarray(dataset.with_format("numpy")[:]["features"]).tobytes() == expected
    duckdb = pytest.importorskip("duckdb")
    rows = duckdb.sql(f"select features from '{path}' order by key").fetchall()
    order = np.argsort(list(features))
    assert np.array([row[0] for row in rows], np.float32).tobytes() == features[:][order].tobytes()
    polars = pytest.importorskip("polars")
    rows = polars.read_parquet(path)["features"].to_list()
    assert np.array(rows, np.float32).tobytes() == expected


def test_lance_takes_the_table(folder, model):
    lance = pytest.importorskip("lance")
    features = clip_features.open(written("shards", folder, model))
    dataset = lance.write_dataset(features.to_arrow(), folder.parent / "x.lance")
    assert dataset.to_table()["features"].combine_chunks().to_numpy_ndarray().tobytes() == features[:].tobytes()


def test_numpy_alone_is_needed(folder, model):
    path = written("tar", folder, model)
    script = f"""
import sys
class Refused:
    def find_spec(self, name, *_):
        if name.split(".")[0] in ("torch", "pyarrow", "ml_dtypes", "tqdm", "PIL"):
            raise ImportError(name)
sys.meta_path.insert(0, Refused())
import clip_features
features = clip_features.open({str(path)!r})
print(len(features), features[0].shape, features.verify(progress=True))
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True)
    assert done.stdout == "11 (26, 36) []\n", done.stderr
