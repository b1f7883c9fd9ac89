"""Tables of percentiles as the pipeline's tools exchange them: checked, read and written."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import pickle
import secrets
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from scute import Error
from scute.pct.config import BUCKETS, normalize_stage
from scute.pct.policy import compute_clip_range, decide_percentile, percentiles_of

_NEEDED = ("mode", "target", "module", "numel", "min", "max")
_FILE = ("config", "targets", "observers")
_LARGEST = 1 << 26  # bytes of a file's dictionary; those of four buckets are a few thousand


def check_observer(payload: Mapping[str, Any]) -> None:
    """One bucket's table; AssertionError with the key and what was expected."""
    missing = [key for key in _NEEDED if key not in payload]
    assert not missing, f"missing keys {missing}; found {sorted(map(str, payload))}"
    for key in ("mode", "module"):
        assert isinstance(payload[key], str), f"'{key}' must be str"
    for key in ("numel", "min", "max"):
        value = payload[key]
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        assert number, f"'{key}' must be number, got {type(value).__name__}"
    assert payload["numel"] >= 0, "'numel' must be >= 0"
    low, high = payload["min"], payload["max"]
    assert math.isfinite(low) and math.isfinite(high), "min/max must be finite"
    assert high >= low, f"max ({high}) must be >= min ({low})"
    assert payload["target"] in BUCKETS, f"'target' must be one of {list(BUCKETS)}"
    beside = {key: value for key, value in payload.items() if key != "percentiles"}
    assert percentiles_of(beside), (
        "no percentile keys found (expected keys like 'p99.9' or 'p99_99')"
    )


def check_summary(summary: Mapping[str, Any]) -> None:
    """A whole file's; AssertionError with the bucket, the key and what was expected."""
    missing = [key for key in _FILE if key not in summary]
    assert not missing, f"missing keys {missing}; found {sorted(map(str, summary))}"
    assert isinstance(summary["targets"], (list, tuple, set)), "'targets' must be a list"
    for target in summary["targets"]:
        assert target in BUCKETS, f"unknown target {target!r}; expected one of {list(BUCKETS)}"
    observers = summary["observers"]
    assert isinstance(observers, Mapping) and observers, "'observers' is empty"
    for key, payload in observers.items():
        assert key in BUCKETS, f"observer key {key!r} is not normalized"
        check_observer(payload)
        assert key == payload["target"], f"observer key {key!r} != {payload['target']!r}"


def convert_legacy_summary(flat: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """{bucket: table} of {name: {min, max, numel, percentiles}}; other keys are left out."""
    out: dict[str, dict[str, Any]] = {}
    for name, table in flat.items():
        if name == "meta" or not isinstance(table, Mapping) or "percentiles" not in table:
            continue
        try:
            bucket = normalize_stage(str(name))
        except Error:
            continue
        if bucket in out:
            raise Error(f"{name}: expected one table for {bucket}, found another")
        out[bucket] = dict(table)
    return out


class _Tables(pickle.Unpickler):
    """Dictionaries, lists, texts and numbers; tensors become None, anything else is refused.

    torch 1.13's own weights_only does not know floats.
    """

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module.split(".")[0] == "torch":
            return lambda *_: None
        raise pickle.UnpicklingError(f"{module}.{name}, which is not a table's")

    def persistent_load(self, _: Any) -> None:
        return None


def _unpickled(path: str | os.PathLike[str]) -> Any:
    """What torch.save wrote, without its tensors."""
    try:
        with zipfile.ZipFile(path) as file:
            name = next(n for n in file.namelist() if n.endswith("data.pkl"))
            size = file.getinfo(name).file_size
            if size > _LARGEST:
                raise ValueError(f"a table of {size} bytes")
            return _Tables(io.BytesIO(file.read(name))).load()
    except FileNotFoundError:
        raise
    except Exception as error:
        where = os.fspath(path)
        raise Error(f"{where}: expected a .pt of percentiles, found {error!r}") from None


def read_percentile_summary(path: str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
    """{bucket: {"min", "max", "numel", "percentiles", …}} of a .pt file of any of these tools.

    No code in the file is executed. Error when it holds no bucket.
    """
    content = _unpickled(path)
    if isinstance(content, Mapping) and "observers" in content:
        out = {normalize_stage(key): dict(value) for key, value in content["observers"].items()}
    else:
        out = convert_legacy_summary(content if isinstance(content, Mapping) else {})
    if not out:
        raise Error(f"{os.fspath(path)}: expected buckets {', '.join(BUCKETS)}, found none")
    return out


def export_best_json(
    tables: Mapping[str, Mapping[str, Any]],
    path: str | os.PathLike[str],
    override: float | None = None,
) -> dict[str, str]:
    """Writes {bucket: {"percentile", "lo", "hi"}}; returns the buckets left out, and why."""
    out: dict[str, dict[str, float]] = {}
    failed: dict[str, str] = {}
    for bucket, table in tables.items():
        try:
            percentile = decide_percentile(table, override)
            lo, hi = compute_clip_range(table, percentile)
        except Error as error:
            failed[bucket] = str(error)
            continue
        out[bucket] = {"percentile": percentile, "lo": lo, "hi": hi}
    write_json(out, path)
    return failed


def write_json(values: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Indented by 2; the folder is made. An older file stays until the new one is whole."""
    folder = os.path.dirname(os.fspath(path))
    if folder:
        os.makedirs(folder, exist_ok=True)
    # A name that nobody can have put there before, a link least of all; rights as the umask says.
    beside = f"{os.fspath(path)}.{secrets.token_hex(8)}"
    try:
        with open(beside, "x", encoding="utf-8") as file:
            json.dump(values, file, indent=2)
            file.write("\n")
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
        raise
