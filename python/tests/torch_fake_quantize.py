"""plan.fake_quantize: a plan's tensors rounded in torch as scute's low-bit models round them."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import scute  # noqa: E402
from scute.fake_quantize import fake_quantize  # noqa: E402
from scute.grids import Grid, WeightForm  # noqa: E402
from scute.observation import observe  # noqa: E402

pytestmark = pytest.mark.torch


# The grid.


def test_grids_are_those_of_scute():
    symmetric = Grid.of(-1.0, 2.54)
    assert (float(symmetric.scale), symmetric.zero) == (np.float32(0.02), 0)
    x = torch.tensor([0.01, 0.03, 0.05, -0.01, 3.0, -3.0, float("nan"), float("inf")])
    expected = torch.tensor([0.0, 0.04, 0.04, 0.0, 2.54, -2.56, 0.0, 2.54])
    torch.testing.assert_close(symmetric.round(x), expected)
    asymmetric = Grid.of(0.5, 5.1, symmetric=False)
    assert float(asymmetric.scale) == np.float32(0.02) and asymmetric.zero == -128
    torch.testing.assert_close(
        asymmetric.round(torch.tensor([-1.0, 5.1])), torch.tensor([0.0, 5.1])
    )
    assert float(Grid.of(0, 0).scale) == np.float32(1e-6 / 127)
    assert Grid.of(-7, 7, bits=4).round(torch.tensor([8.0, 3.4])).tolist() == [7.0, 3.0]


def test_the_grid_of_a_decided_plan_has_its_scale():
    statistic = scute.Statistic()
    statistic.update(np.random.default_rng(1).normal(size=9999).astype(np.float32))
    stats = scute.Statistics()
    stats["a"] = statistic
    for symmetric in (True, False):
        for bits in (4, 8, 12):
            entry = scute.decide(stats, bits=bits, symmetric=symmetric)["a"]
            grid = Grid.of(entry["lo"], entry["hi"], bits, symmetric)
            assert float(grid.scale) == np.float32(entry["scale"])
            assert grid.zero == (entry.get("zero_point") or 0)


@pytest.mark.parametrize(
    "lo, hi, bits", [(1, 0, 8), (float("nan"), 1, 8), (0, float("inf"), 8), (0, 1, 1), (0, 1, 17)]
)
def test_grids_that_make_no_sense(lo, hi, bits):
    with pytest.raises(scute.Error, match="^a: expected"):
        Grid.of(lo, hi, bits, where="a")


def rounded_weight(weight, w_bits=8, per_tensor=False):
    return WeightForm(w_bits, per_tensor=per_tensor).rounded(weight)


def test_weights_have_a_scale_for_each_output():
    weight = torch.tensor([[1.27, 0.014], [0.0, 0.0]])
    torch.testing.assert_close(rounded_weight(weight), torch.tensor([[1.27, 0.01], [0, 0]]))
    assert rounded_weight(weight, 16) is weight
    torch.testing.assert_close(
        rounded_weight(torch.tensor([[12.7], [0.06]]), 8, True), torch.tensor([[12.7], [0.1]])
    )


def test_four_bits_have_a_scale_for_each_group_and_are_scutes_own():
    weight = torch.zeros(1, 256)
    weight[0, :3], weight[0, 128] = torch.tensor([7.0, 3.2, 1.0]), 0.7
    form = WeightForm(4, 16)
    found = form.rounded(weight)[0]
    torch.testing.assert_close(found[:3], torch.tensor([7.0, 3.0, 1.0]))
    assert float(found[128]) == pytest.approx(0.7, rel=1e-3)
    assert form.rounded(weight.bfloat16()).dtype == torch.bfloat16
    # Beside 8-bit activations the product is of 8-bit numbers: steps of the largest / 127.
    two_level = WeightForm(4, 8).rounded(weight)[0]
    steps = two_level / (7.0 / 127)
    assert not torch.equal(two_level, found)
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=2e-3)
    assert (WeightForm(4).small().w_bits, WeightForm(4, 16).small().w_bits) == (8, 16)
    for wrong, words in (
        (WeightForm(5), "w_bits: expected 4, 8 or 16, found 5"),
        (WeightForm(8, 4), "a_bits: expected 8 or 16, found 4"),
        (WeightForm(4, per_tensor=True), "per_tensor: expected w_bits=8"),
    ):
        with pytest.raises(scute.Error, match=words):
            wrong.check()
    with pytest.raises(scute.Error, match="group"):
        WeightForm(4, group=100).rounded(torch.randn(2, 250))


# Any model, by module paths.


def net():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def test_inputs_outputs_and_weights_of_modules_are_rounded():
    model, x = net(), torch.randn(5, 4)
    with observe(model) as seen:
        model(x)
    plan = scute.decide(seen.statistics, "minmax")
    for site in list(plan):
        if site not in ("0:input", "2:input", "2:output"):
            del plan[site]
    weights = [p.detach().clone() for p in model.parameters()]
    with plan.fake_quantize(model):
        found = model(x)

    def rounded(site, value):
        return Grid.of(plan[site]["lo"], plan[site]["hi"]).round(value)

    hidden = torch.relu(
        nn.functional.linear(
            rounded("0:input", x), rounded_weight(weights[0]), weights[1]
        )
    )
    y = nn.functional.linear(
        rounded("2:input", hidden), rounded_weight(weights[2]), weights[3]
    )
    torch.testing.assert_close(found, rounded("2:output", y), rtol=0, atol=0)
    for kept, now in zip(weights, model.parameters(), strict=True):
        assert torch.equal(kept, now)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_weights_stay_floats_when_asked():
    model, x = net(), torch.randn(5, 4)
    entry = {"lo": -1e3, "hi": 1e3, "bits": 16}
    with fake_quantize({"0:input": entry}, model, w_bits=16):
        torch.testing.assert_close(model(x), net()(x), rtol=0, atol=0.1)
        assert torch.equal(model[0].weight, net()[0].weight)


def test_arguments_by_name_and_tuples():
    class Two(nn.Module):
        def forward(self, x, y):
            return x, (y, 3)

    model = nn.ModuleDict({"two": Two()})
    grid = {"lo": -127, "hi": 127}
    with fake_quantize({"two:input.y": grid, "two:output": grid}, model):
        x, (y, number) = model["two"](torch.tensor([0.4]), y=torch.tensor([1.6]))
    assert (x.item(), y.item(), number) == (0.0, 2.0, 3)


def test_the_model_is_whole_after_an_exception():
    model = net()
    before = model[0].weight.data_ptr()
    with pytest.raises(RuntimeError), fake_quantize({"0:input": {"lo": -1, "hi": 1}}, model):
        assert model[0].weight.data_ptr() != before
        model(torch.randn(1, 7))
    assert model[0].weight.data_ptr() == before
    assert "forward" not in model[0].__dict__
    assert not model[0]._forward_pre_hooks


@pytest.mark.parametrize(
    "plan, words",
    [
        ({"0:input": {"lo": 1, "hi": -1}}, "0:input: expected finite lo"),
        ({"0:input": {"lo": 1}}, "0:input: expected numbers lo and hi"),
        ({"0:input": {"lo": 0, "hi": 1}, "9:input": {"lo": 0, "hi": 1}}, "modules.*9:input"),
        ({}, "expected sites"),
    ],
)
def test_plans_that_do_not_fit_change_nothing(plan, words):
    model = net()
    before = model[0].weight.data_ptr()
    with pytest.raises(scute.Error, match=words), fake_quantize(plan, model):
        raise AssertionError("entered")
    assert model[0].weight.data_ptr() == before


def test_a_site_that_saw_nothing_is_named():
    model = net()
    with pytest.raises(scute.Error, match="2:input: expected values to round, found none"):
        with fake_quantize({"2:input": {"lo": 0, "hi": 1}}, model):
            model[0](torch.randn(1, 4))


def test_modules_may_be_called_as_scutes_layers():
    torch.manual_seed(3)
    model = nn.ModuleDict({"layer_0": nn.Linear(4, 8), "layer_1": nn.ModuleDict({"a": nn.ReLU()})})
    x = torch.randn(5, 4)
    entry = {"lo": -1, "hi": 1}
    with fake_quantize({"layer_0:input": entry, "layer_1.a:output": entry}, model):
        hidden = model["layer_0"](x)
        assert float(model["layer_1"]["a"](100 + hidden).max()) == 1
    assert not torch.equal(hidden, model["layer_0"](x))
    with pytest.raises(scute.Error, match="expected Mamba mixers"):
        with fake_quantize({"layer_0:input": entry, "layer_7.x_proj:input": entry}, model):
            raise AssertionError("entered")


def test_a_model_that_is_one_module_has_its_class_as_path():
    torch.manual_seed(3)
    model, x = nn.Linear(4, 8), torch.randn(5, 4)
    plan = minmax_plan(model, x)
    assert list(plan) == ["Linear:input"]
    with torch.no_grad(), plan.fake_quantize(model):
        rounded = model(x)
    assert 0 < float((rounded - model(x)).abs().max()) < 0.1
    # What goes into a model of parts is no site unless its class is asked for.
    whole = nn.Sequential(model)
    assert list(minmax_plan(whole, x)) == ["0:input"]
    assert list(minmax_plan(whole, x, modules=nn.Sequential)) == ["Sequential:input"]


def minmax_plan(model, x, **options):
    with torch.no_grad(), scute.observe(model, kinds="input", **options) as seen:
        model(x)
    return scute.decide(seen.statistics, "minmax")


def test_a_tied_table_stays_as_it_is():
    torch.manual_seed(0)
    table, head = torch.nn.Embedding(7, 4), torch.nn.Linear(4, 7, bias=False)
    head.weight = table.weight
    ids = torch.tensor([[1, 5]])
    plan = minmax_plan(torch.nn.Sequential(torch.nn.Identity(), head), table(ids).detach())
    model = torch.nn.Sequential(table, head)
    with torch.no_grad(), plan.fake_quantize(model):
        model(ids)
        assert torch.equal(table(ids), torch.nn.functional.embedding(ids, table.weight))
        assert not torch.equal(head.weight, table.weight)
    assert head.weight is table.weight


def test_a_computed_weight_is_an_error_and_nothing_stays():
    model = torch.nn.Sequential(torch.nn.utils.weight_norm(torch.nn.Linear(4, 3)))
    x = torch.randn(2, 4)
    plan = minmax_plan(model, x)
    with pytest.raises(scute.Error, match="weight_norm"):
        with plan.fake_quantize(model):
            pass
    assert "forward" not in model[0].__dict__


def test_transposed_convolutions_have_a_scale_for_each_output():
    model = torch.nn.Sequential(torch.nn.ConvTranspose1d(1, 2, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[[0.01], [10.0]]]))
    x = torch.ones(1, 1, 1)
    plan = minmax_plan(model, x, modules=(torch.nn.ConvTranspose1d,))
    with torch.no_grad(), plan.fake_quantize(model):
        assert torch.allclose(model(x).flatten(), torch.tensor([0.01, 10.0]), rtol=0.01)
