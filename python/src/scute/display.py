"""What a notebook shows of statistics and plans: tables as HTML, a histogram as a small picture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scute import Histogram, Plan, Statistic, Statistics

# Models have hundreds of sites; a page with more rows is read by nobody.
_MOST_ROWS = 100
_BARS, _WIDTH, _HEIGHT = 80, 320, 72  # of the small picture, in pixels


def rebinned(
    counted: Histogram | Statistic, bins: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(edges, counts) of `bins` equal bins from min to max, which must be finite.

    A bucket that lies in two bins counts in both by its parts, so counts are no whole numbers.
    """
    edges, counts = counted.to_numpy()
    lo, hi = counted.min, counted.max
    if lo == hi:
        lo, hi = lo - max(abs(lo), 1) / 2, hi + max(abs(hi), 1) / 2
    wide = np.linspace(lo, hi, bins + 1)
    below = np.interp(wide, edges, np.concatenate([[0], np.cumsum(counts)]))
    # A bucket reaches beyond the value in it: all of the outermost ones lie within.
    below[0], below[-1] = 0, counts.sum()
    return wide, np.diff(below)


def any_finite(counted: Histogram | Statistic) -> bool:
    """Whether there is something to show."""
    return counted.count > counted.nans + counted.infs


def number(value: float | None) -> str:
    """Four digits; a dash for what is not there."""
    return "–" if value is None or math.isnan(value) else f"{value:.4g}"


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], left_out: int = 0) -> str:
    """An HTML table; every cell is escaped. left_out: rows that are not among them."""
    cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = [f"<table><thead><tr>{cells}</tr></thead><tbody>"]
    for row in rows:
        lines.append("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>")
    lines.append("</tbody></table>")
    if left_out:
        lines.append(f"<p>… and {left_out} more</p>")
    return "".join(lines)


def _picture(counted: Histogram | Statistic) -> str:
    """Bars of equal width from min to max, as high as the logarithm of their count."""
    _, counts = rebinned(counted, _BARS)
    heights = np.log1p(counts)
    heights *= (_HEIGHT - 2) / heights.max()
    wide = _WIDTH / _BARS
    bars = "".join(
        f'<rect x="{i * wide:g}" y="{_HEIGHT - height:.1f}" width="{wide - 1:g}" '
        f'height="{height:.1f}"/>'
        for i, height in enumerate(heights)
        if height > 0
    )
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img" fill="currentColor" '
        f'fill-opacity="0.6"><title>log of the counts from min to max</title>{bars}</svg>'
    )


def counted_html(counted: Histogram | Statistic) -> str:
    """A Histogram or a Statistic: what was counted, a few quantiles, a picture."""
    head = ["values", "zeros", "NaN", "Inf", "min", "max"]
    row = [counted.count, counted.zeros, counted.nans, counted.infs]
    row += [number(counted.min), number(counted.max)]
    if not any_finite(counted):
        return f"<p>{escape(repr(counted))}</p>" + table(head, [row])
    for share in (0.5, 0.99, 0.9999):
        head.append(f"{100 * share:g} % of |x|")
        row.append(number(counted.magnitude_quantile(share)))
    return f"<p>{escape(repr(counted))}</p>" + _picture(counted) + table(head, [row])


def statistics_html(stats: Statistics) -> str:
    """A row a site: how many values, their range, what most of them need."""
    head = ["site", "values", "min", "max", "99.9 % of |x|", "largest / 99.9 %", "NaN, Inf"]
    rows = []
    for site in list(stats)[:_MOST_ROWS]:
        counted = stats[site]
        most = counted.magnitude_quantile(0.999) if any_finite(counted) else math.nan
        ratio = max(-counted.min, counted.max) / most if most > 0 else math.nan
        odd = counted.nans + counted.infs
        numbers = [number(value) for value in (counted.min, counted.max, most, ratio)]
        rows.append([site, counted.count, *numbers, odd or ""])
    return f"<p>{escape(repr(stats))}</p>" + table(head, rows, len(stats) - len(rows))


def plan_html(plan: Plan) -> str:
    """A row a site: the range seen and kept, its bits, what it loses, why."""
    head = ["site", "policy", "bits", "seen", "kept", "clipped", "SQNR, dB", "because"]
    rows = [_plan_row(site, plan[site]) for site in list(plan)[:_MOST_ROWS]]
    return f"<p>{escape(repr(plan))}</p>" + table(head, rows, len(plan) - len(rows))


def _plan_row(site: str, entry: Mapping[str, Any]) -> list[Any]:
    low, high = entry["range_before"]
    clipped = entry["clipped"]
    sqnr = entry.get("sqnr_db", math.nan)
    return [
        site,
        entry["policy"] or "–",
        entry["bits"],
        f"{number(low)} … {number(high)}",
        f"{number(entry['lo'])} … {number(entry['hi'])}",
        "–" if clipped is None else f"{100 * clipped:.3g} %",
        "∞" if sqnr is None else number(sqnr),
        entry["because"],
    ]
