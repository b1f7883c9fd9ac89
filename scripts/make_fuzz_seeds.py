#!/usr/bin/python3
"""Writes small valid inputs for the fuzz targets: make_fuzz_seeds.py FOLDER, one folder a target."""

import collections
import io
import json
import pathlib
import pickle
import struct
import sys
import types
import zipfile
import zlib

import numpy as np

import fuzz_folders
from checkpoint_files import BF16, write_safetensors
from tokenizer_kinds import kinds

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


def npz(compression):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        archive.writestr("a.npy", npy(np.arange(6, dtype="<i4").reshape(2, 3)))
        archive.writestr("b.npy", npy(np.array(["note"])))
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


def png(depth, color, interlace=0, palette=b""):
    """3 × 2 pixels, all bits zero."""
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(
            ">I", zlib.crc32(name + body))

    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    # Adam7 of 3 × 2: passes 1 (1 × 1), 4 (1 × 1), 6 (1 × 1), 7 (3 × 1) have pixels; a filter byte
    # stands before each row.
    rows = [1, 1, 1, 3] if interlace else [3, 3]
    raw = b"".join(bytes(1 + (width * bits + 7) // 8) for width in rows)
    return (b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", struct.pack(">IIBBBBB", 3, 2, depth, color, 0, 0, interlace))
            + (chunk(b"PLTE", palette) + chunk(b"tRNS", b"\0") if palette else b"")
            + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))


def jpeg(components, progressive=False):
    """16 × 16 pixels of one grey: Huffman tables of one code of one bit, all differences zero."""
    def segment(marker, body):
        return bytes([0xff, marker]) + struct.pack(">H", len(body) + 2) + body

    def scan(table, first, last, bits):
        ids = b"".join(bytes([1 + c, table]) for c in range(components))
        ones = (1 << -bits % 8) - 1  # fill up the last byte
        return segment(0xda, bytes([components]) + ids + bytes([first, last, 0])) + ones.to_bytes(
            (bits + 7) // 8, "big")

    # The first component has twice the size of the others in both directions.
    frame = b"".join(bytes([1 + c, 0x22 if c == 0 and components > 1 else 0x11, 0])
                     for c in range(components))
    blocks = 4 if components == 1 else 4 + components - 1
    one_code = bytes([1] + [0] * 16)
    return (b"\xff\xd8" + segment(0xdb, bytes([0] + [1] * 64))
            + segment(0xc2 if progressive else 0xc0,
                      struct.pack(">BHHB", 8, 16, 16, components) + frame)
            + segment(0xc4, b"\x00" + one_code + b"\x10" + one_code)
            + (scan(0, 0, 0, blocks) if progressive else scan(0, 0, 63, 2 * blocks)) + b"\xff\xd9")


# 4 × 3 pixels with alpha, and 16 × 16 lossy ones.
WEBP_LOSSLESS = bytes.fromhex(
    "5650384c450000002f038000105fa0260001c628e01441ff8e3a0809c89409a209840464acc9a2098404642c6ba2"
    "09082669aaed1803ada2feef874248562890f7754a21a714428ee87f741f7300")
WEBP_LOSSY = bytes.fromhex(
    "5650382020000000" "9001009d012a1000100005407c25a40002e68a2f0000fef1093f1b5debc00000")


def webp(chunks):
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def animated_webp():
    """One frame of 4 × 3."""
    frame = bytes(6) + b"\3\0\0\2\0\0\x64\0\0\0" + WEBP_LOSSLESS
    return webp(b"VP8X" + struct.pack("<I", 10) + b"\x12\0\0\0\3\0\0\2\0\0"
                + b"ANIM" + struct.pack("<I", 6) + bytes(6)
                + b"ANMF" + struct.pack("<I", len(frame)) + frame)


def bmp(bits, palette=b"", packing=0, height=2):
    """2 × 2 pixels, the last row first or, of negative height, last."""
    data = 54 + len(palette)
    return (b"BM" + struct.pack("<III", data + 16, 0, data)
            + struct.pack("<IiiHHIIIIII", 40, 2, height, 1, bits, packing, 0, 0, 0,
                          len(palette) // 4 if packing == 0 else 0, 0)
            + palette + bytes(range(16)))


def pictures(put):
    for depth, color in ((1, 0), (8, 0), (16, 0), (8, 2), (16, 2), (4, 3), (8, 4), (16, 6)):
        for interlace in range(2):
            put("fuzz_picture", f"png{depth}_{color}_{interlace}",
                png(depth, color, interlace, bytes(range(48)) if color == 3 else b""))
    for components in (1, 3, 4):
        put("fuzz_picture", f"jpeg{components}", jpeg(components))
        put("fuzz_picture", f"progressive{components}", jpeg(components, progressive=True))
    put("fuzz_picture", "webp_lossless", webp(WEBP_LOSSLESS))
    put("fuzz_picture", "webp_lossy", webp(WEBP_LOSSY))
    put("fuzz_picture", "webp_animated", animated_webp())
    for bits in (24, 32):
        put("fuzz_picture", f"bmp{bits}", bmp(bits))
    put("fuzz_picture", "bmp_top_down", bmp(24, height=-2))
    put("fuzz_picture", "bmp16", bmp(16, struct.pack("<III", 0xf800, 0x7e0, 0x1f), packing=3))
    for bits in (1, 4, 8):
        put("fuzz_picture", f"bmp{bits}", bmp(bits, bytes(range(8))))


def family_configs():
    """Small configs of the hybrid families, one in each dialect."""
    sizes = {"hidden_size": 16, "vocab_size": 16, "num_attention_heads": 2,
             "num_key_value_heads": 1, "intermediate_size": 8}
    mamba = {"mamba_n_heads": 4, "mamba_d_state": 4, "mamba_n_groups": 2}
    rope4 = {"rope_theta": 100.0, "rope_scaling": None}
    rope5 = {"rope_parameters": {"rope_theta": 100.0, "rope_type": "default"}}
    infinity = {"time_step_limit": [0.0, {"__float__": "Infinity"}]}
    return {
        "attention": {"d_model": 16, "n_layer": 2, "vocab_size": 16, "attn_layer_idx": [1],
                      "d_intermediate": 8, "ssm_cfg": {"layer": "Mamba2", "headdim": 8},
                      "attn_cfg": {"causal": True, "num_heads": 2, "d_conv": 4,
                                   "rotary_emb_dim": 4}},
        "falcon_mamba": {"model_type": "falcon_mamba", "hidden_size": 16, "expand": 16,
                         "intermediate_size": 32, "mixer_rms_eps": 1e-5},
        "bamba": {"model_type": "bamba", **sizes, **mamba, **rope4, "num_hidden_layers": 2,
                  "attn_layer_indices": [1]},
        "granite": {"model_type": "granitemoehybrid", **sizes, **mamba, **rope5,
                    "num_local_experts": 4, "shared_intermediate_size": 8, "logits_scaling": 8,
                    "position_embedding_type": "rope",
                    "layer_types": ["linear_attention", "full_attention"]},
        "falcon_h1": {"model_type": "falcon_h1", **sizes, **mamba, **rope5, **infinity,
                      "num_hidden_layers": 1, "mamba_d_ssm": 32, "head_dim": 4,
                      "ssm_multipliers": [0.3, 0.25, 0.18, 0.5, 0.35],
                      "mlp_multipliers": [0.9, 0.2]},
        "nemotron_h": {"model_type": "nemotron_h", **sizes, "hybrid_override_pattern": "M-*E",
                       "mamba_num_heads": 4, "mamba_head_dim": 8, "n_groups": 2, "head_dim": 4,
                       "ssm_state_size": 4, "moe_intermediate_size": 8, "moe_latent_size": 4,
                       "moe_shared_expert_intermediate_size": 8, "n_group": 2, "topk_group": 1},
        "jamba": {"model_type": "jamba", **sizes, "num_hidden_layers": 4, "num_experts": 4,
                  "attn_layer_period": 4, "attn_layer_offset": 2, "mamba_dt_rank": "auto"},
        "zamba2": {"model_type": "zamba2", **sizes, **rope4, "n_mamba_heads": 4,
                   "num_mem_blocks": 2, "adapter_rank": 4, "use_mem_rope": True,
                   "use_shared_attention_adapter": True,
                   "layers_block_type": ["hybrid", "mamba", "hybrid"]},
    }


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
    tower = {"architecture": "vit_so400m_patch14_siglip_384",
             "model_args": {"img_size": 56, "embed_dim": 72, "depth": 3, "num_heads": 4,
                            "mlp_ratio": 3.7362, "class_token": False},
             "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}}
    put("fuzz_cobra", "tower", json.dumps(tower).encode())
    put("fuzz_cobra", "options", json.dumps({"batches": 8, "targets": ["vision.dino", "llm"],
                                             "percentile_override": 99.9}).encode())
    shares = {f"p{p}": p / 40 for p in (25.0, 50.0, 75.0, 90.0, 99.0, 99.9, 99.99, 99.999)}
    bucket = {"mode": "collect", "target": "llm", "module": "m", "numel": 9, "min": -1.0,
              "max": 3.0, "percentiles": shares, "p99.9": shares["p99.9"]}
    put("fuzz_cobra", "observers", json.dumps({"config": {}, "targets": ["llm"],
                                               "observers": {"llm": bucket}}).encode())
    put("fuzz_cobra", "flat", json.dumps({"vision.dino": bucket, "meta": {}}).encode())
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
    pictures(put)
    put("fuzz_torch_zip", "pickle", torch_pickle())
    put("fuzz_torch_zip", "stored", torch_archive(zipfile.ZIP_STORED))
    put("fuzz_torch_zip", "deflated", torch_archive(zipfile.ZIP_DEFLATED))
    put("fuzz_torch", "stored", torch_archive(zipfile.ZIP_STORED))
    put("fuzz_torch", "deflated", torch_archive(zipfile.ZIP_DEFLATED))
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        put("fuzz_torch", f"npz{compression}", npz(compression))
    fuzz_folders.kept(put)
    fuzz_folders.models(put)
    put("fuzz_tokenizer_json", "small", small_tokenizer())
    for name, kind in kinds().items():
        put("fuzz_tokenizer_json", name, json.dumps(kind, ensure_ascii=False).encode())
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
    for name, config in family_configs().items():
        put("fuzz_model_config", name, json.dumps(config).encode())
    (top / "fuzz_safetensors").mkdir(exist_ok=True)
    write_safetensors(top / "fuzz_safetensors" / "two",
                      {"a": np.ones((2, 2), "<f4"), "b": BF16.rounded(np.ones(3))}, {"k": "v"})
    (top / "fuzz_statistics").mkdir(exist_ok=True)
    statistics(top / "fuzz_statistics")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main()
