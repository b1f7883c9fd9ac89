"""The reference of the Python package, from its docstrings; nothing is imported."""

from __future__ import annotations

import ast
import re
from pathlib import Path

# Modules of the package that users import besides scute itself, in the order of docs/python.md.
_MODULES = ("ray", "adapters.torch_ao", "adapters.modelopt", "adapters.llm_compressor", "adapters.onnxruntime",
            "adapters.lm_eval")  # fmt: skip
_Definition = ast.ClassDef | ast.FunctionDef
# The extension makes it, and the stubs import it.
_ERROR = ast.parse(
    'class Error(ValueError): "Every refusal: where, what was expected, what was found, what to do."'
).body[0]


def _definitions(path: Path) -> dict[str, _Definition]:
    """Public names that a module defines."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")}


def _split(arguments: str) -> list[str]:
    """At commas that are in no brackets."""
    parts, depth = [""], 0
    for character in arguments:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def _signature(name: str, function: ast.FunctionDef) -> str:
    arguments = [one for one in _split(ast.unparse(function.args)) if one not in ("", "self", "cls", "/")]
    returns = f" -> {ast.unparse(function.returns)}" if function.returns else ""
    text = f"{name}({', '.join(arguments)}){returns}"
    return text if len(text) <= 100 or not arguments else f"{name}(\n    " + ",\n    ".join(arguments) + f"\n){returns}"


def _as_markdown(docstring: str) -> str:
    """With * and < as themselves, outside of `code`."""
    parts = re.split(r"(`[^`]*`)", docstring)
    parts[::2] = [part.replace("*", "\\*").replace("<", "&lt;") for part in parts[::2]]
    return "".join(parts)


def _described(title: str, signature: str, node: _Definition, depth: int) -> list[str]:
    text = _as_markdown(ast.get_docstring(node) or "")
    return [f"{'#' * depth} {title}", "", "```python", signature, "```", "", *text.splitlines(), ""]


def _members(node: ast.ClassDef) -> list[str]:
    """Its documented methods and properties."""
    lines: list[str] = []
    for member in node.body:
        if not isinstance(member, ast.FunctionDef) or not ast.get_docstring(member):
            continue
        if member.name.startswith("_") and member.name not in ("__init__", "__add__", "__getitem__"):
            continue
        decorators = {ast.unparse(one) for one in member.decorator_list}
        name = f"{node.name}.{member.name}"
        if "property" in decorators:
            returns = f": {ast.unparse(member.returns)}" if member.returns else ""
            lines += _described(name, name + returns, member, 4)
        else:
            lines += _described(name, _signature(name, member), member, 4)
    return lines


def _entry(name: str, node: _Definition) -> list[str]:
    if isinstance(node, ast.FunctionDef):
        return _described(name, _signature(name, node), node, 3)
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    return _described(name, f"class {name}({bases})" if bases else f"class {name}", node, 3) + _members(node)


def reference(package: Path) -> str:
    """The page, of the package's sources in `package`. ValueError for a public name without a docstring."""
    tree = ast.parse((package / "__init__.py").read_text(encoding="utf-8"))
    defined: dict[str, _Definition] = {"Error": _ERROR}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("scute."):
            module = package / f"{node.module.removeprefix('scute.')}.py"
            there = _definitions(module if module.exists() else module.with_suffix(".pyi"))
            defined |= {name.name: there[name.name] for name in node.names if name.name in there}
    names = next(ast.literal_eval(node.value) for node in tree.body
                 if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__")
    lines = ["# Python reference", "", "Made from the package's docstrings. How the parts belong together: "
             "[scute from Python](../docs/python.md).", "", "## scute", ""]
    entries = [(name, defined[name]) for name in names if not name.startswith("__")]
    for name, node in entries:
        lines += _entry(name, node)
    for module in _MODULES:
        path = package / f"{module.replace('.', '/')}.py"
        tree = ast.parse(path.read_text(encoding="utf-8"))
        lines += [f"## scute.{module}", "", *_as_markdown(ast.get_docstring(tree) or "").splitlines(), ""]
        for name, node in _definitions(path).items():
            entries.append((name, node))
            lines += _entry(name, node)
    bare = [name for name, node in entries if not ast.get_docstring(node)]
    if bare:
        raise ValueError(f"expected a docstring of each public name, found none of {', '.join(bare)}")
    return "\n".join(lines) + "\n"
