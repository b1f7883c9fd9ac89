"""Reads the Markdown of the repository: fenced blocks with their markers, links, headings, tables.

A marker is an HTML comment on a line of its own, `<!-- KEY: VALUE -->`, which no reader sees. Those right above a
block belong to it:

  not run: WHY            the commands are only for reading; WHY says what they need
  run by: FILE            a test of its own runs them: a file of the repository that names the document
  needs: PATH             they run where the repository has that path beside it (../shared), else not
  whole texts             they run in test.sh --all alone, with the texts of examples/ in full
  stands for: A = B; …    A, a name as of the reader's own files, is B of the repository
  output of: COMMAND      the block shows what COMMAND prints, or `the commands above`
  measured: …             where they come from (figures.py)
  figures: within errors  how its figures are compared (compare.py); without it they are equal
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_MARKER = re.compile(r"^<!-- ([a-z][a-z ]*?)(?:: (.*?))? -->$")
_KEYS = {"not run", "run by", "needs", "whole texts", "stands for", "output of", "figures", "measured"}
# Folders with documents; whatever else lies in a working folder (builds, environments) is not the repository's.
_FOLDERS = ("cli", "cluster", "bench", "docs", "examples", "python", "scripts", "scute", "tests")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language ("" none), its text, the line that it begins at, and its markers."""

    language: str
    text: str
    line: int
    markers: dict[str, str] = field(default_factory=dict)


def documents(top: Path) -> list[Path]:
    """Every Markdown file of the repository below `top`, with or without git."""
    found = list(top.glob("*.md"))
    for folder in _FOLDERS:
        found += (top / folder).rglob("*.md")
    return sorted(path for path in found if "node_modules" not in path.parts)


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a document. ValueError for a marker right above one that is not known."""
    markers: dict[str, str] = {}
    lines = enumerate(text.splitlines(), start=1)
    for number, line in lines:
        if line.startswith("```"):
            body = []
            for _, inner in lines:
                if inner.startswith("```"):
                    break
                body.append(inner)
            unknown = markers.keys() - _KEYS
            if unknown:
                raise ValueError(f"line {number}: expected a marker of {sorted(_KEYS)}, found {sorted(unknown)}")
            yield Block(line[3:].strip(), "\n".join(body) + "\n", number + 1, markers)
            markers = {}
        elif found := _MARKER.match(line):
            markers = {**markers, found[1]: found[2] or ""}
        elif line.strip():
            markers = {}


def prose(text: str) -> str:
    """The document with its fenced blocks and comments left blank, line for line."""
    kept, inside = [], False
    for line in text.splitlines():
        fence = line.startswith("```")
        kept.append("" if inside or fence or _MARKER.match(line) else line)
        inside ^= fence
    return "\n".join(kept)


def code_spans(text: str) -> Iterator[tuple[int, str]]:
    """(line, text) of every `code span` outside of blocks."""
    for number, line in enumerate(prose(text).splitlines(), start=1):
        for found in re.finditer(r"(?<!`)`([^`]+)`(?!`)", line):
            yield number, found[1].replace("\\|", "|")


def links(text: str) -> Iterator[tuple[int, str]]:
    """(line, target) of every link that is no address of the web."""
    for number, line in enumerate(prose(text).splitlines(), start=1):
        line = re.sub(r"`[^`]*`", "", line)
        for found in re.finditer(r"\]\(([^()\s]+)\)", line):
            if "://" not in found[1] and not found[1].startswith("mailto:"):
                yield number, found[1]


def anchors(text: str) -> set[str]:
    """The names of its headings, as GitHub and the site make them."""
    names: set[str] = set()
    for line in prose(text).splitlines():
        if found := re.match(r"#+ +(.*)", line):
            title = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", found[1]).replace("`", "")
            name = re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")
            count = 1
            while name in names:
                name, count = f"{name}-{count}", count + 1
            names.add(name)
    return names
