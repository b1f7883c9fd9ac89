"""decide() and Plan."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from collections.abc import Mapping

import numpy as np
import pytest

import scute


@pytest.fixture(scope="module")
def plan(statistics) -> scute.Plan:
    return scute.decide(statistics)


def test_a_plan_is_the_programs(tmp_path, statistics, plan):
    statistics.save(tmp_path / "s.safetensors")
    words = ["decide", "s.safetensors", "--out", "p.json", "--per-site", "*.z_act:input=minmax"]
    program = [sys.executable, "-m", "scute"]
    subprocess.run([*program, *words], check=True, cwd=tmp_path, capture_output=True)
    theirs = scute.Plan.load(tmp_path / "p.json")
    ours = scute.decide(statistics, per_site={"*.z_act:input": "minmax"})
    assert dict(ours) == dict(theirs) and ours != plan
    gone = {"command", "statistics_sha256"}
    assert ours.meta == {k: v for k, v in theirs.meta.items() if k not in gone}


def test_a_mapping_in_the_order_people_count(plan):
    assert isinstance(plan, Mapping)
    sites = list(plan)
    layers = [int(s.split(".")[0][6:]) for s in sites if s.startswith("layer_")]
    assert layers == sorted(layers)
    entry = plan["layer_0.x_proj:input"]
    assert {"lo", "hi", "policy", "bits", "scale", "zero_point", "because"} <= set(entry)
    assert entry["zero_point"] == 0 and entry["scale"] == pytest.approx(
        max(-entry["lo"], entry["hi"]) / 127
    )
    with pytest.raises(TypeError):
        entry["lo"] = 3
    with pytest.raises(KeyError):
        plan["nothing"]


def test_entries_are_checked_and_completed():
    plan = scute.Plan({"a": {"lo": -1.0, "hi": 3}})
    assert plan["a"]["bits"] == 8 and plan["a"]["scale"] == pytest.approx(3 / 127)
    plan["a"] = {**plan["a"], "hi": 254 / 2, "lo": -128.0, "symmetric": False}
    assert (plan["a"]["scale"], plan["a"]["zero_point"]) == (1.0, 0)
    numbers = {"lo": np.float32(0), "hi": np.float64(255), "bits": np.int64(8)}
    plan["a"] = {**numbers, "symmetric": False}
    assert (plan["a"]["scale"], plan["a"]["zero_point"]) == (1.0, -128)
    before = dict(plan["a"])
    for wrong, words in (
        ({"lo": 2, "hi": 1}, "a/lo: expected at most hi"),
        ({"lo": 0}, "hi"),
        ({"lo": 0, "hi": float("nan")}, "a"),
        ({"lo": 0, "hi": 1, "bits": 1}, "a/bits"),
        ({"lo": 0, "hi": 1, "bitz": 8}, 'known keys, found "bitz"'),
        ({"lo": 0, "hi": "x"}, "a/hi"),
    ):
        with pytest.raises(scute.Error, match=words):
            plan["a"] = wrong
    assert dict(plan["a"]) == before
    del plan["a"]
    assert len(plan) == 0


def test_json_copies_and_pickles(tmp_path, plan):
    plan.save(tmp_path / "plan.json")
    for other in (
        scute.Plan.load(tmp_path / "plan.json"),
        scute.Plan.from_json(plan.to_json()),
        scute.Plan.from_json(plan.to_json(None)),
        copy.deepcopy(plan),
        pickle.loads(pickle.dumps(plan)),
    ):
        assert other == plan
    site = "layer_0.x_proj:input"
    assert json.loads(plan.to_json())[site]["lo"] == plan[site]["lo"]
    with pytest.raises(scute.Error, match="plan.json: .*byte"):
        (tmp_path / "plan.json").write_text("{")
        scute.Plan.load(tmp_path / "plan.json")
    with pytest.raises(OSError):
        scute.Plan.load(tmp_path / "none.json")


def test_explain_says_what_the_plan_knows(plan):
    text = plan.explain("layer_0.x_proj:input")
    entry = plan["layer_0.x_proj:input"]
    assert text.splitlines()[0] == "site       layer_0.x_proj:input"
    assert entry["because"] in text and entry["policy"] in text and "8 bits" in text
    hand = scute.Plan({"a": {"lo": 0, "hi": 1, "symmetric": False}})
    assert "zero point -128" in hand.explain("a")
    with pytest.raises(KeyError):
        plan.explain("nothing")


def test_policies_bits_and_sites(statistics):
    site = "layer_1.x_proj:input"
    low, high = statistics[site].min, statistics[site].max
    minmax = scute.decide(statistics, "minmax", bits=4, symmetric=False)
    assert (minmax[site]["lo"], minmax[site]["hi"]) == (min(low, 0), max(high, 0))
    assert minmax[site]["bits"] == 4 and not minmax[site]["symmetric"]
    kept = scute.decide(statistics, "percentile", alpha=99)[site]
    assert kept["percentile"] == pytest.approx(99) and kept["hi"] == pytest.approx(
        min(statistics[site].magnitude_quantile(0.99), high)
    )
    wide = scute.decide(statistics, "minmax", headroom=2)[site]
    assert wide["hi"] == pytest.approx(2 * high)
    rules = [("layer_1.*", "mse"), ("*x_proj:input", "tail")]
    mixed = scute.decide(statistics, "minmax", per_site=rules)
    assert mixed[site]["policy"].startswith("tail")
    assert mixed["layer_0.conv1d:input"]["policy"] == "minmax"


def test_what_cannot_be_decided(statistics):
    for call, words in (
        (lambda: scute.decide(statistics, "best"), 'found "best"'),
        (lambda: scute.decide(statistics, bits=17), "bits: expected 2 … 16, found 17"),
        (lambda: scute.decide(statistics, per_site={"layer_9*": "mse"}), 'matching "layer_9'),
        (lambda: scute.decide(statistics, "percentile", alpha=2), "2"),
        (lambda: scute.decide(scute.Statistics()), "at least one site, found none"),
    ):
        with pytest.raises(scute.Error, match=words):
            call()
    bad = scute.Statistics()
    bad.update("a", np.array([1, np.nan], "float32"))
    with pytest.raises(scute.Error, match="a"):
        scute.decide(bad)
    assert scute.decide(bad, allow_nonfinite=True)["a"]["hi"] == 1


@pytest.mark.parametrize(
    "policy, options, words",
    [
        ("minmax", {"alpha": 0.99}, "alpha: expected the policy percentile or quamba.*minmax"),
        ("percentile:0.9", {"alpha": 0.99}, "alpha: .*share of its own, found percentile:0.9"),
        ("percentile", {"per_side": True}, "per_side: expected symmetric=False"),
        ("minmax", {"per_side": True, "symmetric": False}, "per_side: expected the policy auto"),
        ("minmax", {"percentile_override": 99}, "percentile_override: expected the policy tail"),
        (None, {"percentile_override": 99}, "percentile_override: expected the policy tail"),
        ("tail", {"percentile_override": 1}, "percentile_override: expected 50"),
    ],
)
def test_an_option_that_no_policy_reads_is_refused(statistics, policy, options, words):
    with pytest.raises(scute.Error, match=words):
        scute.decide(statistics, policy, **options)


def test_an_option_that_one_site_reads_is_taken(statistics):
    per_site = {"layer_1.x_proj:input": "percentile"}
    plan = scute.decide(statistics, "minmax", alpha=0.9, per_site=per_site)
    assert plan["layer_1.x_proj:input"]["percentile"] == pytest.approx(90)
    # As of the program, a share alone means percentile.
    alone = scute.decide(statistics, alpha=0.9)
    assert alone["layer_0.x_proj:input"]["policy"] == "percentile"


def test_buckets_are_decided_by_tail_unless_told():
    stats = scute.Statistics()
    x = np.random.default_rng(0).normal(size=5000).astype("float32")
    stats.update("projector", x)
    stats.update("vision.dino.block_0:input", x)
    plan = scute.decide(stats)
    assert plan["projector"]["policy"].startswith("tail")
    assert not plan["vision.dino.block_0:input"]["policy"].startswith("tail")
    assert scute.decide(stats, "minmax")["projector"]["policy"] == "minmax"
    # The magnitude at this percentile, less than the maximum.
    assert 0 < scute.decide(stats, percentile_override=99)["projector"]["hi"] < x.max()


def test_ranges_are_edited_and_the_edits_taken_back(plan):
    edited = plan.copy()
    site = "layer_0.x_proj:input"
    changes = edited.edit(f"{site}*=1.5", "layer_1.x_proj:input=2")
    assert [change["site"] for change in changes] == [site, "layer_1.x_proj:input"]
    assert edited[site]["hi"] == pytest.approx(1.5 * plan[site]["hi"])
    assert edited["layer_1.x_proj:input"]["hi"] == 2
    edited.undo()
    assert {s: edited[s] for s in edited} == {s: plan[s] for s in plan}
    with pytest.raises(scute.Error, match="nothing"):
        edited.edit("nothing=1")
    with pytest.raises(scute.Error):
        plan.undo()
