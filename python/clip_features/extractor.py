"""The extractor: the tower's tensors of images, as arrays."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from ._clip_features import Core, ImageError, run_job
from .adapter import add_features
from .pictures import is_picture, pixels
from .words import listed, words


class Extractor:
    """A model that is ready to run. Every argument is the command's option of the same name (`clip-features --help`).

    model:    ORG/NAME on the hub, a checkpoint directory, or a .safetensors file [openai/clip-vit-large-patch14]
    tensor:   name, or several: last_hidden_state, hidden_states, attentions, pooler_output, image_embeds, image_features, pixel_values
    layer:    index or indices of hidden_states and attentions; alone it means the hidden state of that layer
    tokens:   "all", "patch" or "cls"
    processor: "pil" or "torchvision" [pil; torchvision for DINOv3, which has no other]
    fit:      "auto" (the checkpoint's own way), "pad", "squash" or "keep" (the picture's own shape: images of one shape a call, or stream)
    image_size: an edge, or rows and columns as (224, 448) or "224x448"
    max_num_patches: of SigLIP 2 NaFlex, which cuts a picture of its own shape into at most so many [the model's own number]
    pad:      pad tokens, attentions and pixel_values of NaFlex to that number, so that pictures of all shapes make one array
    tiles:    of LLaVA-NeXT and LLaVA-OneVision: the whole picture and its tiles, [tiles, …]; one picture in a list at a time
    dtype:    "float32", "float16" or "bfloat16" (which needs ml_dtypes); the computation is float32, up to matmul_precision
    matmul_precision: "highest", "high" or "medium", as PyTorch's; lower is faster where the CPU has AMX
    threads:  to compute with [all physical cores]; the numbers do not depend on it
    column:   for batches that are dicts, the one with the images ["image", "bytes" or "path"]

    Weights are loaded once, and shared by all threads that call it. It pickles as its arguments. A fork after it was made is
    refused at the first call.

    Raises FileNotFoundError for a model that is not there, ValueError for arguments and models that do not fit, OSError for
    what the system refuses. Messages name options as the command does: --image-size is image_size here.
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
        matmul_precision: str = "highest",
        threads: int | None = None,
        batch_size: int | None = None,
        dtype: str = "float32",
        column: str | None = None,
    ) -> None:
        arguments = {name: listed(value) for name, value in locals().items() if name != "self"}
        # 0 is a seed, not False.
        if random_weights is not None and random_weights is not False:
            arguments["random_weights"] = True if random_weights is True else str(int(random_weights))
        self._arguments = arguments
        self._column = arguments.pop("column")
        self._core = Core(["clip_features", *words(self._arguments), "-"])

    @property
    def metadata(self) -> dict[str, str]:
        """What outputs say of the model and of what was asked of it."""
        return self._core.metadata

    def __call__(self, images: Any) -> Any:
        """Images → features.

        images: a list of paths, bytes, PIL images, or uint8 arrays [height, width, 3] → an array [B, …], such as
        [B, 257, 1024] for ViT-L/14, or a dict of them if several tensors are asked for.

        A dict of columns, as engines have batches → the dict without the images, with the columns `features` (or one for each
        tensor) and `error`, which is None or the reason why a row has NaN.

        Raises ImageError for an image that cannot be used (not for dicts), TypeError for what is no image.
        """
        if isinstance(images, dict):
            if self._arguments["tiles"]:
                raise ValueError("pictures differ in their number of tiles, which are no column: use stream()")
            return add_features(self._extract, self._empty(), images, self._column)
        _refuse_one(images)
        tensors, reasons = self._extract(images)
        for index, reason in enumerate(reasons):
            if reason is not None:
                raise ImageError(f"image {index}: {reason}")
        if tensors is None:
            raise ValueError("expected at least one image")
        return self._result(tensors)

    def stream(self, images: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """Images, one after the other → pairs of an image as it was given and its features [1, …], in order.

        Images are read ahead, a bounded number. A bad image's features are an ImageError, as a value.
        """
        _refuse_one(images)
        given: list[Any] = []

        def noted() -> Iterator[Any]:
            for image in images:
                given.append(image)
                yield self._pixels(image)

        for tensors, reason in self._core.stream(noted()):
            image = given.pop(0)
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
        progress: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, int]:
        """The command's job: files, directories and tars into a directory or an archive, resumed where it was cut short.

        Options of the model and the image are those that the extractor was made with; progress is called with each record that
        `--json` prints, as a dict; all else is the command's option of the same name; part is (0, 8) or "0/8".

        Gives the counts `done`, `skipped`, `changed` and `failed`, and whether it is `complete`. Ctrl-C ends it after the images in flight.
        """
        options = {name: value for name, value in locals().items() if name not in ("self", "inputs", "progress")}
        paths = [inputs] if isinstance(inputs, (str, bytes, os.PathLike)) else list(inputs)
        if any(isinstance(path, bytes) for path in paths):
            raise TypeError("inputs are paths, and bytes are an image: give a list of them to the extractor itself, or to stream()")
        job = words({**self._arguments, **options})
        on = None if progress is None else lambda line: progress(json.loads(line))
        return run_job(["clip_features", *job, "--", *map(os.fspath, paths)], on)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, ({**self._arguments, "column": self._column},)

    def _pixels(self, image: Any) -> Any:
        return pixels(image, self._arguments["alpha"], self._arguments["exif_orientation"])

    def _extract(self, images: Iterable[Any]) -> tuple[dict[str, np.ndarray] | None, list[str | None]]:
        tensors, reasons = self._core.extract([self._pixels(image) for image in images])
        return tensors and self._typed(tensors), reasons

    def _empty(self) -> dict[str, np.ndarray]:
        types = {"f32": np.float32, "f16": np.float16, "bf16": np.uint16}
        dtype = types[self._core.metadata["dtype"]]
        shapes = self._core.shapes.items()
        return self._typed({name: np.empty((0, *(shape or [1])[1:]), dtype) for name, shape in shapes})

    def _typed(self, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if self._core.metadata["dtype"] != "bf16":
            return tensors
        try:
            from ml_dtypes import bfloat16
        except ImportError:
            raise ValueError("NumPy has no bfloat16: pip install ml_dtypes, or ask for float16") from None
        return {name: values.view(bfloat16) for name, values in tensors.items()}

    def _result(self, tensors: dict[str, np.ndarray]) -> Any:
        return tensors if len(tensors) > 1 else next(iter(tensors.values()))


def _refuse_one(images: Any) -> None:
    if isinstance(images, (str, bytes, os.PathLike)) or is_picture(images):
        raise TypeError("expected a list of images; for one, give [image]")


def _rebuild(arguments: dict[str, Any]) -> Extractor:
    return Extractor(**{name: value for name, value in arguments.items()})


def preprocess(images: Iterable[Any], model: str | os.PathLike[str] | None = None, **options: Any) -> np.ndarray:
    """Images → the tower's input, float32 [B, 3, height, width], or of NaFlex [B, patches, 3·p·p], bit for bit as the
    reference's processor makes it.

    options: those of Extractor that are of the image or the model. No weights are loaded.
    """
    # What a cache is asked for must be hashable.
    asked = {
        name: tuple(found) if isinstance(found := listed(value), list) else found for name, value in options.items()
    }
    return _preprocessor(model, tuple(sorted(asked.items())), os.getpid())(images)


# For each process its own, as an extractor is of no use after a fork. Those from before stay: to drop one may wait for its threads.
@lru_cache(maxsize=8)
def _preprocessor(model: Any, options: tuple[tuple[str, Any], ...], process: int) -> Extractor:
    return Extractor(model, tensor="pixel_values", **dict(options))
