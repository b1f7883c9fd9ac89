"""How far a long step is: a callback, or tqdm's bar where that package is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Callback = Callable[[int, int, str], object]


class _Bars:
    """A bar of tqdm for each step."""

    def __init__(self, tqdm: Any) -> None:
        self._tqdm = tqdm
        self._bar: Any = None
        self._step = ""

    def __call__(self, done: int, total: int, step: str) -> None:
        if self._bar is None or step != self._step:
            self.close()
            self._bar = self._tqdm(total=total, desc=step)
            self._step = step
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar = None


@contextmanager
def listening(progress: Callback | bool | None) -> Iterator[Callback | None]:
    """The callback of `progress`: itself, of True a bar, of None and False none."""
    if callable(progress):
        yield progress
        return
    try:
        from tqdm.auto import tqdm
    except ImportError:
        tqdm = None
    if not progress or tqdm is None:
        yield None
        return
    bars = _Bars(tqdm)
    try:
        yield bars
    finally:
        bars.close()
