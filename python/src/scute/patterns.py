"""Names, globs and "re:…" that choose sites."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from scute import Error


def matches(pattern: str, *names: str) -> bool:
    """Whether one of the names matches: "re:…" from its beginning, anything else as a glob."""
    if pattern.startswith("re:"):
        try:
            return any(re.match(pattern[3:], name) for name in names)
        except re.error as error:
            raise Error(f"{pattern}: expected a regular expression, found {error}") from None
    return any(name == pattern or fnmatchcase(name, pattern) for name in names)


def choose(
    names: Mapping[str, tuple[str, ...]],
    include: str | Iterable[str] | None,
    exclude: str | Iterable[str] | None,
) -> list[str]:
    """The keys of `names` (key → all names it goes by) that are included and not excluded.

    None: all, or none. Error naming an include pattern that matches nothing, and what there is.
    """
    chosen = {key: include is None for key in names}
    for pattern in _patterns(include):
        found = [key for key, own in names.items() if matches(pattern, *own)]
        if not found:
            shown = ", ".join([*list(names)[:4], "…"]) if names else "nothing to choose from"
            raise Error(f"include {pattern!r}: expected a pattern that matches, found {shown}")
        chosen.update(dict.fromkeys(found, True))
    for pattern in _patterns(exclude):
        chosen.update({key: False for key, own in names.items() if matches(pattern, *own)})
    return [key for key, wanted in chosen.items() if wanted]


def _patterns(given: str | Iterable[str] | None) -> list[str]:
    if given is None:
        return []
    return [given] if isinstance(given, str) else list(given)
