"""Every vision token of a CLIP tower, as NumPy arrays, with the numbers that transformers gives."""

from ._clip_features import ImageError, __version__
from .extractor import Extractor, preprocess
from .features import Difference, Features, Labelled, Records, open

__all__ = [
    "Difference",
    "Extractor",
    "Features",
    "ImageError",
    "Labelled",
    "Records",
    "__version__",
    "open",
    "preprocess",
]
