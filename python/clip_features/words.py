"""Arguments as the command's words, so that both are read by one parser."""

import os
from collections.abc import Iterable, Mapping
from typing import Any

# NumPy's names for what the command calls shorter.
DTYPES = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}

# What stands between the values of an option that takes several, where it is no comma.
JOINTS = {"image_size": "x", "part": "/"}

# Options that need no value. Any other refuses True and False.
FLAGS = {
    "offline",
    "random_weights",
    "grid",
    "pad",
    "tiles",
    "keep_extension",
    "overwrite",
    "update",
    "fail_fast",
    "accept_failures",
    "retry_failures",
}


def listed(value: Any) -> Any:
    """What can be iterated as a list, which can be read again and pickled; anything else, and text, as it is."""
    if isinstance(value, (str, bytes, os.PathLike)) or not isinstance(value, Iterable):
        return value
    return list(value)


def words(arguments: Mapping[str, Any]) -> list[str]:
    """`{"layer": -2, "grid": True}` → `["--layer=-2", "--grid"]`; None and flags that are False are left out."""
    found = []
    for name, value in arguments.items():
        option, value = "--" + name.replace("_", "-"), listed(value)
        if value is None:
            continue
        if isinstance(value, bool):
            if name not in FLAGS:
                raise ValueError(f"{name} is {value}, expected a value")
            found += [option] if value else []
        elif isinstance(value, list) and name == "tensor":
            found += [f"{option}={_word(name, tensor)}" for tensor in value]
        elif isinstance(value, list):
            found.append(f"{option}={JOINTS.get(name, ',').join(_word(name, one) for one in value)}")
        else:
            found.append(f"{option}={_word(name, value)}")
    return found


def _word(name: str, value: Any) -> str:
    if isinstance(value, bytes):
        raise TypeError(f"{name} is bytes, expected text or a path")
    if isinstance(value, os.PathLike):
        return str(os.fspath(value))
    if name != "dtype":
        return str(value)
    return dtype_word(value)


def dtype_word(value: Any) -> str:
    """The command's word for a type: its own, NumPy's name or type, or torch's."""
    name = value.__name__ if isinstance(value, type) else str(value).removeprefix("torch.")
    short = DTYPES.get(name, name)
    if short not in DTYPES.values():
        raise ValueError(f"dtype is {value!r}, expected one of {', '.join(DTYPES)}")
    return short
