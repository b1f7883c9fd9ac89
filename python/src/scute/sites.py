"""Module paths of a torch language model and scute's site names (DESIGN §5)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from scute import Error
from scute.hadamard import factor_of
from scute.hooks import unwrapped
from scute.mixers import Mixer, is_mixer, norm_eps
from scute.parts import LAYER, Experts, Parts, Product, parts_of

_EMBEDDINGS = ("embedding", "embeddings", "embed_tokens", "word_embeddings", "wte")
_FINAL_NORMS = ("norm_f", "final_layernorm", "final_norm", "norm")
_BLOCK_NORMS = ("norm", "input_layernorm")

MAMBA1_OPS = (
    "in_proj:input",
    "in_proj:input@rotated",
    "in_proj:output",
    "conv1d:input",
    "z_act:input",
    "x_proj:input",
    "x_proj:output",
    "dt_proj:input",
    "B_act:input",
    "C_act:input",
    "dt_proj:output",
    "ssm_state_act:steps",
    "ssm_state_act:input",
    "out_proj:input",
    "out_proj:input@rotated",
    "out_proj:output",
)
MAMBA2_OPS = (
    "in_proj:input",
    "in_proj:input@rotated",
    "in_proj:output",
    "z_act:input",
    "x_conv_in:input",
    "B_conv_in:input",
    "C_conv_in:input",
    "dt_act:input",
    "x_conv_out:input",
    "B_conv_out:input",
    "C_conv_out:input",
    "ssm_state_act:steps",
    "ssm_state_act:input",
    "ssd_out_act:input",
    "out_proj:input",
    "out_proj:input@rotated",
    "out_proj:output",
)


@dataclass
class Sites:
    """What of a model has names of scute's.

    mixers: computed once more, site by site. parts: the matrices of hybrids. modules: (module,
    "input" or "output", site) of embedding and head. heads: (lm_head, weight of the norm before
    it), shown rotated too. embedding_factor: what the library multiplies the table's rows by.
    """

    mixers: list[Mixer] = field(default_factory=list)
    parts: Parts = field(default_factory=Parts)
    modules: list[tuple[torch.nn.Module, str, str]] = field(default_factory=list)
    heads: list[tuple[torch.nn.Module, torch.Tensor]] = field(default_factory=list)
    embedding_factor: float = 1.0

    def names(self) -> list[str]:
        """All sites, by layers and parts; those scute collect would list."""
        found = [site for _, _, site in self.modules if site == "embedding:output"]
        for mixer in self.mixers:
            ops = MAMBA2_OPS if mixer.is_mamba2 else MAMBA1_OPS
            found += [f"layer_{mixer.layer}.{op}" for op in ops if _can_show(mixer, op)]
        for experts in self.parts.experts:
            found += experts_sites(experts)
        for product in self.parts.products:
            for layer in self.parts.layers_of(product):
                found += product_sites(product, layer)
        found += [site for _, _, site in self.modules if site != "embedding:output"]
        found += ["lm_head:input@rotated" for _ in self.heads]
        return list(dict.fromkeys(found))

    def turns_stream(self) -> bool:
        """Whether scute quantize rotates the residual stream where its width allows it.

        Shared blocks read two streams side by side, which two rotations would have to meet.
        """
        return not self.parts.hybrids


def inputs_of(product: Product) -> list[str]:
    """The sites of its input, without the layer."""
    return [f"{op}:input" for op in (product.site, product.own) if op is not None]


def product_sites(product: Product, layer: str) -> list[str]:
    """What is seen at one matrix in one layer."""
    found = []
    if product.first:
        found += inputs_of(product)
        found += [f"{op}@rotated" for op in found if factor_of(product.width) is not None]
    if product.cache is not None:
        found.append(f"{product.cache}:input")
    if product.output is not None:
        found.append(f"{product.output}:output")
    return [layer + op for op in found]


def experts_sites(experts: Experts) -> list[str]:
    """What is seen where tokens are routed, but for what the experts of a list see themselves."""
    width = experts.norm.shape[0] if experts.norm is not None else 0
    found = [f"{experts.site}:input"]
    if experts.norm is not None and factor_of(width) is not None:
        found.append(f"{experts.site}:input@rotated")
    found += ["router:output"] if experts.router is not None else []
    if experts.latent:
        found.append("experts.up_proj:input")
        if experts.stacked is not None and factor_of(experts.width) is not None:
            found.append("experts.up_proj:input@rotated")
    if experts.stacked is not None:
        inside = ["experts", *(f"experts.{e}" for e in range(experts.count))]
        twin = factor_of(experts.inner) is not None
        for of in inside:
            found += [f"{of}.down_proj:input{end}" for end in ("", "@rotated")[: 1 + twin]]
    return [experts.layer + op for op in [*found, "down_proj:output"]]


def _can_show(mixer: Mixer, op: str) -> bool:
    """Whether a Hadamard transform of that width exists."""
    if op == "in_proj:input@rotated":
        known = mixer.norm is not None
        return known and factor_of(mixer.module.in_proj.weight.shape[1]) is not None
    if op == "out_proj:input@rotated":
        return factor_of(mixer.module.out_proj.weight.shape[1]) is not None
    return True


def _child(model: Any, path: str) -> Any:
    for part in path.split(".") if path else ():
        model = getattr(model, part)
    return model


def _mixer(model: torch.nn.Module, path: str, layer: int, module: torch.nn.Module) -> Mixer:
    """With the norm beside it."""
    block = _child(model, path.rpartition(".")[0])
    for name in _BLOCK_NORMS:
        norm = getattr(block, name, None)
        if getattr(norm, "weight", None) is not None:
            return Mixer(path, layer, module, norm.weight, norm_eps(norm))
    return Mixer(path, layer, module, None)


def _final_norm(modules: dict[str, torch.nn.Module]) -> torch.Tensor | None:
    for wanted in _FINAL_NORMS:
        for path, module in modules.items():
            weight = getattr(module, "weight", None)
            if path.split(".")[-1] == wanted and not LAYER.search(path) and weight is not None:
                return weight
    return None


def _ends(path: str, module: torch.nn.Module) -> list[tuple[str, str]]:
    """(kind, site) of embedding and head."""
    last = path.split(".")[-1]
    if LAYER.search(path) is not None:
        return []
    if last in _EMBEDDINGS and isinstance(module, torch.nn.Embedding):
        return [("output", "embedding:output")]
    return [("input", "lm_head:input"), ("output", "lm_head:output")] if last == "lm_head" else []


def sites_of(model: torch.nn.Module) -> Sites:
    """Error when nothing of the model is known; then module paths are the names to use."""
    found, inside, shared = Sites(), (), {}
    modules = {unwrapped(path): module for path, module in model.named_modules()}
    for path, module in modules.items():
        layer = LAYER.search(path)
        if layer is not None and is_mixer(module):
            found.mixers.append(_mixer(model, path, int(layer[1]), module))
            inside += (path + ".",)
        elif not path.startswith(inside):
            found.modules += [(module, kind, site) for kind, site in _ends(path, module)]
            norm = _final_norm(modules) if path.split(".")[-1] == "lm_head" else None
            if norm is not None and factor_of(norm.shape[0]) is not None:
                found.heads.append((module, norm))
        if path.split(".")[-1] == "shared_transformer":
            shared[path + "."] = ""
    if not found.mixers:
        raise Error(
            f"{type(model).__name__}: expected Mamba mixers (in_proj, conv1d, A_log, …) in "
            "layers.N, found none; names='modules' takes module paths"
        )
    found.parts = parts_of(modules, inside, shared)
    config = getattr(model, "config", None)
    found.embedding_factor = float(getattr(config, "embedding_multiplier", None) or 1)
    return found
