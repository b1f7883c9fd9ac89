"""What passes attention, feed-forwards and experts of hybrids, shown to statistics."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn import functional as F

from scute.hadamard import shown_rotated
from scute.hooks import Signature, attach, tensors
from scute.parts import Attention, Experts, Hybrid, Parts, Product
from scute.seen import Seen
from scute.sites import experts_sites, inputs_of, product_sites


def sequences(x: torch.Tensor, batch: int = 1) -> list[torch.Tensor]:
    """B x L x channels as B tensors; rows of `batch` sequences in order as that many."""
    if x.dim() >= 3:
        return list(x)
    return list(x.chunk(batch)) if batch > 1 and x.shape[0] % batch == 0 else [x]


def turned(x: torch.Tensor, angles: Any) -> torch.Tensor:
    """RoPE on the first dimensions of each head; x: B x L x (heads · d), angles: cos and sin."""
    cos, sin = (part.float() for part in angles[:2])
    width = angles[2]
    heads = x.float().reshape(*x.shape[:-1], -1, width)
    cos, sin = cos[..., None, :], sin[..., None, :]
    moving, still = heads[..., : cos.shape[-1]], heads[..., cos.shape[-1] :]
    first, second = moving.chunk(2, -1)
    moving = moving * cos + torch.cat([-second, first], -1) * sin
    return torch.cat([moving, still], -1).reshape(x.shape)


class _Now(threading.local):
    """Of the call that is running in this thread."""

    layer = ""  # of a shared block
    angles: Any = None  # cos, sin, width of a head
    factor = 1.0  # on keys
    batch = 1  # sequences in rows of tokens
    beside: torch.Tensor | None = None  # an output that another one is added to


class _Observed:
    """The hooks of one observation's parts."""

    def __init__(self, seen: Seen, wanted: set[str]) -> None:
        self._seen = seen
        self._wanted = wanted
        self._now = _Now()

    def attach(self, path: str, module: torch.nn.Module, *hooks: Any) -> None:
        """Notes a source and what is to be attached to it when the block begins."""
        self._seen._sources[path] = False
        self._seen._attach.append(lambda: attach(module, *hooks))

    def show(self, site: str, x: torch.Tensor) -> None:
        """One sample a sequence, where it is wanted."""
        if site in self._wanted:
            for sequence in sequences(x, self._now.batch):
                self._seen.add(site, sequence)

    def twin(self, site: str, x: torch.Tensor, norm: torch.Tensor | None) -> None:
        """What a rotated model reads instead."""
        if site + "@rotated" in self._wanted:
            norm = None if norm is None else norm.detach().float()
            self.show(site + "@rotated", shown_rotated(x.detach().float(), norm))

    def product(self, product: Product) -> None:
        """One matrix."""
        signature = Signature(product.module)

        def layer() -> str:
            return product.layer or self._now.layer

        def before(_: torch.nn.Module, arguments: dict[str, Any]) -> None:
            self._seen.called(product.path)
            x = arguments[signature.first(arguments)]
            for op in inputs_of(product) if product.first else ():
                self.show(layer() + op, x)
                self.twin(layer() + op, x, product.norm)

        def after(_: torch.nn.Module, output: torch.Tensor) -> None:
            if product.output is not None:
                self.show(f"{layer()}{product.output}:output", output)
            if product.cache is not None:
                self.show(f"{layer()}{product.cache}:input", self._cached(product.cache, output))

        self.attach(product.path, product.module, before, after)

    def _cached(self, name: str, x: torch.Tensor) -> torch.Tensor:
        if name == "v_cache":
            return x
        x = x * self._now.factor if name == "k_cache" else x
        return x if self._now.angles is None else turned(x, self._now.angles)

    def attention(self, attention: Attention) -> None:
        """How queries and keys are turned: transformers hands cos and sin to each layer."""
        module: Any = attention.module
        used = getattr(getattr(module, "config", None), "use_mem_rope", True)

        def before(_: torch.nn.Module, arguments: dict[str, Any]) -> None:
            angles = arguments.get("position_embeddings") if used else None
            self._now.angles = None if angles is None else (*angles, module.head_dim)
            self._now.factor = float(getattr(module, "key_multiplier", 1))

        self._seen._attach.append(lambda: attach(module, before))

    def hybrid(self, hybrid: Hybrid) -> None:
        """Whose layer the shared block runs for."""

        def before(_: torch.nn.Module, arguments: dict[str, Any]) -> None:
            self._now.layer = f"{hybrid.layer}shared."

        self._seen._attach.append(lambda: attach(hybrid.module, before))

    def experts(self, experts: Experts) -> None:
        """Router, what all experts read and give, and what stacked experts compute inside."""
        layer = experts.layer

        def before(_: torch.nn.Module, arguments: dict[str, Any]) -> None:
            self._seen.called(experts.path)
            x = next(iter(arguments.values()))
            self.show(f"{layer}{experts.site}:input", x)
            self.twin(f"{layer}{experts.site}:input", x, experts.norm)
            self._now.batch = x.shape[0] if x.dim() >= 3 else 1

        def after(_: torch.nn.Module, output: Any) -> None:
            self._now.batch = 1
            out = next(tensors(output))[1]
            if experts.beside is not None:
                self._now.beside = out
            else:
                self.show(f"{layer}down_proj:output", out)

        self.attach(experts.path, experts.module, before, after)
        if experts.beside is not None:

            def add(_: torch.nn.Module, output: torch.Tensor) -> None:
                first, self._now.beside = self._now.beside, None
                self.show(f"{layer}down_proj:output", output if first is None else first + output)

            self._seen._attach.append(lambda: attach(experts.beside, None, add))
        if experts.router is not None:
            self._router(experts)
        if experts.stacked is not None:
            self._stacked(experts)

    def _router(self, experts: Experts) -> None:
        router: Any = experts.router
        signature = Signature(router)

        def before(_: torch.nn.Module, arguments: dict[str, Any]) -> None:
            x = arguments[signature.first(arguments)].detach()
            scores = F.linear(x.float(), router.weight.detach().float())
            self.show(f"{experts.layer}router:output", scores)

        self._seen._attach.append(lambda: attach(router, before))

    def _stacked(self, experts: Experts) -> None:
        def both(site: str, x: torch.Tensor) -> None:
            self.show(site, x)
            self.twin(site, x, None)

        def before(module: torch.nn.Module, arguments: dict[str, Any]) -> None:
            x, chosen, _ = list(arguments.values())[:3]
            if experts.latent:
                both(f"{experts.layer}experts.up_proj:input", x)
            batch, self._now.batch = self._now.batch, 1

            def first(e: int, name: str, rows: torch.Tensor) -> torch.Tensor:
                return F.linear(rows, getattr(module, name)[e])

            with torch.no_grad():
                for rows, to in zip(x.chunk(batch), chosen.chunk(batch), strict=True):
                    inner = []
                    for e, _, _, hidden in activations(module, rows, to, first):
                        both(f"{experts.layer}experts.{e}.down_proj:input", hidden)
                        inner.append(hidden)
                    both(f"{experts.layer}experts.down_proj:input", torch.cat(inner))
            self._now.batch = batch

        self._seen._attach.append(lambda: attach(experts.stacked, before))


def activations(
    module: Any, x: torch.Tensor, chosen: torch.Tensor, first: Any
) -> Iterator[tuple[int, torch.Tensor, torch.Tensor, torch.Tensor]]:
    """(expert, rows, which of their choices, what its down_proj reads) of each that is reached.

    module: stacked experts, weights X x outputs x inputs; x: rows x D; chosen: rows x T.
    first(e, name, x): x times the matrix of expert e.
    """
    gated = hasattr(module, "gate_up_proj")
    for e in sorted(set(chosen.flatten().tolist())):
        rows, at = torch.where(chosen == e)
        if gated:
            gate, up = first(e, "gate_up_proj", x[rows]).chunk(2, -1)
            yield e, rows, at, module.act_fn(gate) * up
        else:
            yield e, rows, at, module.act_fn(first(e, "up_proj", x[rows]))


def observe_parts(seen: Seen, parts: Parts, wanted: set[str]) -> None:
    """Prepares the hooks of the parts that have a site of `wanted`."""
    observed = _Observed(seen, wanted)
    for hybrid in parts.hybrids:
        observed.hybrid(hybrid)
    for attention in parts.attentions:
        observed.attention(attention)
    for experts in parts.experts:
        if wanted.intersection(experts_sites(experts)):
            observed.experts(experts)
    for product in parts.products:
        names = [s for layer in parts.layers_of(product) for s in product_sites(product, layer)]
        if wanted.intersection(names):
            observed.product(product)
