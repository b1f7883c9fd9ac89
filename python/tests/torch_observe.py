"""scute.observe: hooks on torch models, counted on the host and on a device."""

import copy
import math
import threading
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import scute  # noqa: E402
from scute.devices import count  # noqa: E402
from scute.observation import observe  # noqa: E402
from scute.seen import statistic_of  # noqa: E402
from small_models import Mamba1  # noqa: E402

pytestmark = pytest.mark.torch
NEW_TORCH = int(torch.__version__.split(".")[0]) >= 2


class Net(nn.Module):
    """Two layers, one of them called twice; forward takes its input by any name."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 6)
        self.second = nn.Linear(6, 6)

    def forward(self, x, again=True):
        x = self.second(torch.relu(self.first(x)))
        return self.second(input=x) if again else x


def hooks_of(model):
    """How many hooks there are, and covered forwards."""
    return sum(
        len(m._forward_hooks) + len(m._forward_pre_hooks) + ("forward" in m.__dict__)
        for m in model.modules()
    )


def counted(*arrays):
    out = scute.Statistic()
    for array in arrays:
        out.update(array.detach().numpy())
    return out


def test_inputs_and_outputs_are_counted_once_each():
    model, x = Net(), torch.randn(3, 4)
    with observe(model) as seen:
        y = model(x)
    hidden = torch.relu(model.first(x))
    assert list(seen.statistics) == [
        "first:input",
        "first:output",
        "second:input",
        "second:output",
    ]
    assert seen.statistics["first:input"] == counted(x)
    assert seen.statistics["second:input"] == counted(hidden, model.second(hidden))
    assert seen.statistics["second:output"] == counted(model.second(hidden), y)
    assert seen.statistics["second:input"].samples == 2
    assert hooks_of(model) == 0


def test_kinds_classes_and_patterns_choose():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Conv1d(1, 1, 1))
    x = torch.randn(1, 1, 4)

    def sites(**options):
        with observe(model, **options) as seen:
            model(x)
        return list(seen.statistics)

    assert sites(kinds="input") == ["0:input", "2:input"]
    assert sites(modules=nn.Conv1d, kinds=("output",)) == ["2:output"]
    assert sites(include="1", kinds=("input",)) == ["1:input"]
    assert sites(include=["re:[02]$"], exclude="2") == ["0:input", "0:output"]
    assert sites(include="*", modules=(nn.ReLU, nn.Linear), kinds="output") == [
        "0:output",
        "1:output",
    ]


@pytest.mark.parametrize(
    "options, words",
    [
        ({"include": ["first", "thrid"]}, "thrid"),
        ({"include": "re:("}, "regular expression"),
        ({"kinds": ("inputs",)}, "inputs"),
        ({"names": "module"}, "module"),
        ({"where": "gpu"}, "gpu"),
        ({"exclude": "*"}, "none"),
        ({"fine": 17}, "fine"),
        ({"names": "sites"}, "mixers"),
    ],
)
def test_what_cannot_be_is_one_error_and_no_hook_stays(options, words):
    model = Net()
    with pytest.raises(scute.Error, match=words):
        with observe(model, **options):
            raise AssertionError("entered")
    assert hooks_of(model) == 0


def test_what_is_no_module_is_named():
    with pytest.raises(scute.Error, match="expected a torch.nn.Module, found dict"):
        observe({})


def test_hooks_are_removed_when_the_loop_fails():
    model = Net()
    with pytest.raises(RuntimeError), observe(model) as seen:
        model(torch.randn(2, 4))
        model(torch.randn(2, 5))
    assert hooks_of(model) == 0
    assert seen.statistics["first:input"].count >= 8
    assert "forward" not in model.first.__dict__


def test_a_module_that_failed_is_whole_again_for_the_next_block():
    model = Net()
    seen = observe(model)
    for _ in range(2):
        with seen:
            model(torch.randn(2, 4))
    assert seen.statistics["first:input"].samples == 2
    with seen, pytest.raises(scute.Error, match="one block at a time"):
        seen.__enter__()
    assert hooks_of(model) == 0


def test_two_observations_at_once():
    model, x = Net(), torch.randn(2, 4)
    with observe(model) as outer, observe(model, include="first") as inner:
        model(x)
    assert outer.statistics["first:input"] == inner.statistics["first:input"] == counted(x)
    assert hooks_of(model) == 0


def test_a_shared_module_is_one_place_under_any_of_its_names():
    shared = nn.Linear(4, 4)
    model = nn.ModuleDict({"a": shared, "b": shared})
    with observe(model, include="b", kinds="input") as seen:
        model["a"](torch.ones(1, 4))
        model["b"](torch.ones(1, 4))
    assert list(seen.statistics) == ["a:input"]
    assert seen.statistics["a:input"].samples == 2


class Many(nn.Module):
    def forward(self, x, *, scale, mask=None, more=()):
        return {"y": x * scale, "parts": (x, [more[0]] if more else x)}, x.long(), None


def test_arguments_by_name_and_nested_outputs():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.many = Many()

    model, x = Outer(), torch.randn(2, 3)
    with observe(model, include="many") as seen:
        model.many(x=x, scale=torch.ones(1), mask=torch.ones(2, dtype=torch.bool), more=[x, 2 * x])
    assert sorted(seen.statistics) == [
        "many:input",
        "many:input.more",
        "many:input.more.1",
        "many:input.scale",
        "many:output.parts",
        "many:output.parts.1",
        "many:output.y",
    ]
    assert seen.statistics["many:input.more.1"] == counted(2 * x)


def test_inputs_are_those_before_the_module_changes_them():
    model = nn.Sequential(nn.ReLU(inplace=True))
    x = torch.tensor([-1.0, 2.0])
    with observe(model, include="0") as seen:
        model(x)
    assert seen.statistics["0:input"].min == -1
    assert seen.statistics["0:output"].min == 0


def test_with_gradients_without_and_in_inference_mode():
    model, x = Net(), torch.randn(2, 4, requires_grad=True)
    with observe(model) as seen:
        model(x).sum().backward()
        with torch.no_grad():
            model(x)
        with torch.inference_mode():
            model(x)
    assert x.grad is not None
    assert seen.statistics["first:input"].samples == 3


def test_autocast_gives_what_the_module_gives():
    model, x = Net(), torch.randn(8, 4)
    with observe(model) as seen, torch.autocast("cpu", dtype=torch.bfloat16):
        y = model(x)
    assert y.dtype == torch.bfloat16
    assert seen.statistics["second:output"].exact
    assert not seen.statistics["first:input"].exact


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("fine", [1, 8, 12])
def test_device_counts_are_those_of_the_host(dtype, fine):
    generator = torch.Generator().manual_seed(1)
    x = (torch.randn(40, 70, generator=generator) * 3).exp().to(dtype) - 1
    x[0, :6] = torch.tensor([0.0, -0.0, math.nan, math.inf, -math.inf, 1e-42]).to(dtype)
    for view in (x, x.T, x[::3, 1::2], x.reshape(-1)[:1], x[:, 2:3].expand(40, 5)):
        host = scute.Statistic(fine, per_channel=True)
        host.update(view)
        device = statistic_of(count(view, fine, per_channel=True))
        assert device == host


def test_device_counts_of_any_bits():
    rng = np.random.default_rng(2)
    bits = rng.integers(0, 1 << 32, 200_000, dtype=np.uint32)
    x = bits.view(np.float32)
    host = scute.Statistic()
    host.update(x)
    assert statistic_of(count(torch.from_numpy(x.copy()), 8)) == host


def test_device_counts_in_pieces(monkeypatch):
    monkeypatch.setattr("scute.devices._PIECE", 1000)
    x = torch.randn(2500)
    assert statistic_of(count(x, 8)) == counted(x)


def test_only_values_that_are_not_finite():
    x = torch.tensor([math.nan, math.inf])
    host = scute.Statistic()
    host.update(x)
    assert statistic_of(count(x, 8)) == host


def test_the_forced_device_path_gives_the_same_statistics():
    model, ids = Mamba1(), torch.randint(0, 64, (2, 70))
    both = []
    for where in ("auto", "device"):
        with observe(model, names="sites", where=where, per_channel=True) as seen, torch.no_grad():
            model(ids)
        both.append(seen.statistics)
    assert list(both[0]) == list(both[1])
    for site in both[0]:
        assert both[0][site] == both[1][site], site


def test_sparse_tensors_are_counted_dense():
    dense = torch.tensor([[0.0, 2.0], [0.0, 0.0]])
    model = nn.Sequential(nn.Identity())
    with observe(model, include="0", kinds="input") as seen:
        model(dense.to_sparse())
    assert seen.statistics["0:input"] == counted(dense)


def replicated(model):
    """What DataParallel makes of a model for another device, on this one."""
    replica = model._replicate_for_data_parallel()
    for name, child in model._modules.items():
        replica._modules[name] = replicated(child)
    for name, parameter in model._parameters.items():
        if parameter is not None:
            setattr(replica, name, parameter.detach().clone() * 2)
    return replica


def test_replicas_run_with_their_own_weights_from_threads():
    model = Net()
    x = torch.randn(64, 4)
    plain = [model(x), replicated(model)(x)]
    with observe(model) as seen:
        replicas, outputs = [model, replicated(model)], [None, None]

        def run(i):
            outputs[i] = replicas[i](x)

        threads = [threading.Thread(target=run, args=(i,)) for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for expected, found in zip(plain, outputs, strict=True):
        assert torch.equal(expected, found)
    assert seen.statistics["first:input"].count == 2 * x.numel()
    assert seen.statistics["second:input"].samples == 4


def test_data_parallel_names_are_those_of_the_model():
    model = nn.DataParallel(Net())
    with observe(model) as seen:
        model(torch.randn(2, 4))
    assert "first:input" in seen.statistics


@pytest.mark.skipif(not NEW_TORCH, reason="no torch.compile before torch 2")
@pytest.mark.parametrize("compiled_first", [True, False])
def test_compiled_models_break_their_graph_and_are_counted(compiled_first):
    model, x = Net(), torch.randn(2, 4)
    compiled = torch.compile(model, backend="eager")
    if compiled_first:
        compiled(x)
    with observe(compiled) as seen:
        compiled(x)
        compiled(x)
    assert seen.statistics["first:input"] == counted(x, x)
    assert seen.statistics["second:output"].samples == 4
    before = copy.deepcopy(seen.statistics)
    compiled(x)
    assert seen.statistics == before


def test_a_module_called_past_its_hooks_is_not_counted_and_works():
    model, x = Net(), torch.randn(2, 4)
    with warnings.catch_warnings(), observe(model, include="first") as seen:
        warnings.simplefilter("ignore")
        assert torch.equal(
            model.first.forward(x), nn.functional.linear(x, *model.first.parameters())
        )
    assert list(seen.statistics) == []
    assert seen.silent() == ["first"]


def test_silent_modules_are_named():
    model = Net()
    with pytest.warns(UserWarning, match="never called, e.g. second"), observe(model):
        model.first(torch.randn(2, 4))


def test_many_calls_keep_no_memory():
    model, x = nn.Sequential(nn.Linear(8, 8)), torch.randn(4, 8)
    with observe(model) as seen, torch.no_grad():
        for _ in range(2000):
            model(x)
    assert seen.statistics["0:input"].count == 2000 * x.numel()
    assert seen.statistics["0:input"].samples == 2000


def test_statistics_are_there_within_the_block_and_saved(tmp_path):
    model = Net()
    with observe(model, meta={"data": "none"}) as seen:
        model(torch.randn(2, 4))
        assert seen.statistics["first:input"].count == 8
    file = tmp_path / "stats.safetensors"
    seen.statistics.save(file)
    again = scute.Statistics.load(file)
    assert again == seen.statistics
    assert again.meta["model"] == "Net"
    assert again.meta["data"] == "none"


def test_a_view_times_minus_one_has_its_sign():
    x = torch.view_as_complex(torch.tensor([[1.0, 2.0], [3.0, 4.0]])).conj().imag
    assert x.is_neg()
    histogram = scute.Histogram()
    histogram.update(x)
    assert (histogram.min, histogram.max) == (-4, -2)


def test_two_observers_may_end_in_any_order():
    model = torch.nn.Sequential(torch.nn.Linear(3, 3))
    x = torch.ones(2, 3)
    first, second = scute.observe(model), scute.observe(model)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    with torch.no_grad():
        model(x)
    second.__exit__(None, None, None)
    assert second.statistics["0:input"].count == 6
    assert "forward" not in model[0].__dict__ and not model[0]._forward_pre_hooks
