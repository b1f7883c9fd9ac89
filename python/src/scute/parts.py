"""Attention, feed-forwards, experts and shared blocks of hybrids: their matrices and site names.

One table, by the names that the libraries give to the matrices inside a module:

    q_proj k_proj v_proj → o_proj                transformers
    in_proj → out_proj                           attention of mamba_ssm: rows q, k, v
    gate_proj up_proj → down_proj                transformers; without gate_proj no gate (Nemotron-H)
    gate_up_proj → down_proj                     Zamba2
    input_linear → output_linear                 Granite
    fc1 → fc2                                    mamba_ssm
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from scute import Error
from scute.hadamard import factor_of

LAYER = re.compile(r"(?:^|\.)(?:layers|blocks|h)\.(\d+)(?:\.|$)")
_ATTENTIONS = ((("q_proj", "k_proj", "v_proj"), "o_proj"), (("in_proj",), "out_proj"))
_FEED_FORWARDS = (
    (("gate_proj", "up_proj"), "down_proj"),
    (("up_proj",), "down_proj"),
    (("gate_up_proj",), "down_proj"),
    (("input_linear",), "output_linear"),
    (("fc1",), "fc2"),
)
# The weight of the norm that a part reads, of those beside it the first.
_NORMS = {
    "attention": ("input_layernorm", "norm"),
    "feed_forward": (
        "pre_ff_layernorm",
        "pre_moe_layernorm",
        "post_attention_layernorm",
        "norm2",
        "norm",
    ),
}


@dataclass(frozen=True)
class Product:
    """A matrix outside the mixers.

    layer: "layer_3.", "" where the hybrid layer that calls it says which. op: its own name there.
    site: what it reads, "q_proj"; own: the same of an expert alone. first: of those that read one
    tensor, the one that shows it. output: the op whose output it is, or None. cache: "q_act",
    "k_cache", "v_cache" where its output becomes that. norm: the weight before it. reads, writes:
    the stream. down: may be rotated as down_proj is, which an expert's is by itself.
    """

    path: str
    module: torch.nn.Module
    layer: str
    op: str
    site: str
    own: str | None = None
    first: bool = False
    output: str | None = None
    cache: str | None = None
    norm: torch.Tensor | None = None
    reads: bool = False
    writes: bool = False
    down: bool = False

    @property
    def fused(self) -> bool:
        """Whether it is gate_proj and up_proj, one below the other."""
        return self.op.rpartition(".")[2] in ("gate_up_proj", "input_linear", "fc1")

    @property
    def width(self) -> int:
        """Inputs."""
        return int(self.module.weight.shape[1])  # type: ignore[union-attr,index]


@dataclass(frozen=True)
class Attention:
    """An attention module: what it is called with says how keys are turned."""

    path: str
    module: torch.nn.Module


@dataclass(frozen=True)
class Experts:
    """A module that routes, and its experts: one module with stacked weights, or None.

    site: what all of them read. norm: of the block. latent: the experts read a projection of it.
    beside: another module whose output is added outside, or None.
    """

    path: str
    module: torch.nn.Module
    layer: str
    site: str
    norm: torch.Tensor | None
    router: torch.nn.Module | None
    count: int
    stacked: torch.nn.Module | None
    latent: bool
    beside: torch.nn.Module | None

    @property
    def inner(self) -> int:
        """What down_proj of a stacked expert reads."""
        return int(self.stacked.down_proj.shape[-1])  # type: ignore[union-attr,arg-type]

    @property
    def width(self) -> int:
        """What a stacked expert reads and gives."""
        return int(self.stacked.down_proj.shape[1])  # type: ignore[union-attr,arg-type]


@dataclass(frozen=True)
class Hybrid:
    """A layer that calls a block which other layers call too (Zamba2)."""

    path: str
    module: torch.nn.Module
    layer: str


@dataclass
class Parts:
    """Of one model."""

    products: list[Product] = field(default_factory=list)
    attentions: list[Attention] = field(default_factory=list)
    experts: list[Experts] = field(default_factory=list)
    hybrids: list[Hybrid] = field(default_factory=list)

    def rotates_down(self) -> bool:
        """Whether all feed-forwards have widths with a rotation, as scute quantize asks."""
        widths = {p.width for p in self.products if p.down}
        return bool(widths) and all(factor_of(width) is not None for width in widths)

    def layers_of(self, product: Product) -> list[str]:
        """The layers that it has sites in."""
        return [product.layer] if product.layer else [f"{h.layer}shared." for h in self.hybrids]


def _children(module: torch.nn.Module, names: tuple[str, ...]) -> list[torch.nn.Module] | None:
    found = [getattr(module, name, None) for name in names]
    return found if all(isinstance(f, torch.nn.Linear) for f in found) else None  # type: ignore


def _norm(block: torch.nn.Module, kind: str) -> torch.Tensor | None:
    for name in _NORMS[kind]:
        weight = getattr(getattr(block, name, None), "weight", None)
        if isinstance(weight, torch.Tensor):
            return weight
    return None


def _attention(
    path: str, module: torch.nn.Module, layer: str, norm: torch.Tensor | None
) -> Iterator[Product]:
    for firsts, last in _ATTENTIONS:
        if _children(module, (*firsts, last)) is None:
            continue
        adapted = hasattr(module, "linear_q_adapter_list")
        for i, name in enumerate(firsts):
            cache = ("q_act", "k_cache", "v_cache")[i] if len(firsts) == 3 and not adapted else None
            yield Product(
                f"{path}.{name}",
                getattr(module, name),
                layer,
                name,
                "q_proj",
                first=i == 0,
                cache=cache,
                norm=norm,
                reads=True,
            )
        yield Product(
            f"{path}.{last}", getattr(module, last), layer, "o_proj", "o_proj", first=True,
            output="o_proj", writes=True,
        )
        return


def _feed_forward(
    path: str, module: torch.nn.Module, layer: str, norm: torch.Tensor | None
) -> Iterator[Product]:
    for firsts, last in _FEED_FORWARDS:
        if _children(module, (*firsts, last)) is None:
            continue
        site = "up_proj" if firsts == ("up_proj",) else "gate_proj"
        for i, name in enumerate(firsts):
            yield Product(
                f"{path}.{name}", getattr(module, name), layer, name, site, first=i == 0,
                norm=norm, reads=True,
            )
        yield Product(
            f"{path}.{last}", getattr(module, last), layer, "down_proj", "down_proj", first=True,
            output="down_proj", writes=True, down=True,
        )
        return


def _experts(
    path: str, module: torch.nn.Module, layer: str, block: torch.nn.Module
) -> tuple[Experts, list[Product]]:
    """The routing module and the products inside it and beside it."""
    experts: Any = module.experts
    norm, listed = _norm(block, "feed_forward"), isinstance(experts, torch.nn.ModuleList)
    gated = hasattr(experts[0] if listed else experts, "gate_proj" if listed else "gate_up_proj")
    latent_in = getattr(module, "fc1_latent_proj", None)
    latent = isinstance(latent_in, torch.nn.Linear)
    site = "gate_proj" if gated else "up_proj"
    products, shared = [], []
    if latent:
        products.append(
            Product(f"{path}.fc1_latent_proj", latent_in, layer, "latent_in", site,  # type: ignore
                    norm=norm, reads=True)
        )
        products.append(
            Product(f"{path}.fc2_latent_proj", module.fc2_latent_proj, layer,  # type: ignore
                    "latent_out", "latent_out", first=True, writes=True)
        )
    for e, expert in enumerate(experts if listed else ()):
        for p in _feed_forward(f"{path}.experts.{e}", expert, layer, norm):
            op = f"experts.{e}.{p.op}"
            down = {"site": "experts.down_proj", "own": f"experts.{e}.down_proj"}
            more = down if p.down else {"first": False}
            products.append(replace(p, op=op, output=None, down=False, **more))  # type: ignore
    beside = getattr(block, "shared_mlp", None)
    inside = getattr(module, "shared_experts", None)
    for at, one in ((f"{path}.shared_experts", inside), (f"{path}.shared_mlp", beside)):
        if one is not None:
            shared += list(_feed_forward(at, one, layer, norm))
    for p in shared:
        op = f"shared_experts.{p.op}"
        more = {"site": op} if p.down else {"first": False, "site": site}
        products.append(replace(p, op=op, output=None, **more))
    router = getattr(module, "router", None) or getattr(module, "gate", None)
    if not listed and not hasattr(experts, "down_proj"):
        raise Error(
            f"{path}.experts: expected a list of experts, or stacked weights (gate_up_proj or "
            f"up_proj, down_proj), found {type(experts).__name__}"
        )
    count = len(experts) if listed else int(experts.down_proj.shape[0])
    found = Experts(path, module, layer, site, norm, router, count, None if listed else experts,
                    latent, beside)
    return found, products


def _layer_of(path: str) -> str:
    found = LAYER.search(path)
    return f"layer_{found[1]}." if found else ""


def parts_of(
    modules: dict[str, torch.nn.Module], mixers: tuple[str, ...], within: dict[str, str]
) -> Parts:
    """All of a model's, in the order of its modules.

    modules: path → module. mixers: paths of mixers with a "." behind, whose insides are none.
    within: path of a block that several layers call → "".
    """
    parts, taken = Parts(), list(mixers)
    for path, module in modules.items():
        if _layer_of(path) == "" or (path + ".").startswith(tuple(taken)):
            continue
        above = path.rpartition(".")[0]
        block = modules.get(above, module)
        layer = "" if path.startswith(tuple(within)) and within else _layer_of(path)
        if hasattr(module, "shared_transformer") and hasattr(module, "linear"):
            parts.hybrids.append(Hybrid(path, module, _layer_of(path)))
            parts.products.append(
                Product(f"{path}.linear", module.linear, _layer_of(path), "shared.linear",
                        "shared.linear", first=True, output="shared.linear")
            )
        elif isinstance(getattr(module, "experts", None), torch.nn.Module):
            found, products = _experts(path, module, layer, block)
            parts.experts.append(found)
            parts.products += products
            taken += [path + ".", above + ".shared_mlp"]
        elif products := list(_attention(path, module, layer, _norm(block, "attention"))):
            parts.attentions.append(Attention(path, module))
            parts.products += products
            taken.append(path + ".")
        elif products := list(_feed_forward(path, module, layer, _norm(block, "feed_forward"))):
            parts.products += products if layer else [replace(p, output=None) for p in products]
            taken.append(path + ".")
    return parts
