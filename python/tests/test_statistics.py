"""Statistics: a mapping, files, merging."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Mapping

import numpy as np
import pytest
from conftest import TEXT, TINY

import scute


def seen(**sites) -> scute.Statistics:
    out = scute.Statistics()
    for site, values in sites.items():
        out.update(site, np.asarray(values, "float32"))
    return out


def test_a_mapping_that_shares_its_statistics():
    stats = seen(b=[1, 2], a=[3])
    assert isinstance(stats, Mapping) and list(stats) == ["a", "b"] and "c" not in stats
    one = stats["b"]
    stats.update("b", np.ones(3, "float32"))
    assert one.total == 5 and stats["b"] is one
    with pytest.raises(KeyError, match="c"):
        stats["c"]
    del stats["b"]
    assert list(stats) == ["a"] and one.total == 5
    stats["d"] = one
    assert stats["d"] == one
    with pytest.raises(scute.Error, match="d: expected a statistic of fine 8, found 9"):
        stats["d"] = scute.Statistic(9)


@pytest.mark.parametrize("ending", [".safetensors", ".pt"])
def test_files_are_the_programs(tmp_path, statistics, ending):
    collected = tmp_path / f"collected{ending}"
    data = TEXT / "calibration.jsonl"
    words = ["collect", TINY, "--data", data, "--samples", "8", "--seqlen", "64"]
    subprocess.run(
        [sys.executable, "-m", "scute", *map(str, words), "--out", str(collected)],
        check=True,
        capture_output=True,
    )
    loaded = scute.Statistics.load(collected)
    saved = tmp_path / f"saved{ending}"
    loaded.save(saved)
    assert saved.read_bytes() == collected.read_bytes()
    assert dict(loaded) == dict(statistics)
    assert loaded.meta["samples"] == 8


def test_copies_pickles_and_meta(statistics):
    pickled = pickle.loads(pickle.dumps(statistics))
    for other in (statistics.copy(), copy.deepcopy(statistics), pickled):
        assert other == statistics
        other.meta = {"tool": "another", "n": [1, 2.5, None, True, {"k": "v"}]}
        assert other != statistics
        assert other.meta == {"tool": "another", "n": [1, 2.5, None, True, {"k": "v"}]}
    with pytest.raises(TypeError, match="meta: expected dict"):
        other.meta = {"a": object()}
    deep: dict = {}
    for _ in range(200):
        deep = {"a": deep}
    with pytest.raises(ValueError, match="nested"):
        other.meta = deep


def test_merging_in_any_order_and_what_does_not_belong_together():
    parts = [seen(a=[1, 2], b=[0]), seen(a=[3], b=[4]), seen(a=[-1], b=[7])]
    one = parts[0] + parts[1] + parts[2]
    other = scute.Statistics()
    for part in reversed(parts):
        other += part
    assert {s: one[s] for s in one} == {s: other[s] for s in other}
    kept = one["a"]
    one.merge(parts[0])
    assert kept.total == 6
    with pytest.raises(scute.Error, match="the same sites in both, found b in one only"):
        one.merge(seen(a=[1]))
    assert one["a"].total == 6
    one.merge(seen(a=[1], c=[2]), missing=True)
    assert one["a"].total == 7 and one["c"].total == 1
    with pytest.raises(scute.Error, match="fine 8 in both"):
        one.merge(scute.Statistics(9))
    with pytest.raises(TypeError):
        one += 3


def test_the_same_data_twice_is_refused(statistics):
    with pytest.raises(scute.Error, match="merge"):
        statistics + statistics
    twice = statistics.copy()
    twice.merge(statistics, repeats=True)
    assert twice["lm_head:input"].total == 2 * statistics["lm_head:input"].total


def test_sites_of_models_keep_what_collect_keeps():
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float64")
    stats = scute.Statistics()
    stats.update("layer_0.conv1d:input", x)
    stats.update("layer_0.x_conv_out:input", x)
    stats.update("layer_0.ssm_state_act:input", x)
    size = np.abs(x.astype("float32"))
    assert np.array_equal(stats["layer_0.conv1d:input"].channel_absmax, size.max(0))
    assert np.allclose(stats["layer_0.x_conv_out:input"].channel_meanabs, size.mean(0))
    assert np.array_equal(stats["layer_0.ssm_state_act:input"].element_absmax, size.reshape(-1))
    with pytest.raises(scute.Error, match="ssm_state_act:input"):
        stats.update("layer_0.ssm_state_act:input", x[:2])


def test_bad_files(tmp_path):
    for name in ("nothing.safetensors", "nothing.pt", "nothing.txt"):
        with pytest.raises(scute.Error, match=name):
            scute.Statistics.load(tmp_path / name)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\xff" * 100)
    with pytest.raises(scute.Error, match="broken"):
        scute.Statistics.load(broken)
    with pytest.raises(scute.Error, match="ending in .safetensors or .pt"):
        seen(a=[1]).save(tmp_path / "a.json")
    with pytest.raises(scute.Error):
        seen(a=[1]).save(tmp_path / "no" / "folder.pt")
    assert not list(tmp_path.glob("*.json"))


def test_channels_go_on_after_loading_and_merging(tmp_path):
    first = scute.Statistics(per_channel=True)
    first.update("a", np.float32([[1, 2]]))
    first.save(tmp_path / "s.safetensors")
    merged = scute.Statistics()
    merged.merge(first)
    for again in (scute.Statistics.load(tmp_path / "s.safetensors"), merged):
        again.update("a", np.float32([[50, 60]]))
        assert again["a"].channel_absmax.tolist() == [50, 60]
    loaded = scute.Statistics.load(tmp_path / "s.safetensors")
    loaded.update("b", np.float32([[-7]]))
    assert loaded["b"].channel_absmax.tolist() == [7]
