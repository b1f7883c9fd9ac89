"""names="sites": what scute's own collect sees of the same weights and tokens."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import scute  # noqa: E402
from scute.hadamard import factor_of, rotated  # noqa: E402
from scute.observation import observe  # noqa: E402
from small_models import TINY, Mamba1, program  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """(statistics of scute collect, of scute.observe, the folder): 3 sequences of 130 tokens."""
    folder = tmp_path_factory.mktemp("sites")
    ids = np.random.default_rng(0).integers(0, 4096, (3, 130)).astype(np.int32)
    np.save(folder / "ids.npy", ids)
    collected = folder / "collected.safetensors"
    program("collect", TINY, "--data", folder / "ids.npy", "--seqlen", 130, "--out", collected)
    model = Mamba1.load(TINY)
    with observe(model, names="sites") as seen, torch.no_grad():
        for batch in (ids[:2], ids[2:]):
            model(torch.as_tensor(batch, dtype=torch.long))
    seen.statistics.save(folder / "seen.safetensors")
    return scute.Statistics.load(collected), seen.statistics, folder


def test_the_same_sites_counts_and_samples(both):
    collected, seen, _ = both
    assert set(seen) == set(collected)
    for site in collected:
        assert seen[site].count == collected[site].count, site
        assert seen[site].samples == collected[site].samples, site


def test_the_same_values(both):
    collected, seen, _ = both
    shares = [0, 0.001, 0.01, 0.25, 0.5, 0.75, 0.99, 0.999, 1]
    for site in collected:
        largest = max(abs(collected[site].min), abs(collected[site].max))
        apart = np.abs(np.subtract(seen[site].quantile(shares), collected[site].quantile(shares)))
        # Sums in another order: 1e-6 of the largest value; a value may fall into the next bucket,
        # which is 2^-8 of itself away.
        step = np.abs(collected[site].quantile(shares)) / 256
        assert np.all(apart <= 2e-6 * largest + step), site
        assert abs(seen[site].max - collected[site].max) <= 2e-6 * largest, site


def test_the_same_channels_and_elements(both):
    collected, seen, _ = both
    kept = 0
    for site in collected:
        for what in ("channel_absmax", "channel_meanabs", "element_absmax"):
            mine, theirs = getattr(seen[site], what), getattr(collected[site], what)
            assert mine.shape == theirs.shape, (site, what)
            if len(theirs):
                kept += 1
                np.testing.assert_allclose(mine, theirs, rtol=0, atol=2e-6 * theirs.max())
    assert kept >= 18


def test_decide_and_quantize_take_the_file(both, tmp_path):
    collected, _, folder = both
    seen, plan = folder / "seen.safetensors", tmp_path / "plan.json"
    program("decide", seen, "--out", plan)
    assert set(json.loads(plan.read_text())) - {"meta"} <= set(collected)
    program("quantize", TINY, "--plan", plan, "--stats", seen, "--out", tmp_path / "low", "--quiet")
    program("report", "--stats", seen, "--out", tmp_path / "report.html")


def test_patterns_choose_sites_by_name():
    model, ids = Mamba1(), torch.randint(0, 64, (1, 5))
    with observe(model, "layer_1.*_act:input", "*state*", names="sites") as seen:
        model(ids)
    assert list(seen.statistics) == [
        "layer_1.B_act:input",
        "layer_1.C_act:input",
        "layer_1.z_act:input",
    ]
    with pytest.raises(scute.Error, match="layer_7"):
        observe(model, "layer_7.*", names="sites")
    with observe(model, names="sites", kinds="output") as seen:
        model(ids)
    assert all(site.endswith(":output") for site in seen.statistics)
    assert "lm_head:output" not in seen.statistics


def test_the_head_is_counted_when_asked_for():
    model = Mamba1()
    with observe(model, ["lm_head:*"], names="sites") as seen:
        logits = model(torch.zeros(1, 3, dtype=torch.long))
    assert seen.statistics["lm_head:output"].max == float(logits.max())
    assert "lm_head:input@rotated" in seen.statistics


def test_steps_of_the_state_follow_every_64th_token():
    model = Mamba1(layers=1)
    with observe(model, "*ssm_state_act*", names="sites") as seen:
        model(torch.randint(0, 64, (2, 128)))
        model(torch.randint(0, 64, (1, 63)))
    assert seen.statistics["layer_0.ssm_state_act:steps"].samples == 4
    assert seen.statistics["layer_0.ssm_state_act:input"].samples == 3


def test_decoding_steps_and_padding_are_refused():
    class Cache:
        seqlen_offset = 4

    model = Mamba1(layers=1)
    mixer, u = model.backbone.layers[0].mixer, torch.randn(1, 1, 32)
    with pytest.raises(scute.Error, match="decoding step"), observe(model, names="sites"):
        mixer(u, inference_params=Cache())
    assert "forward" not in mixer.__dict__


def test_a_library_that_computes_something_else_is_named():
    model = Mamba1(layers=1)
    mixer = model.backbone.layers[0].mixer
    mixer.out_proj.forward = lambda y: 2 * torch.nn.functional.linear(y, mixer.out_proj.weight)
    with pytest.warns(UserWarning, match="layers.0.mixer: this library's output"):
        with observe(model, "layer_0.*", names="sites"):
            model(torch.randint(0, 64, (1, 9)))


@pytest.mark.parametrize("width", [8, 12, 20, 28, 40, 96, 160, 1])
def test_rotations_are_orthonormal_and_undone(width):
    assert factor_of(width) is not None
    x = torch.eye(width, dtype=torch.float64)
    h = rotated(x)
    torch.testing.assert_close(h @ h.T, x, rtol=0, atol=1e-12)
    torch.testing.assert_close(rotated(h, inverse=True), x, rtol=0, atol=1e-12)
    assert torch.allclose(h.abs(), torch.full_like(h, width**-0.5), rtol=0, atol=1e-12)


def test_widths_without_a_rotation():
    assert factor_of(17) is None
    assert factor_of(0) is None
    assert factor_of(24) == 12
