"""What an observation counts into, and the counting of a tensor wherever it is."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable

import torch

from scute import Error, Statistic, Statistics
from scute.devices import Counts, as_floats, count
from scute.hooks import Attached, forget_compiled


class Seen:
    """One observation. As a context manager it hooks on entry and always unhooks on exit.

    statistics: what was seen so far, also after the block and during it.
    """

    def __init__(self, statistics: Statistics, where: str) -> None:
        if where not in ("auto", "device"):
            raise Error(f"where: expected 'auto' or 'device', found {where!r}")
        self.statistics = statistics
        self.sites: list[str] = []
        self._where = where
        self._hooks: list[Attached] = []
        self._attach: list[Callable[[], Attached]] = []
        self._sources: dict[str, bool] = {}  # module path: whether it was called
        self._adding = threading.Lock()
        self._model: torch.nn.Module | None = None

    def __enter__(self) -> Seen:
        if self._hooks:
            raise Error("observe: expected one block at a time, found one inside itself")
        try:
            for attach_one in self._attach:
                self._hooks.append(attach_one())
        except BaseException:
            self.remove()
            raise
        if self._model is not None:
            forget_compiled(self._model)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.remove()
        silent = self.silent()
        if kind is None and silent:
            warnings.warn(
                f"observe: {len(silent)} modules were never called, e.g. {', '.join(silent[:3])}: "
                "fused kernels read weights past their modules (use_fast_path=False, or "
                "names='sites')",
                stacklevel=2,
            )

    def remove(self) -> None:
        """Takes the hooks away, the last first; nothing when there are none."""
        while self._hooks:
            self._hooks.pop().remove()
        if self._model is not None:
            forget_compiled(self._model)

    def silent(self) -> list[str]:
        """Paths of modules that were observed and never called."""
        return [path for path, called in self._sources.items() if not called]

    def add(self, site: str, x: torch.Tensor) -> None:
        """Counts one tensor as one sample of the site."""
        if x.numel() == 0:
            return
        x = x.detach()
        if self._where == "auto" and x.device.type == "cpu" and x.layout == torch.strided:
            self.statistics.update(site, x.resolve_conj().resolve_neg())
            return
        self._add_counts(site, x.to_dense() if x.layout != torch.strided else x)

    def _add_counts(self, site: str, x: torch.Tensor) -> None:
        role = site.rpartition(".")[2]
        channels = self.statistics.per_channel or role in _CHANNEL_ROLES
        counts = count(x, self.statistics.fine, channels)
        made = statistic_of(counts, *_more_vectors(role, x))
        with self._adding:
            if site in self.statistics:
                self.statistics[site].merge(made)
            else:
                self.statistics[site] = made

    def called(self, path: str) -> None:
        """Notes that the module at this path was run."""
        self._sources[path] = True


# Where the program keeps magnitudes of channels too: around convolutions, which scale each alone.
_CHANNEL_ROLES = frozenset(
    ["conv1d:input"] + [f"{n}_conv_{side}:input" for n in "xBC" for side in ("in", "out")]
)


def _more_vectors(role: str, x: torch.Tensor) -> tuple[list[float], list[float]]:
    """channel_meanabs and element_absmax, where the site's name asks for them."""
    means: list[float] = []
    elements: list[float] = []
    if role == "x_conv_out:input":
        means = as_floats(x).abs().double().reshape(-1, x.shape[-1]).mean(0).float().tolist()
    if role.startswith("ssm_state_act"):
        elements = as_floats(x).abs().nan_to_num(nan=0, posinf=float("inf")).flatten().tolist()
    return means, elements


def statistic_of(
    counts: Counts, channel_meanabs: list[float] = (), element_absmax: list[float] = ()
) -> Statistic:
    """One sample that was counted elsewhere."""
    channels = [] if counts.channel_absmax is None else counts.channel_absmax.tolist()
    return Statistic.from_counts(
        counts.bins,
        counts.counts,
        fine=counts.fine,
        min=counts.min,
        max=counts.max,
        zeros=counts.zeros,
        nans=counts.nans,
        infs=counts.infs,
        bits_or=counts.bits_or,
        samples=1,
        channel_absmax=channels,
        channel_meanabs=list(channel_meanabs),
        element_absmax=list(element_absmax),
    )
