"""Images as Python has them: what the library takes as it is, and what is made into that."""

import io
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._clip_features import ImageError


def is_picture(image: Any) -> bool:
    """Whether it is a PIL image, told without importing PIL."""
    return hasattr(image, "convert") and hasattr(image, "getexif")


def is_one(images: Any) -> bool:
    """Whether it is one image rather than several."""
    if isinstance(images, (str, bytes, bytearray, memoryview, os.PathLike)) or is_picture(images):
        return True
    return hasattr(images, "read") or isinstance(images, np.ndarray) and images.ndim == 3 and images.dtype == np.uint8


def given(image: Any, alpha: str, exif_orientation: str) -> Any:
    """An image as the library takes it: a path, bytes, uint8 [height, width, 3], or an ImageError if it cannot be read.

    Taken are PIL images, rows `{"bytes", "path"}` as `datasets` has undecoded images, open files (from their beginning, as PIL reads
    them), and bytearrays.
    """
    if isinstance(image, Mapping) and ("bytes" in image or "path" in image):
        content = image.get("bytes")
        image = image.get("path") if content is None else content
        if image is None:
            return ImageError("has neither bytes nor a path")
    if isinstance(image, (bytearray, memoryview)):
        return bytes(image)
    if is_picture(image):
        try:
            return converted(image, alpha, exif_orientation)
        except Exception as error:  # PIL decodes only now, and its decoders raise many kinds
            return ImageError(f"Pillow cannot decode it: {error!r}")
    if hasattr(image, "read"):
        try:
            return read(image)
        except (OSError, ValueError) as error:  # a file that is closed is a ValueError
            return ImageError(f"cannot be read: {error}")
    return image


def read(file: Any) -> bytes:
    """All bytes of an open file."""
    if isinstance(file, io.TextIOBase):
        raise ValueError("is open as text, expected a file that is open in binary mode")
    if getattr(file, "seekable", lambda: False)():
        file.seek(0)
    return bytes(file.read())


def converted(image: Any, alpha: str, exif_orientation: str) -> NDArray[np.uint8]:
    """A PIL image as uint8 [height, width, 3], converted as the command converts files."""
    from PIL import Image, ImageOps

    if exif_orientation == "apply":
        image = ImageOps.exif_transpose(image)
    has_alpha = "A" in image.getbands() or image.info.get("transparency") is not None
    if alpha == "white" and has_alpha:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    return np.asarray(image.convert("RGB"))
