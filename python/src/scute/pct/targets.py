"""The modules whose outputs are the four buckets."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from scute import Error
from scute.hooks import inner_model, unwrapped
from scute.pct.config import parse_targets

# Part of a name in a module's path that says which bucket it is, best first.
_WORDS = {
    "vision.siglip": ("siglip",),
    "vision.dino": ("dinov2", "dino"),
    "projector": ("projector", "mm_projector"),
}
_NOT_VISION = ("projector", "llm", "language", "embed", "token")


def _is_called(module: torch.nn.Module) -> bool:
    """Lists and dictionaries of modules are never called."""
    forward = type(module).forward
    return forward is not torch.nn.Module.forward and not isinstance(
        module, (torch.nn.ModuleList, torch.nn.ModuleDict)
    )


def _by_word(modules: dict[str, torch.nn.Module], bucket: str) -> str | None:
    """The shallowest module named so: its output is the branch's output, what is inside is not."""
    for word in _WORDS[bucket]:
        found = [
            path
            for path, module in modules.items()
            if word in path.lower()
            and _is_called(module)
            and (bucket == "projector" or not any(no in path.lower() for no in _NOT_VISION))
        ]
        if found:
            return min(found, key=lambda path: path.count("."))
    return None


def _embedding(modules: dict[str, torch.nn.Module]) -> str | None:
    found = [path for path, m in modules.items() if isinstance(m, torch.nn.Embedding)]
    text = [p for p in found if not any(no in p.lower() for no in ("vision", "pos", "proj"))]
    preferred = [p for p in text if "llm" in p.lower() or "language" in p.lower()]
    return next(iter(preferred or text), None)


def find_path(model: torch.nn.Module, bucket: str) -> str:
    """The dotted path of the bucket's module, as find_node() finds it."""
    modules = {unwrapped(p): m for p, m in inner_model(model).named_modules() if p}
    path = _embedding(modules) if bucket == "llm" else None
    if path is None and bucket in _WORDS:
        path = _by_word(modules, bucket)
    if path is None:
        raise Error(
            f"find_node: cannot locate target '{bucket}'. Ensure the model exposes matching module "
            "names and types."
        )
    return path


def find_node(model: torch.nn.Module, bucket: str) -> torch.nn.Module:
    """The module whose output is the bucket: a tower, the projector, the table of token vectors.

    bucket: "vision.siglip", "vision.dino", "llm", "projector". Error when there is none.
    """
    path = find_path(model, bucket)
    return next(m for p, m in inner_model(model).named_modules() if unwrapped(p) == path)


def resolve_hooks(
    model: torch.nn.Module, targets: str | Iterable[str] | None = None
) -> dict[str, torch.nn.Module]:
    """Bucket → module, of all four or of `targets` alone. Error naming the first missing one."""
    out = {}
    for bucket in parse_targets(targets):
        try:
            out[bucket] = find_node(model, bucket)
        except Error as error:
            raise Error(f"resolve_hooks: cannot locate '{bucket}': {error}") from None
    return out
