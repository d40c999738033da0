"""What was written, read back as arrays."""

import glob
import json
import operator
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ._clip_features import Reader
from .progress import Bar

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
Label = TypeVar("Label")

# NumPy's types for the command's words. Of bfloat16 it has none of its own.
DTYPES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}


class Difference(NamedTuple):
    """Something that is not as it was written."""

    key: str | None
    """The image; None where it is what a file says of itself."""
    path: str
    """The file."""
    reason: str
    """What is wrong with it, in words."""


def open(path: Paths, *, unfinished: bool = False, framework: str = "np") -> "Features":
    """Opens what the command or `extract_folder` has written: a directory, a stack, an archive, tars, a set of them, the parts of a job.

    path:       what `-o` was, or a file of it; a list of such paths, or a pattern as `glob` has them, is one collection
    unfinished: read what is complete of a run that was killed or goes on, or of a job of which parts are missing
    framework:  "np" for NumPy arrays, "pt" for torch tensors, which share their memory

    Raises FileNotFoundError where nothing is there, OSError for what is not finished, cut or cannot be read, ValueError for what was not
    written by this package, was made with several settings, or holds an image twice.
    """
    return Features(path, unfinished=unfinished, framework=framework)


class Features(Mapping[str, Any]):
    """The features of many images by their keys, in the order in which they were written. Made by `open`.

    `features["holiday/cat.jpg"]` and `features[17]` are one image's tensor without the dimension of the batch, such as [257, 1024], or of
    pictures in tiles [tiles, 257, 1024]; where an image has several tensors, a dict of them by their names. `features[10:20]` are those
    of several images of one shape, copied into one array.

    Large tensors are mapped, and nothing is read before it is looked at. All can be written to, which changes neither a file nor what is
    given the next time. It is a map-style dataset for torch's DataLoader, works in forked and spawned processes, and pickles as its path.
    """

    def __init__(
        self,
        path: Paths,
        *,
        unfinished: bool = False,
        framework: str = "np",
        tensor: str | None = None,
        _reader: Reader | None = None,
    ) -> None:
        if framework not in ("np", "pt"):
            raise ValueError(f"framework is {framework!r}, expected np or pt")
        self._paths = _paths(path)
        self._unfinished = bool(unfinished)
        self._framework = framework
        self._reader = _reader or Reader(self._paths, self._unfinished)
        self._names = self._reader.tensors
        if tensor is not None and tensor not in self._names:
            raise KeyError(f"no tensor {tensor!r}: an image has {', '.join(self._names)}")
        self._chosen = self._names.index(tensor) if tensor is not None else 0 if len(self._names) == 1 else None

    def __len__(self) -> int:
        return len(self._reader)

    def __iter__(self) -> Iterator[str]:
        return map(self._key, range(len(self)))

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._reader.place(key) is not None

    def __getitem__(self, key: str | int | slice) -> Any:
        if isinstance(key, slice):
            images = [self[place] for place in range(*key.indices(len(self)))]
            if self._chosen is not None:
                return self._stacked(images)
            return {name: self._stacked([image[name] for image in images]) for name in self._names}
        place = self._place(key)
        if self._chosen is not None:
            return self._array(place, self._chosen)
        return {name: self._array(place, index) for index, name in enumerate(self._names)}

    def __eq__(self, other: object) -> bool:
        # To compare all values, as mappings do, is NumPy's work.
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __reduce__(self) -> tuple[Any, ...]:
        tensor = None if self._chosen is None else self._names[self._chosen]
        return _open, (self._paths, self._unfinished, self._framework, tensor)

    def __repr__(self) -> str:
        paths = ", ".join(map(repr, map(str, self._reader.paths)))
        what = ", ".join(self._names if self._chosen is None else [self._names[self._chosen]])
        shape = ""
        if self._chosen is not None and len(self):
            shape = f" {self.records[0]['shapes'][self._names[self._chosen]]}"
        return f"<Features of {len(self)} images in {paths}: {what}{shape} {self.dtype}>"

    @property
    def metadata(self) -> dict[str, str]:
        """What was asked for when it was written: model, weights, tensor, layer, tokens, preprocessing, types."""
        return self._reader.metadata

    @property
    def tensors(self) -> list[str]:
        """The names of the tensors that an image has, or of the one that was chosen."""
        return list(self._names) if self._chosen is None else [self._names[self._chosen]]

    @property
    def dtype(self) -> str:
        """The type of all elements: float32, float16 or bfloat16."""
        return DTYPES[self._reader.dtype]

    @property
    def records(self) -> "Records":
        """What is known of each image beside its tensors, by place or by key."""
        return Records(self)

    def tensor(self, name: str) -> "Features":
        """The same images with one of their tensors.

        Raises KeyError if they have no such tensor.
        """
        return Features(
            self._paths, unfinished=self._unfinished, framework=self._framework, tensor=name, _reader=self._reader
        )

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Those of some keys that have no features, in order."""
        return [key for key in keys if key not in self]

    def with_labels(self, labels: Mapping[str, Label]) -> "Labelled[Label]":
        """A dataset of pairs of an image's features and its label, of the images that have one, in the order of the features.

        labels: by the images' keys.

        Raises KeyError if an image that has a label has no features; `missing(labels)` names all.
        """
        return Labelled(self, labels)

    def verify(self, *, progress: bool = False) -> list[Difference]:
        """Reads everything and compares it with the checksums in the manifest; gives what is not as it was written.

        progress: show a bar on standard error, where tqdm is installed; else a line now and then
        """
        found: list[Difference] = []
        with Bar(len(self), shown=progress) as bar:

            def on(images: int, differences: list[tuple[str | None, os.PathLike[str], str]]) -> None:
                found.extend(Difference(key, os.fspath(path), reason) for key, path, reason in differences)
                bar.advance(images)

            self._reader.verify(on)
        return found

    def to_arrow(self) -> Any:
        """A `pyarrow.Table` of `key` and `features`, or of a column for each of several tensors.

        Tensors of one shape are a column of the extension type `arrow.fixed_shape_tensor`, which looks at mapped files where images lie in a
        row, as in a stack or an archive of one tensor; others are copied. Where shapes differ, they are lists, and a column
        `features.shape` says which. bfloat16 becomes float32, which holds it exactly.

        Raises ImportError without pyarrow.
        """
        from .arrow import table

        return table(self)

    def to_parquet(self, path: str | os.PathLike[str], *, row_group_bytes: int = 64 << 20) -> None:
        """Writes a Parquet file of `key` and `features`, or of a column for each of several tensors.

        Tensors are nested lists, as `datasets` (which reads them as Array2D and so on), pandas, polars, DuckDB and pyarrow read them. Where
        shapes differ, they are flat, and a column `features.shape` says which. bfloat16 becomes float32.

        row_group_bytes: about as much is held in memory, and read at once by others

        Raises ImportError without pyarrow.
        """
        from .arrow import write_parquet

        write_parquet(self, path, row_group_bytes)

    def _key(self, place: int) -> str:
        key = self._reader.key(place)
        if key is None:
            raise IndexError(f"no image {place}: there are {len(self)}")
        return key

    def _place(self, key: str | int) -> int:
        if isinstance(key, str):
            found = self._reader.place(key)
            if found is None:
                raise KeyError(key)
            return found
        place = operator.index(key)
        if not -len(self) <= place < len(self):
            raise IndexError(f"no image {place}: there are {len(self)}")
        return place % len(self)

    def _array(self, place: int, tensor: int) -> Any:
        values: NDArray[Any] = self._reader.read(place, tensor)
        is_bfloat16 = self._reader.dtype == "bf16"
        if self._framework == "pt":
            import torch

            if is_bfloat16:
                return torch.from_numpy(values.view(np.int16)).view(torch.bfloat16)
            return torch.from_numpy(values)
        return values.view(bfloat16()) if is_bfloat16 else values

    def _stacked(self, images: list[Any]) -> Any:
        if self._framework == "pt":
            import torch

            return torch.stack(images)
        return np.stack(images)


class Records(Sequence[dict[str, Any]]):
    """What is known of each image beside its tensors: dicts of `key`, `input` (as it was given), `output` (the file that holds it, or a list
    of one for each tensor), `shapes` by tensor, and what `--json` says of the picture: `grid`, `grid_box`, `crop_box`, `image`."""

    def __init__(self, features: Features) -> None:
        self._features = features

    def __len__(self) -> int:
        return len(self._features)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, slice):
            return [self[place] for place in range(*key.indices(len(self)))]
        features = self._features
        name, given, outputs, shapes, facts = features._reader.record(features._place(key))
        files = [os.fspath(path) for path in outputs]
        record = {"key": name, "input": given, "output": files[0] if len(files) == 1 else files}
        return {**record, "shapes": dict(zip(features._names, shapes)), **json.loads(facts or "{}")}


class Labelled(Generic[Label]):
    """Pairs of features and labels. Made by `Features.with_labels`."""

    def __init__(self, features: Features, labels: Mapping[str, Label]) -> None:
        if missing := features.missing(labels):
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise KeyError(f"no features of {missing[0]}{more}, which have labels: features.missing(labels) names all")
        self.features = features
        self.keys = [key for key in features if key in labels] if len(labels) < len(features) else list(features)
        self.labels = [labels[key] for key in self.keys]

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, place: int) -> tuple[Any, Label]:
        return self.features[self.keys[place]], self.labels[place]


def bfloat16() -> Any:
    """NumPy's type for it, which ml_dtypes adds."""
    try:
        import ml_dtypes
    except ImportError:
        raise ValueError('NumPy has no bfloat16: pip install ml_dtypes, or open(…, framework="pt") for torch tensors') from None
    return ml_dtypes.bfloat16


def _paths(path: Paths) -> list[str]:
    """Every path from the root, so that another process finds it, with patterns resolved."""
    given = [path] if isinstance(path, (str, os.PathLike)) else list(path)
    found: list[str] = []
    for one in given:
        one = os.fspath(one)
        if not isinstance(one, str):
            raise TypeError("a path is bytes, expected text or a path")
        is_pattern = glob.has_magic(one) and not os.path.lexists(one)
        matches = sorted(glob.glob(one, recursive=True)) if is_pattern else [one]
        if not matches:
            raise FileNotFoundError(f"{one}: nothing is named so")
        found += map(os.path.abspath, matches)
    if not found:
        raise ValueError("expected at least one path")
    return found


def _open(paths: list[str], unfinished: bool, framework: str, tensor: str | None) -> Features:
    return Features(paths, unfinished=unfinished, framework=framework, tensor=tensor)
