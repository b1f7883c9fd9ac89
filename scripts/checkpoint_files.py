"""Reads and writes checkpoint files with the standard library and numpy alone."""

import json
import pathlib
import pickle
import struct
import zipfile

import numpy as np

# safetensors type -> numpy type; bf16 has none and is carried as its bits.
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "|u1"}


class BF16:
    """An array of bf16 numbers, kept as their 16 bits."""

    def __init__(self, bits):
        self.bits = bits
        self.shape = bits.shape

    @staticmethod
    def rounded(values):
        """To nearest, ties to even; finite values only."""
        bits = np.ascontiguousarray(values, dtype="<f4").view("<u4")
        return BF16(((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2"))

    def widened(self):
        return (self.bits.astype("<u4") << 16).view("<f4")


def to_float64(array):
    return (array.widened() if isinstance(array, BF16) else array).astype(np.float64)


def write_safetensors(path, tensors, metadata=None):
    """tensors: name -> numpy array or BF16, in file order."""
    header, data = {}, []
    if metadata:
        header["__metadata__"] = metadata
    position = 0
    for name, array in tensors.items():
        if isinstance(array, BF16):
            dtype, raw = "BF16", array.bits.tobytes()
        else:
            dtype = next(d for d, code in DTYPES.items() if np.dtype(code) == array.dtype)
            raw = np.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": dtype, "shape": list(array.shape),
                        "data_offsets": [position, position + len(raw)]}
        position += len(raw)
        data.append(raw)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data))


def read_safetensors(path):
    raw = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    tensors = {}
    for name, entry in json.loads(raw[8:8 + length]).items():
        if name == "__metadata__":
            continue
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        code = DTYPES.get(entry["dtype"], "<u2")
        array = np.frombuffer(raw[begin:end], dtype=code).reshape(entry["shape"])
        tensors[name] = BF16(array) if entry["dtype"] == "BF16" else array
    return tensors


class _TorchUnpickler(pickle.Unpickler):
    """PyTorch's state dictionaries; refuses every other class."""

    def __init__(self, archive, root):
        super().__init__(archive.open(f"{root}/data.pkl"))
        self._archive, self._root = archive, root

    def find_class(self, module, name):
        storages = {"FloatStorage": "<f4", "HalfStorage": "<f2", "BFloat16Storage": "<u2"}
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._tensor
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if module == "torch" and name in storages:
            return storages[name]
        raise pickle.UnpicklingError(f"{module}.{name} is not accepted")

    def persistent_load(self, pid):
        raw = self._archive.read(f"{self._root}/data/{pid[2]}")
        return np.frombuffer(raw, dtype=pid[1])

    @staticmethod
    def _tensor(storage, offset, shape, stride, *_):
        strides = [s * storage.itemsize for s in stride]
        array = np.lib.stride_tricks.as_strided(storage[offset:], shape, strides)
        return BF16(array) if storage.dtype == np.dtype("<u2") else array


def read_torch(path):
    with zipfile.ZipFile(path) as archive:
        root = archive.namelist()[0].split("/")[0]
        return _TorchUnpickler(archive, root).load()


def read_folder(folder):
    """All tensors of a model folder, name -> array."""
    folder, tensors = pathlib.Path(folder), {}
    files = sorted(f for f in folder.glob("*.safetensors") if f.name != "golden.safetensors")
    for file in files:
        tensors.update(read_safetensors(file))
    return tensors if files else read_torch(folder / "pytorch_model.bin")
