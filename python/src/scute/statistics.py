"""Statistics of many sites: a mapping that is saved as the program's own files."""

from __future__ import annotations

import os
from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

from scute import _core
from scute._core import Statistic
from scute.display import statistics_html

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

    from scute.plan import Plan


class Statistics(MutableMapping[str, Statistic]):
    """Site → Statistic, with where it comes from as `meta`.

    fine: mantissa bits kept, 1 … 16, of every site. per_channel: update() also keeps max |x| per
    channel, the last dimension, at every site. A Statistic taken out is shared, not copied: what
    is counted later shows in it. Two are equal when sites, statistics and meta are.
    """

    def __init__(self, fine: int = 8, *, per_channel: bool = False) -> None:
        self._set = _core.StatisticsSet(fine, per_channel)

    @classmethod
    def _of(cls, core: _core.StatisticsSet) -> Statistics:
        out = cls.__new__(cls)
        out._set = core
        return out

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Statistics:
        """Reads a file of `scute collect` or save(), .safetensors or .pt, and checks all of it.

        Error naming file, site and key on anything inconsistent.
        """
        return cls._of(_core.StatisticsSet.load(os.fspath(path)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the file that `scute collect` writes, by the name's ending: .safetensors, .pt.

        Atomic: under that name lies the whole file or what was there before.
        """
        self._set.save(os.fspath(path))

    @property
    def fine(self) -> int:
        """Mantissa bits kept, of every site."""
        return self._set.fine

    @property
    def per_channel(self) -> bool:
        """Whether update() keeps max |x| per channel."""
        return self._set.per_channel

    @property
    def meta(self) -> dict[str, Any]:
        """Where the statistics come from, as in the file; a copy: assign to change it."""
        return self._set.meta or {}

    @meta.setter
    def meta(self, value: dict[str, Any] | None) -> None:
        self._set.meta = value or None

    def update(self, site: str, x: ArrayLike) -> None:
        """Counts every element of x at `site`, which is added when it is new, as one sample.

        x: as Histogram.update; the last dimension are channels. At sites of models whose name asks
        for more (`….conv1d:input`, `….ssm_state_act:input` …) channels or elements of the state
        are kept too, as `scute collect` does. Error when their number changes.
        """
        self._set.update(site, x)

    def merge(self, other: Statistics, *, repeats: bool = False, missing: bool = False) -> None:
        """Adds what another one saw; in any order the result is the same.

        Error, and nothing merged, when `fine`, the sites (unless `missing`) or the models in
        `meta` differ, or, unless `repeats`, when both saw the same data. One without sites and
        meta takes all of the other.
        """
        self._set.merge(other._set, repeats, missing)

    def all_reduce(self, group: Any = None) -> None:
        """Becomes the sum over all ranks of torch.distributed, exact, in every rank.

        Error, the same in every rank, when `fine` or a site's number of channels differs.
        """
        from scute.distributed import all_reduce

        all_reduce(self, group)

    def plot(self, site: str, plan: Plan | None = None, **options: Any) -> Axes:
        """Draws what a site saw, with the range that a plan keeps of it; returns the Axes.

        options: of scute.plot.histogram (bins, ax, title). Needs matplotlib.
        """
        from scute.plot import histogram

        if plan is not None:
            options.setdefault("keep", (plan[site]["lo"], plan[site]["hi"]))
        return histogram(self[site], **{"title": site, **options})

    def copy(self) -> Statistics:
        """A copy that shares nothing."""
        return self._of(self._set.copy())

    def __add__(self, other: object) -> Statistics:
        if not isinstance(other, Statistics):
            return NotImplemented
        out = self.copy()
        out.merge(other)
        return out

    def __iadd__(self, other: Statistics) -> Statistics:
        if not isinstance(other, Statistics):
            return NotImplemented
        self.merge(other)
        return self

    def __getitem__(self, site: str) -> Statistic:
        found = self._set.find(site) if isinstance(site, str) else None
        if found is None:
            raise KeyError(site)
        return found

    def __setitem__(self, site: str, statistic: Statistic) -> None:
        self._set.set(site, statistic)

    def __delitem__(self, site: str) -> None:
        if not (isinstance(site, str) and self._set.remove(site)):
            raise KeyError(site)

    def __iter__(self) -> Iterator[str]:
        return iter(self._set.names())

    def __len__(self) -> int:
        return len(self._set.names())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Statistics) and self._set.equals(other._set)

    __hash__ = None  # type: ignore[assignment]

    def __copy__(self) -> Statistics:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> Statistics:
        return self.copy()

    def __getstate__(self) -> _core.StatisticsSet:
        return self._set

    def __setstate__(self, state: _core.StatisticsSet) -> None:
        self._set = state

    def __repr__(self) -> str:
        return f"Statistics(fine={self.fine}, {len(self)} sites)"

    def _repr_html_(self) -> str:
        return statistics_html(self)
