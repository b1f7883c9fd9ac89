"""The orthonormal Hadamard transforms by which scute rotates: (1/√n) · H_K ⊗ H_2^m."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from scute import _core, formulas

_FACTORS = (12, 40, 28, 20, 1)


def factor_of(width: int) -> int | None:
    """K of width = K · 2^m, K one of 1, 12, 20, 28, 40; None where there is no such transform."""
    for factor in _FACTORS:
        power = width // factor
        if width % factor == 0 and power > 0 and power & (power - 1) == 0:
            return factor
    return None


def _character(q: int) -> np.ndarray:
    """1 for the squares modulo the prime q, -1 for the others, 0 for 0."""
    chi = -np.ones(q)
    chi[[i * i % q for i in range(q)]] = 1
    chi[0] = 0
    return chi


def _paley_one(q: int) -> np.ndarray:
    """Order q + 1, q = 3 modulo 4."""
    chi, out = _character(q), np.ones((q + 1, q + 1))
    for i in range(q + 1):
        for j in range(1, q + 1):
            if i != j:
                out[i, j] = -1 if i == 0 else -chi[(j - i) % q]
    return out


def _paley_two(q: int) -> np.ndarray:
    """Order 2 (q + 1), q = 1 modulo 4: the conference matrix with blocks for its entries."""
    chi, conference = _character(q), np.ones((q + 1, q + 1))
    conference[0, 0] = 0
    for i in range(1, q + 1):
        for j in range(1, q + 1):
            conference[i, j] = chi[(j - i) % q]
    outer = np.kron(conference, [[1, 1], [1, -1]])
    return outer + np.kron(np.eye(q + 1), [[1, -1], [-1, -1]])


def _signs(factor: int) -> np.ndarray:
    if factor == 12:
        return _paley_two(5)
    if factor == 28:
        return _paley_two(13)
    if factor == 20:
        return _paley_one(19)
    return np.kron([[1, 1], [1, -1]], _paley_one(19)) if factor == 40 else np.ones((1, 1))


@lru_cache(maxsize=16)
def _parts(width: int) -> tuple[np.ndarray, np.ndarray]:
    factor = factor_of(width)
    assert factor is not None, width
    inner = np.ones((1, 1))
    while len(inner) < width // factor:
        inner = np.block([[inner, inner], [inner, -inner]])
    return _signs(factor) / np.sqrt(factor), inner / np.sqrt(len(inner))


def rotated(x: torch.Tensor, inverse: bool = False) -> torch.Tensor:
    """H · x along the last dimension, or its transpose; float32 or float64, factor_of() known."""
    if formulas.on_processor(x):
        rows = x.detach().contiguous().numpy()
        return torch.from_numpy(_core.hadamard(rows, inverse)).reshape(x.shape)
    outer, inner = (torch.as_tensor(p, dtype=x.dtype, device=x.device) for p in _parts(x.shape[-1]))
    if inverse:
        outer = outer.T
    parts = x.reshape(*x.shape[:-1], outer.shape[0], inner.shape[0])
    return torch.matmul(outer, torch.matmul(parts, inner)).reshape(x.shape)


def unrotated(x: torch.Tensor, norm: torch.Tensor) -> torch.Tensor:
    """x without its norm's weight; channels whose weight is 0 stay 0."""
    return torch.where(norm != 0, x / norm, torch.zeros_like(x))


def shown_rotated(x: torch.Tensor, norm: torch.Tensor | None) -> torch.Tensor:
    """What a matrix whose norm is folded into it reads when the stream is rotated."""
    return rotated(x if norm is None else unrotated(x, norm))
