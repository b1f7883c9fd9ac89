"""Exact statistics of any torch model, through hooks.

with scute.observe(model, include=["re:.*mixer.*"]) as seen:
    forward_loop(model)
seen.statistics.save("stats.safetensors")
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch

from scute import Error, Statistics
from scute.hooks import (
    Attached,
    Signature,
    attach,
    inner_model,
    tensors,
    unwrapped,
)
from scute.mixers import Mixer
from scute.patterns import choose
from scute.seen import Seen
from scute.sites import Sites, shown_rotated, sites_of

KINDS = ("input", "output")
# What quantizers round; chosen where neither include nor modules says otherwise.
_ROUNDED = (
    torch.nn.Linear,
    torch.nn.Conv1d,
    torch.nn.Conv2d,
    torch.nn.Conv3d,
    torch.nn.Embedding,
)
# A mixer that computes something else differs by about 1 of the largest value; bfloat16 by 0.01.
_OTHER_MIXER = 0.05


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
    Embedding, with include every class. names: "modules" gives sites PATH:input and PATH:output
    (further arguments PATH:input.NAME, further outputs PATH:output.1), a call is a sample; "sites"
    gives scute's names for Mamba models, a sequence is a sample, as `scute collect` writes them.
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
        _by_sites(seen, inner, include, exclude, kinds)
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
    if classes is None and include is None:
        classes = _ROUNDED
    paths: dict[torch.nn.Module, list[str]] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        if path and (classes is None or isinstance(module, classes)):
            paths.setdefault(module, []).append(unwrapped(path))
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


def _by_sites(
    seen: Seen,
    model: torch.nn.Module,
    include: str | Iterable[str] | None,
    exclude: str | Iterable[str] | None,
    kinds: tuple[str, ...],
) -> None:
    found = sites_of(model)
    rest = "lm_head:output" if include is None else None
    names = {site: (site,) for site in found.names() if site != rest}
    wanted = {
        site
        for site in choose(names, include, exclude)
        if ("output" if site.endswith(":output") else "input") in kinds
    }
    seen.sites = [site for site in names if site in wanted]
    for mixer in found.mixers:
        if any(site.startswith(f"layer_{mixer.layer}.") for site in wanted):
            seen._sources[mixer.path] = False
            seen._attach.append(_mixer_hook(seen, mixer, wanted))
    _plain_hooks(seen, found, wanted)


def _plain_hooks(seen: Seen, found: Sites, wanted: set[str]) -> None:
    norms = dict(found.heads)
    for module, kind, site in found.modules:
        twin = "lm_head:input@rotated"
        norm = norms.get(module) if site == "lm_head:input" and twin in wanted else None
        if site not in wanted and norm is None:
            continue
        seen._sources[site] = False

        def show(x: torch.Tensor, site: str = site, norm: torch.Tensor | None = norm) -> None:
            seen.called(site)
            for sequence in _sequences(x):
                if site in wanted:
                    seen.add(site, sequence)
                if norm is not None:
                    rows = sequence.detach().float()
                    seen.add("lm_head:input@rotated", shown_rotated(rows, norm.detach().float()))

        def before(_: torch.nn.Module, arguments: dict[str, Any], show: Any = show) -> None:
            for value in list(arguments.values())[:1]:
                show(value)

        def after(_: torch.nn.Module, output: Any, show: Any = show) -> None:
            show(output)

        hooks = (before, None) if kind == "input" else (None, after)
        seen._attach.append(lambda module=module, hooks=hooks: attach(module, *hooks))


def _sequences(x: torch.Tensor) -> list[torch.Tensor]:
    """B x L x channels as B tensors."""
    return list(x) if x.dim() >= 3 else [x]


class _Shown:
    """The pass that shows what passes one mixer."""

    def __init__(self, seen: Seen, mixer: Mixer, wanted: set[str]) -> None:
        self._seen = seen
        self._layer = f"layer_{mixer.layer}."
        self._wanted = wanted

    def site(self, op: str, x: torch.Tensor) -> torch.Tensor:
        if self._layer + op in self._wanted:
            for sequence in x:
                self._seen.add(self._layer + op, sequence)
        return x

    def linear(
        self,
        op: str,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None = None,
        norm: torch.Tensor | None = None,
        unweighted: torch.Tensor | None = None,
    ) -> torch.Tensor:
        self.site(op + ":input", x)
        if f"{self._layer}{op}:input@rotated" in self._wanted:
            plain = x if unweighted is None else unweighted
            self.site(
                op + ":input@rotated",
                shown_rotated(plain, norm if unweighted is None else None),
            )
        return torch.nn.functional.linear(x, weight, bias)

    def product(self, op: str, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(x, weight)

    def convolution_weight(self, weight: torch.Tensor) -> torch.Tensor:
        return weight


def mixer_input(mixer: Mixer, arguments: dict[str, Any]) -> torch.Tensor:
    """What the mixer reads, B x L x D. Error on decoding steps and padding, which no site has."""
    u = next(iter(arguments.values()))
    if not isinstance(u, torch.Tensor) or u.dim() != 3:
        raise Error(
            f"{mixer.path}: expected an input of sequences x tokens x channels, found another"
        )
    offset = getattr(arguments.get("inference_params"), "seqlen_offset", 0)
    position = arguments.get("cache_position")
    if isinstance(position, torch.Tensor) and arguments.get("cache_params") is not None:
        offset = int(position.flatten()[0]) if position.numel() == u.shape[1] else 0
    if offset > 0:
        raise Error(
            f"{mixer.path}: expected whole sequences, found a decoding step (use_cache=False)"
        )
    mask = arguments.get("attention_mask")
    if isinstance(mask, torch.Tensor) and not bool(mask.bool().all()):
        raise Error(
            f"{mixer.path}: expected sequences of one length, found padding (attention_mask)"
        )
    return u


def _mixer_hook(seen: Seen, mixer: Mixer, wanted: set[str]) -> Callable[[], Attached]:
    computed = threading.local()
    warned: list[str] = []

    @torch.no_grad()
    def before(module: torch.nn.Module, arguments: dict[str, Any]) -> None:
        seen.called(mixer.path)
        own = Mixer(mixer.path, mixer.layer, module, mixer.norm)  # a replica has its own weights
        computed.out = own.forward(mixer_input(mixer, arguments), _Shown(seen, mixer, wanted))

    @torch.no_grad()
    def after(_: torch.nn.Module, output: Any) -> None:
        mine, theirs = (
            computed.__dict__.pop("out", None),
            next(iter(tensors(output)), ("", None))[1],
        )
        if mine is None or theirs is None or mine.shape != theirs.shape or warned:
            return
        scale = mine.abs().max().clamp_min(1e-30)
        apart = float((mine - theirs.float()).abs().max() / scale)
        if apart > _OTHER_MIXER:
            warned.append(mixer.path)
            warnings.warn(
                f"{mixer.path}: this library's output and that of scute's equations differ by "
                f"{apart:.2g} of the largest value",
                stacklevel=2,
            )

    return lambda: attach(mixer.module, before, after)
