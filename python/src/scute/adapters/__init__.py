"""scute's exact statistics under other tools' own classes. Each file imports that tool alone.

torch_ao: an observer. modelopt: a calibrator. llm_compressor: an observer. onnxruntime: collection
from a CalibrationDataReader, and its calibration cache. lm_eval: a model.
"""
