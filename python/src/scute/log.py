"""The experiment log: one JSON object a line, only ever added to."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scute import _core
from scute.verbs import run

if TYPE_CHECKING:
    import pandas

Entries = list[dict[str, Any]]

DEFAULT = "logs/percentile_experiments.jsonl"


class Log:
    """A log file, as `scute run` writes and `scute log` shows it; those of other tools too.

    Every call reads the file as it is then. A line that is no complete JSON object is left out with
    a warning.
    """

    def __init__(self, path: str | os.PathLike[str] = DEFAULT) -> None:
        self.path = os.fspath(path)

    def append(self, record: Mapping[str, Any]) -> None:
        """Adds a line under a lock, whole or not at all; the file and its folder are made.

        Keys that readers know: config (with "model"), activation_stats, reorder_summary, results,
        activation_data_file, command, id; timestamp is set where it is missing. TypeError for what
        JSON cannot hold; Error when `path` is another file.
        """
        stamped = {"timestamp": time.strftime("%Y-%m-%d %H:%M:%S"), **record}
        _core.append_record(self.path, stamped)

    def list(self, last: int | None = None) -> Entries:
        """Entries in the file's order: number, id, timestamp, command, config, results … as dicts.

        last: only so many of the newest. Without activation_stats, the bulk of a line: record() has
        it. Error when there is no such file.
        """
        entries = self.filter()
        return entries if last is None else entries[len(entries) - min(last, len(entries)) :]

    def filter(self, *terms: str) -> Entries:
        """Entries that all terms match: "KEY: VALUE" a member of config at any depth ("bits: 8").

        Anything else is a piece of config's model or of the command, case ignored.
        """
        entries, remarks = _core.read_log(self.path, [*terms])
        for remark in remarks:
            warnings.warn(remark, stacklevel=2)
        return entries

    def record(self, which: int | str) -> dict[str, Any]:
        """All of one line: a number from 1 (-1: the last) or the first digits of an id."""
        return _core.log_record(self.path, str(which))

    def compare(self, first: int | str, second: int | str) -> dict[str, Any]:
        """What differs between two, and whether it is more than noise, as `scute log compare`."""
        return run("log", "compare", str(first), str(second), log=self.path)

    def to_pandas(self, *terms: str) -> pandas.DataFrame:
        """A row an experiment: number, id, timestamp, config.KEY …, results.KEY …; needs pandas."""
        import pandas

        return pandas.DataFrame([_flat(entry) for entry in self.filter(*terms)])

    def __len__(self) -> int:
        return len(self.filter())

    def __repr__(self) -> str:
        return f"Log({self.path!r})"


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested members as outer.inner."""
    out: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            out.update(_flat(item, f"{prefix}{key}."))
        elif not (isinstance(item, Sequence) and not isinstance(item, str)):
            out[prefix + key] = item
    return out
