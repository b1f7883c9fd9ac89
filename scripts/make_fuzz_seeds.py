#!/usr/bin/python3
"""Writes small valid inputs for the fuzz targets: make_fuzz_seeds.py FOLDER, one folder a target."""

import collections
import io
import json
import pathlib
import pickle
import sys
import types
import zipfile

import numpy as np

from checkpoint_files import BF16, write_safetensors

TOP = pathlib.Path(__file__).resolve().parent.parent


def fake_torch():
    """Classes that pickle under PyTorch's names, so that no PyTorch is needed to write its files."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def _rebuild_tensor_v2(*arguments):
        raise NotImplementedError

    class FloatStorage:
        pass

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    FloatStorage.__module__, FloatStorage.__qualname__ = "torch", "FloatStorage"
    utils._rebuild_tensor_v2, torch.FloatStorage, torch._utils = (
        _rebuild_tensor_v2, FloatStorage, utils)
    sys.modules.update({"torch": torch, "torch._utils": utils})
    return _rebuild_tensor_v2, FloatStorage


def torch_pickle():
    """{"model": {"w": a 2 × 3 tensor, "n": 7, ...}} as torch.save writes it."""
    rebuild, float_storage = fake_torch()

    class Storage:
        pass

    class StoredTensor:
        def __reduce__(self):
            return rebuild, (Storage(), 0, (2, 3), (3, 1), False, collections.OrderedDict())

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            if isinstance(obj, Storage):
                return ("storage", float_storage, "0", "cpu", 6)
            return None

    out = io.BytesIO()
    Pickler(out, protocol=2).dump({"model": collections.OrderedDict(
        w=StoredTensor(), n=7, x=1.5, t=(True, None, "text"), l=[1, -2, 1 << 40])})
    return out.getvalue()


def torch_archive(compression):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        archive.writestr("archive/data.pkl", torch_pickle())
        archive.writestr("archive/data/0", np.arange(6, dtype="<f4").tobytes())
        archive.writestr("archive/version", "3\n")
    return out.getvalue()


def npy(array):
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def small_tokenizer():
    """The bundled tokenizer cut to its single bytes and first merges."""
    full = json.loads((TOP / "examples/tiny-mamba1/tokenizer.json").read_text(encoding="utf-8"))
    merges = full["model"]["merges"][:20]
    made = {"".join(m if isinstance(m, list) else m.split(" ")) for m in merges}
    words = [w for w, i in sorted(full["model"]["vocab"].items(), key=lambda item: item[1])
             if len(w) == 1 or w in made]
    full["model"]["vocab"] = {word: i for i, word in enumerate(words)}
    full["model"]["merges"] = merges
    for i, token in enumerate(full.get("added_tokens") or []):
        token["id"] = len(words) + i
    return json.dumps(full, ensure_ascii=False).encode()


def statistics(folder):
    """A statistics file of one site that saw 0, 1 and 1.5 (buckets at fine 8: the top 17 bits)."""
    values = np.array([0, 1, 1, 1.5], dtype="<f4")
    ids, counts = np.unique(values.view("<u4") >> 15, return_counts=True)
    site = {"count": 4, "min": 0.0, "max": 1.5, "zeros": 1, "nans": 0, "infs": 0,
            "bits_or": int(np.bitwise_or.reduce(values.view("<u4"))), "samples": 1}
    write_safetensors(folder / "statistics",
                      {"s/bins": ids.astype("<i4"), "s/counts": counts.astype("<i8")},
                      {"format": "scute-statistics", "version": "1", "fine": "8",
                       "sites": json.dumps({"s": site}), "meta": "null"})


def main():
    top = pathlib.Path(sys.argv[1])

    def put(target, name, content):
        (top / target).mkdir(parents=True, exist_ok=True)
        (top / target / name).write_bytes(content)

    plan = {"s": {"percentile": 99.9, "lo": -3.15, "hi": 3.14},
            "t": {"percentile": 100, "lo": 0, "hi": 1, "policy": "mse", "bits": 4,
                  "symmetric": False, "because": "x"}, "meta": {"seed": 42}}
    put("fuzz_plan", "plan", json.dumps(plan).encode())
    put("fuzz_json", "plan", json.dumps(plan).encode())
    put("fuzz_json", "config", b'{"a": [1, -0.5e-300, NaN, -Infinity], "b": "\\ud83d\\ude00\\n"}')
    task = {"perplexity": 27.2, "perplexity_stderr": 0.6, "n": 64, "window": 512, "stride": 512,
            "context": 1, "file": "a.txt", "sha256": "ab", "predictions": 32704}
    word = {"accuracy": 0.5, "accuracy_stderr": 0.1, "perplexity": 41, "perplexity_stderr": 8,
            "n": 10, "file": "w", "sha256": "cd", "max_context": 2048}
    record = {"timestamp": "2026-01-01 00:00:00", "command": "scute run M", "id": "0123456789ab",
              "config": {"model": "M", "percentile_alpha": None}, "files": {"items": "items/a"},
              "activation_stats": {"s": {"range_reduction": 0.25}},
              "results": {"tasks": {"perplexity": task, "last_word": word}}}
    line = json.dumps(record).encode()
    put("fuzz_log", "two", line + b"\n" + line.replace(b"27.2", b"27.9") + b"\n")
    put("fuzz_log", "torn", line[:100] + b"\n{\"results\": {\"accuracy\": 1}, \"x\": NaN}\r\n")
    for i, array in enumerate([np.arange(6, dtype="<i4").reshape(2, 3), np.zeros(3, "<f8"),
                               np.array(True)]):
        put("fuzz_npy", str(i), npy(array))
    put("fuzz_npy", "fortran", npy(np.zeros((2, 3), "<f4", order="F")))
    put("fuzz_features", "json", b'\0{"role": "test", "indices": [3, 49], "indices_eval": []}')
    for dtype in ("<f2", "<f4"):
        parts = [np.ones((5, 2), dtype), np.ones((5, 2), "<f4"), np.ones(5), np.zeros(2, "<f4"),
                 np.ones(2, "<f4"), np.array(1e-3), np.array(2)]
        put("fuzz_features", f"arrays{dtype[1:]}", b"\1" + b"".join(
            len(part).to_bytes(2, "little") + part for part in map(npy, parts)))
    put("fuzz_torch_zip", "pickle", torch_pickle())
    put("fuzz_torch_zip", "stored", torch_archive(zipfile.ZIP_STORED))
    put("fuzz_torch_zip", "deflated", torch_archive(zipfile.ZIP_DEFLATED))
    put("fuzz_tokenizer_json", "small", small_tokenizer())
    text = "Hello, world: it's 1 234\u00e9 e\u0301 \U0001f600\n\n  x".encode()
    put("fuzz_encode", "text", text)
    put("fuzz_documents", "jsonl", b'{"text": "a b"}\r\n\n{"ids": [1, 2, 3]}\n')
    put("fuzz_documents", "txt", b"one\ntwo\n \nthree")
    # Both models as they are under every scheme, then one change of each kind: see the target.
    for flags in range(32):
        put("fuzz_low_bit", f"sound{flags}", bytes([flags % 2, flags]))
    for what in range(6):
        put("fuzz_low_bit", f"changed{what}", bytes([what % 2, 3, what, 9, 1, 2, 3, 4, 5, 6, 7, 8]))
    # Both variants as they are, then changes to each part of the file.
    for origin in range(2):
        put("fuzz_regressor", f"sound{origin}", bytes([origin]))
        for part in range(4):
            put("fuzz_regressor", f"changed{origin}{part}", bytes([origin, part, 3, 3, 0, 5]))
    config = {"d_model": 8, "n_layer": 2, "vocab_size": 16, "ssm_cfg": {"layer": "Mamba2"}}
    config["ssm_cfg"].update(headdim=4, ngroups=2, d_state=4)
    put("fuzz_model_config", "float", json.dumps(config).encode())
    config["scute"] = {"format": "scute-low-bit", "version": 1, "tool": "scute",
                       "rotated_stream": True, "rotated_out_proj": False, "folded_head": False,
                       "state_scale": "tensor", "state_rounding": "nearest", "seed": -1,
                       "layers": ["W4A8", "FP"]}
    put("fuzz_model_config", "low_bit", json.dumps(config).encode())
    put("fuzz_model_config", "hugging_face", json.dumps(
        {"model_type": "mamba", "hidden_size": 8, "num_hidden_layers": 1, "vocab_size": 16,
         "time_step_rank": "auto", "tie_word_embeddings": False}).encode())
    (top / "fuzz_safetensors").mkdir(exist_ok=True)
    write_safetensors(top / "fuzz_safetensors" / "two",
                      {"a": np.ones((2, 2), "<f4"), "b": BF16.rounded(np.ones(3))}, {"k": "v"})
    (top / "fuzz_statistics").mkdir(exist_ok=True)
    statistics(top / "fuzz_statistics")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main()
