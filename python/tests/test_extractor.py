"""The extractor: the command's numbers, and Python's ways."""

import gc
import inspect
import io
import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clip_features import Extractor, ImageError, preprocess


def command(*arguments: object, **options) -> subprocess.CompletedProcess:
    words = [sys.executable, "-m", "clip_features", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, **options)


def by_command(model: Path, picture: Path, *more: object) -> np.ndarray:
    done = command("-m", model, picture, *more, "-o", "-")
    assert done.returncode == 0, done.stderr
    return np.load(io.BytesIO(done.stdout))


def test_every_kind_of_image_gives_the_commands_bytes(model, pictures):
    assert len(pictures) >= 3
    extractor = Extractor(model, threads=2)
    images = [Image.open(path) for path in pictures]
    assert all(image.mode == "RGB" for image in images)
    forms = [
        pictures,
        [str(path) for path in pictures],
        [path.read_bytes() for path in pictures],
        images,
        [np.asarray(image) for image in images],
        [np.asfortranarray(np.asarray(image)) for image in images],
    ]
    expected = np.concatenate([by_command(model, path) for path in pictures])
    for form in forms:
        features = extractor(form)
        assert features.dtype == np.float32 and features.shape == (len(pictures), 26, 36)
        assert features.tobytes() == expected.tobytes()


def test_pictures_of_other_modes_are_converted_as_files_are(model):
    images = Path(__file__).parents[2] / "fixtures" / "images"
    extractor = Extractor(model, tensor="pixel_values")
    dropping = Extractor(model, tensor="pixel_values", alpha="drop")
    modes = set()
    for path in sorted(images.glob("png-*.png")) + sorted(images.glob("jpeg-*.jpg")):
        image = Image.open(path)
        modes.add(image.mode)
        assert (extractor([image]) == extractor([path])).all(), path
        assert (dropping([Image.open(path)]) == dropping([path])).all(), path
    assert {"RGBA", "P", "L", "LA", "1", "CMYK"} <= modes


def test_arguments_are_the_commands(model, pictures):
    picture = pictures[0]
    features = Extractor(model, layer=-2, tokens="patch", dtype="float16")([picture])
    expected = by_command(model, picture, "--layer", "-2", "--tokens", "patch", "--dtype", "f16")
    assert features.dtype == np.float16 and (features == expected).all()
    several = Extractor(model, tensor=["hidden_states", "pooler_output"], layer=[0, -1])([picture])
    assert list(several) == ["hidden_states.0", "hidden_states.3", "pooler_output"]
    assert several["pooler_output"].shape == (1, 36)
    assert Extractor(model, grid=True)([picture]).shape == (1, 5, 5, 36)
    pixels = preprocess([picture, picture], model, processor="torchvision")
    assert (pixels[0] == by_command(model, picture, "--tensor", "pixel_values", "--processor", "torchvision")).all()
    assert (pixels != preprocess([picture, picture], model)).any()
    sizes = [preprocess([picture], model, image_size=size) for size in ([24, 36], (24, 36), "24x36")]
    assert all(one.shape == (1, 3, 24, 36) and (one == sizes[0]).all() for one in sizes)


def test_several_values_come_in_any_iterable(model, pictures):
    expected = Extractor(model, tensor="hidden_states", layer=[0, 1])(pictures[:1])
    assert list(expected) == ["hidden_states.0", "hidden_states.1"]
    for layer in (range(2), (0, 1), {0, 1}, np.arange(2), (layer for layer in range(2))):
        extractor = Extractor(model, tensor="hidden_states", layer=layer)
        for one in (extractor, pickle.loads(pickle.dumps(extractor))):
            found = one(pictures[:1])
            assert list(found) == list(expected)
            assert all((found[name] == expected[name]).all() for name in found)


def test_every_option_is_an_argument():
    text = command("--help").stdout.decode()

    def options(*headings: str) -> set[str]:
        found = set()
        for heading in headings:
            section = re.search(rf"^{heading}:\n(.*?)(?=^\S|\Z)", text, re.M | re.S)[1]
            found |= {option.replace("-", "_") for option in re.findall(r"^ +(?:-\w, )?--([a-z-]+)", section, re.M)}
        return found

    def arguments(function: Callable) -> set[str]:
        return set(inspect.signature(function).parameters)

    ours = options("Model", "What", "Image", "Compute") - {"draw"} | {"dtype"}
    assert arguments(Extractor) == ours | {"column"}
    of_a_terminal = {"files_from", "null", "json", "quiet", "dry_run"}
    its = options("Inputs", "Output", "Batch") - of_a_terminal - {"dtype"}
    assert arguments(Extractor.extract_folder) == its | {"self", "inputs", "draw", "on_error"}


def test_bfloat16_is_a_type_of_ml_dtypes(model, pictures):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    features = Extractor(model, dtype="bfloat16")(pictures[:1])
    assert features.dtype == ml_dtypes.bfloat16
    expected = Extractor(model)(pictures[:1]).astype(ml_dtypes.bfloat16)
    assert features.tobytes() == expected.tobytes()


def test_metadata_say_what_outputs_say(model):
    metadata = Extractor(model, layer=-2).metadata
    assert metadata["layer"] == "-2" and metadata["processor_backend"] == "pil" and len(metadata["weights"]) == 64


def test_a_stream_is_in_order_and_a_bad_image_is_a_value(model, pictures, bad):
    extractor = Extractor(model, batch_size=3)
    images = [*pictures, bad, *pictures, "no-such.jpg"] * 3
    found = list(extractor.stream(iter(images)))
    assert [image for image, _ in found] == images
    for image, result in found:
        if image in (bad, "no-such.jpg"):
            assert isinstance(result, ImageError) and str(image) in str(result)
        else:
            assert (result == extractor([image])).all()


def test_a_broken_pil_image_costs_itself_alone(model, pictures, bad):
    extractor = Extractor(model, batch_size=2)
    images = [Image.open(pictures[0]), Image.open(bad), Image.open(pictures[1])]
    (_, first), (given, error), (_, last) = extractor.stream(images)
    assert given is images[1] and isinstance(error, ImageError) and "truncated" in str(error)
    expected = extractor(pictures[:2])
    assert (first == expected[:1]).all() and (last == expected[1:]).all()
    found = extractor({"image": images})
    assert found["error"][1] == str(error) and found["error"][0] is found["error"][2] is None
    assert (found["features"][[0, 2]] == expected).all() and np.isnan(found["features"][1]).all()
    with pytest.raises(ImageError, match="image 1: .*truncated"):
        extractor(images)


def test_exceptions_of_an_iterable_are_its_own(model, pictures):
    def failing():
        yield pictures[0]
        raise OSError("the disk is gone")

    extractor = Extractor(model, batch_size=1)
    for call in (extractor, lambda images: list(extractor.stream(images))):
        with pytest.raises(OSError, match="the disk is gone"):
            call(failing())


def test_a_closed_stream_lets_go_of_its_images(model, pictures):
    closed = threading.Event()

    def endless():
        try:
            while True:
                yield pictures[0]
        finally:
            closed.set()

    stream = Extractor(model, batch_size=2).stream(endless())
    next(stream)
    stream.close()
    assert closed.wait(timeout=30)


def test_a_stream_reads_a_bounded_number_ahead(model, pictures):
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield pictures[0]

    stream = Extractor(model, batch_size=2).stream(endless())
    for _ in range(3):
        next(stream)
    time.sleep(0.3)
    assert taken <= 3 + 16
    stream.close()


def test_errors_are_pythons(model, pictures, bad):
    with pytest.raises(ImageError, match="image 1: .*truncated.jpg: JPEG is truncated"):
        Extractor(model)([pictures[0], bad])
    for wrong in ({"model": "./nowhere"}, {"model": "/no/such/dir"}):
        with pytest.raises(FileNotFoundError):
            Extractor(**wrong)
    for wrong in ({"layer": 99}, {"tokens": "some"}, {"tensor": "nothing"}, {"grid": True, "tokens": "cls"}):
        with pytest.raises(ValueError):
            Extractor(model, **wrong)
    for wrong, message in (
        ({"layer": True}, "layer is True, expected a value"),
        ({"layer": False}, "layer is False, expected a value"),
        ({"cache_dir": False}, "cache_dir is False, expected a value"),
        ({"dtype": "float64"}, "dtype is 'float64', expected one of float32, float16, bfloat16"),
        ({"dtype": np.int8}, "dtype is .*int8.*, expected one of"),
    ):
        with pytest.raises(ValueError, match=message):
            Extractor(model, **wrong)
    with pytest.raises(TypeError, match="tokens is bytes, expected text"):
        Extractor(model, tokens=b"patch")
    extractor = Extractor(model)
    for wrong, message in (
        (3, "int is no image"),
        (np.zeros((4, 4), np.uint8), r"an array of uint8 \[4, 4\] is no picture, expected uint8 \[height, width, 3\]"),
        (np.zeros((4, 4, 4), np.uint8), r"an array of uint8 \[4, 4, 4\]"),
        (np.zeros((4, 4, 3)), r"an array of float64 \[4, 4, 3\]"),
    ):
        with pytest.raises(TypeError, match=message):
            extractor([wrong])
    for one in ("photo.jpg", b"photo", pictures[0], Image.open(pictures[0])):
        with pytest.raises(TypeError, match=r"for one, give \[image\]"):
            list(extractor.stream(one))
    with pytest.raises(ValueError, match="at least one"):
        extractor([])


def test_it_pickles_as_its_arguments(model, pictures):
    extractor = Extractor(model, layer=-2, random_weights=0, column="x")
    again = pickle.loads(pickle.dumps(extractor))
    assert again.metadata == extractor.metadata and len(pickle.dumps(extractor)) < 2000
    assert (again(pictures[:1]) == extractor(pictures[:1])).all()


def test_a_batch_of_columns_gets_features_and_errors(model, pictures, bad):
    extractor = Extractor(model)
    batch = {
        "bytes": np.array([pictures[0].read_bytes(), b"junk", pictures[1].read_bytes()], dtype=object),
        "id": np.arange(3),
    }
    found = extractor(batch)
    assert set(found) == {"id", "features", "error"}
    assert (found["features"][[0, 2]] == extractor(pictures[:2])).all()
    assert np.isnan(found["features"][1]).all()
    assert found["error"][0] is None and "not an image" in found["error"][1]
    alone = extractor({"path": [str(bad)]})
    assert alone["error"][0].endswith("JPEG is truncated")
    assert alone["features"].shape == (1, 26, 36) and np.isnan(alone["features"]).all()
    with pytest.raises(ValueError, match="no column image or bytes or path, but id"):
        extractor({"id": [1]})


def test_a_folder_is_the_commands_job(model, pictures, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    for path in pictures:
        (source / path.name).write_bytes(path.read_bytes())
    (source / "z.jpg").write_bytes(b"junk")
    records = []
    extractor = Extractor(model)
    tally = extractor.extract_folder(source, tmp_path / "out", progress=records.append)
    (failure,) = tally.pop("failures")
    assert (failure["key"], failure["input"], failure["stage"]) == ("z.jpg", str(source / "z.jpg"), "decode")
    assert tally == {"done": len(pictures), "skipped": 0, "changed": 0, "failed": 1, "accepted": 0, "complete": True}
    assert [record["status"] for record in records] == ["done"] * len(pictures) + ["failed"]
    assert all(record["total"] == len(pictures) + 1 for record in records)
    with pytest.raises(ImageError, match="z.jpg: not an image"):
        extractor.extract_folder(source, tmp_path / "out", on_error="raise")
    assert command("-m", model, source, "-o", tmp_path / "ours").returncode == 1
    for path in (tmp_path / "out").glob("*.npy"):
        assert path.read_bytes() == (tmp_path / "ours" / path.name).read_bytes()
    assert extractor.extract_folder(source, tmp_path / "out")["skipped"] == len(pictures)
    accepted = extractor.extract_folder(source, tmp_path / "out", accept_failures=True, retry_failures=True, on_error="raise")
    assert (accepted["failed"], accepted["accepted"], accepted["failures"]) == (0, 1, [])
    with pytest.raises(OSError, match="made with layer -1, not -2"):
        Extractor(model, layer=-2).extract_folder(source, tmp_path / "out")

    def stop(record):
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        extractor.extract_folder(source, tmp_path / "out", progress=stop, overwrite=True)


@pytest.mark.parametrize("option", ["dry_run", "quiet", "json", "files_from", "tensor", "layer", "batch_size", "bogus"])
def test_an_option_that_is_not_the_folders_is_refused(model, pictures, tmp_path, option):
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{option}'"):
        Extractor(model).extract_folder(pictures[0], tmp_path / "out", **{option: True})
    assert not (tmp_path / "out").exists()


def test_a_folder_is_done_in_parts_and_named_by_a_path(model, pictures, tmp_path):
    extractor = Extractor(model)
    for part, images in (((0, 2), pictures[::2]), ("1/2", pictures[1::2])):
        assert extractor.extract_folder(pictures, tmp_path / "out", part=part)["done"] == len(images)
    for wrong in (b"dir", [b"dir"]):
        with pytest.raises(TypeError, match="inputs are paths, and bytes are an image"):
            extractor.extract_folder(wrong, tmp_path / "out")
    with pytest.raises(TypeError, match="output is bytes, expected text or a path"):
        extractor.extract_folder(pictures, b"out")


def test_the_command_is_the_command(model, pictures):
    assert command("--version").stdout.startswith(b"clip-features ")
    assert command("nosuch.png", "-m", model).returncode == 1
    assert command("--no-such-option").returncode == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_fork_loads_it_again(model, pictures):
    extractor = Extractor(model, threads=2)
    expected = extractor(pictures[:2])
    with multiprocessing.get_context("fork").Pool(1) as pool:
        found = pool.apply_async(extractor, (pictures[:2],)).get(timeout=60)
    assert (found == expected).all()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        # The very one, not one that was pickled.
        os.write(write, extractor(pictures[:1]).tobytes())
        os._exit(0)
    assert os.read(read, 1 << 16) == expected[:1].tobytes()
    os.waitpid(child, 0)
    assert (extractor(pictures[:2]) == expected).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_preprocess_writes_into_an_array_that_is_given(model, pictures):
    expected = preprocess(pictures, model)
    for threads in (1, 3):
        out = np.full((len(pictures) + 2, *expected.shape[1:]), np.nan, np.float32)
        assert preprocess(pictures, model, out=out[1:-1], threads=threads) is not None
        assert (out[1:-1] == expected).all() and np.isnan(out[[0, -1]]).all()
    with pytest.raises(ValueError, match="and there are"):
        preprocess(pictures[:1], model, out=out)
    with pytest.raises(ValueError, match="before the tower"):
        preprocess(pictures[:1], model, out=np.empty((1, 3, 5, 5), np.float32))
    with pytest.raises(ValueError, match="not contiguous"):
        preprocess(pictures, model, out=np.empty(expected.shape[::-1], np.float32).T)
    with pytest.raises(TypeError, match="float32"):
        preprocess(pictures, model, out=np.empty(expected.shape))
    with pytest.raises(ImageError, match="image 1: "):
        preprocess([pictures[0], b"no picture"], model, out=np.empty((2, *expected.shape[1:]), np.float32))


def test_preprocess_works_after_a_fork(model, pictures):
    expected = preprocess(pictures[:1], model)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        found = pool.apply_async(preprocess, (pictures[:1], model)).get(timeout=60)
    assert (found == expected).all()


def test_two_threads_share_it_without_growth(model, pictures):
    extractor = Extractor(model, threads=2)
    expected = extractor(pictures)

    def resident() -> int:
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def calls(count: int) -> None:
        for _ in range(count):
            assert (extractor(pictures) == expected).all()

    def both(count: int) -> None:
        threads = [threading.Thread(target=calls, args=(count,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=120)
            assert not thread.is_alive()

    both(50)
    before = resident()
    both(450)
    assert resident() - before < 8 << 20


@pytest.mark.skipif(sys.platform == "win32", reason="signals are others there")
@pytest.mark.parametrize(
    "call",
    [
        "extractor(pictures * 100_000)",
        "list(extractor.stream(pictures * 100_000))",
        "preprocess(pictures * 20_000, model)",
    ],
)
def test_ctrl_c_ends_a_long_call(model, pictures, call):
    # What runs in the background of a script has SIGINT ignored, and Python then installs no handler.
    script = f"""
import signal
from clip_features import Extractor, preprocess
signal.signal(signal.SIGINT, signal.default_int_handler)
model = {str(model)!r}
extractor = Extractor(model)
pictures = {[str(path) for path in pictures]!r}
extractor(pictures)
print("ready", flush=True)
try:
    {call}
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    time.sleep(0.7)
    child.send_signal(signal.SIGINT)
    started = time.monotonic()
    assert child.stdout.readline() == "interrupted\n"
    assert time.monotonic() - started < 2
    assert child.wait(timeout=10) == 0


def test_one_image_is_a_batch_of_one(model, pictures):
    extractor, path = Extractor(model), pictures[0]
    expected = extractor([path])
    for one in (path, str(path), path.read_bytes(), bytearray(path.read_bytes()), Image.open(path), np.asarray(Image.open(path))):
        found = extractor(one)
        assert found.shape == (1, 26, 36) and (found == expected).all()
    with path.open("rb") as file:
        assert (extractor(file) == expected).all()


def test_what_holds_an_image_is_one(model, pictures, bad):
    extractor = Extractor(model)
    expected = extractor(pictures[:1])
    content = pictures[0].read_bytes()
    written = io.BytesIO()
    written.write(content)  # it stands at its end, as after Image.save
    with pictures[0].open("rb") as file:
        for one in (
            written,
            file,
            bytearray(content),
            memoryview(content),
            {"bytes": content, "path": "elsewhere.jpg"},
            {"bytes": None, "path": str(pictures[0])},
        ):
            assert (extractor([one]) == expected).all(), one
    for wrong, message in (
        ({"bytes": None, "path": None}, "has neither bytes nor a path"),
        (file, "cannot be read: .*closed file"),
        (io.StringIO("x"), "cannot be read: is open as text"),
        ({"bytes": bad.read_bytes()}, "JPEG is truncated"),
    ):
        with pytest.raises(ImageError, match=message):
            extractor([wrong])


def test_types_of_numpy_and_torch_are_types(model, pictures):
    expected = Extractor(model, dtype="float16")(pictures[:1])
    types = [np.float16, np.dtype("float16"), "f16"]
    try:
        import torch

        types.append(torch.float16)
    except ImportError:
        pass
    for dtype in types:
        extractor = pickle.loads(pickle.dumps(Extractor(model, dtype=dtype)))
        found = extractor(pictures[:1])
        assert found.dtype == np.float16 and (found == expected).all()


def test_it_says_what_it_is(model):
    import clip_features

    text = repr(Extractor(model))
    assert text.startswith(f"<Extractor of {model}: last_hidden_state [1, 26, 36] f32, on cpu (")
    assert command("--version").stdout.decode().split()[1] == clip_features.__version__


def test_a_missing_input_is_told_before_anything_is_done(model, pictures, tmp_path):
    with pytest.raises(FileNotFoundError, match="typo/: there is no such input"):
        Extractor(model).extract_folder([pictures[0], "typo/"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_hub_that_is_not_there_is_an_oserror(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(OSError):
        Extractor("nobody/nothing", cache_dir=tmp_path)


def test_progress_is_a_bar(model, pictures, tmp_path, capfd):
    Extractor(model, tensor=["pooler_output", "last_hidden_state"]).extract_folder(pictures, tmp_path / "out", progress=True)
    told = capfd.readouterr().err
    assert f"{len(pictures)}/{len(pictures)}" in told or f"{len(pictures)} of {len(pictures)}" in told


def rows(pictures: list[Path]) -> list[dict]:
    return [{"id": number, "image": {"bytes": path.read_bytes(), "path": None}} for number, path in enumerate(pictures * 3)]


@pytest.mark.parametrize("decode", [True, False])
@pytest.mark.parametrize("processes", [None, 2])
def test_datasets_map_takes_it(decode, processes, model, pictures, tmp_path):
    datasets = pytest.importorskip("datasets")
    dataset = datasets.Dataset.from_list(rows(pictures)).cast_column("image", datasets.Image(decode=decode))
    extractor = Extractor(model, threads=1)
    extractor(pictures[:1])
    names = {"cache_file_name": str(tmp_path / "x.arrow")}
    found = dataset.map(extractor, batched=True, batch_size=4, num_proc=processes, remove_columns=["image"], **names)
    values = np.array(found.with_format("numpy")[:]["features"], np.float32)
    assert values.tobytes() == np.concatenate([extractor(pictures)] * 3).tobytes()
    assert found["id"][:] == list(range(3 * len(pictures)))


def test_an_iterable_dataset_takes_it(model, pictures):
    datasets = pytest.importorskip("datasets")
    dataset = datasets.Dataset.from_list(rows(pictures)).cast_column("image", datasets.Image())
    extractor = Extractor(model)
    found = list(dataset.to_iterable_dataset().map(extractor, batched=True, batch_size=4, remove_columns=["image"]))
    values = np.array([row["features"] for row in found], np.float32)
    assert values.tobytes() == np.concatenate([extractor(pictures)] * 3).tobytes()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_dataloader_collates_with_it(method, model, pictures):
    torch = pytest.importorskip("torch")
    extractor = Extractor(model, threads=1)
    expected = extractor(pictures)
    paths = [str(path) for path in pictures]
    for workers in (0, 2):
        context = {"multiprocessing_context": method} if workers else {}
        loader = torch.utils.data.DataLoader(paths, batch_size=2, collate_fn=extractor, num_workers=workers, **context)
        assert np.concatenate([np.asarray(batch) for batch in loader]).tobytes() == expected.tobytes()


def test_a_bad_row_of_a_dataset_costs_itself_where_types_are_said(model, pictures, bad):
    datasets = pytest.importorskip("datasets")
    contents = [path.read_bytes() for path in pictures] + [bad.read_bytes()]
    dataset = datasets.Dataset.from_list([{"image": {"bytes": content, "path": None}} for content in contents])
    dataset = dataset.cast_column("image", datasets.Image(decode=False))
    types = datasets.Features({"features": datasets.Array2D((26, 36), "float32"), "error": datasets.Value("string")})
    for processes in (None, 2):
        found = dataset.map(
            Extractor(model, threads=1), batched=True, batch_size=2, num_proc=processes, remove_columns=["image"], features=types
        )
        assert found["error"][:-1] == [None] * len(pictures) and "truncated" in found["error"][-1]
        values = found.with_format("numpy")["features"][:]
        assert values[:-1].tobytes() == Extractor(model)(pictures).tobytes() and np.isnan(values[-1]).all()
