"""Model Optimizer's calibrator contract; with the package where it is."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import scute  # noqa: E402
from scute.adapters.modelopt import ScuteCalibrator  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.adapter]


def test_the_largest_magnitude_kept_is_scutes():
    x = torch.from_numpy(np.random.default_rng(1).standard_t(3, 40000).astype(np.float32))
    calibrator = ScuteCalibrator(policy="minmax")
    assert calibrator.compute_amax() is None
    calibrator.collect(x[:20000].reshape(10, -1))
    calibrator.collect(x[20000:])
    amax = calibrator.compute_amax()
    assert amax.dtype == torch.float32 and amax.dim() == 0
    assert float(amax) == float(x.abs().max())
    stats = scute.Statistics()
    stats.update("x", x)
    entry = scute.decide(stats, "mse")["x"]
    assert float(calibrator.compute_amax("mse")) == np.float32(max(-entry["lo"], entry["hi"]))
    kept = float(calibrator.compute_amax(percentile=99.9))
    assert kept == pytest.approx(float(x.abs().quantile(0.999)), rel=0.01)


def test_reset_forgets_and_bits_matter():
    x = torch.from_numpy(np.random.default_rng(1).normal(size=40000).astype(np.float32))
    amax = {}
    for bits in (4, 8):
        calibrator = ScuteCalibrator(bits, policy="mse")
        calibrator.collect(x)
        amax[bits] = float(calibrator.compute_amax())
    assert amax[4] < amax[8]
    calibrator.reset()
    assert calibrator.compute_amax() is None
    calibrator.collect(torch.empty(2, device="meta"))
    calibrator.collect(torch.empty(0))
    assert calibrator.compute_amax() is None


def test_what_cannot_be():
    with pytest.raises(scute.Error, match="axis"):
        ScuteCalibrator(axis=0)
    with pytest.raises(scute.Error, match="num_bits"):
        ScuteCalibrator(num_bits=(4, 3))
    with pytest.raises(TypeError, match="floats"):
        ScuteCalibrator().collect(torch.tensor([1]))


def test_the_packages_own_quantizer_takes_it():
    nn = pytest.importorskip("modelopt.torch.quantization.nn")
    quantizer = nn.TensorQuantizer()
    quantizer._calibrator = ScuteCalibrator(policy="percentile:0.99")
    quantizer.disable_quant()
    quantizer.enable_calib()
    x = torch.linspace(-1, 1, 10001)
    quantizer(x)
    quantizer.load_calib_amax()
    quantizer.disable_calib()
    quantizer.enable_quant()
    assert float(quantizer.amax) == pytest.approx(0.99, rel=0.01)
    assert float(quantizer(torch.tensor([7.0]))) == pytest.approx(0.99, rel=0.01)


@pytest.mark.parametrize("bits", [4, 8])
def test_unsigned_codes_have_all_steps_above_zero(bits):
    x = torch.from_numpy(np.abs(np.random.default_rng(1).normal(size=40000)).astype(np.float32))
    stats = scute.Statistics()
    stats.update("x", x)
    calibrator = ScuteCalibrator(bits, unsigned=True, policy="mse")
    calibrator.collect(x)
    # scale * (2**bits - 1) is the largest value kept: the asymmetric grid of as many bits.
    expected = scute.decide(stats, "mse", bits=bits, symmetric=False)["x"]
    assert expected["scale"] * (2**bits - 1) == pytest.approx(expected["hi"])
    assert float(calibrator.compute_amax()) == pytest.approx(expected["hi"], rel=0.02)
    signed = scute.decide(stats, "mse", bits=bits)["x"]
    if bits == 4:
        assert float(calibrator.compute_amax()) > 1.05 * signed["hi"]
    calibrator.collect(torch.tensor([-0.5]))
    with pytest.raises(scute.Error, match="unsigned: expected values from 0 up, found -0.5"):
        calibrator.compute_amax()
    with pytest.raises(scute.Error, match="num_bits: expected 2 … 15, found 16"):
        ScuteCalibrator(16, unsigned=True)
    with pytest.raises(scute.Error, match="percentile: expected the method percentile"):
        calibrator.compute_amax("mse", percentile=99)
