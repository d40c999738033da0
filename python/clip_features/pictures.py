"""PIL images as pixels, converted as the command converts files."""

from typing import Any

import numpy as np

from ._clip_features import ImageError


def is_picture(image: Any) -> bool:
    """Whether it is a PIL image, told without importing PIL."""
    return hasattr(image, "convert") and hasattr(image, "getexif")


def pixels(image: Any, alpha: str, exif_orientation: str) -> Any:
    """A PIL image as uint8 [height, width, 3], or an ImageError if PIL cannot decode it; anything else as it is."""
    if not is_picture(image):
        return image
    try:
        return converted(image, alpha, exif_orientation)
    except Exception as error:  # PIL decodes only now, and its decoders raise many kinds
        return ImageError(f"Pillow cannot decode it: {error!r}")


def converted(image: Any, alpha: str, exif_orientation: str) -> np.ndarray:
    """A PIL image as uint8 [height, width, 3]."""
    from PIL import Image, ImageOps

    if exif_orientation == "apply":
        image = ImageOps.exif_transpose(image)
    has_alpha = "A" in image.getbands() or image.info.get("transparency") is not None
    if alpha == "white" and has_alpha:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    return np.asarray(image.convert("RGB"))
