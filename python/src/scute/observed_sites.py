"""scute's sites of a torch model, observed: mixers computed once more, other parts by hooks."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch

from scute import Error
from scute.hadamard import shown_rotated
from scute.hooks import Attached, attach, tensors
from scute.mixers import Matrix, Mixer
from scute.observed_parts import observe_parts, sequences
from scute.patterns import choose
from scute.seen import Seen
from scute.sites import Sites, sites_of

# A mixer that computes something else differs by about 1 of the largest value; bfloat16 by 0.01.
_OTHER_MIXER = 0.05


def by_sites(
    seen: Seen,
    model: torch.nn.Module,
    include: str | Iterable[str] | None,
    exclude: str | Iterable[str] | None,
    kinds: tuple[str, ...],
) -> None:
    """Prepares the hooks of observe(names="sites")."""
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
    observe_parts(seen, found.parts, wanted)
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
            if site == "embedding:output" and found.embedding_factor != 1:
                x = x * found.embedding_factor
            for sequence in sequences(x):
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
        self, matrix: Matrix, x: torch.Tensor, plain: torch.Tensor | None = None
    ) -> torch.Tensor:
        self.site(matrix.op + ":input", x)
        twin = matrix.op + ":input@rotated"
        if self._layer + twin in self._wanted:
            self.site(twin, matrix.unweighted(x, plain))
        return torch.nn.functional.linear(x, matrix.weight, matrix.bias)

    def product(self, matrix: Matrix, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(x, matrix.weight)

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
        shown = _Shown(seen, mixer, wanted)
        computed.out = mixer.of(module).forward(mixer_input(mixer, arguments), shown)

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
