"""The extractor: the tower's tensors of images, as arrays."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ._clip_features import Core, ImageError, run_job
from .adapter import add_features
from .features import bfloat16
from .pictures import given, is_one
from .progress import Bar
from .words import dtype_word, listed, words

# Extractors from before a fork. To let go of one may wait for its threads, which are not there.
_FROM_BEFORE: list[Core] = []


class Extractor:
    """A model that is ready to run. Every argument is the command's option of the same name (`clip-features --help`).

    model:    ORG/NAME on the hub, a checkpoint directory, or a .safetensors file [openai/clip-vit-large-patch14]
    revision: branch, tag or commit of a model of the hub [main]
    cache_dir: where models of the hub are kept [as huggingface_hub]
    offline:  make no connection
    random_weights: run on made-up weights, of this seed
    tensor:   name, or several: last_hidden_state, hidden_states, attentions, pooler_output, image_embeds, image_features, pixel_values
    layer:    index or indices of hidden_states and attentions; alone it means the hidden state of that layer
    tokens:   "all", "patch" or "cls"
    grid:     the patches as [rows, columns, width] rather than as a list of tokens
    processor: "pil" or "torchvision" [pil; torchvision for DINOv3, which has no other]
    fit:      "auto" (the checkpoint's own way), "pad", "squash" or "keep" (the picture's own shape: images of one shape a call, or stream)
    image_size: an edge, or rows and columns as (224, 448) or "224x448"
    max_num_patches: of SigLIP 2 NaFlex, which cuts a picture of its own shape into at most so many [the model's own number]
    pad:      pad tokens, attentions and pixel_values of NaFlex to that number, so that pictures of all shapes make one array
    tiles:    of LLaVA-NeXT and LLaVA-OneVision: the whole picture and its tiles, [tiles, …]; one picture in a list at a time
    alpha:    "white", to composite transparent pictures over it, or "drop"
    exif_orientation: "ignore", as PIL.Image.open does, or "apply"
    max_pixels: refuse pictures of more [Pillow's own limit]
    dtype:    "float32", "float16" or "bfloat16" (which needs ml_dtypes), or NumPy's or torch's type; the computation is float32, up to
              matmul_precision
    matmul_precision: "highest", "high" or "medium", as PyTorch's; lower is faster on a GPU, and where the CPU has AMX
    device:   "auto" (the first GPU that this build and this machine have, else the CPU), "cpu", "cuda", "cuda:N" or "metal"
    kernels:  "own" or "candle" [own on the CPU, candle on a GPU]
    threads:  to compute with [all physical cores]; the numbers do not depend on it
    batch_size: images that the tower takes at once; the numbers do not depend on it [by the threads]
    column:   for batches of columns, the one with the images ["image", "bytes" or "path"]

    Weights are loaded once, and shared by all threads that call it. It pickles as its arguments. A process that was forked, or that
    unpickles it, loads the weights again at its first call: they are in the page cache, but each process has its own copy in memory.

    Raises FileNotFoundError for a model that is not there, ValueError for arguments and models that do not fit, OSError for
    what the system, the network or the hub refuses. Messages name options as the command does: --image-size is image_size here.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        offline: bool = False,
        random_weights: int | bool | None = None,
        tensor: str | Iterable[str] | None = None,
        layer: int | str | Iterable[int] | None = None,
        tokens: str | None = None,
        grid: bool = False,
        pad: bool = False,
        processor: str | None = None,
        fit: str = "auto",
        image_size: int | str | tuple[int, int] | None = None,
        max_num_patches: int | None = None,
        tiles: bool = False,
        alpha: str = "white",
        exif_orientation: str = "ignore",
        max_pixels: int | None = None,
        device: str = "auto",
        kernels: str | None = None,
        matmul_precision: str = "highest",
        threads: int | None = None,
        batch_size: int | None = None,
        dtype: Any = "float32",
        column: str | None = None,
    ) -> None:
        arguments = {name: listed(value) for name, value in locals().items() if name != "self"}
        # 0 is a seed, not False.
        if random_weights is not None and random_weights is not False:
            arguments["random_weights"] = True if random_weights is True else str(int(random_weights))
        self._arguments = arguments
        self._column = arguments.pop("column")
        # A type of torch would need torch where it is unpickled.
        arguments["dtype"] = dtype_word(dtype)
        self._core_here, self._process = self._load(), os.getpid()

    def _load(self) -> Core:
        return Core(["clip_features", *words(self._arguments), "-"])

    @property
    def _core(self) -> Core:
        """The model in this process: threads do not survive a fork."""
        if self._process != os.getpid():
            _FROM_BEFORE.append(self._core_here)
            self._core_here, self._process = self._load(), os.getpid()
        return self._core_here

    @property
    def metadata(self) -> dict[str, str]:
        """What outputs say of the model and of what was asked of it."""
        return self._core.metadata

    def __repr__(self) -> str:
        metadata, shapes = self.metadata, self._core.shapes
        what = ", ".join(f"{name} {list(shape) if shape else '[1, …]'}" for name, shape in shapes.items())
        compute = metadata.get("compute", "no tower")
        return f"<Extractor of {metadata['model']}: {what} {metadata['dtype']}, on {metadata.get('device', 'cpu')} ({compute})>"

    @overload
    def __call__(self, images: Mapping[str, Any]) -> dict[str, Any]: ...

    @overload
    def __call__(self, images: Any) -> Any: ...

    def __call__(self, images: Any) -> Any:
        """Images → features.

        images: one or a list of: paths, bytes, open files, PIL images, uint8 arrays [height, width, 3], or rows {"bytes", "path"} as
        `datasets` has undecoded images → an array [B, …], such as [B, 257, 1024] for ViT-L/14, or a dict of them if several
        tensors are asked for. B is 1 for one image.

        A mapping of columns, as engines have batches → a dict without the images, with the columns `features` (or one for each
        tensor) and `error`, which is None or the reason why a row has NaN.

        Raises ImageError for an image that cannot be used (not for columns), TypeError for what is no image.
        """
        if isinstance(images, Mapping):
            if self._arguments["tiles"]:
                raise ValueError("pictures differ in their number of tiles, which are no column: use stream()")
            return add_features(self._extract, self._empty(), images, self._column)
        tensors, reasons = self._extract(_several(images))
        _raise_first(reasons)
        if tensors is None:
            raise ValueError("expected at least one image")
        return self._result(tensors)

    def stream(self, images: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """Images, one after the other → pairs of an image as it was given and its features [1, …], in order.

        Images are read ahead, a bounded number. A bad image's features are an ImageError, as a value.
        """
        _refuse_one(images)
        waiting: list[Any] = []

        def noted() -> Iterator[Any]:
            for image in images:
                waiting.append(image)
                yield self._given(image)

        for tensors, reason in self._core.stream(noted()):
            image = waiting.pop(0)
            yield image, ImageError(reason) if tensors is None else self._result(self._typed(tensors))

    def extract_folder(
        self,
        inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        output: str | os.PathLike[str],
        *,
        format: str | None = None,
        shard_size: int | str | None = None,
        keep_extension: bool = False,
        overwrite: bool = False,
        update: bool = False,
        draw: str | None = None,
        keep: str | Iterable[str] | None = None,
        image_key: str | Iterable[str] | None = None,
        part: str | tuple[int, int] | None = None,
        failures: str | os.PathLike[str] | None = None,
        fail_fast: bool = False,
        max_failures: int | None = None,
        accept_failures: bool = False,
        retry_failures: bool = False,
        progress: bool | Callable[[dict[str, Any]], None] | None = None,
        on_error: str = "return",
    ) -> dict[str, Any]:
        """The command's job: files, directories and tars into a directory or an archive, resumed where it was cut short.

        inputs:    a path of an image, a directory or a tar, or several
        output:    a directory, or a file .npy, .safetensors or .tar
        format:    "npy", "safetensors" or "tar" [by the extension of output; in a directory npy, or tar where tars come in]
        shard_size: the most bytes of a file, such as "2GB", of an output that becomes a set of files
        keep_extension: name files in a directory cat.jpg.npy rather than cat.npy
        overwrite: start over where outputs are
        update:    make the features of images that have changed again, in a directory
        draw:      write pictures in place of tensors: "norm", "pca", or a patch such as "3,5", and "norm:bare" without bar and caption
        keep:      extensions of the members of a sample to carry over from tar to tar
        image_key: extensions of the image to take of a sample in a tar
        part:      one part of a job that is split: (0, 8) or "0/8"
        failures:  a file for the failures, a line of JSON each
        fail_fast: stop at the first image that fails
        max_failures: stop when so many images have failed
        accept_failures: images that fail by their own bytes (no picture, damaged, too large, not supported) count as done: they are not
                   tried again before their files change
        retry_failures: try those again that have failed so before
        progress:  True shows a bar; a function is called with each record that `--json` prints, as a dict, in which `total` is the number
                   of images if it is known
        on_error:  "return" gives images that fail among the results; "raise" raises ImageError for them when the job has ended

        Options of the model and the image are those that the extractor was made with.

        Gives the counts `done`, `skipped`, `changed`, `failed` and `accepted`, whether it is `complete`, and as `failures` the records of
        the images that failed: `key`, `input`, `stage` and `reason`. Ctrl-C ends it after the images in flight.

        Raises FileNotFoundError for an input that is not there, before anything is done, and OSError for an output that cannot be written.
        """
        ours = {"self", "inputs", "progress", "on_error"}
        options = {name: value for name, value in locals().items() if name not in ours | {"ours"}}
        if on_error not in ("return", "raise"):
            raise ValueError(f"on_error is {on_error!r}, expected return or raise")
        paths = [inputs] if isinstance(inputs, (str, bytes, os.PathLike)) else list(inputs)
        if any(isinstance(path, bytes) for path in paths):
            raise TypeError("inputs are paths, and bytes are an image: give a list of them to the extractor itself, or to stream()")
        files = [os.fspath(path) for path in paths]
        for path in files:
            if path != "-" and not os.path.exists(path):
                raise FileNotFoundError(f"{path}: there is no such input")
        job = words({**self._arguments, **options})
        failed: list[dict[str, Any]] = []
        bar: Bar | None = None

        def on(line: str, total: int | None) -> None:
            nonlocal bar
            record = {**json.loads(line), "total": total}
            if record["status"] == "failed":
                failed.append({name: record[name] for name in ("key", "input", "stage", "reason")})
            if callable(progress):
                progress(record)
            elif progress:
                bar = bar or Bar(total)
                # Of several tensors each has a record.
                bar.advance(int(record.get("tensor", first) == first))

        first = next(iter(self._core.shapes))
        try:
            result: dict[str, Any] = run_job(["clip_features", *job, "--", *files], on)
        finally:
            if bar is not None:
                bar.__exit__()
        if failed and on_error == "raise":
            more = f"; {len(failed) - 1} more failed" if len(failed) > 1 else ""
            raise ImageError(f"{failed[0]['input']}: {failed[0]['reason']}{more}")
        return {**result, "failures": failed}

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, ({**self._arguments, "column": self._column},)

    def _given(self, image: Any) -> Any:
        return given(image, self._arguments["alpha"], self._arguments["exif_orientation"])

    def _extract(self, images: Iterable[Any]) -> tuple[dict[str, NDArray[Any]] | None, list[str | None]]:
        tensors, reasons = self._core.extract([self._given(image) for image in images])
        return tensors and self._typed(tensors), reasons

    def _preprocess(self, images: Iterable[Any], out: NDArray[np.float32]) -> NDArray[np.float32]:
        if not isinstance(out, np.ndarray) or out.dtype != np.float32 or not out.flags.writeable:
            raise TypeError("out is an array of float32 that can be written to")
        _raise_first(self._core.preprocess([self._given(image) for image in _several(images)], out))
        return out

    def _row(self) -> list[int] | None:
        """The shape of an image's pixel values; None if it depends on the image, or they are no float32."""
        shape = self._core.shapes["pixel_values"]
        if shape is None or self._arguments["tiles"] or self._core.metadata["dtype"] != "f32":
            return None
        return shape[1:]

    def _empty(self) -> dict[str, NDArray[Any]]:
        types: dict[str, Any] = {"f32": np.float32, "f16": np.float16, "bf16": np.uint16}
        dtype = types[self._core.metadata["dtype"]]
        shapes = self._core.shapes.items()
        return self._typed({name: np.empty((0, *(shape or [1])[1:]), dtype) for name, shape in shapes})

    def _typed(self, tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        if self._core.metadata["dtype"] != "bf16":
            return tensors
        return {name: values.view(bfloat16()) for name, values in tensors.items()}

    def _result(self, tensors: dict[str, NDArray[Any]]) -> Any:
        return tensors if len(tensors) > 1 else next(iter(tensors.values()))


def _several(images: Any) -> Iterable[Any]:
    return [images] if is_one(images) else images


def _raise_first(reasons: Iterable[str | None]) -> None:
    """Raises ImageError for the first image that cannot be used."""
    for index, reason in enumerate(reasons):
        if reason is not None:
            raise ImageError(f"image {index}: {reason}")


def _refuse_one(images: Any) -> None:
    if is_one(images):
        raise TypeError("expected a list of images; for one, give [image]")


def _rebuild(arguments: dict[str, Any]) -> Extractor:
    return Extractor(**{name: value for name, value in arguments.items()})


def preprocess(
    images: Iterable[Any],
    model: str | os.PathLike[str] | None = None,
    *,
    out: NDArray[np.float32] | None = None,
    **options: Any,
) -> NDArray[np.float32]:
    """Images → the tower's input, float32 [B, 3, height, width], or of NaFlex [B, patches, 3·p·p], bit for bit as the
    reference's processor makes it.

    out:     an array of that shape and type to write to, such as a pinned tensor's `.numpy()`, which is given back
    options: those of Extractor that are of the image or the model, and `threads`, which all work on the images. No weights are loaded.

    Raises ImageError for an image that cannot be used, and ValueError for `out` of another shape.
    """
    # What a cache is asked for must be hashable.
    asked = {
        name: tuple(one) if isinstance(one := listed(value), list) else one for name, value in options.items()
    }
    model = model if model is None else os.fspath(model)
    extractor = _preprocessor(model, tuple(sorted(asked.items())), os.getpid())
    if out is None:
        row = None if isinstance(images, Mapping) else extractor._row()
        several = [] if row is None else list(_several(images))
        if row is None or not several:
            found: NDArray[np.float32] = extractor(several or images)
            return found
        images, out = several, np.empty([len(several), *row], np.float32)
    return extractor._preprocess(images, out)


# For each process its own, as an extractor is of no use after a fork. Those from before stay: to drop one may wait for its threads.
@lru_cache(maxsize=8)
def _preprocessor(model: Any, options: tuple[tuple[str, Any], ...], process: int) -> Extractor:
    return Extractor(model, tensor="pixel_values", **dict(options))
