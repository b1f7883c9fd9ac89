"""scute.pct: the percentile pipeline's names on torch modules, a test for each sentence."""

import json
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import scute  # noqa: E402
from scute import pct  # noqa: E402
from small_models import TinyVlm, program, table_of  # noqa: E402

pytestmark = pytest.mark.torch


# The modules of the buckets.


@pytest.mark.parametrize(
    "bucket, path",
    [
        ("vision.siglip", "vision_backbone.siglip_featurizer"),
        ("vision.dino", "vision_backbone.dino_featurizer"),
        ("llm", "llm_backbone.llm.backbone.embedding"),
        ("projector", "projector"),
    ],
)
def test_buckets_are_outputs_of_towers_projector_and_table(bucket, path):
    model = TinyVlm()
    assert pct.find_node(model, bucket) is dict(model.named_modules())[path]


def test_resolve_hooks_gives_all_four_or_those_asked_for():
    model = TinyVlm()
    assert set(pct.resolve_hooks(model)) == set(pct.BUCKETS)
    assert list(pct.resolve_hooks(model, "projector,llm")) == ["projector", "llm"]


def test_a_bucket_that_cannot_be_found_is_the_documented_error():
    model = nn.ModuleDict({"siglip": nn.Linear(2, 2)})
    words = (
        "find_node: cannot locate target 'vision.dino'. Ensure the model exposes matching module "
        "names and types."
    )
    with pytest.raises(ValueError) as error:
        pct.find_node(model, "vision.dino")
    assert str(error.value) == words
    with pytest.raises(scute.Error, match="^resolve_hooks: cannot locate 'vision.dino'"):
        pct.resolve_hooks(model)
    assert list(pct.resolve_hooks(model, ["vision.siglip"])) == ["vision.siglip"]


def test_an_unknown_target_names_the_four():
    with pytest.raises(scute.Error, match="unable to classify.*vision.siglip"):
        pct.resolve_hooks(TinyVlm(), "audio")


@pytest.mark.parametrize(
    "name, bucket",
    [
        ("vision_backbone.dino_featurizer", "vision.dino"),
        ("Vision/SigLIP .out", "vision.siglip"),
        ("mm_projector", "projector"),
        ("model..proj", "projector"),
        ("llm_backbone.llm.backbone.embedding", "llm"),
        ("language_model.decoder", "llm"),
        ("backbone.layers.0.mixer.in_proj.act_quantizer", "llm"),
    ],
)
def test_names_that_mean_a_bucket(name, bucket):
    assert pct.normalize_stage(name) == bucket


def test_a_vision_tower_of_another_kind_is_no_bucket():
    with pytest.raises(ValueError, match="normalize_stage: unable to classify"):
        pct.normalize_stage("vision_backbone.clip")


# Observers.


def test_observers_count_every_value_of_every_batch():
    model, accumulator = TinyVlm(), pct.PercentileAccumulator()
    handles = pct.attach_pct_observers(model, accumulator)
    assert len(handles) == 4
    inputs = [(torch.randint(0, 64, (2, 5)), torch.rand(2, 3, 8, 8)) for _ in range(3)]
    outputs = []
    for ids, pixels in inputs:
        model(input_ids=ids, pixel_values=pixels)
        outputs.append(model.vision_backbone.siglip_featurizer.forward(pixels)[0])
    for handle in handles:
        handle.remove()
    model(*inputs[0])
    every = torch.cat(outputs).detach().numpy().ravel()
    found = accumulator.state_dict()
    assert set(found) == set(pct.BUCKETS)
    assert found["vision.siglip"]["numel"] == every.size
    assert found["vision.siglip"]["max"] == every.max()
    assert found["llm"]["numel"] == 3 * 2 * 5 * 32
    for key, value in found["vision.siglip"]["percentiles"].items():
        exact = np.quantile(every, float(key[1:]) / 100, method="inverted_cdf")
        assert abs(value - exact) <= abs(exact) * 2**-9, key
    assert list(found["llm"]["percentiles"]) == list(table_of([0.0, 1.0])["percentiles"])


def test_observers_of_a_model_without_a_bucket_set_no_hook():
    model = nn.Sequential(nn.Embedding(4, 4))
    with pytest.raises(scute.Error, match="resolve_hooks"):
        pct.attach_pct_observers(model, pct.PercentileAccumulator())
    assert not model[0]._forward_hooks


def test_what_an_accumulator_takes():
    accumulator = pct.PercentileAccumulator()
    with pytest.raises(TypeError, match="Expected torch.Tensor, got list"):
        accumulator.record_activation([1.0], bucket="llm")
    accumulator.record_activation(None, bucket="llm")
    accumulator.record_activation(torch.empty(0), bucket="llm")
    assert len(accumulator) == 0
    accumulator.record_activation(torch.tensor(2.0, dtype=torch.float16), bucket="llm")
    accumulator.record_activation(torch.tensor([math.nan, 4.0]), bucket="llm")
    assert len(accumulator) == 1
    table = accumulator.state_dict()["llm"]
    assert (table["numel"], table["min"], table["max"]) == (3, 2.0, 4.0)
    assert accumulator.statistics["llm"].nans == 1
    accumulator.clear()
    assert len(accumulator) == 0


def test_more_values_than_any_sample_would_keep():
    accumulator = pct.PercentileAccumulator(fine=4)
    x = torch.linspace(-1, 1, 2_500_001)
    accumulator.record_activation(x, "projector")
    accumulator.record_activation(x[:1] - 5, "projector")
    found = accumulator.state_dict()["projector"]
    assert (found["numel"], found["min"], found["max"]) == (2_500_002, -6.0, 1.0)


def test_accumulators_merge_exactly():
    parts, whole = [pct.PercentileAccumulator() for _ in range(2)], pct.PercentileAccumulator()
    for i, x in enumerate((torch.randn(100), torch.randn(50))):
        parts[i].record_activation(x, "llm")
        whole.record_activation(x, "llm")
    parts[0].merge(parts[1])
    assert parts[0].statistics["llm"] == whole.statistics["llm"]


# Configuration.


def test_the_configuration_and_its_defaults():
    config = pct.PctConfig()
    assert config.to_dict() == {
        "enabled": False,
        "targets": ["vision.siglip", "vision.dino", "llm", "projector"],
        "percentile_override": None,
        "stats_out": "outputs/percentile_stats.pt",
        "overrides_json": "outputs/percentile_overrides.json",
        "device": "cuda",
        "img_size": 384,
        "text_len": 16,
        "batches": 8,
        "batch_size": 4,
    }
    assert pct.ROTATE_DEFAULT["block_size"] == 64 and pct.ROTATE_DEFAULT["rotation"] == "hadamard"
    assert pct.FINALIZE_DEFAULT["weight_bits"] == 8 and pct.FINALIZE_DEFAULT["rtol"] == 0.1


def test_a_file_counts_less_than_the_environment_and_that_less_than_arguments(tmp_path):
    file = tmp_path / "pct.json"
    file.write_text('{"batches": 2, "batch_size": 3, "text_len": 5, "nobody": 1, "targets": []}')
    config = pct.PctConfig.load_json(file)
    assert config.targets == list(pct.BUCKETS)
    environment = {"PCT_BATCH_SIZE": "7", "PCT_TEXT_LEN": "9", "PCT_IMG_SIZE": "many"}
    config = pct.PctConfig.from_env(config, environment).merge({"text_len": 11, "batches": None})
    assert (config.batches, config.batch_size, config.text_len) == (2, 7, 11)
    assert config.img_size == 384


@pytest.mark.parametrize("text, on", [("1", True), ("yes", True), ("0", False), ("False", False)])
def test_the_environment_switches(text, on):
    config = pct.PctConfig.from_env(environment={"PCT_ENABLED": text, "PCT_TARGETS": "dino, llm"})
    assert config.enabled is on
    assert config.targets == ["vision.dino", "llm"]


def test_a_bad_percentile_of_the_environment_is_none():
    base = pct.PctConfig(percentile_override=99.0)
    assert (
        pct.PctConfig.from_env(base, {"PCT_PERCENTILE_OVERRIDE": "x"}).percentile_override is None
    )
    assert pct.PctConfig.from_env(base, {"PCT_PERCENTILE_OVERRIDE": "98"}).percentile_override == 98


def test_configurations_are_saved_and_merged(tmp_path):
    config = pct.PctConfig(batches=3).merge(pct.PctConfig(text_len=4))
    config.save_json(tmp_path / "c.json")
    assert pct.PctConfig.load_json(tmp_path / "c.json") == config
    (tmp_path / "bad.json").write_text("[]")
    with pytest.raises(scute.Error, match="expected a JSON object"):
        pct.PctConfig.load_json(tmp_path / "bad.json")


# The rules.


def exact_table(quantile):
    return {f"p{q}": quantile(q / 100) for q in (25.0, 50.0, 75.0, 90.0, 99.0, 99.9, 99.99, 99.999)}


def normal(p):
    from statistics import NormalDist

    return NormalDist().inv_cdf(p)


def student_t4(p):
    """The quantile of Student's t with four degrees of freedom."""
    root = math.sqrt(4 * p * (1 - p))
    return math.copysign(2 * math.sqrt(math.cos(math.acos(root) / 3) / root - 1), p - 0.5)


@pytest.mark.parametrize(
    "quantile, percentile",
    [
        (normal, 99.0),
        (lambda p: p, 99.0),
        (lambda p: math.log(p / (1 - p)), 99.0),
        (lambda p: 3.0, 99.0),
        (lambda p: -math.log(2 * (1 - p)) if p > 0.5 else math.log(2 * p), 99.99),
        (lambda p: -math.log(1 - p), 99.999),
        (lambda p: math.exp(0.5 * normal(p)), 99.999),
        (lambda p: max(normal(p), 0.0), 99.99),
        (student_t4, 99.9),
        (lambda p: math.exp(normal(p)), 99.9),
        (lambda p: (2 * p - 1) / math.sqrt(2 * p * (1 - p)), 99.0),
        (lambda p: math.tan(math.pi * (p - 0.5)), 99.0),
        (lambda p: normal(p) - 5, 99.0),
    ],
)
def test_the_rules_pick_what_they_always_picked(quantile, percentile):
    stats = {"percentiles": exact_table(quantile)}
    assert pct.decide_percentile(stats) == percentile
    assert pct.decide_percentile(stats, 97.5) == 97.5


def test_every_percentile_is_needed():
    stats = {"percentiles": exact_table(normal)}
    del stats["percentiles"]["p99.999"]
    with pytest.raises(ValueError, match="Missing percentile p99.999 in stats"):
        pct.select_best_percentile(stats)


def test_clip_ranges_find_percentiles_as_numbers():
    stats = {"min": -1.0, "percentiles": {"p99.0": 2.0, "p99_95": -3.0}, "P90": 1.0}
    assert pct.compute_clip_range(stats, 99) == (-2.0, 2.0)
    assert pct.compute_clip_range(stats, 99.95) == (-3.0, 3.0)
    assert pct.compute_clip_range(stats, 90.0) == (-1.0, 1.0)
    assert pct.compute_clip_range(stats, 99.0, symmetric=False) == (-1.0, 2.0)
    assert pct.compute_clip_range({**stats, "min": 0.0}, 99.0, symmetric=False) == (0.0, 2.0)
    with pytest.raises(
        ValueError, match="compute_clip_range: percentile 'p98.0' not found in stats"
    ):
        pct.compute_clip_range(stats, 98)


# Tables.


def observer(**changes):
    table = {
        "mode": "collect",
        "target": "llm",
        "module": "a.b",
        "numel": 3,
        "min": 0.0,
        "max": 1.0,
    }
    return {**table, "p99.9": 0.5, **changes}


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"module": None}, "'module' must be str"),
        ({"min": "0"}, "'min' must be number, got str"),
        ({"numel": -1}, "'numel' must be >= 0"),
        ({"max": math.inf}, "min/max must be finite"),
        ({"max": -1.0}, r"max \(-1.0\) must be >= min \(0.0\)"),
        ({"target": "audio"}, "'target' must be one of"),
    ],
)
def test_tables_are_checked(changes, words):
    pct.check_observer(observer())
    pct.check_observer(observer(p99_99=1))
    with pytest.raises(AssertionError, match=words):
        pct.check_observer(observer(**changes))


def test_tables_need_keys_and_percentiles():
    table = observer()
    del table["p99.9"]
    with pytest.raises(AssertionError, match="no percentile keys found"):
        pct.check_observer(table)
    del table["numel"]
    with pytest.raises(AssertionError, match=r"missing keys \['numel'\]; found"):
        pct.check_observer(table)


@pytest.mark.parametrize(
    "summary, words",
    [
        ({"targets": ["llm"], "observers": {}}, "missing keys"),
        ({"config": {}, "targets": ["audio"], "observers": {"llm": observer()}}, "unknown target"),
        ({"config": {}, "targets": ["llm"], "observers": {}}, "'observers' is empty"),
        ({"config": {}, "targets": [], "observers": {"LLM": observer()}}, "is not normalized"),
        ({"config": {}, "targets": [], "observers": {"projector": observer()}}, "!= 'llm'"),
    ],
)
def test_files_are_checked(summary, words):
    with pytest.raises(AssertionError, match=words):
        pct.check_summary(summary)


def test_a_summary_is_what_its_readers_want(tmp_path):
    accumulator = pct.PercentileAccumulator()
    accumulator.record_activation(torch.randn(1000), "llm")
    summary = accumulator.summary({"llm": "llm.embedding"}, {"num_batches": 1})
    pct.check_summary(summary)
    assert summary["observers"]["llm"]["module"] == "llm.embedding"
    assert summary["config"]["num_batches"] == 1 and "created_at" in summary["config"]
    torch.save(summary, tmp_path / "stats.pt")
    assert pct.read_percentile_summary(tmp_path / "stats.pt")["llm"]["numel"] == 1000
    program("decide", tmp_path / "stats.pt", "--out", tmp_path / "plan.json")
    torch.save({"SigLIP": table_of([0.0, 1.0]), "meta": {"a": 1}}, tmp_path / "flat.pt")
    assert set(pct.read_percentile_summary(tmp_path / "flat.pt")) == {"vision.siglip"}


def test_files_that_hold_no_tables(tmp_path):
    with pytest.raises(FileNotFoundError):
        pct.read_percentile_summary(tmp_path / "none.pt")
    (tmp_path / "bad.pt").write_bytes(b"not a checkpoint")
    torch.save({"weight": torch.ones(2)}, tmp_path / "other.pt")
    for name in ("bad.pt", "other.pt"):
        with pytest.raises(scute.Error, match=name):
            pct.read_percentile_summary(tmp_path / name)


def test_the_json_of_ranges(tmp_path):
    file = tmp_path / "outputs" / "best.json"
    tables = {"llm": table_of(np.linspace(-1, 1, 1001)), "projector": {"percentiles": {"p50.0": 1}}}
    failed = pct.export_best_json(tables, file)
    assert list(failed) == ["projector"]
    found = json.loads(file.read_text())
    assert list(found) == ["llm"] and set(found["llm"]) == {"percentile", "lo", "hi"}
    assert file.read_text().startswith('{\n  "llm": {\n    "percentile": 99.0,')
