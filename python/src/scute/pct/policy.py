"""The percentile that the pipeline's rules pick, from a bucket's table of percentiles. No torch.

The rules of `scute decide --policy tail`, which has exact counts to read instead.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from scute import Error, _core

RECORDED = (25.0, 50.0, 75.0, 90.0, 99.0, 99.9, 99.99, 99.999)

_KEY = re.compile(r"^p(\d+(?:[._]\d+)?)$", re.IGNORECASE)


def key_of(percentile: float) -> str:
    """ "p99.9"; "p99.0" of a whole number."""
    return f"p{float(percentile)!r}"


def percentiles_of(stats: Mapping[str, Any]) -> dict[float, float]:
    """Percentile → value, from "percentiles" and from keys beside it; p99, p99.0 and P99_0 are one.

    Error when two of them disagree.
    """
    out: dict[float, float] = {}
    nested = stats.get("percentiles") or {}
    for key, value in [*nested.items(), *stats.items()]:
        found = _KEY.match(str(key))
        if found is None:
            continue
        percentile, number = float(found[1].replace("_", ".")), float(value)
        if out.setdefault(percentile, number) != number:
            raise Error(f"{key}: expected one value, found {out[percentile]} and {number}")
    return out


def _needed(stats: Mapping[str, Any]) -> dict[float, float]:
    table = percentiles_of(stats)
    for percentile in RECORDED:
        if percentile not in table or not math.isfinite(table[percentile]):
            raise Error(
                f"Missing percentile {key_of(percentile)} in stats: the bucket saw nothing, or a "
                "tool that did not record it; collect again"
            )
    return table


def select_best_percentile(stats: Mapping[str, Any]) -> float:
    """99.0, 99.9, 99.99 or 99.999, by how far the upper tail reaches beyond the bulk."""
    table = _needed(stats)
    return _core.tail_rule(*(table[p] for p in RECORDED))[0]


def decide_percentile(stats: Mapping[str, Any], override: float | None = None) -> float:
    """`override` as it is, else what the rules pick."""
    return float(override) if override is not None else select_best_percentile(stats)


def compute_clip_range(
    stats: Mapping[str, Any], percentile: float, symmetric: bool = True
) -> tuple[float, float]:
    """(lo, hi) that keep so many percent: ± |P|; symmetric=False: the lower side keeps its minimum.

    Keys are compared as numbers, so that 99 finds p99.0. Error when it was not recorded.
    """
    table = percentiles_of(stats)
    if float(percentile) not in table:
        raise Error(
            f"compute_clip_range: percentile '{key_of(percentile)}' not found in stats; expected "
            f"{', '.join(key_of(p) for p in sorted(table)) or 'none'}"
        )
    most = abs(table[float(percentile)])
    if symmetric:
        return -most, most
    lowest = stats.get("min")
    return (-most if lowest is None else max(float(lowest), -most)), most
