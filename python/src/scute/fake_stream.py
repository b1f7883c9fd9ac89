"""The residual stream beside a torch model, as a low-bit model holds it."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import Any

import torch

from scute.formulas import rms
from scute.hadamard import rotated
from scute.hooks import attach, tensors
from scute.mixers import Mixer
from scute.sites import Sites

# What the model hands to a mixer differs from this stream by roundings of floats alone.
_SAME = 1e-3


class Stream:
    """Embedding plus the mixers' outputs, summed in the program's order, and rotated as there.

    Of models that are mixers alone: torch's own sum, rotated back and forth, is the same number
    with other last bits, and a value on the edge of two codes then falls to either side. Where the
    model computes something else between its mixers, its own sum counts.
    """

    def __init__(self, turned: bool) -> None:
        self._turned = turned
        self._now = threading.local()

    def attach(self, stack: ExitStack, found: Sites) -> None:
        """Begins anew with each output of the embedding."""
        parts = found.parts
        if parts.products or parts.experts or parts.hybrids:
            return

        def begin(_: torch.nn.Module, output: Any) -> None:
            x = next(tensors(output))[1].detach().float()
            x = x * found.embedding_factor if found.embedding_factor != 1 else x
            self._now.sum = rotated(x) if self._turned else x.clone()

        for module, kind, site in found.modules:
            if (kind, site) == ("output", "embedding:output"):
                stack.callback(attach(module, None, begin).remove)

    def read(self, mixer: Mixer, u: torch.Tensor) -> torch.Tensor | None:
        """What this mixer's matrix reads: with the norm's weight, or rotated without."""
        now = getattr(self._now, "sum", None)
        self._now.sum = None
        if now is None or mixer.norm is None or now.shape != u.shape:
            return None
        plain = rms(now, mixer.eps)
        weight = mixer.norm.detach().float()
        known = (rotated(plain, inverse=True) if self._turned else plain) * weight
        if not float((known - u).abs().max()) <= _SAME * float(u.abs().max()):
            return None
        self._now.sum = now
        return plain if self._turned else known

    def add(self, y: torch.Tensor) -> None:
        """A mixer's output, rotated where the stream is."""
        if getattr(self._now, "sum", None) is not None:
            self._now.sum = self._now.sum + y
