"""The reference of the library's installed headers, by Doxygen; a warning is an error."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as xml
from pathlib import Path

_HERE = Path(__file__).resolve().parent


def _described(node: xml.Element) -> bool:
    return any("".join(part.itertext()).strip() for kind in ("briefdescription", "detaileddescription")
               if (part := node.find(kind)) is not None)


def _place(node: xml.Element) -> tuple[str, int]:
    where = node.find("location")
    assert where is not None
    return where.get("file", ""), int(where.get("line", "0"))


def _stands_alone(headers: Path, file: str, line: int) -> bool:
    """Whether nothing stands right above: a declaration below another shares its comment."""
    lines = (headers / file).read_text(encoding="utf-8").splitlines()
    return line < 2 or not lines[line - 2].strip()


def undocumented(headers: Path, folder: Path) -> list[str]:
    """Types, and functions that are no later ones of a group, without a comment; `folder` has Doxygen's XML."""
    found = []
    for path in sorted(folder.glob("*.xml")):
        for compound in xml.parse(path).getroot().iter("compounddef"):
            nodes = []
            if compound.get("kind") in ("class", "struct", "union"):
                nodes = [(compound, compound.findtext("compoundname"))]
            elif compound.get("kind") == "namespace":
                nodes = [(member, member.findtext("name")) for member in compound.iter("memberdef")]
            for node, name in nodes:
                if node.get("prot") == "private" or _described(node):
                    continue
                file, line = _place(node)
                if node is compound or node.get("kind") in ("enum", "typedef") or _stands_alone(headers, file, line):
                    found.append(f"{file}:{line}: expected a comment on {name}, found none")
    return found


def make(build: Path, folder: Path) -> None:
    """Writes HTML into `folder`/html, of the headers that `build` installs. RuntimeError with what is wrong."""
    headers = folder / "headers"
    subprocess.run(["cmake", "--install", str(build), "--component", "development", "--prefix", str(headers)],
                   check=True, stdout=subprocess.DEVNULL)  # fmt: skip
    include = headers / "include"
    settings = (_HERE / "Doxyfile").read_text(encoding="utf-8")
    settings += f"INPUT = {include}\nSTRIP_FROM_PATH = {include}\nSTRIP_FROM_INC_PATH = {include}\n"
    settings += f"OUTPUT_DIRECTORY = {folder}\n"
    ended = subprocess.run(["doxygen", "-"], input=settings, capture_output=True, text=True, check=False)
    wrong = [line for line in ended.stderr.splitlines() if line.strip()]
    wrong += undocumented(include, folder / "xml")
    if ended.returncode != 0 or wrong:
        raise RuntimeError("\n".join(["expected headers that Doxygen reads without a warning, found", *wrong]))
