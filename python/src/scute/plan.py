"""Plans: site → range, bits and the reason, as JSON that may be edited by hand."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from scute import _core
from scute.display import plan_html
from scute.statistics import Statistics

if TYPE_CHECKING:
    import torch
    from matplotlib.axes import Axes

Entry = Mapping[str, Any]


class Plan(MutableMapping[str, Entry]):
    """Site → what was decided there, in the order that people count (layer_2 before layer_10).

    An entry is a read-only mapping: percentile, lo, hi (the range kept), policy, bits, symmetric,
    scale, zero_point, coverage, clipped, sqnr_db, range_before, range_reduction, because, and
    headroom and remark where there are some. Assign one to change it: `lo` and `hi` suffice,
    `{**plan[site], "hi": 3.0}` keeps the rest; scale and zero_point follow from the range.
    Error naming site and key on what makes no sense, and the plan is as it was.
    """

    def __init__(self, entries: Mapping[str, Entry] | None = None) -> None:
        self._plan = _core.Plan()
        for site, entry in (entries or {}).items():
            self[site] = entry

    @classmethod
    def _of(cls, core: _core.Plan) -> Plan:
        out = cls.__new__(cls)
        out._plan = core
        return out

    @classmethod
    def from_json(cls, text: str, where: str = "plan") -> Plan:
        """Reads what to_json() and `scute decide` write; entries of lo and hi alone, too."""
        return cls._of(_core.Plan.from_json(text, where))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Plan:
        """Reads a plan file (.json). OSError when it cannot be read, Error naming site and key."""
        file = Path(path)
        return cls.from_json(file.read_text(encoding="utf-8"), str(file))

    def to_json(self, indent: int | None = 1) -> str:
        """The text of a plan file; None: on one line."""
        return self._plan.to_json(-1 if indent is None else indent)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the file that `scute quantize --plan` takes; atomic."""
        self._plan.save(os.fspath(path))

    @property
    def meta(self) -> dict[str, Any]:
        """What the plan was decided from and how; a copy: assign to change it."""
        return self._plan.meta or {}

    @meta.setter
    def meta(self, value: dict[str, Any] | None) -> None:
        self._plan.meta = value or None

    def explain(self, site: str) -> str:
        """Why `site` has its range: policy, range, bits, what is lost, in a few lines."""
        return explain(site, self[site])

    def edit(self, *edits: str) -> list[dict[str, Any]]:
        """Changes ranges as `scute scales` does and says what each edit did to each site.

        "GLOB=1.5" makes the range ±1.5, "GLOB=-1:1.5" these ends, "GLOB*=1.5" multiplies it,
        "GLOB+=0.5" widens both sides; a blank before the operator keeps a glob's own * apart.
        Error, and nothing changed, when a glob matches no site or a range would make no sense.
        """
        return self._plan.edit(list(edits))

    def undo(self, count: int | None = 1) -> list[dict[str, Any]]:
        """Takes the latest edits back (None: all); Error when there are fewer."""
        return self._plan.undo(_core.EVERY_EDIT if count is None else count)

    def fake_quantize(self, model: torch.nn.Module, **options: Any) -> AbstractContextManager[Any]:
        """Rounds the plan's tensors of a torch module within `with`: scute.fake_quantize."""
        from scute.fake_quantize import fake_quantize

        return fake_quantize(self, model, **options)

    def plot(self, sites: str | Iterable[str] | None = None, *, ax: Axes | None = None) -> Axes:
        """Draws the largest magnitude seen and kept at each site: scute.plot.plan. matplotlib."""
        from scute.plot import plan

        return plan(self, sites, ax=ax)

    def copy(self) -> Plan:
        """A copy that shares nothing."""
        return self._of(self._plan.copy())

    def __getitem__(self, site: str) -> Entry:
        found = self._plan.entry(site) if isinstance(site, str) else None
        if found is None:
            raise KeyError(site)
        return MappingProxyType(found)

    def __setitem__(self, site: str, entry: Entry) -> None:
        self._plan.set(site, dict(entry))

    def __delitem__(self, site: str) -> None:
        if not (isinstance(site, str) and self._plan.remove(site)):
            raise KeyError(site)

    def __iter__(self) -> Iterator[str]:
        return iter(self._plan.names())

    def __len__(self) -> int:
        return len(self._plan.names())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and self.to_json(None) == other.to_json(None)

    __hash__ = None  # type: ignore[assignment]

    def __copy__(self) -> Plan:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> Plan:
        return self.copy()

    def __getstate__(self) -> str:
        return self.to_json(None)

    def __setstate__(self, state: str) -> None:
        self._plan = _core.Plan.from_json(state, "pickle")

    def __repr__(self) -> str:
        return f"Plan({len(self)} sites)"

    def _repr_html_(self) -> str:
        return plan_html(self)


def explain(site: str, entry: Entry) -> str:
    """The lines of Plan.explain."""
    low, high = entry["range_before"]
    reduced = entry["range_reduction"]
    change = f"{'widened' if reduced < 0 else 'reduced'} by {abs(100 * reduced):.1f} %"
    zero = "" if entry["symmetric"] else f", zero point {entry['zero_point']}"
    lines = [
        f"site       {site}",
        f"policy     {entry['policy'] or 'none recorded'}",
        f"range      {entry['lo']:.4g} .. {entry['hi']:.4g}, "
        f"seen {low:.4g} .. {high:.4g}: {change}",
        f"grid       {entry['bits']} bits, scale {entry['scale']:.6g}{zero}",
    ]
    if entry["clipped"] is not None:
        lines.append(f"clipped    {100 * entry['clipped']:.4g} % of the values")
    if "sqnr_db" in entry:
        sqnr = entry["sqnr_db"]
        lines.append(f"SQNR       {'no error at all' if sqnr is None else f'{sqnr:.1f} dB'}")
    if entry["because"]:
        lines.append(f"because    {entry['because']}")
    if entry.get("remark"):
        lines.append(f"remark     {entry['remark']}")
    return "\n".join(lines)


def decide(
    stats: Statistics,
    policy: str | None = None,
    *,
    bits: int = 8,
    symmetric: bool = True,
    per_site: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    alpha: float | None = None,
    percentile_override: float | None = None,
    headroom: float | None = None,
    per_side: bool = False,
    allow_nonfinite: bool = False,
) -> Plan:
    """Turns statistics into ranges and scales, without the model, as `scute decide` does.

    policy: "auto", "minmax", "percentile" (or "percentile:0.999"), "tail", "mse", "entropy",
    "quamba"; None: as the program decides: auto, of buckets tail, of a regressor minmax.
    bits: 2 … 16. per_site: glob → policy, the last match counts. alpha: share kept by percentile
    and quamba, (0, 1] or a percentile 50 … 100. percentile_override: of tail, 50 … 100.
    headroom: factor on every range (1; of a regressor 1.25). per_side: asymmetric percentiles cut
    their share on each side. allow_nonfinite: sites with NaN or Inf by their finite values.

    Error naming every site that cannot be decided, a glob that matches none, an unknown policy.
    """
    pairs = list(per_site.items() if isinstance(per_site, Mapping) else per_site)
    return Plan._of(
        _core.decide(
            stats._set,
            policy,
            bits,
            symmetric,
            pairs,
            alpha,
            percentile_override,
            headroom,
            per_side,
            allow_nonfinite,
        )
    )
