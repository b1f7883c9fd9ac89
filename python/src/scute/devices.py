"""Counting where the tensor is, with that library's integer operations; counts alone cross over.

The same counts as the C++ recorder's, bit by bit: a float is viewed as an integer, its low bits are
shifted away and what is left is the bucket's id.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

# Scratch is about 40 bytes a value; counts of a piece fit any integer.
_PIECE = 1 << 24
_SIGN_OFF = 0x7FFFFFFF
_INFINITY = 0x7F800000
_LARGEST = 0x7F7FFFFF


@dataclass
class Counts:
    """What one tensor adds to a statistic, on the host.

    bins (K) uint32 ascending bucket ids, counts (K) int64 above 0; min and max of the finite values
    (0 without any), as floats; the rest are whole numbers.
    """

    fine: int
    bins: np.ndarray
    counts: np.ndarray
    count: int
    zeros: int
    nans: int
    infs: int
    min: float
    max: float
    bits_or: int
    channel_absmax: np.ndarray | None = None


def as_floats(x: torch.Tensor) -> torch.Tensor:
    """float32 without history: wider types rounded to nearest, narrower ones exact."""
    return x.detach().resolve_conj().resolve_neg().to(torch.float32)


def _or_of(bits: torch.Tensor) -> torch.Tensor:
    """All elements or'ed, by halves: torch has no such reduction."""
    while bits.numel() > 1:
        half = bits.numel() // 2
        folded = bits[:half] | bits[half : 2 * half]
        bits = torch.cat([folded, bits[2 * half :]])
    return bits


def _count_piece(bits: torch.Tensor, fine: int, into: torch.Tensor) -> torch.Tensor:
    """Adds to the table of counts; zeros, nans, infs, bits_or, keys of min and max: int64 (6)."""
    ids = (bits >> (23 - fine)) & ((1 << (9 + fine)) - 1)
    into += torch.bincount(ids, minlength=into.numel())
    magnitude = bits & _SIGN_OFF
    finite = magnitude < _INFINITY
    # Floats in the order of whole numbers: of negative ones all bits but the sign are turned.
    keys = bits ^ ((bits >> 31) & _SIGN_OFF)
    return torch.stack(
        [
            (magnitude == 0).sum(),
            (magnitude > _INFINITY).sum(),
            (magnitude == _INFINITY).sum(),
            _or_of(bits)[0].to(torch.int64) & 0xFFFFFFFF,
            keys.masked_fill(~finite, _LARGEST).min().to(torch.int64),
            keys.masked_fill(~finite, ~_LARGEST).max().to(torch.int64),
        ]
    )


def _float_of(key: int) -> float:
    bits = key if key >= 0 else key ^ _SIGN_OFF
    # Adding 0 makes +0 of -0: the result must not depend on their order.
    return float(np.array([bits], dtype=np.int32).view(np.float32)[0] + np.float32(0))


@torch.no_grad()
def count(x: torch.Tensor, fine: int, per_channel: bool = False) -> Counts:
    """Counts x, any shape and strides, any type of float, at least one value, on its device."""
    bits = as_floats(x).contiguous().reshape(-1).view(torch.int32)
    table = torch.zeros(1 << (9 + fine), dtype=torch.int64, device=bits.device)
    found = torch.stack([_count_piece(piece, fine, table) for piece in bits.split(_PIECE)])
    bins = table.nonzero().reshape(-1)
    counts = table[bins]
    zeros, nans, infs = found[:, :3].sum(0).tolist()
    finite = bits.numel() - nans - infs
    channels = None
    if per_channel:
        rows = as_floats(x).abs().reshape(-1, x.shape[-1] if x.dim() > 0 else 1)
        channels = rows.nan_to_num(nan=0, posinf=float("inf")).amax(0).cpu().numpy()
    return Counts(
        fine=fine,
        bins=bins.to("cpu", torch.int64).numpy().astype(np.uint32),
        counts=counts.cpu().numpy(),
        count=bits.numel(),
        zeros=zeros,
        nans=nans,
        infs=infs,
        min=_float_of(int(found[:, 4].min())) if finite else 0.0,
        max=_float_of(int(found[:, 5].max())) if finite else 0.0,
        bits_or=int(np.bitwise_or.reduce(found[:, 3].cpu().numpy())),
        channel_absmax=channels,
    )
