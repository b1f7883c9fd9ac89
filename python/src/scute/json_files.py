"""JSON files of others, with errors that say where."""

from __future__ import annotations

import json
import os
from typing import Any

from scute._core import Error


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The object that a JSON file holds. Error naming the file, and line and column of a fault."""
    where = os.fspath(path)
    with open(path, "rb") as file:
        raw = file.read()
    try:
        values = json.loads(raw.decode("utf-8"))
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise Error(f"{where}: expected JSON, found a fault at {place}: {error.msg}") from None
    except UnicodeDecodeError as error:
        raise Error(f"{where}: expected JSON, found no UTF-8 at byte {error.start}") from None
    if not isinstance(values, dict):
        raise Error(f"{where}: expected a JSON object, found {type(values).__name__}")
    return values
