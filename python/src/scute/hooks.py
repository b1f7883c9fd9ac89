"""Before and after a torch module's forward, with arguments by name, on torch 1.13 and 2.

torch is imported here; only code that was given a torch object imports this file.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch

# before(module, arguments) -> None, or arguments to call forward with instead.
Before = Callable[[torch.nn.Module, dict[str, Any]], dict[str, Any] | None]
# after(module, output) -> None, or the output to return instead.
After = Callable[[torch.nn.Module, Any], Any]

# Hooks are shown arguments given by name from 2.0 on.
_HOOKS_SEE_NAMES = int(torch.__version__.split(".")[0]) >= 2


def not_compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, which torch.compile leaves alone: a break of its graph."""
    if not _HOOKS_SEE_NAMES:
        return function
    import torch._dynamo

    return torch._dynamo.disable(function)


class Signature:
    """The names of a forward's parameters, so that f(x) and f(input=x) are the same call."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.names: list[str] = []
        cover = module.__dict__.get(_Cover.NAME)
        forward = module.forward if cover is None else cover.inner
        try:
            parameters = inspect.signature(forward).parameters.values()
        except (TypeError, ValueError):  # built in: no names
            parameters = ()  # type: ignore[assignment]
        for parameter in parameters:
            if parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                break
            self.names.append(parameter.name)

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Arguments by name, in the order given; those beyond the names are "0", "1", …."""
        named = [self.names[i] if i < len(self.names) else str(i) for i in range(len(args))]
        return dict(zip(named, args, strict=True)) | kwargs

    def first(self, arguments: dict[str, Any]) -> str:
        """The name of the first parameter."""
        return self.names[0] if self.names else next(iter(arguments), "0")

    def unbind(
        self, arguments: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """`arguments` in the form that `args` and `kwargs` had."""
        names = list(self.bind(args, {}))
        return (
            tuple(arguments[name] for name in names),
            {name: arguments[name] for name in kwargs},
        )


class Attached:
    """One module's hooks; remove() leaves it as it was."""

    def __init__(
        self,
        module: torch.nn.Module,
        signature: Signature,
        before: Before | None,
        after: After | None,
    ) -> None:
        self._signature = signature
        self._before = before
        self._after = after
        self._undo: list[Callable[[], None]] = []
        if _HOOKS_SEE_NAMES:
            self._hook(module)
        else:
            self._wrap(module)

    def remove(self) -> None:
        """Also when called twice."""
        while self._undo:
            self._undo.pop()()

    def _hook(self, module: torch.nn.Module) -> None:
        if self._before is not None:
            hook = not_compiled(self._call_before)
            self._undo.append(module.register_forward_pre_hook(hook, with_kwargs=True).remove)
        if self._after is not None:
            after = not_compiled(lambda m, _args, output: self._after(m, output))
            self._undo.append(module.register_forward_hook(after).remove)

    def _call_before(
        self, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        changed = self._before(module, self._signature.bind(args, kwargs))
        return None if changed is None else self._signature.unbind(changed, args, kwargs)

    def _wrap(self, module: torch.nn.Module) -> None:
        """1.13: forward itself is covered, because hooks there are not shown arguments by name."""
        cover = module.__dict__.get(_Cover.NAME) or _Cover(module)
        cover.attached.append(self)
        self._undo.append(lambda: cover.leave(self))

    def covered_before(
        self, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What forward is called with."""
        if self._before is None:
            return args, kwargs
        return self._call_before(module, args, kwargs) or (args, kwargs)

    def covered_after(self, module: torch.nn.Module, output: Any) -> Any:
        """What forward returns."""
        changed = None if self._after is None else self._after(module, output)
        return output if changed is None else changed


class _Cover:
    """In place of one module's forward, for all that are attached, who may leave in any order.

    DataParallel copies a module's attributes into its replicas, this cover too, which then must run
    the replica's forward: the pre-hook, which is given the replica, says whose.
    """

    NAME = "_scute_cover"

    def __init__(self, module: torch.nn.Module) -> None:
        self.attached: list[Attached] = []
        self._module = module
        self.inner = module.forward
        self._own = module.__dict__.get("forward")
        self._called = threading.local()
        self._mark = module.register_forward_pre_hook(self._note)
        module.__dict__[self.NAME] = self
        module.forward = self._forward  # type: ignore[method-assign]

    def leave(self, attached: Attached) -> None:
        """The last one takes the cover away."""
        self.attached.remove(attached)
        if self.attached:
            return
        self._mark.remove()
        del self._module.__dict__[self.NAME]
        if self._own is not None:
            self._module.forward = self._own  # type: ignore[method-assign]
        else:
            del self._module.__dict__["forward"]

    def _note(self, instance: torch.nn.Module, _args: Any) -> None:
        self._called.instance = instance

    def _forward(self, *args: Any, **kwargs: Any) -> Any:
        inner, instance = self.inner, self._called.__dict__.pop("instance", None)
        if instance is None:  # forward was called past the hooks: nothing to show
            return inner(*args, **kwargs)
        attached = list(self.attached)
        for one in attached:
            args, kwargs = one.covered_before(instance, args, kwargs)
        bound = instance is self._module or not inspect.ismethod(inner)
        output = inner(*args, **kwargs) if bound else inner.__func__(instance, *args, **kwargs)
        for one in attached:
            output = one.covered_after(instance, output)
        return output


def attach(
    module: torch.nn.Module,
    before: Before | None = None,
    after: After | None = None,
) -> Attached:
    """Calls `before` with the arguments by name and `after` with the output of every forward.

    Several can be attached to one module; each is removed alone, on torch 1.13 the last first.
    """
    return Attached(module, Signature(module), before, after)


def tensors(value: Any, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of floats in nested tuples, lists and mappings, with ".1", ".key" as names.

    The first of a tuple or list has the name of the whole.
    """
    if isinstance(value, torch.Tensor):
        if value.is_floating_point():
            yield name, value
    elif isinstance(value, dict) or hasattr(value, "items"):
        for key, item in value.items():
            yield from tensors(item, f"{name}.{key}")
    elif isinstance(value, (tuple, list)):
        for i, item in enumerate(value):
            yield from tensors(item, f"{name}.{i}" if i > 0 else name)


def changed(value: Any, change: Callable[[torch.Tensor, str], torch.Tensor], name: str = "") -> Any:
    """`value` with every tensor of floats replaced; names as tensors() has them."""
    if isinstance(value, torch.Tensor):
        return change(value, name) if value.is_floating_point() else value
    if isinstance(value, dict) or hasattr(value, "items"):
        items = {key: changed(item, change, f"{name}.{key}") for key, item in value.items()}
        return type(value)(**items) if not isinstance(value, dict) else type(value)(items)
    if isinstance(value, (tuple, list)):
        items = [changed(x, change, f"{name}.{i}" if i > 0 else name) for i, x in enumerate(value)]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def unwrapped(path: str) -> str:
    """A module's path as it is without torch.compile, DataParallel and their like around it."""
    parts = [part for part in path.split(".") if part != "_orig_mod"]
    return ".".join(parts)


def root_name(model: torch.nn.Module) -> str:
    """In place of the path that a model itself has not: its class."""
    return type(model).__name__


def inner_model(model: torch.nn.Module) -> torch.nn.Module:
    """What DataParallel, DistributedDataParallel or torch.compile were given."""
    while True:
        wrapper = type(model).__name__ in (
            "DataParallel",
            "DistributedDataParallel",
            "OptimizedModule",
        )
        inner = getattr(model, "_orig_mod", None) or getattr(model, "module", None)
        if not wrapper or not isinstance(inner, torch.nn.Module):
            return model
        model = inner


def forget_compiled(model: torch.nn.Module) -> None:
    """Lets torch.compile look at a model again: compiled code does not see later hooks."""
    if not _HOOKS_SEE_NAMES:
        return
    import sys

    if "torch._dynamo" in sys.modules and sys.modules["torch._dynamo"] is not None:
        torch._dynamo.reset()
