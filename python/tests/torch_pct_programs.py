"""scute.pct: python -m scute.pct.collect and apply."""

import json
import pathlib
import re

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import scute  # noqa: E402
from scute import pct  # noqa: E402
from scute.pct import collect as pct_collect  # noqa: E402
from small_models import pixels_of, program, table_of, tiny_vlm  # noqa: E402

pytestmark = pytest.mark.torch
HERE = pathlib.Path(__file__).parent


def collect_program(*words, code=0):
    return program(*words, module="scute.pct.collect", code=code)


def apply_program(*words, code=0):
    return program(*words, module="scute.pct.apply", code=code)


@pytest.fixture
def pictures(tmp_path):
    """Ten files with pictures' names, one of them deeper, and a text."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    for name in "abcdefghi":
        (folder / f"{name}.png").write_bytes(name.encode())
    (folder / "more" / "j.JPG").write_bytes(b"j")
    (folder / "notes.txt").write_text("no picture")
    return folder


# The programs.


def test_collecting_counts_what_the_model_gives(pictures):
    model, forward = tiny_vlm()
    config = pct.PctConfig(batches=2, batch_size=4)
    files = pct_collect.pictures(pictures)
    assert [f.name for f in files] == [*(f"{n}.png" for n in "abcdefghi"), "j.JPG"]
    found = pct_collect.collect(model, forward, files, config).state_dict()
    with torch.no_grad():
        features = model.vision_backbone(pixels_of(files[:8]))
        projected = model.projector(features)
    assert found["vision.dino"]["numel"] == 8 * 4 * 4
    assert found["vision.siglip"]["max"] == float(features[..., 4:].max())
    assert found["projector"]["min"] == pytest.approx(float(projected.min()), rel=1e-6)
    assert found["llm"]["numel"] == 8 * 16 * 32
    assert not any(m._forward_hooks for m in model.modules())


def test_an_exception_of_the_model_is_not_swallowed(pictures):
    model, _ = tiny_vlm()

    def forward(model, files, ids):
        raise RuntimeError("no such argument")

    with pytest.raises(RuntimeError, match="no such argument"):
        pct_collect.collect(model, forward, pct_collect.pictures(pictures), pct.PctConfig())
    assert not any(m._forward_hooks for m in model.modules())


def test_collect_and_apply_are_programs(pictures, tmp_path):
    stats, best = tmp_path / "out" / "stats.pt", tmp_path / "best.json"
    done = collect_program(
        *("--model", "small_models:tiny_vlm", "--images", pictures),
        *("--device", "cpu", "--batches", 2, "--batch-size", 4, "--out", stats),
        *("--export-best-json", best, "--percentile-override", 99.9),
    )
    assert "[hook] attached -> vision.dino @ vision_backbone.dino_featurizer" in done.stderr
    assert "[run] batch 2/2 collected; acc keys=['llm', 'projector'" in done.stderr
    line = r"^\[PctCollect\] llm samples=4096 p99=\S+ p99\.9=\S+ p99\.99=\S+ min=-\S+ max=\S+$"
    assert re.search(line, done.stdout, re.MULTILINE)
    assert {entry["percentile"] for entry in json.loads(best.read_text()).values()} == {99.9}
    content = torch.load(stats)
    assert set(content) == {*pct.BUCKETS, "meta"}
    assert content["llm"]["numel"] == 4096 and "counts" in content["llm"]
    ranges = tmp_path / "ranges.json"
    done = apply_program(
        *("--stats", stats, "--out", ranges, "--best-percentile", "apply"),
        *("--model", "small_models:quantized_vlm"),
    )
    found = json.loads(ranges.read_text())
    assert set(found) == set(pct.BUCKETS)
    assert all(set(entry) == {"percentile", "lo", "hi"} for entry in found.values())
    assert f"[BestPercentile] llm: {found['llm']['percentile']:.3f} applied:true" in done.stdout
    assert "projector set in 1 quantizers" in done.stdout


def test_the_same_pictures_give_the_same_file(pictures, tmp_path):
    files = []
    for size in (1, 4):
        files.append(tmp_path / f"stats{size}.safetensors")
        collect_program(
            *("--model", "small_models:tiny_vlm", "--images", pictures),
            *("--batches", 8 // size, "--batch-size", size, "--out", files[-1]),
        )
    first, second = map(scute.Statistics.load, files)
    assert first["vision.dino"].buckets()[1].sum() == second["vision.dino"].buckets()[1].sum()
    assert first["llm"].total == second["llm"].total


def test_targets_and_no_text(pictures, tmp_path):
    stats = tmp_path / "stats.safetensors"
    words = ("--model", "small_models:tiny_vlm", "--images", pictures, "--no-random-text")
    collect_program(*words, "--out", stats, "--targets", "vision.siglip,projector")
    assert set(scute.Statistics.load(stats)) == {"vision.siglip", "projector"}


def test_a_bucket_that_saw_nothing_is_named_and_the_others_are_written(pictures, tmp_path):
    stats = tmp_path / "stats.safetensors"
    words = ("--model", "small_models:tiny_vlm", "--images", pictures, "--no-random-text")
    done = collect_program(*words, "--out", stats, code=1)
    assert "llm: expected values, found none" in done.stderr
    assert set(scute.Statistics.load(stats)) == set(pct.BUCKETS) - {"llm"}


@pytest.mark.parametrize(
    "words, code, said",
    [
        (("--model", "small_models:tiny_vlm"), 1, "--images"),
        (("--model", "small_models:nothing", "--images", "."), 1, "PACKAGE.MODULE:FACTORY"),
        (("--model", "small_models:tiny_vlm", "--images", "."), 1, "expected pictures"),
        (("--model", "m:f", "--images", ".", "--targets", "audio"), 2, "unable to classify"),
        (("--model", "m:f", "--images", ".", "--batches", 0), 2, "at least 1"),
        (("--model", "m:f", "--config", "none.json"), 2, "none.json"),
    ],
)
def test_wrong_use_of_collect_is_one_line(words, code, said):
    done = collect_program(*words, code=code)
    assert said in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr


def test_a_folder_is_collected_by_the_engine(tmp_path):
    cobra = HERE.parents[1] / "tests" / "golden" / "cobra"
    stats = tmp_path / "stats.pt"
    words = ("--images", cobra / "pictures", "--out", stats, "--device", "cpu", "--batches", 2)
    collect_program("--model", cobra / "model", *words, "--batch-size", 2)
    assert set(scute.Statistics.load(stats)) >= set(pct.BUCKETS)
    apply_program("--summary", stats, "--out", tmp_path / "ranges.json")


def test_apply_reads_tables_of_other_tools_and_leaves_out_what_fails(tmp_path):
    good, bad = table_of(np.random.default_rng(0).normal(size=20000)), table_of([0.0, 1.0])
    del bad["percentiles"]["p99.999"]
    torch.save({"vision.dino": good, "llm": bad}, tmp_path / "stats.pt")
    done = apply_program("--stats", tmp_path / "stats.pt", "--targets", "llm,dino")
    found = json.loads((tmp_path / "stats_overrides.json").read_text())
    assert list(found) == ["vision.dino"]
    assert found["vision.dino"]["percentile"] == pct.decide_percentile(good)
    assert "llm left out" in done.stderr and "p99.999" in done.stderr
    done = apply_program("--stats", tmp_path / "none.pt", code=1)
    assert "none.pt: expected statistics" in done.stderr


def test_the_program_and_these_rules_agree(tmp_path):
    accumulator = pct.PercentileAccumulator(fine=12)
    generator = np.random.default_rng(3)
    for bucket, values in zip(
        pct.BUCKETS,
        (
            generator.normal(size=200_000),
            generator.exponential(size=200_000),
            generator.standard_cauchy(200_000),
            generator.laplace(size=200_000),
        ),
        strict=True,
    ):
        accumulator.record_activation(torch.from_numpy(values), bucket)
    accumulator.statistics.save(tmp_path / "stats.safetensors")
    ranges = pct_apply_ranges(tmp_path / "stats.safetensors")
    for bucket, table in accumulator.state_dict().items():
        assert ranges[bucket]["percentile"] == pct.decide_percentile(table), bucket
        # With counts the range keeps that share of both sides, a table tells the upper one alone.
        kept = accumulator.statistics[bucket].magnitude_quantile(ranges[bucket]["percentile"] / 100)
        assert ranges[bucket]["hi"] == pytest.approx(kept, rel=1e-3)


def pct_apply_ranges(stats):
    from scute.pct.apply import decide_overrides

    return decide_overrides(stats)[0]


def test_the_environment_is_obeyed(pictures, tmp_path, monkeypatch):
    stats, mine = tmp_path / "stats.pt", tmp_path / "mine.json"
    words = ("--model", "small_models:tiny_vlm", "--images", pictures, "--out", stats)
    monkeypatch.setenv("PCT_DEVICE", "nowhere")
    program(*words, module="scute.pct.collect", code=1)
    monkeypatch.setenv("PCT_DEVICE", "cpu")
    collect_program(*words, "--batches", 1)
    monkeypatch.setenv("PCT_TARGETS", "dino")
    monkeypatch.setenv("PCT_OVERRIDES_JSON", str(mine))
    apply_program("--stats", stats)
    assert list(json.loads(mine.read_text())) == ["vision.dino"]


def test_text_where_a_number_belongs_is_an_error(tmp_path):
    (tmp_path / "c.json").write_text(json.dumps({"batches": "4"}))
    with pytest.raises(scute.Error, match="batches"):
        pct.PctConfig.load_json(tmp_path / "c.json")
