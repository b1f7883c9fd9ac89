"""What a plan costs, on any torch model: the tensors it names are rounded in floats.

    with plan.fake_quantize(model):
        loss = model(ids)

Straight formulas: code = clamp(round half to even(x / scale)), x = scale * (code - zero).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from scute import Error, Statistics
from scute.fake_sites import Options, round_sites
from scute.grids import Grid, WeightForm, grid_of
from scute.hooks import (
    Signature,
    attach,
    changed,
    forget_compiled,
    inner_model,
    root_name,
    unwrapped,
)

_ROUNDED_WEIGHTS = (torch.nn.Linear, torch.nn.modules.conv._ConvNd)
_OWN_NAME = re.compile(r"layer_\d+\.")


@contextmanager
def fake_quantize(
    plan: Mapping[str, Mapping[str, Any]],
    model: torch.nn.Module,
    *,
    w_bits: int = 8,
    a_bits: int = 8,
    per_tensor: bool = False,
    group: int = 128,
    hadamard: bool = True,
    statistics: Statistics | None = None,
) -> Iterator[torch.nn.Module]:
    """Rounds what the plan names while the block runs, and leaves the model as it was.

    plan: site → {"lo", "hi", "bits", "symmetric"}. Sites are all module paths with a kind
    (PATH:input, PATH:output, also PATH:input.NAME) or all scute's names (layer_0.x_proj:input);
    then Mamba models and hybrids compute what `scute quantize` of the same flags makes them.
    w_bits: 8, weights beside the plan's inputs get a scale per output; 4, one for each `group` of
    inputs; 16, floats. a_bits: 8, inputs are rounded by the plan, or 16, only the weights are.
    per_tensor: one 8-bit scale a weight. hadamard: rotate where the plan has NAME@rotated, as
    scute's default. statistics: scales per channel for what the convolution reads, as --conv-scale channel.

    Error naming the sites that the model does not have, or, at the end of the block, those that
    saw no value. As in `scute quantize` without more flags, embedding and head stay floats. The
    state is not rounded: within a window that begins empty it is no input.
    """
    form = WeightForm(w_bits, a_bits, per_tensor, group)
    form.check()
    inner = inner_model(model)
    paths = {unwrapped(path): module for path, module in inner.named_modules()}
    paths.setdefault(root_name(inner), inner)
    modules = {site: _module_of(site, paths) for site in plan}
    seen: set[str] = set()
    with ExitStack() as stack:
        stack.callback(forget_compiled, model)
        if not plan:
            raise Error("plan: expected sites to round, found none")
        unknown = [site for site, module in modules.items() if module is None]
        # A module may be called layer_0, too: names are scute's where they are no modules'.
        if not any(_OWN_NAME.match(site) for site in unknown):
            if unknown:
                raise Error(f"plan: expected sites of modules (PATH:input), found {unknown[0]}")
            _round_modules(stack, plan, paths, seen, form)
        else:
            round_sites(stack, plan, inner, seen, Options(form, hadamard, statistics))
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
    form: WeightForm,
) -> None:
    grids = {site: grid_of(entry, site) for site, entry in plan.items()}
    rounds = form.a_bits == 8
    for path in dict.fromkeys(site.rpartition(":")[0] for site in plan):
        module = paths[path]
        inputs = any(site.startswith(path + ":input") for site in grids)
        if inputs and isinstance(module, _ROUNDED_WEIGHTS):
            _round_own_weight(stack, module, path, form)
        stack.callback(_attach_rounding(module, path, grids, seen, rounds).remove)


def _round_own_weight(
    stack: ExitStack, module: torch.nn.Module, path: str, form: WeightForm
) -> None:
    """For the block the module has a weight of its own, so that one tied to it stays as it is."""
    weight = module._parameters.get("weight")
    if weight is None:
        raise Error(
            f"{path}: expected a weight that is a parameter, found one that is computed "
            "(weight_norm, parametrize): make it plain first"
        )
    if isinstance(module, torch.nn.modules.conv._ConvTransposeNd) and not form.per_tensor:
        if module.groups != 1:
            raise Error(f"{path}: expected one group, or per_tensor=True, found {module.groups}")
        rounded = form.rounded(weight.transpose(0, 1)).transpose(0, 1)
    else:
        rounded = form.rounded(weight)
    stack.callback(module._parameters.__setitem__, "weight", weight)
    module._parameters["weight"] = torch.nn.Parameter(rounded, requires_grad=weight.requires_grad)


def _attach_rounding(
    module: torch.nn.Module, path: str, grids: dict[str, Grid], seen: set[str], rounds: bool
) -> Any:
    signature = Signature(module)

    def one(x: torch.Tensor, site: str) -> torch.Tensor:
        if site not in grids:
            return x
        seen.add(site)
        return grids[site].round(x) if rounds else x

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
