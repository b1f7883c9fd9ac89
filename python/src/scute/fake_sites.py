"""A plan by scute's site names: mixers and other parts compute what the low-bit model would."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from scute import Error, Statistics
from scute.grids import Grid, WeightForm, channel_grid, grid_of
from scute.hadamard import factor_of, rotated
from scute.hooks import Signature, attach, changed, tensors
from scute.mixers import Mixer
from scute.observed_parts import activations
from scute.observed_sites import mixer_input
from scute.parts import Experts, Hybrid, Product
from scute.sites import Sites, shown_rotated, sites_of

Entries = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Options:
    """Of fake_quantize."""

    form: WeightForm
    hadamard: bool
    statistics: Statistics | None


def round_sites(
    stack: ExitStack, plan: Entries, model: torch.nn.Module, seen: set[str], options: Options
) -> None:
    """Attaches what rounds; `stack` undoes it. seen: gets the sites that saw a value.

    Error naming sites that the model does not have.
    """
    found = sites_of(model)
    known = set(found.names())
    unknown = [site for site in plan if site not in known]
    if unknown:
        near = get_close_matches(unknown[0], known, 1)
        raise Error(
            f"plan: expected sites of {type(model).__name__}, found {', '.join(unknown[:3])}"
            + (f"; did you mean {near[0]}?" if near else "")
        )
    grids = {site: grid_of(entry, site) for site, entry in plan.items()}
    own_channels(grids, options.statistics)
    rounding = Rounding(grids, found, seen, options)
    for mixer in found.mixers:
        stack.callback(_attach_mixer(mixer, MixerRounding(rounding, mixer)).remove)
    parts = _Parts(rounding)
    for hybrid in found.parts.hybrids:
        stack.callback(parts.attach_hybrid(hybrid).remove)
    for product in found.parts.products:
        stack.callback(parts.attach_product(product).remove)
    for experts in found.parts.experts:
        if experts.stacked is not None:
            stack.callback(parts.attach_experts(experts).remove)
    # What a form does not read (its twin, outputs that nothing rounds) is no silence, nor is an
    # expert to which no token was sent.
    seen.update(site for site in plan if not_read(site) or ".experts." in site)


def not_read(site: str) -> bool:
    """Whether low-bit models have no scale for it."""
    op = site.partition(".")[2].removeprefix("shared.")
    spared = ("ssd_out_act:input", "q_act:input", "k_cache:input", "v_cache:input")
    output = op.endswith(":output") and op != "dt_proj:output"
    ends = site.startswith(("embedding", "lm_head"))
    return output or "ssm_state_act" in site or op in spared or ends


def own_channels(grids: dict[str, Grid], statistics: Statistics | None) -> None:
    """Scales per channel of what the convolutions read, where the statistics know them."""
    reads = (".conv1d:input", ".x_conv_in:input", ".B_conv_in:input", ".C_conv_in:input")
    for site in grids:
        if statistics is None or not site.endswith(reads) or site not in statistics:
            continue
        absmax = statistics[site].channel_absmax
        if len(absmax):
            grids[site] = channel_grid(torch.from_numpy(np.array(absmax)))


class Rounding:
    """What all parts of one model share."""

    def __init__(
        self, grids: dict[str, Grid], found: Sites, seen: set[str], options: Options
    ) -> None:
        self.grids = grids
        self.seen = seen
        self.form = options.form
        self._weights: dict[str, torch.Tensor] = {}
        self._rotates = options.hadamard
        self._stream = options.hadamard and found.turns_stream()
        self.down = options.hadamard and found.parts.rotates_down()
        # Writers turn what they write where readers turn what they read.
        self.stream = self._stream and any(site.endswith(_STREAM_TWINS) for site in grids)

    def turns(self, site: str, width: int, stream: bool, may: bool = True) -> bool:
        """Whether this input is rotated; marks the twin that is not read."""
        allowed = may and (self._stream if stream else self._rotates)
        turned = allowed and site + "@rotated" in self.grids and factor_of(width) is not None
        self.seen.add(site if turned else site + "@rotated")
        return turned

    def site(self, site: str, x: torch.Tensor) -> torch.Tensor:
        """x rounded as the plan says of this site."""
        grid = None if not_read(site) else self.grids.get(site)
        if grid is None:
            return x
        self.seen.add(site)
        return grid.round(x) if self.form.a_bits == 8 else x

    def weight(
        self,
        key: str,
        weight: torch.Tensor,
        site: str,
        norm: torch.Tensor | None = None,
        turned: tuple[bool, bool] = (False, False),
        form: WeightForm | None = None,
        pieces: int = 1,
    ) -> torch.Tensor:
        """The matrix with its norm folded in and rotated, in float64 as scute quantize does.

        Rounded where the plan has the site of its input. turned: inputs, outputs. pieces: equal
        matrices that lie in one below each other. Made once for each key.
        """
        if key not in self._weights:
            edited = weight.double()
            if norm is not None:
                edited = edited * norm.double()
            if turned[0]:
                edited = rotated(edited)
            if turned[1]:
                edited = rotated(edited.T.contiguous()).T
            edited = edited.float()
            if site in self.grids:
                form = form or self.form
                edited = torch.cat([form.rounded(one) for one in edited.chunk(pieces)])
            self._weights[key] = edited
        return self._weights[key]


_STREAM_TWINS = tuple(f".{op}:input@rotated" for op in ("in_proj", "q_proj", "gate_proj", "up_proj"))


class MixerRounding:
    """The pass that rounds what passes one mixer, as the low-bit model that scute writes."""

    def __init__(self, rounding: Rounding, mixer: Mixer) -> None:
        self._all = rounding
        self._layer = f"layer_{mixer.layer}."
        widths = [m.weight.shape[1] for m in (mixer.module.in_proj, mixer.module.out_proj)]
        self._stream = rounding.turns(f"{self._layer}in_proj:input", widths[0], True)
        self._inner = rounding.turns(f"{self._layer}out_proj:input", widths[1], False)

    def site(self, op: str, x: torch.Tensor) -> torch.Tensor:
        return self._all.site(self._layer + op, x)

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
        site = op + (":input@rotated" if turned else ":input")
        x = self.site(site, x)
        outputs = op == "out_proj" and self._stream
        form = self._all.form.small() if op == "dt_proj" else None
        norm = norm if turned else None
        site = self._layer + site
        y = F.linear(x, self._all.weight(site, weight, site, norm, (turned, outputs), form))
        if outputs:
            y = rotated(y, inverse=True)
        return y if bias is None else y + bias

    def product(self, op: str, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        site = f"{self._layer}{op}:input"
        return F.linear(x, self._all.weight(site, weight, site))

    def convolution_weight(self, weight: torch.Tensor) -> torch.Tensor:
        reads = [s for s in self._all.grids if s.startswith(self._layer)]
        rounds = any(s.endswith((".conv1d:input", "_conv_in:input")) for s in reads)
        return self._all.form.small().rounded(weight) if rounds else weight


def _attach_mixer(mixer: Mixer, rounding: MixerRounding) -> Any:
    def compute(module: torch.nn.Module, arguments: dict[str, Any]) -> torch.Tensor:
        u = mixer_input(mixer, arguments)
        own = Mixer(mixer.path, mixer.layer, module, mixer.norm)
        return own.forward(u, rounding).to(u.dtype)

    return _instead(mixer.module, compute)


def _instead(module: torch.nn.Module, compute: Any) -> Any:
    """Hooks by which a module gives what compute(module, arguments) gives; the first of several."""
    computed = threading.local()

    @torch.no_grad()
    def before(called: torch.nn.Module, arguments: dict[str, Any]) -> None:
        computed.out = compute(called, arguments)

    def after(_: torch.nn.Module, output: Any) -> Any:
        out = computed.__dict__.pop("out")
        first = [name for name, _ in tensors(output)][0]
        return changed(output, lambda x, name: out if name == first else x)

    return attach(module, before, after)


class _Parts:
    """Attention, feed-forwards and experts."""

    def __init__(self, rounding: Rounding) -> None:
        self._all = rounding
        self._layer = threading.local()

    def attach_hybrid(self, hybrid: Hybrid) -> Any:
        """Says whose layer a shared block runs for."""

        def before(_: torch.nn.Module, arguments: dict[str, Any]) -> None:
            self._layer.now = f"{hybrid.layer}shared."

        return attach(hybrid.module, before)

    def attach_product(self, product: Product) -> Any:
        """One matrix."""
        signature = Signature(product.module)

        def compute(module: Any, arguments: dict[str, Any]) -> torch.Tensor:
            x = arguments[signature.first(arguments)]
            layer = product.layer or self._layer.now
            return self._multiplied(product, layer, x.float(), module).to(x.dtype)

        return _instead(product.module, compute)

    def _multiplied(
        self, product: Product, layer: str, x: torch.Tensor, module: Any
    ) -> torch.Tensor:
        site = f"{layer}{product.site}:input"
        if product.own is not None and f"{layer}{product.own}:input" in self._all.grids:
            site = f"{layer}{product.own}:input"
        norm = None
        may = product.reads or (product.down and self._all.down)
        turned = self._all.turns(site, product.width, product.reads, may)
        if turned and product.reads:
            norm = None if product.norm is None else product.norm.detach().float()
        if turned:
            x, site = shown_rotated(x, norm), site + "@rotated"
        outputs = product.writes and self._all.stream
        bias = None if module.bias is None else module.bias.detach().float()
        weight = self._all.weight(
            product.path,
            module.weight.detach(),
            site,
            norm,
            (turned, outputs),
            pieces=2 if product.fused else 1,
        )
        y = F.linear(self._all.site(site, x), weight)
        y = rotated(y, inverse=True) if outputs else y
        return y if bias is None else y + bias

    def attach_experts(self, experts: Experts) -> Any:
        """Experts whose weights are stacked."""

        def compute(module: Any, arguments: dict[str, Any]) -> torch.Tensor:
            x, chosen, shares = list(arguments.values())[:3]
            out = torch.zeros_like(x, dtype=torch.float32)
            first, down = _Stacked(self._all, experts, module).products()
            for e, rows, at, hidden in activations(module, x.float(), chosen, first):
                y = down(e, hidden) * shares[rows, at, None].float()
                out.index_add_(0, rows, y)
            return out.to(x.dtype)

        return _instead(experts.stacked, compute)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Stacked:
    """The products of experts whose weights are stacked."""

    rounding: Rounding
    experts: Experts
    module: Any

    def products(self) -> tuple[Any, Any]:
        """first(e, name, x) and down(e, x): by the matrices of expert e, rounded."""
        r, experts = self.rounding, self.experts
        reads = "experts.up_proj" if experts.latent else experts.site
        input_site, width = f"{experts.layer}{reads}:input", int(self.module.down_proj.shape[1])
        turned = not experts.latent and r.turns(input_site, width, True)
        known = turned and experts.norm is not None
        norm = experts.norm.detach().float() if known else None  # type: ignore[union-attr]
        read_site = input_site + ("@rotated" if turned else "")

        def first(e: int, name: str, x: torch.Tensor) -> torch.Tensor:
            x = shown_rotated(x, norm) if turned else x
            key = f"{experts.path}.experts.{e}.{name}"
            weight = getattr(self.module, name)[e].detach()
            pieces = 2 if name == "gate_up_proj" else 1
            weight = r.weight(key, weight, read_site, norm, (turned, False), pieces=pieces)
            return F.linear(r.site(read_site, x), weight)

        def down(e: int, x: torch.Tensor) -> torch.Tensor:
            own = f"{experts.layer}experts.{e}.down_proj:input"
            site = own if own in r.grids else f"{experts.layer}experts.down_proj:input"
            outputs = r.stream and not experts.latent
            key = f"{experts.path}.experts.{e}.down_proj"
            weight = r.weight(
                key, self.module.down_proj[e].detach(), site, None, (False, outputs)
            )
            y = F.linear(r.site(site, x), weight)
            return rotated(y, inverse=True) if outputs else y

        return first, down
