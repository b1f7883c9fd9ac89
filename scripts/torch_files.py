"""Writes and reads PyTorch's zip checkpoints with the standard library and numpy alone."""

import collections
import io
import pathlib
import pickle
import sys
import types
import zipfile

import numpy as np

from checkpoint_files import BF16


def fake_class(module, name, base=object):
    """A class that pickles under another module's name, so that the module is not needed."""
    parts = module.split(".")
    for i in range(1, len(parts) + 1):
        sys.modules.setdefault(".".join(parts[:i]), types.ModuleType(".".join(parts[:i])))
    made = type(name, (base,), {"__module__": module})
    setattr(sys.modules[module], name, made)
    return made


FLOAT_STORAGE = fake_class("torch", "FloatStorage")
BF16_STORAGE = fake_class("torch", "BFloat16Storage")
REBUILD = fake_class("torch._utils", "_rebuild_tensor_v2")


class _Storage:
    def __init__(self, kind, key, size):
        self.kind, self.key, self.size = kind, key, size


class _StoredTensor:
    """Pickles as torch pickles a contiguous tensor."""

    def __init__(self, storage, shape):
        self.storage, self.shape = storage, shape

    def __reduce__(self):
        strides = [int(np.prod(self.shape[i + 1:], dtype=int)) for i in range(len(self.shape))]
        return REBUILD, (self.storage, 0, tuple(self.shape), tuple(strides), False,
                         collections.OrderedDict())


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj):
        if isinstance(obj, _Storage):
            return ("storage", obj.kind, obj.key, "cuda:0", obj.size)
        return None


def _add(archive, name, content):
    """Stored; the data begins at a multiple of 64 bytes, padded as torch does it, in an extra field."""
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    begin = archive.fp.tell() + 30 + len(name.encode())
    padding = -(begin + 4) % 64
    info.extra = b"FB" + padding.to_bytes(2, "little") + b"Z" * padding
    archive.writestr(info, content)


def write_torch(path, root):
    """root: plain values, dictionaries, BF16 and numpy arrays (written as f32); one that occurs twice
    is stored once. A dictionary under "state_dict" becomes an OrderedDict with the _metadata that
    torch gives it."""
    path, data, storages = pathlib.Path(path), [], {}

    def stored(value):
        if isinstance(value, (np.ndarray, BF16)):
            if id(value) not in storages:
                bf16 = isinstance(value, BF16)
                array = value.bits if bf16 else np.ascontiguousarray(value, dtype="<f4")
                kind = BF16_STORAGE if bf16 else FLOAT_STORAGE
                storages[id(value)] = _Storage(kind, str(len(data)), array.size)
                data.append(array.tobytes())
            return _StoredTensor(storages[id(value)], value.shape)
        if isinstance(value, dict):
            return type(value)((key, stored(item)) for key, item in value.items())
        return value

    def state_dict(tensors):
        out = collections.OrderedDict((name, stored(array)) for name, array in tensors.items())
        out._metadata = collections.OrderedDict({"": {"version": 1}})
        return out

    if isinstance(root, dict):
        root = {key: state_dict(item) if key == "state_dict" else stored(item)
                for key, item in root.items()}
    pickled = io.BytesIO()
    _Pickler(pickled, protocol=2).dump(root)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        stem = path.stem
        _add(archive, f"{stem}/data.pkl", pickled.getvalue())
        _add(archive, f"{stem}/.format_version", b"1")
        _add(archive, f"{stem}/.storage_alignment", b"64")
        _add(archive, f"{stem}/byteorder", b"little")
        for i, raw in enumerate(data):
            _add(archive, f"{stem}/data/{i}", raw)
        _add(archive, f"{stem}/version", b"3\n")
        _add(archive, f"{stem}/.data/serialization_id", b"0" * 40)


class _Unpickler(pickle.Unpickler):
    def __init__(self, archive, stem):
        super().__init__(io.BytesIO(archive.read(f"{stem}/data.pkl")))
        self._archive, self._stem = archive, stem

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, *_: storage[offset:].reshape(shape)
        if (module, name) == ("torch", "FloatStorage"):
            return "<f4"
        raise pickle.UnpicklingError(f"{module}.{name} is not accepted")

    def persistent_load(self, pid):
        return np.frombuffer(self._archive.read(f"{self._stem}/data/{pid[2]}"), pid[1])


def read_torch(path):
    """Contiguous float tensors only; every other class is refused."""
    with zipfile.ZipFile(path) as archive:
        return _Unpickler(archive, archive.namelist()[0].split("/")[0]).load()
