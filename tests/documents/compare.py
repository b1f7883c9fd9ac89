"""Compares what a document says that a command prints with what it printed."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"[+-]?\d+(?:,\d{3})*(?:\.\d+)?")
# Figures without an error of their own, where the document allows for errors: other processors sum in other orders.
_RELATIVE = 0.005


def _lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def _words(line: str) -> str:
    """The line without its figures, and without the spaces whose number depends on them."""
    return "".join(_NUMBER.sub("#", line).split())


def _figures(line: str) -> list[tuple[float, float, float]]:
    """(value, unit of its last digit, its error or 0) of each figure."""
    found = list(_NUMBER.finditer(line))
    values = []
    for number, here in enumerate(found):
        digits = here[0].replace(",", "")
        unit = 10.0 ** -len(digits.partition(".")[2])
        error = 0.0
        if number + 1 < len(found) and re.fullmatch(r"\s*%?\s*±\s*", line[here.end() : found[number + 1].start()]):
            error = float(found[number + 1][0].replace(",", ""))
        values.append((float(digits), unit, error))
    return values


def _same(said: str, printed: str, within_errors: bool) -> bool:
    if _words(said) != _words(printed):
        return False
    if not within_errors:
        return "".join(said.split()) == "".join(printed.split())
    for (a, unit, error), (b, _, _) in zip(_figures(said), _figures(printed), strict=True):
        if abs(a - b) > max(error, _RELATIVE * abs(a), unit * 1.0001):
            return False
    return True


def difference(said: str, printed: str, within_errors: bool = False) -> str | None:
    """None where `printed` has the lines of `said`, one after another; else the first line that it lacks.

    Spaces and blank lines do not count. `within_errors`: a figure may differ by the error that `said` gives it
    (26.4 ± 0.7), another by half a per cent or a unit of its last digit.
    """
    wanted, found = _lines(said), _lines(printed)
    best = 0
    for start in range(len(found) - len(wanted) + 1):
        same = 0
        while same < len(wanted) and _same(wanted[same], found[start + same], within_errors):
            same += 1
        if same == len(wanted):
            return None
        best = max(best, same)
    return wanted[min(best, len(wanted) - 1)] if wanted else None
