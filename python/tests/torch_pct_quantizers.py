"""scute.pct: quantizers, overrides and layers that clamp what is tagged."""

import logging
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import scute  # noqa: E402
from scute import pct  # noqa: E402
from small_models import program, tiny_vlm  # noqa: E402

pytestmark = pytest.mark.torch


# Quantizers.


def test_set_percentile_clip_rounds_and_saturates():
    quantizer = pct.UniformAffineQuantizer(8, symmetric=True)
    quantizer.set_percentile_clip(-1.0, 2.54, bucket="llm")
    x = torch.tensor([0.01, 0.03, -0.05, 9.0, -9.0])
    expected = [0.0, 0.04, -0.04, 2.54, -2.56]  # a step is 0.02; halves go to even codes
    torch.testing.assert_close(quantizer(x), torch.tensor(expected))
    assert quantizer._pct_bucket == "llm"


def test_asymmetric_clips_keep_both_ends():
    quantizer = pct.UniformAffineQuantizer(8)
    quantizer.set_clip(-1.0, 4.1)
    x = torch.tensor([-1.0, 0.0, 4.1, -7.0, 7.0])
    torch.testing.assert_close(quantizer(x), torch.tensor([-1.0, 0.0, 4.1, -1.0, 4.1]))
    quantizer.set_clip(-1.0, 4.1, symmetric=True)
    assert float(quantizer(torch.tensor([-4.1]))) == pytest.approx(-4.1, abs=0.02)


def test_a_symmetric_quantizer_keeps_positive_values():
    quantizer = pct.UniformAffineQuantizer(8, disable_zero_point=True)
    assert (quantizer.qmin, quantizer.qmax) == (-128, 127)
    x = torch.linspace(-3, 3, 101)
    assert float((quantizer(x) - x).abs().max()) <= 3 / 254 + 1e-6


def test_ranges_come_from_the_call_until_a_clip_fixes_them():
    quantizer = pct.UniformAffineQuantizer(8, symmetric=True)
    assert quantizer.is_dynamic_quant
    assert float(quantizer(torch.tensor([100.0]))) == pytest.approx(100.0)
    quantizer.set_clip(-1, 1)
    assert not quantizer.is_dynamic_quant
    assert float(quantizer(torch.tensor([100.0]))) == 1.0


def test_weights_have_a_scale_for_each_output():
    quantizer = pct.UniformAffineQuantizer(8, True, (0,), is_weight=True)
    weight = torch.tensor([[1.27, 0.5], [0.0127, -0.005]])
    torch.testing.assert_close(quantizer(weight), weight, rtol=0, atol=0.005)
    assert quantizer.scale.shape == (2, 1)
    assert torch.equal(quantizer(weight), quantizer(weight))


def test_observing_then_frozen():
    quantizer = pct.UniformAffineQuantizer(8, True, percent=0.5)
    with pytest.raises(RuntimeError, match="lacks clip range statistics"):
        quantizer.freeze()
    quantizer.observe()
    x = torch.linspace(-4, 4, 801)
    assert torch.equal(quantizer(x), x)
    quantizer(10 * x[:1])
    quantizer.freeze()
    assert quantizer._clip_override[1] == pytest.approx(2.0, rel=0.01)
    assert float(quantizer(torch.tensor([9.0]))) == pytest.approx(2.0, rel=0.01)


def test_other_bits_keep_the_clip():
    quantizer = pct.UniformAffineQuantizer(8, True)
    quantizer.set_clip(-7, 7)
    quantizer.change_n_bits(4)
    torch.testing.assert_close(quantizer(torch.tensor([3.4, 9.0])), torch.tensor([3.0, 7.0]))
    quantizer.change_n_bits(16)
    assert float(quantizer(torch.tensor([3.4]))) == pytest.approx(3.4)
    with pytest.raises(scute.Error, match="2 … 16"):
        quantizer.change_n_bits(17)


def test_what_a_quantizer_refuses():
    quantizer = pct.UniformAffineQuantizer()
    for lo, hi in ((1, 0), (math.nan, 1), (0, math.inf)):
        with pytest.raises(scute.Error, match="clip range"):
            quantizer.set_clip(lo, hi)
    with pytest.raises(RuntimeError, match="clip range"):
        quantizer.recompute_params_from_clip()
    with pytest.raises(scute.Error, match="percent"):
        pct.UniformAffineQuantizer(percent=99.0)


def test_gradients_pass():
    quantizer = pct.UniformAffineQuantizer(8, True)
    quantizer.set_clip(-1, 1)
    x = torch.tensor([0.3, 5.0], requires_grad=True)
    quantizer(x).sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([1.0, 0.0]))


# Overrides.


@pytest.fixture
def overrides(tmp_path):
    file = tmp_path / "overrides.json"
    file.write_text(
        '{"vision.siglip": {"percentile": 99.9, "lo": -2.0, "hi": 2.0},'
        ' "llm": {"percentile": 99.0, "lo": -1.0, "hi": 0.5}}'
    )
    return file


def test_overrides_reach_the_quantizers(overrides, caplog):
    siglip, first, second, projector = (pct.UniformAffineQuantizer(8, True) for _ in range(4))
    buckets = {"vision.siglip": siglip, "llm": [first, second], "projector": projector}
    with caplog.at_level(logging.WARNING):
        applied = pct.apply_pct_overrides_to_quantizers(buckets, overrides)
    assert applied == {"vision.siglip": (-2.0, 2.0), "llm": (-1.0, 0.5)}
    assert siglip._clip_override == (-2.0, 2.0)
    assert first._clip_override == second._clip_override == (-1.0, 1.0)
    assert projector._clip_override is None
    assert "pct overrides missing bucket: projector" in caplog.text


def test_buckets_of_the_file_that_nobody_asked_for(overrides, caplog):
    with caplog.at_level(logging.WARNING):
        pct.apply_pct_overrides_to_quantizers({"llm": pct.UniformAffineQuantizer()}, overrides)
    assert "unused buckets: vision.siglip" in caplog.text


def test_the_last_writer_wins(overrides):
    quantizer = pct.UniformAffineQuantizer(8, True)
    quantizer.set_percentile_clip(-9, 9)
    pct.apply_pct_overrides_to_quantizers({"llm": quantizer}, overrides, symmetric=False)
    assert quantizer._clip_override == (-1.0, 0.5)
    quantizer.set_percentile_clip(-3, 3)
    assert quantizer._clip_override == (-3.0, 3.0)


def test_overrides_that_cannot_be_applied(overrides, tmp_path):
    with pytest.raises(FileNotFoundError, match="override file not found"):
        pct.apply_pct_overrides_to_quantizers({}, tmp_path / "none.json")
    quantizer = pct.UniformAffineQuantizer()
    with pytest.raises(TypeError, match="expected a quantizer"):
        pct.apply_pct_overrides_to_quantizers({"vision.siglip": quantizer, "llm": 3}, overrides)
    assert quantizer._clip_override is None
    for text in ("{}", "[]", '{"llm": {"lo": 1}}', '{"llm": {"lo": 1, "hi": 0}}'):
        overrides.write_text(text)
        with pytest.raises(scute.Error, match="overrides.json"):
            pct.apply_pct_overrides_to_quantizers({"llm": quantizer}, overrides)


def test_a_plan_of_scute_decide_is_such_a_file(tmp_path):
    accumulator = pct.PercentileAccumulator()
    accumulator.record_activation(torch.randn(5000), "projector")
    accumulator.statistics.save(tmp_path / "stats.pt")
    program("decide", tmp_path / "stats.pt", "--out", tmp_path / "plan.json")
    quantizer = pct.UniformAffineQuantizer(8, True)
    pct.apply_pct_overrides_to_quantizers({"projector": quantizer}, tmp_path / "plan.json")
    assert 2 < quantizer._clip_override[1] < 5


# Layers.


@pytest.mark.parametrize(
    "plain, quantized, x",
    [
        (nn.Linear(3, 4), pct.QuantLinear, torch.randn(2, 3)),
        (nn.Conv1d(4, 4, 3, padding=2, groups=4), pct.QuantConv1d, torch.randn(2, 4, 5)),
        (
            nn.Conv2d(2, 4, 3, stride=2, dilation=2, bias=False),
            pct.QuantConv2d,
            torch.randn(1, 2, 9, 9),
        ),
    ],
)
def test_layers_are_those_they_replace_until_asked_to_round(plain, quantized, x):
    layer = quantized.from_module(plain)
    assert torch.equal(layer(x), plain(x))
    layer.set_quant_state(weight_quant=True, act_quant=True)
    rounded = layer(x)
    assert not torch.equal(rounded, plain(x))
    torch.testing.assert_close(rounded, plain(x), rtol=0.1, atol=0.1)


@pytest.mark.parametrize("kind", [pct.QuantLinear, pct.QuantConv1d, pct.QuantConv2d])
def test_tagged_tensors_are_clamped_before_rounding(kind):
    sizes = (1, 1) if kind is pct.QuantLinear else (1, 1, 1)
    layer, x = (
        kind(*sizes, bias=False),
        torch.full((1, 1, 1, 1)[: 4 if kind is pct.QuantConv2d else 3], 9.0),
    )
    nn.init.ones_(layer.weight)
    layer.act_quantizer.set_percentile_clip(-2, 2, bucket="llm")
    assert float(layer(x)) == 2.0  # untagged: the quantizer's range holds
    assert float(layer(pct.tag(x.clone(), "llm"))) == 2.0
    assert float(layer(pct.tag(x.clone(), "projector"))) == 9.0
    assert float(layer(pct.tag(x.clone(), "projector", (-3, 3)))) == 3.0
    assert float(layer(pct.tag(x.clone(), "llm", {"lo": 0, "hi": 1}))) == 1.0


def test_the_clamped_tensor_keeps_its_tags():
    x = pct.tag(torch.ones(2), "SigLIP", (0, 0.5))
    out = pct.clamp_tagged(x, pct.UniformAffineQuantizer())
    assert (out._pct_bucket, out._pct_clip_range) == ("vision.siglip", (0, 0.5))
    assert out.tolist() == [0.5, 0.5] and x.tolist() == [1.0, 1.0]


def test_wrapping_replaces_or_leaves_all():
    model, _ = tiny_vlm()
    with pytest.raises(scute.Error, match="projector.projector.1: expected a Linear.*GELU"):
        pct.wrap(model, ["projector.projector.0", "projector.projector.1"])
    with pytest.raises(scute.Error, match="no such module"):
        pct.wrap(model, ["nowhere"])
    assert type(model.projector.projector[0]) is nn.Linear
    pct.wrap(model, ["projector.projector.0"])
    assert type(model.projector.projector[0]) is pct.QuantLinear


def test_a_weight_that_changed_has_a_new_scale():
    layer = pct.QuantLinear(4, 4, bias=False)
    layer.set_quant_state(weight_quant=True)
    x = torch.eye(4)
    with torch.no_grad():
        before = layer(x)
        layer.weight.mul_(100)
        assert torch.allclose(layer(x), 100 * before, rtol=1e-3)


def test_scales_are_part_of_a_models_state():
    torch.manual_seed(0)
    x = torch.randn(5, 6)

    def layer(**options):
        made = pct.QuantLinear(6, 3, **options)
        made.set_quant_state(True, True)
        return made

    first, second = layer(), layer()
    first.act_quantizer.set_percentile_clip(-1, 1.5, bucket="llm")
    expected = first(x)
    state = first.state_dict()
    assert float(state["act_quantizer._extra_state"]["scale"]) == pytest.approx(1.5 / 127)
    assert state["weight_quantizer._extra_state"]["scale"].shape == (3, 1)
    second.load_state_dict(state)
    assert torch.equal(second(x), expected)
    assert second.act_quantizer._pct_bucket == "llm"
    # Of a plain module: its weights, and the quantizers stay as they are.
    second.load_state_dict(torch.nn.Linear(6, 3).state_dict())
    assert second.act_quantizer._clip_override == (-1.5, 1.5)
    with pytest.raises((scute.Error, RuntimeError), match="n_bits=4"):
        layer(a_bits=4).load_state_dict(state)


def test_json_that_is_none_is_named_with_its_place(tmp_path):
    file = tmp_path / "overrides.json"
    quantizer = pct.UniformAffineQuantizer()
    for text, words in (
        (b'{"llm": {"lo": 1,}}', "overrides.json: expected JSON, found a fault at line 1, column"),
        (b"", "found a fault at line 1, column 1"),
        (b"\xff", "no UTF-8 at byte 0"),
        (b"[1]", "expected a JSON object, found list"),
    ):
        file.write_bytes(text)
        with pytest.raises(scute.Error, match=words):
            pct.apply_pct_overrides_to_quantizers({"llm": quantizer}, file)
        with pytest.raises(scute.Error, match=words):
            pct.PctConfig.load_json(file)
    assert quantizer._clip_override is None
