"""Runs the examples of a document and the cells of a notebook, and compares what they print."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BLOCK = re.compile(
    r"^```python *(?P<needs>\w*)\n(?P<code>.*?)^```\n(?:```text\n(?P<output>.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Example:
    """Code, the line it begins at, the package it needs ("" none) and what it prints, if said."""

    code: str
    line: int
    needs: str = ""
    output: str | None = None


def examples_of(document: Path) -> list[Example]:
    """Blocks ```python or ```python NEEDS, each with the ```text block right below it."""
    text = document.read_text(encoding="utf-8")
    return [
        Example(
            code=found["code"],
            line=text.count("\n", 0, found.start()) + 2,
            needs=found["needs"],
            output=found["output"],
        )
        for found in _BLOCK.finditer(text)
    ]


def cells_of(notebook: Path) -> list[Example]:
    """The code cells of an .ipynb, one after another."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [
        Example("".join(cell["source"]), number)
        for number, cell in enumerate(cells)
        if cell["cell_type"] == "code"
    ]


def run(example: Example, where: str, namespace: dict[str, Any]) -> str:
    """What the example prints; errors name `where` and its own line."""
    said = io.StringIO()
    code = compile("\n" * (example.line - 1) + example.code, where, "exec")
    with contextlib.redirect_stdout(said):
        exec(code, namespace)
    return said.getvalue()


def printed_as_said(output: str, said: str) -> bool:
    """Whether they are equal where `said` has no …, which stands for anything."""
    pattern = ".*".join(re.escape(piece) for piece in said.strip().split("…"))
    return re.fullmatch(pattern, output.strip(), re.DOTALL) is not None


@contextlib.contextmanager
def workplace(folder: Path, top: Path) -> Iterator[None]:
    """Inside `folder`, which shows examples/ of the repository: what is written stays there."""
    (folder / "examples").symlink_to(top / "examples")
    with contextlib.chdir(folder):
        yield
