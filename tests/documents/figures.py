"""Where the documents' figures come from: markers at tables, and the table of all of them.

A table of figures stands below a marker of its section,

    <!-- measured: DATE COMMIT; machine NAME; COMMAND -->
    <!-- measured: DATE COMMIT; machine NAME; COMMAND; moved WHAT MOVED SINCE THE TIME BEFORE -->

which holds for the tables and the text up to the next marker or heading. Machines are described in
docs/what_moved.md, where the list of all markers is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from markdown import documents

DOCUMENT = "docs/what_moved.md"
_BEGIN = "<!-- table of figures: written by tests/documents/figures_test.py -->"
_END = "<!-- end of table of figures -->"
_MARKER = re.compile(
    r"^<!-- measured: (?P<date>\d{4}-\d\d-\d\d) (?P<commit>[0-9a-f]{7,12}); machine (?P<machine>[\w-]+); "
    r"(?P<command>.+?)(?:; moved (?P<moved>.+))? -->$"
)
# A cell that is a measurement: a number, perhaps with error, unit and factor; several side by side.
_FIGURE = re.compile(r"^[~*+−\-×<≤]*\s*\d[\d,]*(\.\d+)?(?!\w*[A-Za-z]\d)(\s|$|[%×*,;(·–])")
# Words that a figure's unit may be, so that "8 bits" and "2 threads" are none.
_NOT_MEASURED = re.compile(r"^\d+( bits?| threads?| levels?|-bit|:)\b|^\d+$")
# Not measurements: history, layouts of files, published sizes, tolerances, what other tools say of themselves.
_LEFT_OUT = ("CHANGELOG.md", "docs/compares.md", "docs/decisions/", "docs/faults.md", "docs/formats.md",
             "docs/numerics.md", "docs/regressor_export.md", "examples/", "scute/", DOCUMENT)


@dataclass(frozen=True)
class Measured:
    """One marker: where it stands, what it says, and how many rows of figures it stands for."""

    document: str
    section: str
    date: str
    commit: str
    machine: str
    command: str
    moved: str
    rows: int


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip().strip("|"))]


def _rows_of_figures(table: list[str]) -> int:
    """Rows below the header in which some cell is a figure."""
    return sum(any(_FIGURE.match(cell) and not _NOT_MEASURED.match(cell) for cell in _cells(row)) for row in table[2:])


def _anchor(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.replace("`", "").lower()).strip().replace(" ", "-")


def read(path: Path, name: str) -> tuple[list[Measured], list[str]]:
    """The markers of a document, and what is wrong: tables of figures that stand below none."""
    found: list[Measured] = []
    wrong: list[str] = []
    section, marker, rows, fence = "", None, 0, False

    def close() -> None:
        nonlocal marker, rows
        if marker is not None:
            found.append(Measured(name, section, marker["date"], marker["commit"], marker["machine"], marker["command"],
                                  marker["moved"] or "", rows))
        marker, rows = None, 0

    lines = path.read_text(encoding="utf-8").splitlines()
    at = 0
    while at < len(lines):
        line = lines[at]
        fence ^= line.startswith("```")
        if fence:
            at += 1
            continue
        if heading := re.match(r"#+ +(.*)", line):
            close()
            section = heading[1]
        elif line.startswith("<!-- measured"):
            close()
            marker = _MARKER.match(line)
            if marker is None:
                wrong.append(f"{name}:{at + 1}: expected <!-- measured: DATE COMMIT; machine NAME; COMMAND -->, "
                             f"found {line}")
        elif line.startswith("|"):
            table = []
            while at < len(lines) and lines[at].startswith("|"):
                table.append(lines[at])
                at += 1
            count = _rows_of_figures(table)
            # One row of figures may be a setting or an example.
            if count >= 2 and marker is None:
                wrong.append(f"{name}:{at - len(table) + 1}: expected where these figures come from, "
                             "found no marker <!-- measured: … --> above them in the section")
            rows += count
            continue
        at += 1
    close()
    return found, wrong


def read_all(top: Path) -> tuple[list[Measured], list[str]]:
    """The markers of all documents of the repository, and what is wrong in them."""
    found: list[Measured] = []
    wrong: list[str] = []
    for path in documents(top):
        name = str(path.relative_to(top))
        if not name.startswith(_LEFT_OUT):
            markers, lacking = read(path, name)
            found += markers
            wrong += lacking
    return found, wrong


def table(measured: list[Measured]) -> str:
    """The table of docs/what_moved.md."""
    lines = ["| figures of | rows | measured | at commit | machine | command | moved |", "|" + "---|" * 7]
    for one in measured:
        target = one.document.removeprefix("docs/") if one.document.startswith("docs/") else f"../{one.document}"
        section = one.section.replace("`", "").partition(" (")[0]
        link = f"[{one.document.removeprefix('docs/')}: {section}]({target}#{_anchor(one.section)})"
        lines.append(f"| {link} | {one.rows or '–'} | {one.date} | {one.commit} | {one.machine} | {one.command} "
                     f"| {one.moved} |")
    return "\n".join(lines)


def with_table(text: str, measured: list[Measured]) -> str:
    """docs/what_moved.md with its table made anew."""
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n{table(measured)}\n{_END}{after}"
