"""llm-compressor's observer contract, with the package itself."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("llmcompressor")
from compressed_tensors.quantization import QuantizationArgs  # noqa: E402
from llmcompressor.observers.base import Observer  # noqa: E402

import scute  # noqa: E402
from scute.adapters.llm_compressor import ScuteObserver  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.adapter]


def observer(policy="minmax", **args):
    options = {"num_bits": 8, "symmetric": True, "strategy": "tensor", **args}
    made = QuantizationArgs(observer="scute", observer_kwargs={"policy": policy}, **options)
    return Observer.load_from_registry("scute", base_name="input", args=made)


def test_it_is_registered_and_gives_scales():
    one = observer()
    assert isinstance(one, ScuteObserver)
    one(torch.tensor([[[1.0, -2.0]]]))
    assert one(torch.tensor([[[0.5, 0.25]]])) is one
    assert one.has_statistics
    found = one.get_qparams()
    assert float(found["scale"]) == pytest.approx(2 / 127.5, rel=1e-3)
    assert int(found["zero_point"]) == 0 and found["global_scale"] is None
    assert not one.has_statistics


def test_all_batches_count_and_the_policy_decides():
    x = np.random.default_rng(0).standard_t(3, 60000).astype(np.float32)
    stats = scute.Statistics()
    stats.update("x", x)
    one = observer("mse")
    for part in np.split(x, 6):
        one(torch.from_numpy(part.reshape(1, 100, 100)))
    entry = scute.decide(stats, "mse")["x"]
    assert float(one.max_vals) == np.float32(entry["hi"])
    assert float(one.min_vals) == np.float32(entry["lo"])


def test_asymmetric_args():
    one = observer(symmetric=False)
    one(torch.tensor([[[0.0, 5.1]]]))
    found = one.get_qparams()
    assert float(found["scale"]) == pytest.approx(5.1 / 255, rel=1e-3)
    assert int(found["zero_point"]) == -128


def test_other_strategies_are_refused():
    with pytest.raises(scute.Error, match="expected strategy 'tensor'"):
        observer(strategy="channel")
