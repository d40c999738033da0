"""Features as Arrow tables and Parquet files."""

import json
import os
from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .features import Features

# So many bytes of images that do not lie in a row are copied into one chunk.
CHUNK = 64 << 20

# Runs of fewer bytes are copied with their neighbours: each chunk that is mapped costs a map, and a chunk of every reader.
LEAST_MAPPED = 1 << 20
MOST_MAPS = 4096


def table(features: "Features") -> pa.Table:
    """A table of all images."""
    columns: dict[str, Any] = {"key": pa.array(list(features), pa.string())}
    for name, tensor in _columns(features):
        runs = features._reader.runs(tensor)
        shapes = {tuple(shape) for *_, shape in runs}
        if len(shapes) <= 1:
            columns[name] = _fixed(features, tensor, runs, shapes.pop() if shapes else (0,))
        else:
            columns |= _ragged(name, [_widened(features, place, tensor) for place in range(len(features))])
    return pa.table(columns)


def write_parquet(features: "Features", path: str | os.PathLike[str], row_group_bytes: int) -> None:
    """A Parquet file of all images, a row group after the other."""
    columns, dtype = _columns(features), _dtype(features)
    shapes = {name: {tuple(shape) for *_, shape in features._reader.runs(tensor)} for name, tensor in columns}
    bytes_each = max(1, sum(dtype.itemsize * prod(next(iter(found), ())) for found in shapes.values()))
    step = max(1, row_group_bytes // bytes_each)
    writer = None
    try:
        for start in range(0, max(1, len(features)), step):
            places = range(start, min(start + step, len(features)))
            arrays: dict[str, Any] = {"key": pa.array([features._key(place) for place in places], pa.string())}
            for name, tensor in columns:
                values = [_widened(features, place, tensor) for place in places]
                if len(shapes[name]) > 1:
                    arrays |= _ragged(name, values)
                else:
                    arrays[name] = _nested(values, next(iter(shapes[name]), (0,)), dtype)
            if writer is None:
                fields = [_field(name, array.type, shapes.get(name, set()), str(dtype)) for name, array in arrays.items()]
                schema = pa.schema(fields, {"clip_features": json.dumps(features.metadata)})
                # What looks like noise is not made smaller by a dictionary.
                writer = parquet.ParquetWriter(path, schema, use_dictionary=False)
            writer.write_table(pa.table(arrays, schema=writer.schema))
    finally:
        if writer is not None:
            writer.close()


def _field(name: str, kind: pa.DataType, shapes: set[tuple[int, ...]], dtype: str) -> pa.Field:
    """A column, which `datasets` takes for its own Array2D and so on. To others it is lists."""
    match list(shapes):
        case [shape] if 2 <= len(shape) <= 5:
            described = {
                "ARROW:extension:name": f"datasets.features.features.Array{len(shape)}DExtensionType",
                "ARROW:extension:metadata": json.dumps([shape, dtype]),
            }
            return pa.field(name, kind, metadata=described)
        case _:
            return pa.field(name, kind)


def _columns(features: "Features") -> list[tuple[str, int]]:
    """The columns' names and which tensor each is."""
    names = features.tensors
    return [("features" if len(names) == 1 else name, features._names.index(name)) for name in names]


def _dtype(features: "Features") -> np.dtype[Any]:
    """The type of the elements, as Arrow has it."""
    return np.dtype("float16" if features.dtype == "float16" else "float32")


def _widened(features: "Features", place: int, tensor: int) -> NDArray[Any]:
    """A tensor, of bfloat16 as float32: its bits are the upper half."""
    values: NDArray[Any] = features._reader.read(place, tensor)
    if features.dtype != "bfloat16":
        return values
    return (values.astype(np.uint32) << 16).view(np.float32)


def _fixed(features: "Features", tensor: int, runs: list[Any], shape: tuple[int, ...]) -> pa.ChunkedArray:
    """A column of tensors of one shape, mapped where they lie in a row."""
    dtype, elements = _dtype(features), prod(shape)
    kind = pa.fixed_shape_tensor(pa.from_numpy_dtype(dtype), shape)

    def chunk(values: NDArray[Any]) -> pa.Array:
        flat = pa.Array.from_buffers(kind.value_type, values.size, [None, pa.py_buffer(values)])
        return pa.ExtensionArray.from_storage(kind, pa.FixedSizeListArray.from_arrays(flat, elements))

    def chunks() -> Iterator[pa.Array]:
        waiting: list[NDArray[Any]] = []
        each, end = elements * dtype.itemsize, 0
        for path, offset, count, _ in runs:
            first, end = end, end + count
            if count * each >= LEAST_MAPPED and len(runs) <= MOST_MAPS and features.dtype != "bfloat16":
                if waiting:
                    yield chunk(np.concatenate(waiting))
                    waiting = []
                yield chunk(np.memmap(path, dtype, "r", offset, (count * elements,)))
                continue
            for place in range(first, end):
                waiting.append(_widened(features, place, tensor).ravel())
                if len(waiting) * each >= CHUNK:
                    yield chunk(np.concatenate(waiting))
                    waiting = []
        if waiting:
            yield chunk(np.concatenate(waiting))

    return pa.chunked_array(list(chunks()), kind)


def _nested(values: list[NDArray[Any]], shape: tuple[int, ...], dtype: np.dtype[Any]) -> pa.Array:
    """Tensors of one shape as lists in lists."""
    stacked = np.stack(values) if values else np.empty((0, *shape), dtype)
    array: pa.Array = pa.array(stacked.ravel())
    for axis in range(len(shape), 0, -1):
        count = prod(stacked.shape[:axis])
        offsets = np.arange(count + 1, dtype=np.int32) * stacked.shape[axis]
        array = pa.ListArray.from_arrays(pa.array(offsets), array)
    return array


def _ragged(name: str, values: list[NDArray[Any]]) -> dict[str, pa.Array]:
    """Tensors of several shapes, flat, and their shapes."""
    flat = pa.array(np.concatenate([value.ravel() for value in values]))
    offsets = np.cumsum([0] + [value.size for value in values], dtype=np.int64)
    shapes = pa.array([list(value.shape) for value in values], pa.list_(pa.int32()))
    return {name: pa.LargeListArray.from_arrays(pa.array(offsets), flat), f"{name}.shape": shapes}
