"""ONNX Runtime itself: its sessions' tensors counted exactly, and its calibration cache."""

import numpy as np
import pytest

ort = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnxruntime.quantization import CalibrationDataReader  # noqa: E402

import scute  # noqa: E402
from scute.adapters.onnxruntime import collect, read_cache, write_cache  # noqa: E402

pytestmark = pytest.mark.adapter


class Reader(CalibrationDataReader):
    """Eight inputs of (2, 3)."""

    def __init__(self):
        rng = np.random.default_rng(5)
        self.inputs = [rng.normal(size=(2, 3)).astype(np.float32) for _ in range(8)]
        self.next = iter(self.inputs)

    def get_next(self):
        x = next(self.next, None)
        return None if x is None else {"x": x}


WEIGHT = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)


@pytest.fixture
def model(tmp_path):
    """relu(x · W) as y, its shape as s."""
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["product"]),
            helper.make_node("Relu", ["product"], ["y"]),
            helper.make_node("Shape", ["y"], ["s"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4]),
            helper.make_tensor_value_info("s", TensorProto.INT64, [2]),
        ],
        [numpy_helper.from_array(WEIGHT, "w")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 9
    file = tmp_path / "model.onnx"
    onnx.save(made, file)
    return file


def counted(arrays):
    out = scute.Statistic()
    for array in arrays:
        out.update(array)
    return out


def test_every_tensor_of_floats_is_counted(model):
    stats, reader = collect(model, Reader()), Reader()
    assert set(stats) == {"x", "product", "y"}
    assert stats["x"] == counted(reader.inputs)
    assert stats["y"].count == 8 * 8 and stats["y"].samples == 8
    products = [x @ WEIGHT for x in reader.inputs]
    assert stats["product"].max == pytest.approx(max(p.max() for p in products), rel=1e-5)
    assert stats["y"].zeros == sum((p <= 0).sum() for p in products)


def test_patterns_sessions_and_plain_iterables(model):
    feeds = [{"x": x} for x in Reader().inputs]
    assert list(collect(model, feeds, include="re:prod", per_channel=True)) == ["product"]
    assert len(collect(model, feeds, "product", per_channel=True)["product"].channel_absmax) == 4
    session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    assert set(collect(session, feeds)) == {"x", "y"}
    assert set(collect(onnx.load(model), feeds, exclude="y")) == {"x", "product"}


def test_what_cannot_be(model):
    with pytest.raises(scute.Error, match="include 'z': expected a pattern that matches"):
        collect(model, Reader(), "z")
    with pytest.raises(scute.Error, match="reader: expected at least one input"):
        collect(model, [])


def test_the_cache_is_read_by_onnx_runtime(model, tmp_path):
    from onnxruntime.quantization.calibrate import (
        CalibrationMethod,
        TensorData,
        TensorsData,
        load_tensors_data,
        save_tensors_data,
    )

    stats = collect(model, Reader())
    plan = scute.decide(stats, "mse", symmetric=False)
    write_cache(plan, tmp_path / "cache.json")
    found = load_tensors_data(tmp_path / "cache.json")
    assert found.calibration_method == CalibrationMethod.MinMax
    for name, entry in plan.items():
        low, high = found[name].range_value
        assert low.dtype == np.float32
        assert (float(low), float(high)) == (np.float32(entry["lo"]), np.float32(entry["hi"]))
    theirs = {"y": TensorData(lowest=np.array([-1], np.float32), highest=np.array(2, np.float32))}
    save_tensors_data(TensorsData(CalibrationMethod.MinMax, theirs), tmp_path / "theirs.json")
    assert read_cache(tmp_path / "theirs.json") == {"y": (-1.0, 2.0)}
    for text, words in (("[]", "JSON object, found list"), ('{"a": 1}', "calibration cache")):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(scute.Error, match=f"bad.json: expected a {words}"):
            read_cache(tmp_path / "bad.json")


def test_its_minmax_calibration_finds_the_same_extremes(model, tmp_path):
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator

    calibrator = create_calibrator(
        model, None, str(tmp_path / "augmented.onnx"), CalibrationMethod.MinMax
    )
    calibrator.collect_data(Reader())
    stats = collect(model, Reader())
    for name, data in calibrator.compute_data().items():
        if name not in stats:
            continue
        low, high = (float(np.ravel(v)[0]) for v in data.range_value)
        assert (stats[name].min, stats[name].max) == (low, high), name


def test_a_quantized_model_made_from_the_cache(model, tmp_path):
    import inspect

    from onnxruntime.quantization import quantize_static

    if "calibration_cache_path" not in inspect.signature(quantize_static).parameters:
        pytest.skip("this onnxruntime's quantize_static reads no cache")
    write_cache(scute.decide(collect(model, Reader()), symmetric=False), tmp_path / "cache.json")
    out = tmp_path / "low.onnx"
    quantize_static(str(model), str(out), Reader(), calibration_cache_path=tmp_path / "cache.json")
    low = ort.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    x = Reader().inputs[0]
    np.testing.assert_allclose(
        low.run(["y"], {"x": x})[0], np.maximum(x @ WEIGHT, 0), rtol=0.1, atol=0.1
    )
