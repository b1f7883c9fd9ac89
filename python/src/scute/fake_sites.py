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
from scute.fake_stream import Stream
from scute.grids import Grid, WeightForm, channel_grid, grid_of
from scute.hadamard import factor_of, rotated, shown_rotated
from scute.hooks import Signature, attach, changed, tensors
from scute.mixers import Matrix, Mixer
from scute.observed_parts import activations
from scute.observed_sites import mixer_input
from scute.parts import Experts, Hybrid, Product
from scute.sites import Sites, sites_of

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
    rounding.sum.attach(stack, found)
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
        self._made: dict[str, Any] = {}
        self._rotates = options.hadamard
        self._stream = options.hadamard and found.turns_stream()
        self.down = options.hadamard and found.parts.rotates_down()
        latent = [site for site in grids if site.endswith(_LATENT_TWINS)]
        streams = grids.keys() - latent
        # Writers turn what they write where readers turn what they read.
        self.stream = self._stream and any(site.endswith(_STREAM_TWINS) for site in streams)
        self.latent = options.hadamard and bool(latent)
        self.sum = Stream(self.stream)

    def turns(self, site: str, width: int, stream: bool, may: bool = True) -> bool:
        """Whether this input is rotated; marks the twin that is not read."""
        allowed = may and (self._stream if stream else self._rotates)
        turned = allowed and site + "@rotated" in self.grids and factor_of(width) is not None
        self.seen.add(site if turned else site + "@rotated")
        return turned

    def own_or(self, own: str, pooled: str) -> str:
        """The site of one expert, or where the plan has none of it that of all together."""
        return own if {own, own + "@rotated"} & self.grids.keys() else pooled

    def site(self, site: str, x: torch.Tensor) -> torch.Tensor:
        """x rounded as the plan says of this site."""
        grid = None if not_read(site) else self.grids.get(site)
        if grid is None:
            return x
        self.seen.add(site)
        return grid.round(x) if self.form.a_bits == 8 else x

    def multiply(self, site: str, x: torch.Tensor, matrix: Stored) -> torch.Tensor:
        """The product of what passes this site: of codes, scaled once, where both are codes."""
        grid = None if not_read(site) else self.grids.get(site)
        form = matrix.form or self.form
        if grid is None or not form.integer or grid.zero != 0:
            return F.linear(self.site(site, x), self._weight(site, matrix, form))
        self.seen.add(site)
        if matrix.key not in self._made:
            pieces = [form.codes(one) for one in matrix.edited().chunk(matrix.pieces)]
            self._made[matrix.key] = tuple(map(torch.cat, zip(*pieces, strict=True)))
        codes, scales = self._made[matrix.key]
        # Up to so many inputs float32 holds every sum of them.
        exact = torch.float32 if codes.shape[1] * 127 * 128 <= 2**24 else torch.float64
        sums = F.linear(grid.codes(x).to(exact), codes.to(exact)).float()
        return sums * (grid.scale.to(x.device) * scales)

    def _weight(self, site: str, matrix: Stored, form: WeightForm) -> torch.Tensor:
        """Rounded where the plan has the site of its input."""
        if matrix.key not in self._made:
            weight = matrix.edited()
            if site in self.grids:
                weight = torch.cat([form.rounded(one) for one in weight.chunk(matrix.pieces)])
            self._made[matrix.key] = weight
        return self._made[matrix.key]


@dataclass(frozen=True)
class Stored:
    """A matrix as the low-bit model stores it; made once for each key.

    norm: what is folded in. turned: whether inputs and outputs are rotated. form: other than the
    model's. pieces: equal matrices that lie in one below each other.
    """

    key: str
    weight: torch.Tensor
    norm: torch.Tensor | None = None
    turned: tuple[bool, bool] = (False, False)
    form: WeightForm | None = None
    pieces: int = 1

    def edited(self) -> torch.Tensor:
        """With its norm and rotations, in float64 as scute quantize does; float32."""
        edited = self.weight.double()
        if self.norm is not None:
            edited = edited * self.norm.double()
        if self.turned[0]:
            edited = rotated(edited)
        if self.turned[1]:
            edited = rotated(edited.T.contiguous()).T
        return edited.float()


_STREAM_TWINS = tuple(f".{op}:input@rotated" for op in ("in_proj", "q_proj", "gate_proj", "up_proj"))
_LATENT_TWINS = tuple(f".{op}:input@rotated" for op in ("experts.up_proj", "latent_out"))


class MixerRounding:
    """The pass that rounds what passes one mixer, as the low-bit model that scute writes."""

    def __init__(self, rounding: Rounding, mixer: Mixer) -> None:
        self._all = rounding
        self._mixer = mixer
        self._layer = f"layer_{mixer.layer}."
        widths = [m.weight.shape[1] for m in (mixer.module.in_proj, mixer.module.out_proj)]
        self._stream = rounding.turns(f"{self._layer}in_proj:input", widths[0], True)
        self._inner = rounding.turns(f"{self._layer}out_proj:input", widths[1], False)

    def site(self, op: str, x: torch.Tensor) -> torch.Tensor:
        return self._all.site(self._layer + op, x)

    def linear(
        self, matrix: Matrix, x: torch.Tensor, plain: torch.Tensor | None = None
    ) -> torch.Tensor:
        op = matrix.op
        turned = {"in_proj": self._stream, "out_proj": self._inner}.get(op, False)
        known = self._all.sum.read(self._mixer, x) if op == "in_proj" else None
        if known is not None:
            x = known
        elif turned:
            x = matrix.unweighted(x, plain)
        outputs = op == "out_proj" and self._stream
        form = self._all.form.small() if op == "dt_proj" else None
        norm = matrix.norm if turned else None
        site = self._layer + op + (":input@rotated" if turned else ":input")
        stored = Stored(site, matrix.weight, norm, (turned, outputs), form)
        y = self._all.multiply(site, x, stored)
        bias = matrix.bias
        given = rotated(y, inverse=True) if outputs else y
        given = given if bias is None else given + bias
        if op == "out_proj":
            turned_bias = rotated(bias) if outputs and bias is not None else bias
            self._all.sum.add(y if bias is None else y + turned_bias, given)
        return given

    def product(self, matrix: Matrix, x: torch.Tensor) -> torch.Tensor:
        site = f"{self._layer}{matrix.op}:input"
        return self._all.multiply(site, x, Stored(site, matrix.weight))

    def convolution_weight(self, weight: torch.Tensor) -> torch.Tensor:
        reads = [s for s in self._all.grids if s.startswith(self._layer)]
        rounds = any(s.endswith((".conv1d:input", "_conv_in:input")) for s in reads)
        return self._all.form.small().rounded(weight) if rounds else weight


def _attach_mixer(mixer: Mixer, rounding: MixerRounding) -> Any:
    def compute(module: torch.nn.Module, arguments: dict[str, Any]) -> torch.Tensor:
        u = mixer_input(mixer, arguments)
        return mixer.of(module).forward(u, rounding).to(u.dtype)

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
        if product.own is not None:
            site = self._all.own_or(f"{layer}{product.own}:input", site)
        norm = None
        down = product.down and self._all.down
        may = product.reads or product.own is not None or down or product.op == "latent_out"
        turned = self._all.turns(site, product.width, product.reads, may)
        if turned and product.reads:
            norm = None if product.norm is None else product.norm.detach().float()
        if turned:
            x, site = shown_rotated(x, norm), site + "@rotated"
        latent = product.op == "latent_in" and self._all.latent
        outputs = latent or (product.writes and self._all.stream)
        bias = None if module.bias is None else module.bias.detach().float()
        pieces = 2 if product.fused else 1
        weight = module.weight.detach()
        stored = Stored(product.path, weight, norm, (turned, outputs), pieces=pieces)
        y = self._all.multiply(site, x, stored)
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
        input_site = f"{experts.layer}{reads}:input"
        turned = r.turns(input_site, experts.width, not experts.latent)
        known = turned and not experts.latent and experts.norm is not None
        norm = experts.norm.detach().float() if known else None  # type: ignore[union-attr]
        read_site = input_site + ("@rotated" if turned else "")

        def first(e: int, name: str, x: torch.Tensor) -> torch.Tensor:
            x = shown_rotated(x, norm) if turned else x
            key = f"{experts.path}.experts.{e}.{name}"
            weight = getattr(self.module, name)[e].detach()
            pieces = 2 if name == "gate_up_proj" else 1
            stored = Stored(key, weight, norm, (turned, False), pieces=pieces)
            return r.multiply(read_site, x, stored)

        def down(e: int, x: torch.Tensor) -> torch.Tensor:
            all_inside = f"{experts.layer}experts"
            pooled = f"{all_inside}.down_proj:input"
            site = r.own_or(f"{all_inside}.{e}.down_proj:input", pooled)
            inside = r.turns(site, experts.inner, False)
            x, site = (rotated(x), site + "@rotated") if inside else (x, site)
            outputs = r.latent if experts.latent else r.stream
            key = f"{experts.path}.experts.{e}.down_proj"
            weight = self.module.down_proj[e].detach()
            y = r.multiply(site, x, Stored(key, weight, turned=(inside, outputs)))
            return rotated(y, inverse=True) if outputs else y

        return first, down
