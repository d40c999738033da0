"""Arguments as the command's words, so that both are read by one parser."""

import os
from collections.abc import Mapping
from typing import Any

# NumPy's names for what the command calls shorter.
DTYPES = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}


def words(arguments: Mapping[str, Any]) -> list[str]:
    """`{"layer": -2, "grid": True}` → `["--layer=-2", "--grid"]`; None and False are left out."""
    found = []
    for name, value in arguments.items():
        option = "--" + name.replace("_", "-")
        if value is None or value is False:
            continue
        if value is True:
            found.append(option)
        elif name == "tensor" and not isinstance(value, str):
            found += [f"{option}={tensor}" for tensor in value]
        elif name == "image_size" and isinstance(value, (list, tuple)):
            found.append(f"{option}={'x'.join(map(str, value))}")
        elif isinstance(value, (list, tuple)):
            found.append(f"{option}={','.join(map(str, value))}")
        else:
            text = os.fspath(value) if isinstance(value, os.PathLike) else str(value)
            found.append(f"{option}={DTYPES.get(text, text) if name == 'dtype' else text}")
    return found
