"""Grids of activations and rounded weights in torch, by scute's formulas and its own rounding."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from scute import Error, _core

_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Grid:
    """Codes lowest … highest stand for scale * (code - zero); scale may be one per channel."""

    scale: torch.Tensor
    zero: int
    lowest: int
    highest: int

    @staticmethod
    def of(
        lo: float, hi: float, bits: int = 8, symmetric: bool = True, where: str = "grid"
    ) -> Grid:
        """The grid that keeps lo … hi, as scute's: widened to hold 0, a range of 0 gets 1e-6.

        Error naming `where` when bits are not 2 to 16, lo > hi or either is not finite.
        """
        if not (isinstance(bits, int) and 2 <= bits <= 16):
            raise Error(f"{where}: expected 2 … 16 bits, found {bits}")
        if not (math.isfinite(lo) and math.isfinite(hi) and lo <= hi):
            raise Error(f"{where}: expected finite lo at most hi, found {lo} … {hi}")
        lowest, highest = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        lo, hi = min(lo, 0.0), max(hi, 0.0)
        width = max(-lo, hi) if symmetric else hi - lo
        steps = highest if symmetric else highest - lowest
        scale = np.float32(width / steps) if width > 0 else np.float32(1e-6 / highest)
        scale = max(scale, np.float32(_TINY))
        zero = (
            0 if symmetric else int(np.clip(lowest - np.rint(lo / float(scale)), lowest, highest))
        )
        return Grid(torch.tensor([scale], dtype=torch.float32), zero, lowest, highest)

    def codes(self, x: torch.Tensor) -> torch.Tensor:
        """code - zero of each value, in float32; NaN becomes 0."""
        codes = torch.round(x.float() / self.scale.to(x.device))
        return codes.clamp(self.lowest - self.zero, self.highest - self.zero).nan_to_num(nan=0)

    def round(self, x: torch.Tensor) -> torch.Tensor:
        """In float32, given back in x's own type; NaN becomes 0."""
        return (self.codes(x) * self.scale.to(x.device)).to(x.dtype)


def channel_grid(absmax: torch.Tensor) -> Grid:
    """8 bits, symmetric, one scale for each channel."""
    scale = (absmax.double() / 127).float().clamp_min(_TINY)
    return Grid(torch.where(absmax > 0, scale, torch.full_like(scale, 1e-6 / 127)), 0, -128, 127)


@dataclass(frozen=True)
class WeightForm:
    """How weights are rounded: w_bits 4, 8 or 16 (floats) beside activations of a_bits, 8 or 16.

    per_tensor: of 8 bits one scale a matrix. group: inputs that share a 4-bit scale.
    """

    w_bits: int = 8
    a_bits: int = 8
    per_tensor: bool = False
    group: int = 128

    def check(self) -> None:
        """Error naming what is not offered."""
        if self.w_bits not in (4, 8, 16):
            raise Error(f"w_bits: expected 4, 8 or 16, found {self.w_bits}")
        if self.a_bits not in (8, 16):
            raise Error(f"a_bits: expected 8 or 16, found {self.a_bits}")
        if self.per_tensor and self.w_bits == 4:
            raise Error("per_tensor: expected w_bits=8, found 4")

    @property
    def integer(self) -> bool:
        """Whether products are sums of whole numbers: codes of inputs times codes of weights."""
        return self.a_bits == 8 and self.w_bits != 16

    def codes(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Codes as float32, outputs x inputs, and the scale of each output, where `integer`."""
        rows = weight.detach().float().cpu().numpy()
        codes, scales = _core.weight_codes(rows, self.w_bits, self.per_tensor, self.group)
        codes, scales = torch.from_numpy(codes), torch.from_numpy(scales).flatten()
        return codes.float().to(weight.device), scales.expand(len(rows)).to(weight.device)

    def rounded(self, weight: torch.Tensor) -> torch.Tensor:
        """As scute quantize rounds it to nearest, outputs first; of 4 bits beside 8 two levels."""
        if self.w_bits == 16:
            return weight
        rows = weight.detach().float().flatten(1).cpu().numpy()
        two_level = self.w_bits == 4 and self.a_bits == 8
        found = _core.rounded_weight(rows, self.w_bits, self.per_tensor, self.group, two_level)
        out = torch.from_numpy(found).reshape(weight.shape)
        return out.to(weight.device, weight.dtype)

    def small(self) -> WeightForm:
        """Of convolutions and dt_proj: 8 bits beside 8-bit activations, else floats."""
        bits = 16 if self.a_bits == 16 or self.w_bits == 16 else 8
        return WeightForm(bits, self.a_bits, self.per_tensor, self.group)


def grid_of(entry: Mapping[str, Any], site: str) -> Grid:
    try:
        lo, hi = float(entry["lo"]), float(entry["hi"])
    except (KeyError, TypeError, ValueError):
        raise Error(f"{site}: expected numbers lo and hi, found {dict(entry)}") from None
    return Grid.of(
        lo,
        hi,
        int(entry.get("bits") or 8),
        bool(entry.get("symmetric", True)),
        site,
    )
