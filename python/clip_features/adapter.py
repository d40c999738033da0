"""A batch as the engines have it, a mapping of columns, through an extractor: what Ray, Spark and Daft share."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The columns in which images are looked for, in this order.
COLUMNS = ("image", "bytes", "path")


def image_column(batch: Mapping[str, Any], column: str | None) -> str:
    """The column that holds the images: the one that is named, or the first of `COLUMNS` that is there."""
    names = [column] if column else [name for name in COLUMNS if name in batch]
    if not names or names[0] not in batch:
        raise ValueError(
            f"the batch has no column {column or ' or '.join(COLUMNS)}, but {', '.join(batch)}: name it with column="
        )
    return names[0]


def add_features(
    extract: Callable[[Sequence[Any]], tuple[dict[str, NDArray[Any]] | None, list[str | None]]],
    empty: Mapping[str, NDArray[Any]],
    batch: Mapping[str, Any],
    column: str | None,
) -> dict[str, Any]:
    """The batch without its images, and with `features` (or a column for each tensor) and `error`.

    An image that failed has NaN for features and its reason in `error`, which is None for all others. `empty` are the tensors of no
    image, [0, …], whose shapes hold where all images of a batch have failed.
    """
    name = image_column(batch, column)
    tensors, errors = extract(list(batch[name]))
    found = {key: value for key, value in batch.items() if key != name or key == "path"}
    good = [index for index, error in enumerate(errors) if error is None]
    for tensor, values in (tensors or empty).items():
        if len(good) != len(errors):
            every = np.full((len(errors), *values.shape[1:]), np.nan, values.dtype)
            every[good] = values
            values = every
        found["features" if len(empty) == 1 else tensor] = values
    found["error"] = np.array(errors, dtype=object)
    return found


def as_rows(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What `add_features` gave, as rows for engines whose columns are lists: `features` flat, their `shape`, and `error`."""
    values, errors = found["features"], found["error"]
    shape = list(values.shape[1:])
    return [
        {"features": value.ravel() if error is None else None, "shape": shape if error is None else None, "error": error}
        for value, error in zip(values, errors)
    ]
