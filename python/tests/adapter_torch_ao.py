"""torch.ao.quantization's observer contract, with that library itself."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch.ao import quantization  # noqa: E402

import scute  # noqa: E402
from scute.adapters.torch_ao import ScuteObserver  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.adapter]


def observed(observer, *tensors):
    for x in tensors:
        assert observer(x) is x
    return observer


def test_scale_and_zero_point_of_unsigned_codes():
    observer = observed(ScuteObserver("minmax"), torch.tensor([-1.0, 0.5]), torch.tensor([4.1]))
    scale, zero = observer.calculate_qparams()
    assert scale.dtype == torch.float32 and scale.shape == zero.shape == (1,)
    assert float(scale) == pytest.approx(5.1 / 255) and int(zero) == 50
    x = torch.tensor([-1.0, 0.0, 4.1])
    codes = torch.quantize_per_tensor(x, float(scale), int(zero), torch.quint8)
    torch.testing.assert_close(codes.dequantize(), x, rtol=0, atol=0.01)


@pytest.mark.parametrize(
    "options, expected",
    [
        ({"dtype": torch.qint8, "qscheme": torch.per_tensor_symmetric}, (2.0 / 127, 0)),
        ({"qscheme": torch.per_tensor_symmetric}, (2.0 / 127, 128)),
        ({"quant_min": 0, "quant_max": 15}, (3.0 / 15, 5)),
        ({"dtype": torch.qint8}, (3.0 / 255, -43)),
    ],
)
def test_types_schemes_and_bits(options, expected):
    observer = observed(ScuteObserver("minmax", **options), torch.tensor([-1.0, 2.0]))
    scale, zero = observer.calculate_qparams()
    assert float(scale) == pytest.approx(expected[0]) and int(zero) == expected[1]


def test_policies_are_scutes():
    x = torch.from_numpy(np.random.default_rng(0).standard_t(3, 50000).astype(np.float32))
    found = {}
    for policy in ("minmax", "mse", "percentile:0.999"):
        observer = observed(ScuteObserver(policy, qscheme=torch.per_tensor_symmetric), x)
        found[policy] = float(observer.calculate_qparams()[0])
        stats = scute.Statistics()
        stats.update("x", x)
        assert found[policy] == np.float32(scute.decide(stats, policy)["x"]["scale"])
    assert found["percentile:0.999"] < found["mse"] < found["minmax"]


def test_what_cannot_be():
    with pytest.raises(scute.Error, match="a scale for each tensor"):
        ScuteObserver(qscheme=torch.per_channel_affine)
    with pytest.raises(scute.Error, match="codes"):
        ScuteObserver(quant_min=0, quant_max=100)
    with pytest.raises(scute.Error, match="expected values"):
        ScuteObserver().calculate_qparams()
    with pytest.raises(TypeError, match="floats"):
        ScuteObserver()(torch.tensor([1]))


def test_state_copies_and_reset():
    first = observed(ScuteObserver("minmax"), torch.tensor([1.0, 2.0]))
    second = ScuteObserver("minmax")
    second.load_state_dict(first.state_dict())
    assert second.statistics == first.statistics
    assert copy.deepcopy(first).calculate_qparams() == first.calculate_qparams()
    first.reset_min_max_vals()
    assert len(first.statistics) == 0 and len(second.statistics) == 1


def test_a_state_that_holds_anything_else_is_refused():
    import os
    import pickle

    class Evil:
        def __reduce__(self):
            return os.getcwd, ()

    bytes_ = torch.frombuffer(bytearray(pickle.dumps(Evil())), dtype=torch.uint8)
    with pytest.raises(pickle.UnpicklingError, match="expected statistics"):
        ScuteObserver().set_extra_state(bytes_)


def test_prepare_and_fake_quantize_take_it():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
    model.eval().qconfig = quantization.QConfig(
        activation=ScuteObserver.with_args(policy="mse"),
        weight=quantization.default_weight_observer,
    )
    prepared = quantization.prepare(model)
    x = torch.randn(256, 8)
    expected = model(x)
    prepared(x)
    observers = [m for m in prepared.modules() if isinstance(m, ScuteObserver)]
    assert len(observers) >= 2 and all(len(o.statistics) for o in observers)
    if "fbgemm" in torch.backends.quantized.supported_engines:
        torch.backends.quantized.engine = "fbgemm"
        model[0].qconfig = model.qconfig
        wrapped = torch.nn.Sequential(
            quantization.QuantStub(), *prepared, quantization.DeQuantStub()
        )
        wrapped.eval().qconfig = model.qconfig
        wrapped = quantization.prepare(wrapped)
        wrapped(x)
        low = quantization.convert(wrapped)
        torch.testing.assert_close(low(x), expected, rtol=0.1, atol=0.1)


def test_the_fake_quantize_module_uses_its_scale():
    fake = quantization.FakeQuantize(
        observer=ScuteObserver, policy="minmax", quant_min=0, quant_max=255, dtype=torch.quint8
    )
    x = torch.linspace(-1, 4.1, 512)
    out = fake(x)
    assert float((out - x).abs().max()) <= 5.1 / 255 / 2 + 1e-5
    assert out.unique().numel() == 256


def test_a_state_that_is_more_than_statistics_is_refused():
    import os
    import pickle
    import struct

    def text(word):
        return b"\x8c" + struct.pack("B", len(word)) + word.encode()

    # STACK_GLOBAL scute.statistics "os.getpid", called without arguments.
    evil = b"\x80\x04" + text("scute.statistics") + text("os.getpid") + b"\x93)R."
    assert pickle.loads(evil) == os.getpid()
    state = torch.frombuffer(bytearray(evil), dtype=torch.uint8)
    with pytest.raises(pickle.UnpicklingError, match="os.getpid"):
        ScuteObserver().set_extra_state(state)


def test_what_would_be_ignored_is_refused():
    for wrong in ({"reduce_range": True}, {"dtype": torch.qint32}, {"is_dynamic": True}):
        with pytest.raises(scute.Error):
            ScuteObserver(**wrong)
    with pytest.raises(TypeError):
        ScuteObserver(epz=3)
    ScuteObserver(is_dynamic=False)  # as torch 2's FakeQuantize makes it
