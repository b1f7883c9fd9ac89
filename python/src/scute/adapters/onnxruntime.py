"""Exact statistics of an ONNX model's tensors from ONNX Runtime, and its calibration cache.

stats = collect("model.onnx", reader)            # any CalibrationDataReader
write_cache(scute.decide(stats, symmetric=False), "cache.json")
quantize_static("model.onnx", "model.int8.onnx", reader, …)   # reads the cache
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from scute import Error, Statistics
from scute.json_files import read_json
from scute.patterns import choose

_FLOATS = (1, 10, 11)  # float, float16 and double of onnx.TensorProto


def _with_outputs(model: Any, tensors: list[str]) -> Any:
    """The model with these tensors as outputs too."""
    import onnx

    out = onnx.ModelProto()
    out.CopyFrom(model)
    have = {value.name for value in out.graph.output}
    for name in tensors:
        if name not in have:
            out.graph.output.append(onnx.ValueInfoProto(name=name))
    return out


def _float_tensors(model: Any) -> list[str]:
    """Names of the tensors of floats that data decide: inputs and what nodes give."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model).graph
    constants = {tensor.name for tensor in inferred.initializer}
    values = [*inferred.input, *inferred.value_info, *inferred.output]
    found = [v.name for v in values if v.type.tensor_type.elem_type in _FLOATS]
    return [name for name in dict.fromkeys(found) if name not in constants]


def collect(
    model: str | os.PathLike[str] | Any,
    reader: Iterable[Mapping[str, Any]],
    include: str | Iterable[str] | None = None,
    exclude: str | Iterable[str] | None = None,
    *,
    fine: int = 8,
    per_channel: bool = False,
    providers: Iterable[str] = ("CPUExecutionProvider",),
) -> Statistics:
    """Runs every input of a reader (get_next(), or any iterable of feeds) and counts its tensors.

    model: a path or onnx.ModelProto, whose intermediate tensors are counted too, or an
    InferenceSession, whose inputs and outputs are. include, exclude: names, globs or "re:…" of
    tensors; a name is a site, a run is a sample. Nothing of a run is kept but its counts.

    Error when a pattern of include matches nothing, or the reader gives nothing.
    """
    import onnxruntime

    if isinstance(model, onnxruntime.InferenceSession):
        session = model
        values = [*session.get_inputs(), *session.get_outputs()]
        names = [v.name for v in values if v.type in _SESSION_FLOATS]
    else:
        import onnx

        loaded = model if isinstance(model, onnx.ModelProto) else onnx.load(os.fspath(model))
        names = _float_tensors(loaded)
        wanted = set(choose({name: (name,) for name in names}, include, exclude))
        bytes_ = _with_outputs(loaded, [n for n in names if n in wanted]).SerializeToString()
        session = onnxruntime.InferenceSession(bytes_, providers=list(providers))
    chosen = choose({name: (name,) for name in names}, include, exclude)
    out = Statistics(fine=fine, per_channel=per_channel)
    outputs = [v.name for v in session.get_outputs() if v.name in chosen]
    runs = 0
    for feed in iter(reader.get_next, None) if hasattr(reader, "get_next") else reader:
        runs += 1
        for name, value in zip(outputs, session.run(outputs, dict(feed)), strict=True):
            out.update(name, value)
        for name, value in feed.items():
            if name in chosen and name not in outputs:
                out.update(name, np.asarray(value))
    if runs == 0:
        raise Error("reader: expected at least one input, found none")
    out.meta = {"tool": f"onnxruntime {onnxruntime.__version__}", "observer": "histogram"}
    return out


_SESSION_FLOATS = ("tensor(float)", "tensor(float16)", "tensor(double)")


def write_cache(plan: Mapping[str, Mapping[str, Any]], path: str | os.PathLike[str]) -> None:
    """The ranges as ONNX Runtime's calibration cache: JSON, lowest and highest of each tensor.

    What quantize_static(calibration_cache_path=…) and load_tensors_data() read.
    """

    def number(value: float) -> dict[str, Any]:
        return {"data": float(np.float32(value)), "dtype": "float32", "CLS": "numpy.array"}

    data = {
        name: {"lowest": number(entry["lo"]), "highest": number(entry["hi"]), "CLS": "TensorData"}
        for name, entry in plan.items()
    }
    method = {"CLS": "CalibrationMethod", "value": "CalibrationMethod.MinMax"}
    content = {
        "CLS": "TensorsData",
        "data": data,
        "calibration_method": method,
        "smooth_quant": False,
    }
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file)


def read_cache(path: str | os.PathLike[str]) -> dict[str, tuple[float, float]]:
    """{tensor: (lowest, highest)} of such a file, also one that ONNX Runtime wrote."""
    content = read_json(path)
    try:
        return {
            name: (_number(entry["lowest"]), _number(entry["highest"]))
            for name, entry in content["data"].items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise Error(f"{os.fspath(path)}: expected a calibration cache, found {error!r}") from None


def _number(value: Any) -> float:
    return float(np.ravel(value["data"] if isinstance(value, dict) else value)[0])
