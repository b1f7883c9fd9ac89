"""One tensor's statistic, and the range that a policy keeps of it: what the adapters share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from scute import Error, Statistics, decide
from scute.seen import Seen

_SITE = "observed"


class OneSite:
    """Counts tensors of one place on their device; ranges are decided when asked for.

    policy: as scute.decide's. fine: as Histogram's.
    """

    def __init__(self, policy: str = "auto", fine: int = 8) -> None:
        self.policy = policy
        self._seen = Seen(Statistics(fine=fine), "auto")

    def __getstate__(self) -> tuple[str, Statistics]:
        return self.policy, self.statistics

    def __setstate__(self, state: tuple[str, Statistics]) -> None:
        self.policy, statistics = state
        self._seen = Seen(statistics, "auto")

    @property
    def statistics(self) -> Statistics:
        """With one site, or none before the first value."""
        return self._seen.statistics

    @statistics.setter
    def statistics(self, value: Statistics) -> None:
        self._seen.statistics = value

    def add(self, x: torch.Tensor) -> None:
        """Counts x as one sample; TypeError for what holds no floats."""
        if not x.is_floating_point():
            raise TypeError(f"expected a tensor of floats, found {x.dtype}")
        self._seen.add(_SITE, x)

    def clear(self) -> None:
        """Forgets what was counted."""
        self._seen.statistics = Statistics(fine=self.statistics.fine)

    @property
    def empty(self) -> bool:
        """Whether nothing was counted yet."""
        return _SITE not in self.statistics

    def decide(self, bits: int, symmetric: bool, **options: Any) -> Mapping[str, Any]:
        """The plan's entry: lo, hi, scale, zero_point, … Error when nothing finite was seen."""
        if self.empty:
            raise Error("expected values before a range is decided, found none: run data first")
        options.setdefault("policy", self.policy)
        return decide(self.statistics, bits=bits, symmetric=symmetric, **options)[_SITE]
