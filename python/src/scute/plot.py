"""Pictures of statistics and plans with matplotlib, which is imported when one is asked for."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from scute._core import Error
from scute.display import any_finite, rebinned
from scute.patterns import choose

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from scute import Histogram, Plan, Statistic

_BINS = 200
_SEEN, _KEPT = "0.7", "tab:blue"


def _axes(ax: Axes | None, **figure: Any) -> Axes:
    """`ax`, or that of a new figure."""
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            "plot: expected matplotlib, found none: pip install 'scute[plot]', or apt-get install "
            "python3-matplotlib"
        ) from error
    return pyplot.subplots(layout="constrained", **figure)[1]


def histogram(
    counted: Histogram | Statistic,
    *,
    title: str = "",
    keep: tuple[float, float] | None = None,
    bins: int = _BINS,
    ax: Axes | None = None,
) -> Axes:
    """How many values lie where, min to max in `bins` equal parts, counts on a log scale.

    keep: (lo, hi), the range of a plan, is marked and what it clips is set apart. Without it the
    ends of 99.9 % of the magnitudes are marked. ax: draws there, not in a new figure. Returns the
    Axes. Error when no finite value was counted, ImportError without matplotlib.
    """
    where = title or "plot"
    if bins < 1:
        raise Error(f"{where}: expected at least 1 bin, found {bins}")
    if not any_finite(counted):
        raise Error(f"{where}: expected finite values, found none of {counted.count}")
    ax = _axes(ax, figsize=(7, 3.5))
    edges, counts = rebinned(counted, bins)
    ax.stairs(counts, edges, fill=True, color=_SEEN if keep else _KEPT, label="values seen")
    if keep is None:
        most = float(counted.magnitude_quantile(0.999))
        for end in (-most, most):
            if counted.min <= end <= counted.max:
                ax.axvline(end, color="tab:orange", ls="--", label="99.9 % of |x|")
    else:
        ax.axvspan(*keep, color=_KEPT, alpha=0.15, label="kept")
        for end in keep:
            ax.axvline(end, color=_KEPT, lw=1)
    ax.set_yscale("log")
    ax.set_ylim(0.5, 2 * max(counts.max(), 1))
    ax.set(xlabel="value", ylabel=f"count, of {counted.count:,}", title=title)
    handles = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    ax.legend(handles.values(), handles.keys())
    return ax


def plan(
    decided: Plan,
    sites: str | Iterable[str] | None = None,
    *,
    ax: Axes | None = None,
) -> Axes:
    """A row a site: the largest magnitude seen (grey) and kept (colour: the policy), a log scale.

    sites: names, globs or "re:…"; None: all. ax: draws there, not in a new figure. Returns the
    Axes. Error on a pattern that matches nothing and a plan without sites, ImportError without
    matplotlib.
    """
    names = choose({site: (site,) for site in decided}, sites, None)
    if not names:
        raise Error("plot: expected a plan with sites, found none")
    entries = [decided[site] for site in names]
    # A site of zeros has no place on the scale; its row stays empty.
    seen = [max(map(abs, entry["range_before"])) or math.nan for entry in entries]
    kept = [max(abs(entry["lo"]), abs(entry["hi"])) or math.nan for entry in entries]
    policies = [entry["policy"] or "by hand" for entry in entries]
    ax = _axes(ax, figsize=(8, 1.2 + 0.17 * len(names)))
    rows = range(len(names))
    ax.hlines(rows, kept, seen, color=_SEEN, lw=2)
    ax.plot(seen, rows, "|", color="0.4", ms=7, label="seen")
    for number, policy in enumerate(dict.fromkeys(policies)):
        mine = [row for row in rows if policies[row] == policy]
        color = f"C{number % 10}"
        ax.plot([kept[row] for row in mine], mine, "o", ms=4, color=color, label=f"kept: {policy}")
    ax.set_xscale("log")
    ax.set_yticks(rows, names, fontsize=7)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="x", alpha=0.3)
    ax.set_xlabel("largest magnitude")
    ax.legend(fontsize=8)
    return ax
