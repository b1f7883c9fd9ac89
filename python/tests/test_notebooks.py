"""The notebooks in examples/python run, cell by cell, and are stored without outputs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conftest import TOP
from documents import cells_of, run, workplace

NOTEBOOKS = sorted((TOP / "examples/python").glob("*.ipynb"))


def test_they_are_small_and_hold_no_outputs():
    assert [path.stem for path in NOTEBOOKS] == [
        "from_statistics_to_an_8_bit_mamba",
        "percentiles_of_any_torch_model",
    ]
    for path in NOTEBOOKS:
        assert path.stat().st_size < 10_000
        book = json.loads(path.read_text(encoding="utf-8"))
        assert book["nbformat"] == 4 and book["nbformat_minor"] >= 5
        for cell in book["cells"]:
            assert cell["id"] and set(cell) >= {"cell_type", "metadata", "source"}
            if cell["cell_type"] == "code":
                assert cell["outputs"] == [] and cell["execution_count"] is None


def run_cells(name: str, folder: Path) -> tuple[dict, list[str]]:
    matplotlib = pytest.importorskip("matplotlib", reason="no matplotlib (python3-matplotlib)")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    namespace = {"__name__": "__main__"}
    path = TOP / "examples/python" / name
    try:
        with workplace(folder, TOP):
            said = [run(cell, f"{name}, cell", namespace) for cell in cells_of(path)]
            for number in pyplot.get_fignums():
                pyplot.figure(number).savefig(f"{number}.png")
    finally:
        pyplot.close("all")
    return namespace, said


def test_from_statistics_to_an_8_bit_mamba(tmp_path):
    names, said = run_cells("from_statistics_to_an_8_bit_mamba.ipynb", tmp_path)
    assert names["low_bit"].low_bit and not names["whole"].low_bit
    floats, codes = (
        float(line.rpartition(" ")[2])
        for text in said
        for line in text.splitlines()
        if "perplexity" in line and "'" not in line
    )
    assert 20 < floats < 40 and codes == pytest.approx(floats, rel=0.02)
    assert (tmp_path / "2.png").exists()
    assert len((tmp_path / "outputs/experiments.jsonl").read_text().splitlines()) == 1


@pytest.mark.torch
def test_percentiles_of_any_torch_model(tmp_path):
    pytest.importorskip("torch", reason="no torch (python3-torch)")
    names, said = run_cells("percentiles_of_any_torch_model.ipynb", tmp_path)
    assert list(names["stats"]) == ["0:input", "2:input", "5:input"]
    assert names["stats"]["0:input"].count == 8 * 16 * 8 * 64
    assert len(said[-1].splitlines()) == 4 and (tmp_path / "stats.safetensors").exists()
