"""scute: exact statistics of activations, clip ranges and low-bit Mamba models.

Measure once, decide any time: statistics are exact counts that merge by addition
(`Histogram`, `Statistic`, `Statistics`); `decide` makes a `Plan` of them in milliseconds;
`quantize` and `evaluate` do the rest. The same files and words as the program `scute`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from scute._core import Error, Histogram, Statistic, __version__
from scute.display import counted_html
from scute.log import Log
from scute.models import Cobra, LanguageModel, Model, Regressor, load
from scute.plan import Plan, decide
from scute.statistics import Statistics
from scute.verbs import collect, edit_scales, evaluate, quantize, trace

if TYPE_CHECKING:
    from scute.observation import observe
    from scute.seen import Seen

__all__ = [
    "Cobra",
    "Error",
    "Histogram",
    "LanguageModel",
    "Log",
    "Model",
    "Plan",
    "Regressor",
    "Seen",
    "Statistic",
    "Statistics",
    "__version__",
    "collect",
    "decide",
    "edit_scales",
    "evaluate",
    "load",
    "observe",
    "quantize",
    "trace",
]

# The extension's own classes, in notebooks.
Histogram._repr_html_ = Statistic._repr_html_ = counted_html  # type: ignore[attr-defined]


def __getattr__(name: str) -> Any:
    # What needs torch is imported when it is asked for.
    if name in ("observe", "Seen"):
        globals()[name] = getattr(importlib.import_module("scute.observation"), name)
        return globals()[name]
    if name == "ray":
        return importlib.import_module("scute.ray")
    raise AttributeError(f"module 'scute' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
