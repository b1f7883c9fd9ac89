"""What a plan costs, on any torch model: the tensors it names are rounded in floats.

    with plan.fake_quantize(model):
        loss = model(ids)

Straight formulas: code = clamp(round half to even(x / scale)), x = scale * (code - zero).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import torch

from scute import Error, Statistics
from scute.hadamard import factor_of, rotated
from scute.hooks import Signature, attach, changed, forget_compiled, inner_model, tensors, unwrapped
from scute.mixers import Mixer
from scute.observation import mixer_input
from scute.sites import Sites, shown_rotated, sites_of

_ROUNDED_WEIGHTS = (torch.nn.Linear, torch.nn.modules.conv._ConvNd)
_OWN_NAME = re.compile(r"layer_\d+\.")
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

    def round(self, x: torch.Tensor) -> torch.Tensor:
        """In float32, given back in x's own type; NaN becomes 0."""
        scale = self.scale.to(x.device)
        codes = torch.round(x.float() / scale).clamp(
            self.lowest - self.zero, self.highest - self.zero
        )
        return (codes.nan_to_num(nan=0) * scale).to(x.dtype)


def _channel_grid(absmax: torch.Tensor) -> Grid:
    """8 bits, symmetric, one scale for each channel."""
    scale = (absmax.double() / 127).float().clamp_min(_TINY)
    return Grid(torch.where(absmax > 0, scale, torch.full_like(scale, 1e-6 / 127)), 0, -128, 127)


def rounded_weight(weight: torch.Tensor, w_bits: int, per_tensor: bool) -> torch.Tensor:
    """8 bits, symmetric, a scale for each output (the first dimension); 16: as it is."""
    if w_bits == 16:
        return weight
    rows = weight.detach().float().flatten(1)
    absmax = rows.abs().amax(1, keepdim=True)
    grid = _channel_grid(absmax.amax().reshape(1, 1) if per_tensor else absmax)
    return grid.round(rows).reshape(weight.shape).to(weight.dtype)


def _grid_of(entry: Mapping[str, Any], site: str) -> Grid:
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


@contextmanager
def fake_quantize(
    plan: Mapping[str, Mapping[str, Any]],
    model: torch.nn.Module,
    *,
    w_bits: int = 8,
    per_tensor: bool = False,
    hadamard: bool = True,
    statistics: Statistics | None = None,
) -> Iterator[torch.nn.Module]:
    """Rounds what the plan names while the block runs, and leaves the model as it was.

    plan: site → {"lo", "hi", "bits", "symmetric"}. Sites are all module paths with a kind
    (PATH:input, PATH:output, also PATH:input.NAME) or all scute's names (layer_0.x_proj:input);
    then the mixers of Mamba models compute what `scute quantize` of the same flags makes them.
    w_bits: 8, weights beside rounded inputs get a scale per output, or 16, floats.
    per_tensor: one scale a weight. hadamard: rotate where the plan has NAME@rotated, as scute's
    default. statistics: scales per channel for what the convolution reads, as --conv-scale channel.

    Error naming the sites that the model does not have, or, at the end of the block, those that
    saw no value. As in `scute quantize` without more flags, embedding and head stay floats. The
    state is not rounded: within a window that begins empty it is no input.
    """
    if w_bits not in (8, 16):
        raise Error(f"w_bits: expected 8 or 16 (4: scute quantize), found {w_bits}")
    inner = inner_model(model)
    paths = {unwrapped(path): module for path, module in inner.named_modules()}
    modules = {site: _module_of(site, paths) for site in plan}
    seen: set[str] = set()
    with ExitStack() as stack:
        stack.callback(forget_compiled, model)
        if not plan:
            raise Error("plan: expected sites to round, found none")
        if not any(_OWN_NAME.match(site) for site in plan):
            unknown = [site for site, module in modules.items() if module is None]
            if unknown:
                raise Error(f"plan: expected sites of modules (PATH:input), found {unknown[0]}")
            _round_modules(stack, plan, paths, seen, w_bits, per_tensor)
        else:
            options = _Options(w_bits, per_tensor, hadamard, statistics)
            _round_sites(stack, plan, inner, seen, options)
        forget_compiled(model)
        yield model
    silent = [site for site in plan if site not in seen]
    if silent:
        raise Error(
            f"{silent[0]}: expected values to round, found none"
            + (f" (and {len(silent) - 1} others)" if len(silent) > 1 else "")
        )


def _module_of(site: str, paths: dict[str, torch.nn.Module]) -> torch.nn.Module | None:
    path, _, kind = site.rpartition(":")
    return paths.get(path) if path and kind.split(".")[0] in ("input", "output") else None


def _round_modules(
    stack: ExitStack,
    plan: Mapping[str, Mapping[str, Any]],
    paths: dict[str, torch.nn.Module],
    seen: set[str],
    w_bits: int,
    per_tensor: bool,
) -> None:
    grids = {site: _grid_of(entry, site) for site, entry in plan.items()}
    for path in dict.fromkeys(site.rpartition(":")[0] for site in plan):
        module = paths[path]
        inputs = any(site.startswith(path + ":input") for site in grids)
        if inputs and isinstance(module, _ROUNDED_WEIGHTS):
            _round_own_weight(stack, module, path, w_bits, per_tensor)
        stack.callback(_attach_rounding(module, path, grids, seen).remove)


def _round_own_weight(
    stack: ExitStack, module: torch.nn.Module, path: str, w_bits: int, per_tensor: bool
) -> None:
    """For the block the module has a weight of its own, so that one tied to it stays as it is."""
    weight = module._parameters.get("weight")
    if weight is None:
        raise Error(
            f"{path}: expected a weight that is a parameter, found one that is computed "
            "(weight_norm, parametrize): make it plain first"
        )
    if isinstance(module, torch.nn.modules.conv._ConvTransposeNd) and not per_tensor:
        if module.groups != 1:
            raise Error(f"{path}: expected one group, or per_tensor=True, found {module.groups}")
        rounded = rounded_weight(weight.transpose(0, 1), w_bits, per_tensor).transpose(0, 1)
    else:
        rounded = rounded_weight(weight, w_bits, per_tensor)
    stack.callback(module._parameters.__setitem__, "weight", weight)
    module._parameters["weight"] = torch.nn.Parameter(rounded, requires_grad=weight.requires_grad)


def _attach_rounding(
    module: torch.nn.Module, path: str, grids: dict[str, Grid], seen: set[str]
) -> Any:
    signature = Signature(module)

    def one(x: torch.Tensor, site: str) -> torch.Tensor:
        if site not in grids:
            return x
        seen.add(site)
        return grids[site].round(x)

    def before(_: torch.nn.Module, arguments: dict[str, Any]) -> dict[str, Any]:
        first = signature.first(arguments)
        site = f"{path}:input"
        return {
            name: changed(value, one, site if name == first else f"{site}.{name}")
            for name, value in arguments.items()
        }

    def after(_: torch.nn.Module, output: Any) -> Any:
        return changed(output, one, f"{path}:output")

    return attach(module, before, after)


@dataclass(frozen=True)
class _Options:
    w_bits: int
    per_tensor: bool
    hadamard: bool
    statistics: Statistics | None


def _round_sites(
    stack: ExitStack,
    plan: Mapping[str, Mapping[str, Any]],
    model: torch.nn.Module,
    seen: set[str],
    options: _Options,
) -> None:
    found = sites_of(model)
    known = set(found.names())
    unknown = [site for site in plan if site not in known]
    if unknown:
        near = get_close_matches(unknown[0], known, 1)
        raise Error(
            f"plan: expected sites of {type(model).__name__}, found {', '.join(unknown[:3])}"
            + (f"; did you mean {near[0]}?" if near else "")
        )
    for mixer in found.mixers:
        rounding = _Rounding(plan, mixer, seen, options)
        stack.callback(_attach_mixer(mixer, rounding).remove)
    _refuse_other_parts(plan, found)
    # What a mixer's form does not read (its twin, outputs that nothing rounds) is no silence.
    seen.update(site for site in plan if _not_read(site))


def _not_read(site: str) -> bool:
    op = site.partition(".")[2]
    spared = ("in_proj:output", "x_proj:output", "out_proj:output", "ssd_out_act:input")
    return "ssm_state_act" in site or op in spared or site.startswith(("embedding", "lm_head"))


def _attach_mixer(mixer: Mixer, rounding: _Rounding) -> Any:
    import threading

    computed = threading.local()

    @torch.no_grad()
    def before(module: torch.nn.Module, arguments: dict[str, Any]) -> None:
        u = mixer_input(mixer, arguments)
        own = Mixer(mixer.path, mixer.layer, module, mixer.norm)
        computed.out = own.forward(u, rounding).to(u.dtype)

    def after(_: torch.nn.Module, output: Any) -> Any:
        out = computed.__dict__.pop("out")
        first = [name for name, _ in tensors(output)][0]
        return changed(output, lambda x, name: out if name == first else x)

    return attach(mixer.module, before, after)


def _refuse_other_parts(plan: Mapping[str, Mapping[str, Any]], found: Sites) -> None:
    """Attention and feed-forwards: a site is the input of several modules there."""
    for _, kind, site in found.modules:
        if kind == "input" and site in plan and not _not_read(site):
            raise Error(
                f"{site}: expected sites of Mamba mixers alone, found another part; of hybrids "
                "scute.quantize and scute.evaluate say what a plan costs"
            )


class _Rounding:
    """The pass that rounds what passes one mixer, as the low-bit model that scute writes."""

    def __init__(
        self,
        plan: Mapping[str, Mapping[str, Any]],
        mixer: Mixer,
        seen: set[str],
        options: _Options,
    ) -> None:
        self._layer = f"layer_{mixer.layer}."
        self._seen = seen
        self._options = options
        self._grids = {
            site[len(self._layer) :]: _grid_of(entry, site)
            for site, entry in plan.items()
            if site.startswith(self._layer)
        }
        self._own_channels(options.statistics)
        twins = "in_proj:input@rotated" in self._grids, "out_proj:input@rotated" in self._grids
        widths = [m.weight.shape[1] for m in (mixer.module.in_proj, mixer.module.out_proj)]
        self._stream = options.hadamard and twins[0] and factor_of(widths[0]) is not None
        self._inner = options.hadamard and twins[1] and factor_of(widths[1]) is not None
        self._weights: dict[str, torch.Tensor] = {}
        unread = (("in_proj", self._stream), ("out_proj", self._inner))
        for op, turned in unread:
            seen.add(f"{self._layer}{op}:input" + ("" if turned else "@rotated"))

    def _own_channels(self, statistics: Statistics | None) -> None:
        """Scales per channel of what the convolution reads."""
        for op in ("conv1d:input", "x_conv_in:input", "B_conv_in:input", "C_conv_in:input"):
            site = self._layer + op
            if statistics is None or op not in self._grids or site not in statistics:
                continue
            absmax = statistics[site].channel_absmax
            if len(absmax):
                self._grids[op] = _channel_grid(torch.from_numpy(np.array(absmax)))

    def site(self, op: str, x: torch.Tensor) -> torch.Tensor:
        grid = None if _not_read(self._layer + op) else self._grids.get(op)
        if grid is None:
            return x
        self._seen.add(self._layer + op)
        return grid.round(x)

    def linear(
        self,
        op: str,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None = None,
        norm: torch.Tensor | None = None,
        unweighted: torch.Tensor | None = None,
    ) -> torch.Tensor:
        turned = {"in_proj": self._stream, "out_proj": self._inner}.get(op, False)
        if turned:
            plain = x if unweighted is None else unweighted
            x = shown_rotated(plain, norm if unweighted is None else None)
        x = self.site(op + (":input@rotated" if turned else ":input"), x)
        outputs = op == "out_proj" and self._stream
        y = self.product(op, x, weight, norm if turned else None, turned, outputs)
        if outputs:
            y = rotated(y, inverse=True)
        return y if bias is None else y + bias

    def product(
        self,
        op: str,
        x: torch.Tensor,
        weight: torch.Tensor,
        norm: torch.Tensor | None = None,
        inputs: bool = False,
        outputs: bool = False,
    ) -> torch.Tensor:
        if op not in self._weights:
            self._weights[op] = self._edited(weight, norm, inputs, outputs)
            if op + (":input@rotated" if inputs else ":input") in self._grids:
                self._weights[op] = self._rounded(self._weights[op])
        return torch.nn.functional.linear(x, self._weights[op])

    def _edited(
        self, weight: torch.Tensor, norm: torch.Tensor | None, inputs: bool, outputs: bool
    ) -> torch.Tensor:
        """The norm folded in and rotated, in float64, as scute quantize does."""
        edited = weight.double()
        if norm is not None:
            edited = edited * norm.double()
        if inputs:
            edited = rotated(edited)
        if outputs:
            edited = rotated(edited.T.contiguous()).T
        return edited.float()

    def _rounded(self, weight: torch.Tensor) -> torch.Tensor:
        return rounded_weight(weight, self._options.w_bits, self._options.per_tensor)

    def convolution_weight(self, weight: torch.Tensor) -> torch.Tensor:
        rounds = any(op.endswith(("conv1d:input", "_conv_in:input")) for op in self._grids)
        return self._rounded(weight) if rounds else weight
