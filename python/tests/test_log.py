"""The experiment log."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import TEXT, TINY

import scute


@pytest.fixture
def log(tmp_path) -> scute.Log:
    out = scute.Log(tmp_path / "logs" / "log.jsonl")
    results = {"perplexity": 20.5}
    out.append({"config": {"model": "a", "bits": 8}, "results": results, "id": "abcdef"})
    out.append({"config": {"model": "b", "bits": 4}, "timestamp": "2025-01-02 03:04:05"})
    return out


def test_lines_are_added_listed_and_filtered(log):
    entries = log.list()
    assert [entry["number"] for entry in entries] == [1, 2] and len(log) == 2
    assert entries[0]["results"] == {"perplexity": 20.5} and entries[0]["timestamp"]
    assert entries[1]["timestamp"] == "2025-01-02 03:04:05"
    assert log.list(last=1) == entries[1:] and log.list(last=0) == []
    assert [entry["config"]["model"] for entry in log.filter("bits: 8")] == ["a"]
    assert log.filter("bits: 8", "bits: 4") == []
    assert log.record(-1)["config"] == {"model": "b", "bits": 4}
    assert log.record("abcd")["id"] == "abcdef"
    with pytest.raises(scute.Error):
        log.record(3)


def test_two_are_compared_as_the_program_does(log):
    compared = log.compare(1, 2)
    assert {"key": "bits", "a": 8, "b": 4, "differs": True} in compared["config"]


def test_what_the_program_recorded(tmp_path):
    path = tmp_path / "run.jsonl"
    text = TEXT / "heldout.txt"
    words = ["eval", TINY, "--perplexity", text, "--window", "64", "--max-windows", "2"]
    subprocess.run(
        [sys.executable, "-m", "scute", *map(str, words), "--log", str(path)],
        check=True,
        capture_output=True,
    )
    (entry,) = scute.Log(path).list()
    assert entry["config"]["model"].endswith("tiny-mamba1") and entry["results"]


def test_torn_lines_are_left_out_with_a_warning(log):
    with open(log.path, "a", encoding="utf-8") as file:
        file.write('{"config": {"mod')
    with pytest.warns(UserWarning, match="line 3|complete"):
        assert len(log.list()) == 2


def test_what_is_no_log_and_no_record(tmp_path, log):
    with pytest.raises(scute.Error, match="none.jsonl"):
        scute.Log(tmp_path / "none.jsonl").list()
    other = tmp_path / "notes.txt"
    other.write_text("not a log\n")
    with pytest.raises(scute.Error, match="notes.txt"):
        scute.Log(other).append({})
    assert other.read_text() == "not a log\n"
    with pytest.raises(TypeError, match="record"):
        log.append({"config": {"x": object()}})
    assert len(log) == 2


def test_pandas_where_it_is_there(log):
    pandas = pytest.importorskip("pandas")
    frame = log.to_pandas()
    assert isinstance(frame, pandas.DataFrame) and list(frame["config.bits"]) == [8, 4]
