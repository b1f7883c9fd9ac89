"""scute: exact statistics of activations, clip ranges and low-bit Mamba models.

Measure once, decide any time: statistics are exact counts that merge by addition
(`Histogram`, `Statistic`, `Statistics`). The same files and words as the program `scute`.
"""

from __future__ import annotations

from scute._core import Error, Histogram, Statistic, __version__
from scute.statistics import Statistics

__all__ = ["Error", "Histogram", "Statistic", "Statistics", "__version__"]
