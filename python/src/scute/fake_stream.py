"""The residual stream beside a torch model, as a low-bit model holds it."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch

from scute.formulas import rms
from scute.hadamard import rotated
from scute.hooks import attach, tensors
from scute.mixers import Mixer
from scute.sites import Sites

# The model's sum and the one kept here have the same addends in the same order, so that only
# roundings to float32 can part them. Each addition errs by at most 2^-24 of the partial sum it
# gives, channel by channel (Wilkinson's running error); two sums differ by twice that over all
# partial sums.
_SUM = 2.0**-23
# Behind them the norm, within 64 units of each channel's own last place: its factor, of squares
# summed in any order, and the products with factor and weight. D squares summed in D / 8 steps err
# by √(D / 8) units or so, 25 for 5120 channels; models of 256 to 2560 came to 3 units.
_NORM = 64 * 2.0**-23


class Stream:
    """Embedding plus the mixers' outputs, summed in the program's order, and rotated as there.

    Of models that are mixers alone: torch's own sum, rotated back and forth, is the same number
    with other last bits, and a value on the edge of two codes then falls to either side. Where the
    model computes something else between its mixers, in whichever channel, its own sum counts: from
    there on what the model computed is right, if not the program's to the last bit.
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
            given = x.clone()  # the model may write into its own
            kept = rotated(x) if self._turned else given
            self._now.sums = _Sums(kept, given, torch.zeros_like(x))

        for module, kind, site in found.modules:
            if (kind, site) == ("output", "embedding:output"):
                stack.callback(attach(module, None, begin).remove)

    def read(self, mixer: Mixer, u: torch.Tensor) -> torch.Tensor | None:
        """What this mixer's matrix reads: with the norm's weight, or rotated without."""
        now: _Sums | None = getattr(self._now, "sums", None)
        self._now.sums = None
        if now is None or mixer.norm is None or now.given.shape != u.shape:
            return None
        weight = mixer.norm.detach().float()
        known = rms(now.given, mixer.eps) * weight
        factor = torch.rsqrt(now.given.pow(2).mean(-1, keepdim=True) + mixer.eps)
        allowed = _SUM * now.partial * factor * weight.abs() + _NORM * known.abs()
        if not bool(((known - u).abs() <= allowed).all()):
            return None
        self._now.sums = now
        return rms(now.kept, mixer.eps) if self._turned else known

    def add(self, kept: torch.Tensor, given: torch.Tensor) -> None:
        """A mixer's output: rotated where the stream is, and as the model gets it."""
        now: _Sums | None = getattr(self._now, "sums", None)
        if now is not None:
            total = now.given + given
            turned = now.kept + kept if self._turned else total
            self._now.sums = _Sums(turned, total, now.partial + total.abs())


@dataclass(frozen=True)
class _Sums:
    """kept: in the program's basis. given: in the model's. partial: given's magnitudes so far."""

    kept: torch.Tensor
    given: torch.Tensor
    partial: torch.Tensor
