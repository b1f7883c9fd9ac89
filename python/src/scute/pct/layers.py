"""Linear and convolutions with quantizers of weight and input, which clamp tagged inputs first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from scute import Error
from scute.pct.config import normalize_stage
from scute.pct.quantizer import UniformAffineQuantizer


def tag(
    x: torch.Tensor,
    bucket: str,
    clip_range: tuple[float, float] | Mapping[str, float] | None = None,
) -> torch.Tensor:
    """Marks x as values of a bucket, with a clip range of its own or none. It gives x back.

    Attributes of a tensor do not survive any operation on it: mark what the layer itself is given.
    """
    x._pct_bucket = normalize_stage(bucket)
    if clip_range is not None:
        x._pct_clip_range = clip_range
    return x


def _range_for(x: torch.Tensor, quantizer: Any) -> tuple[float, float] | None:
    """The tensor's own range; else the quantizer's, unless the two are of different buckets."""
    own = getattr(x, "_pct_clip_range", None)
    if own is not None:
        lo, hi = (own["lo"], own["hi"]) if isinstance(own, Mapping) else own
        return float(lo), float(hi)
    clip = getattr(quantizer, "_clip_override", None)
    mine, theirs = getattr(x, "_pct_bucket", None), getattr(quantizer, "_pct_bucket", None)
    return clip if mine is None or theirs is None or mine == theirs else None


def clamp_tagged(x: torch.Tensor, quantizer: Any) -> torch.Tensor:
    """x within its range, if it has one; the new tensor has the marks of the old."""
    found = _range_for(x, quantizer)
    if found is None:
        return x
    out = x.clamp(*found)
    for name in ("_pct_bucket", "_pct_clip_range"):
        if hasattr(x, name):
            setattr(out, name, getattr(x, name))
    return out


class _Quantized:
    """What the three layers share; use_weight_quant and use_act_quant start off."""

    weight_quantizer: UniformAffineQuantizer
    act_quantizer: UniformAffineQuantizer

    def _add_quantizers(self, w_bits: int, a_bits: int, symmetric: bool) -> None:
        self.weight_quantizer = UniformAffineQuantizer(w_bits, True, (0,), is_weight=True)
        self.act_quantizer = UniformAffineQuantizer(a_bits, symmetric)
        self.use_weight_quant = self.use_act_quant = False

    def set_quant_state(self, weight_quant: bool = False, act_quant: bool = False) -> None:
        """Which of the two is rounded."""
        self.use_weight_quant, self.use_act_quant = weight_quant, act_quant

    def _input(self, x: torch.Tensor) -> torch.Tensor:
        x = clamp_tagged(x, self.act_quantizer)
        return self.act_quantizer(x) if self.use_act_quant else x

    def _weight(self) -> torch.Tensor:
        weight = self.weight  # type: ignore[attr-defined]
        return self.weight_quantizer(weight) if self.use_weight_quant else weight

    def _take(self, module: nn.Module) -> Any:
        self.load_state_dict(module.state_dict(), strict=False)  # type: ignore[attr-defined]
        self.to(module.weight.device, module.weight.dtype)  # type: ignore[attr-defined]
        return self.train(module.training)  # type: ignore[attr-defined]


class QuantLinear(_Quantized, nn.Linear):
    """nn.Linear whose input is clamped to its bucket's range, and rounded when asked to."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        w_bits: int = 8,
        a_bits: int = 8,
        symmetric: bool = True,
    ) -> None:
        super().__init__(in_features, out_features, bias)
        self._add_quantizers(w_bits, a_bits, symmetric)

    @classmethod
    def from_module(cls, module: nn.Linear, **options: Any) -> QuantLinear:
        """The same weights; options as the constructor's."""
        has_bias = module.bias is not None
        return cls(module.in_features, module.out_features, has_bias, **options)._take(module)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (…, inputs) → (…, outputs)."""
        return nn.functional.linear(self._input(x), self._weight(), self.bias)


class _QuantConv(_Quantized):
    def __init__(
        self,
        *sizes: Any,
        w_bits: int = 8,
        a_bits: int = 8,
        symmetric: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(*sizes, **options)
        self._add_quantizers(w_bits, a_bits, symmetric)

    @classmethod
    def from_module(cls, module: Any, **options: Any) -> Any:
        """The same weights, stride, padding, dilation and groups."""
        return cls(
            module.in_channels,
            module.out_channels,
            module.kernel_size,
            stride=module.stride,
            padding=module.padding,
            dilation=module.dilation,
            groups=module.groups,
            bias=module.bias is not None,
            padding_mode=module.padding_mode,
            **options,
        )._take(module)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As the convolution's own."""
        return self._conv_forward(self._input(x), self._weight(), self.bias)


class QuantConv1d(_QuantConv, nn.Conv1d):
    """nn.Conv1d as QuantLinear is nn.Linear."""


class QuantConv2d(_QuantConv, nn.Conv2d):
    """nn.Conv2d as QuantLinear is nn.Linear."""


_FORMS = {nn.Linear: QuantLinear, nn.Conv1d: QuantConv1d, nn.Conv2d: QuantConv2d}


def wrap(model: nn.Module, paths: list[str], **options: Any) -> list[str]:
    """Replaces the modules at these paths by their quantized forms, in place; returns the paths.

    Error naming the first that is no Linear, Conv1d or Conv2d; then nothing was replaced.
    """
    modules = dict(model.named_modules())
    for path in paths:
        if type(modules.get(path)) not in _FORMS:
            found = type(modules[path]).__name__ if path in modules else "no such module"
            raise Error(f"{path}: expected a Linear, Conv1d or Conv2d, found {found}")
    for path in paths:
        above, _, name = path.rpartition(".")
        setattr(
            modules[above], name, _FORMS[type(modules[path])].from_module(modules[path], **options)
        )
    return paths
