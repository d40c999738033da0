"""Every vision token of a CLIP tower, as NumPy arrays, with the numbers that transformers gives."""

from ._clip_features import ImageError
from .extractor import Extractor, preprocess

__all__ = ["Extractor", "ImageError", "preprocess"]
