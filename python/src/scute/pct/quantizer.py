"""Quantizers that round in floats, with clip ranges from the percentile pipeline."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from scute import Error, Statistic
from scute.devices import as_floats, count
from scute.json_files import read_json
from scute.pct.config import normalize_stage
from scute.seen import statistic_of

_log = logging.getLogger("scute.pct")
# The narrowest scale: below the smallest normal float division does not work everywhere.
_TINY = float(torch.finfo(torch.float32).tiny)


class _HalfToEven(torch.autograd.Function):
    """Rounds; gradients pass as if it did not."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return torch.round(x)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient


class UniformAffineQuantizer(torch.nn.Module):
    """Rounds x to scale * (code - zero), 2 … 16 bits; scute's formulas.

    symmetric (or disable_zero_point): codes -2^(b-1) … 2^(b-1)-1, zero 0, scale
    max(|lo|, |hi|)/(2^(b-1)-1). Else codes 0 … 2^b-1, scale (hi-lo)/(2^b-1), lo and hi widened to
    hold 0. Ranges: of a weight its own, for each index of per_channel_axes; of an activation each
    call's (dynamic), until calibrated (observe(), then freeze()) or set_clip(). percent: share of
    observed values that a frozen range keeps. 16 bits: as it is.
    """

    def __init__(
        self,
        n_bits: int = 8,
        symmetric: bool = False,
        per_channel_axes: Sequence[int] = (),
        *,
        is_weight: bool = False,
        disable_zero_point: bool = False,
        percent: float = 1.0,
    ) -> None:
        super().__init__()
        if not 0 < percent <= 1:
            raise Error(f"percent: expected a share above 0 and at most 1, found {percent}")
        self.symmetric = symmetric or disable_zero_point
        self.per_channel_axes = tuple(per_channel_axes)
        self.is_weight = is_weight
        self.is_observing = False
        self.is_dynamic_quant = not is_weight
        self.enable = True
        self._percent = percent
        self._seen: Statistic | None = None
        self._clip_override: tuple[float, float] | None = None
        self._pct_bucket: str | None = None
        self.scale: torch.Tensor | None = None
        self.zero: torch.Tensor | None = None
        self.change_n_bits(n_bits)

    def change_n_bits(self, n_bits: int) -> None:
        """Forgets scales; a clip range stays and gives new ones."""
        if not (isinstance(n_bits, int) and 2 <= n_bits <= 16):
            raise Error(f"n_bits: expected 2 … 16, found {n_bits}")
        self.n_bits = n_bits
        half = 1 << (n_bits - 1)
        self.qmin, self.qmax = (-half, half - 1) if self.symmetric else (0, 2 * half - 1)
        self.scale = self.zero = None
        if self._clip_override is not None:
            self.recompute_params_from_clip()

    def set_clip(
        self,
        lo: float,
        hi: float,
        symmetric: bool | None = None,
        bucket: str | None = None,
    ) -> None:
        """From now on this range, ± max(|lo|, |hi|) when symmetric (None: as the quantizer is).

        bucket: tensors tagged for another bucket are not clamped to it. Error unless lo <= hi,
        both finite.
        """
        lo, hi = float(lo), float(hi)
        if not (lo <= hi and abs(lo) != float("inf") and abs(hi) != float("inf")):
            raise Error(f"clip range: expected finite lo at most hi, found {lo} … {hi}")
        if self.symmetric if symmetric is None else symmetric:
            hi = max(abs(lo), abs(hi))
            lo = -hi
        self._clip_override, self._pct_bucket = (lo, hi), bucket
        self.is_dynamic_quant = self.is_observing = False
        self.recompute_params_from_clip()

    def set_percentile_clip(
        self, lo: float, hi: float, symmetric: bool = True, bucket: str | None = None
    ) -> None:
        """set_clip() of a range that a percentile gave."""
        self.set_clip(lo, hi, symmetric, bucket)

    def recompute_params_from_clip(self) -> None:
        """Scale and zero from the clip range. RuntimeError when there is none."""
        if self._clip_override is None:
            raise RuntimeError("quantizer lacks a clip range: set_clip() or set_percentile_clip()")
        lo, hi = (torch.tensor(x, dtype=torch.float64) for x in self._clip_override)
        self.scale, self.zero = self._params(lo, hi)

    def observe(self, on: bool = True) -> None:
        """Starts (or stops) to count what passes, which is then not rounded."""
        self.is_observing = on
        if on:
            self._seen = None

    def freeze(self) -> None:
        """A fixed range from what was observed. RuntimeError when nothing was."""
        seen = self._seen
        if seen is None or seen.count == seen.nans + seen.infs:
            raise RuntimeError("quantizer lacks clip range statistics.")
        lo, hi = seen.min, seen.max
        if self._percent < 1:
            most = seen.magnitude_quantile(self._percent)
            lo, hi = max(lo, -most), min(hi, most)
        self.set_clip(lo, hi, None, self._pct_bucket)

    def _params(self, lo: torch.Tensor, hi: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        lo, hi = lo.double().clamp_max(0), hi.double().clamp_min(0)
        if self.symmetric:
            width, steps = torch.maximum(-lo, hi), self.qmax
        else:
            width, steps = hi - lo, self.qmax - self.qmin
        scale = torch.where(width > 0, width / steps, torch.full_like(width, 1e-6 / self.qmax))
        scale = scale.float().clamp_min(_TINY)
        if self.symmetric:
            return scale, torch.zeros_like(scale)
        return scale, (self.qmin - torch.round(lo / scale)).clamp(self.qmin, self.qmax).float()

    def _own_range(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        axes = tuple(a % max(x.dim(), 1) for a in self.per_channel_axes)
        rest = [a for a in range(x.dim()) if a not in axes]
        x = x.detach().float()
        return (x.amin(rest, keepdim=True), x.amax(rest, keepdim=True)) if rest else (x, x)

    def fake_quant(self, x: torch.Tensor) -> torch.Tensor:
        """Rounded half to even and saturated, by the present scale. RuntimeError without one."""
        if self.scale is None or self.zero is None:
            raise RuntimeError("quantizer lacks a scale: calibrate it or set a clip range")
        scale, zero = self.scale.to(x.device), self.zero.to(x.device)
        codes = _HalfToEven.apply(x.float() / scale) + zero
        return ((codes.clamp(self.qmin, self.qmax) - zero) * scale).to(x.dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x rounded; as it is at 16 bits, when off, and while it observes."""
        if self.n_bits >= 16 or not self.enable:
            return x
        if self.is_observing:
            found = statistic_of(count(as_floats(x), 8))
            self._seen = found if self._seen is None else self._seen + found
            return x
        # Of weights always: one that has changed since would saturate unnoticed.
        fresh = self.is_weight or self.is_dynamic_quant or self.scale is None
        if self._clip_override is None and fresh:
            self.scale, self.zero = self._params(*self._own_range(x))
        return self.fake_quant(x)

    def get_extra_state(self) -> dict[str, Any]:
        """In state_dict(): bits, the clip range and its bucket, scale and zero as they are now."""
        return {
            "n_bits": self.n_bits,
            "symmetric": self.symmetric,
            "clip": self._clip_override,
            "bucket": self._pct_bucket,
            "scale": self.scale,
            "zero": self.zero,
        }

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """What get_extra_state() gave. Error when it is of another kind of quantizer."""
        if (state["n_bits"], state["symmetric"]) != (self.n_bits, self.symmetric):
            raise Error(
                f"quantizer: expected the state of n_bits={self.n_bits}, "
                f"symmetric={self.symmetric}, found {state['n_bits']}, {state['symmetric']}"
            )
        self._clip_override, self._pct_bucket = state["clip"], state["bucket"]
        if self._clip_override is not None:
            self.is_dynamic_quant = self.is_observing = False
        self.scale, self.zero = state["scale"], state["zero"]

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        # Weights of a plain module have none: the quantizer stays as it is.
        if prefix + _STATE in state_dict:
            super()._load_from_state_dict(state_dict, prefix, *rest)

    def extra_repr(self) -> str:
        """What print(model) shows."""
        return f"n_bits={self.n_bits}, symmetric={self.symmetric}, clip={self._clip_override}"


_STATE = "_extra_state"


def _quantizers(given: Any) -> Iterator[UniformAffineQuantizer]:
    for one in given if isinstance(given, (list, tuple)) else [given]:
        if not hasattr(one, "set_percentile_clip"):
            raise TypeError(f"expected a quantizer or a list of them, found {type(one).__name__}")
        yield one


def apply_pct_overrides_to_quantizers(
    bucket_to_quant: Mapping[str, Any],
    overrides_json: str | os.PathLike[str],
    symmetric: bool = True,
) -> dict[str, tuple[float, float]]:
    """Gives each bucket's quantizers its range of the file; returns those ranges.

    bucket_to_quant: bucket → quantizer or list of them. The file: {bucket: {"percentile", "lo",
    "hi"}}, as pct.apply and scute decide write it. Who sets a range last wins. A bucket that the
    file lacks, and one that only the file has, are warnings. FileNotFoundError without the file,
    TypeError for what is no quantizer, Error for a file of another shape; then nothing was set.
    """
    if not os.path.exists(overrides_json):
        raise FileNotFoundError(f"override file not found: {os.fspath(overrides_json)}")
    ranges = _ranges(read_json(overrides_json), os.fspath(overrides_json))
    wanted = {normalize_stage(b): list(_quantizers(q)) for b, q in bucket_to_quant.items()}
    applied = {}
    for bucket, quantizers in wanted.items():
        if bucket not in ranges:
            _log.warning("pct overrides missing bucket: %s", bucket)
            continue
        for quantizer in quantizers:
            quantizer.set_percentile_clip(*ranges[bucket], symmetric=symmetric, bucket=bucket)
        applied[bucket] = ranges[bucket]
    unused = sorted(set(ranges) - set(wanted))
    if unused:
        _log.warning("pct overrides: unused buckets: %s", ", ".join(unused))
    return applied


def _ranges(table: Any, where: str) -> dict[str, tuple[float, float]]:
    out = {}
    for name, entry in table.items() if isinstance(table, dict) else ():
        if name == "meta":
            continue
        try:
            lo, hi = float(entry["lo"]), float(entry["hi"])
        except (KeyError, TypeError, ValueError):
            raise Error(f"{where}: {name}: expected numbers lo and hi, found {entry!r}") from None
        if not lo <= hi:
            raise Error(f"{where}: {name}: expected lo at most hi, found {lo} … {hi}")
        try:
            out[normalize_stage(name)] = (lo, hi)
        except Error:
            continue  # a site inside a bucket, of scute decide
    if not out:
        raise Error(f"{where}: expected buckets with lo and hi, found none")
    return out
