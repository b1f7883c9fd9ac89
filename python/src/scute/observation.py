"""Exact statistics of any torch model, through hooks.

with scute.observe(model, include=["re:.*mixer.*"]) as seen:
    forward_loop(model)
seen.statistics.save("stats.safetensors")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from scute import Error, Statistics
from scute.hooks import (
    Attached,
    Signature,
    attach,
    inner_model,
    root_name,
    tensors,
    unwrapped,
)
from scute.observed_sites import by_sites
from scute.patterns import choose
from scute.seen import Seen

KINDS = ("input", "output")
# What quantizers round; chosen where neither include nor modules says otherwise.
_ROUNDED = (
    torch.nn.Linear,
    torch.nn.Conv1d,
    torch.nn.Conv2d,
    torch.nn.Conv3d,
    torch.nn.Embedding,
)


def observe(
    model: torch.nn.Module,
    include: str | Iterable[str] | None = None,
    exclude: str | Iterable[str] | None = None,
    kinds: Iterable[str] = KINDS,
    modules: type | tuple[type, ...] | None = None,
    *,
    names: str = "modules",
    fine: int = 8,
    per_channel: bool = False,
    where: str = "auto",
    meta: dict[str, Any] | None = None,
) -> Seen:
    """Counts what passes a torch model's modules, exactly.

    include, exclude: names, globs or "re:…" over module paths (names="modules") or site names.
    kinds: of "input" and "output". modules: classes; without include and modules Linear, Conv and
    Embedding, with include every class. A model that is one such module has its class as path.
    names: "modules" gives sites PATH:input and PATH:output
    (further arguments PATH:input.NAME, further outputs PATH:output.1), a call is a sample; "sites"
    gives scute's names for Mamba models and hybrids, a sequence is a sample, as `scute collect` writes them.
    fine: mantissa bits kept, 1 to 16. per_channel: also max abs(x) along the last dimension.
    where: "device" counts with torch's integer operations also what is in the host's memory.
    meta: added to statistics.meta, e.g. {"model_sha256": …}.

    Tensors on another device are counted there. Integer tensors are passed over. Error when a
    pattern of include matches nothing, or on an unknown kind or name; then no hook was set.
    """
    if not isinstance(model, torch.nn.Module):
        raise Error(f"observe: expected a torch.nn.Module, found {type(model).__name__}")
    kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    for kind in kinds:
        if kind not in KINDS:
            raise Error(f"kinds: expected 'input' or 'output', found {kind!r}")
    inner = inner_model(model)
    seen = Seen(Statistics(fine=fine, per_channel=per_channel), where)
    seen._model = model
    if names == "modules":
        _by_modules(seen, inner, include, exclude, kinds, modules)
    elif names == "sites":
        if modules is not None:
            raise Error("modules: expected none beside names='sites', found some")
        by_sites(seen, inner, include, exclude, kinds)
    else:
        raise Error(f"names: expected 'modules' or 'sites', found {names!r}")
    if not seen._attach:
        raise Error(f"observe: expected modules to observe in {type(inner).__name__}, found none")
    seen.statistics.meta = _meta(inner, names) | (meta or {})
    return seen


def _meta(model: torch.nn.Module, names: str) -> dict[str, Any]:
    from scute import __version__

    return {
        "tool": f"scute {__version__}",
        "model": type(model).__name__,
        "observer": "histogram",
        "compute": "f32" if names == "sites" else "torch",
    }


def _by_modules(
    seen: Seen,
    model: torch.nn.Module,
    include: str | Iterable[str] | None,
    exclude: str | Iterable[str] | None,
    kinds: tuple[str, ...],
    classes: type | tuple[type, ...] | None,
) -> None:
    asked = classes is not None
    if classes is None and include is None:
        classes = _ROUNDED
    paths: dict[torch.nn.Module, list[str]] = {}
    leaf = not any(True for _ in model.children())
    for path, module in model.named_modules(remove_duplicate=False):
        # Of models with parts, what goes in and comes out is no site unless its class is asked for.
        if not path and not leaf and not asked:
            continue
        if classes is None or isinstance(module, classes):
            paths.setdefault(module, []).append(unwrapped(path) or root_name(model))
    # A shared module is one place, under the first of its paths.
    names = {own[0]: tuple(own) for own in paths.values()}
    wanted = set(choose(names, include, exclude))
    for module, own in paths.items():
        if own[0] not in wanted:
            continue
        seen._sources[own[0]] = False
        seen.sites += [f"{own[0]}:{kind}" for kind in kinds]
        seen._attach.append(_module_hook(seen, module, own[0], kinds))


def _module_hook(
    seen: Seen, module: torch.nn.Module, path: str, kinds: tuple[str, ...]
) -> Callable[[], Attached]:
    signature = Signature(module)

    def before(_: torch.nn.Module, arguments: dict[str, Any]) -> None:
        seen.called(path)
        first = signature.first(arguments)
        for name, value in arguments.items():
            site = f"{path}:input" if name == first else f"{path}:input.{name}"
            for full, tensor in tensors(value, site):
                seen.add(full, tensor)

    def after(_: torch.nn.Module, output: Any) -> None:
        seen.called(path)
        for full, tensor in tensors(output, f"{path}:output"):
            seen.add(full, tensor)

    return lambda: attach(
        module,
        before if "input" in kinds else None,
        after if "output" in kinds else None,
    )
