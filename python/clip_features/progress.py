"""How far something is, on standard error."""

import sys
from types import TracebackType
from typing import Any


class Bar:
    """A bar by tqdm, where that is installed; else a line for each twentieth. Of an unknown total, what was done."""

    def __init__(self, total: int | None, *, shown: bool = True) -> None:
        self._total, self._done, self._told = total, 0, 0
        self._shown, self._bar = shown, _tqdm(total) if shown else None

    def advance(self, images: int) -> None:
        self._done += images
        if self._bar is not None:
            self._bar.update(images)
        elif self._shown and (self._done - self._told) * 20 >= (self._total or 2000):
            self._told = self._done
            print(self._done, *([] if self._total is None else ["of", self._total]), file=sys.stderr)

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()


def _tqdm(total: int | None) -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    return tqdm(total=total, unit="image")
