"""Seeds that are folders: model folders and what scute keeps beside its outputs, as zip archives whose entries
are the files."""

import hashlib
import io
import json
import pathlib
import tempfile
import zipfile

import numpy as np

from checkpoint_files import write_safetensors


def folder(files):
    """files: name -> text, bytes or JSON value."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content if isinstance(content, (str, bytes))
                             else json.dumps(content))
    return out.getvalue()


def safetensors(tensors, metadata=None):
    with tempfile.TemporaryDirectory() as place:
        path = pathlib.Path(place) / "tensors"
        write_safetensors(path, tensors, metadata)
        return path.read_bytes()


def part(index, of):
    """The statistics of one part of a collection: a site that saw 0, 1 and 1.5."""
    values = np.array([0, 1, 1, 1.5], dtype="<f4")
    ids, counts = np.unique(values.view("<u4") >> 15, return_counts=True)
    site = {"count": 4, "min": 0.0, "max": 1.5, "zeros": 1, "nans": 0, "infs": 0,
            "bits_or": int(np.bitwise_or.reduce(values.view("<u4"))), "samples": 1}
    meta = {"command": "scute collect", "part": {
        "collection": {"model": "m"}, "index": index, "of": of, "samples": 2, "finished": 2,
        "silent_sites": ["t"]}}
    return safetensors({"s/bins": ids.astype("<i4"), "s/counts": counts.astype("<i8")},
                       {"format": "scute-statistics", "version": "1", "fine": "8",
                        "sites": json.dumps({"s": site}), "meta": json.dumps(meta)})


def hessian_part():
    return safetensors({"0/s:input/triangle": np.ones(6), "1/s:input/triangle": np.ones(6)},
                       {"format": "scute-hessian-part", "version": "1", "part": "0/1",
                        "key": json.dumps({"model": "m"}), "meta": json.dumps({"model": "m", "windows": 2}),
                        "content_sha256": ""})


def lines(*values):
    """Each with room for its check, which the target computes."""
    return "".join(json.dumps(value, separators=(",", ":"))[:-1] + ',"check":"0000000000000000"}\n'
                   for value in values)


def undo():
    changes = {"/a": {"before": 1, "after": 2}, "/b": {"kept": 1, "after_sha256": hashlib.sha256(
        b"[1,2]").hexdigest()}}
    tensor = {"tensor": "w", "site": "s", "folder": "", "name": "w",
              "bytes": {"type": "F32", "before": "0000803f00000040", "after_sha256": hashlib.sha256(
                  bytes(8)).hexdigest()}}
    return {"a": 2, "b": [1, 2],
            "undo": [{"sites": [], "documents": {"plan.json": changes}, "tensors": [tensor]}]}


def kept(put):
    header = {"format": "scute-evaluation-part", "version": 1, "evaluation": "key", "index": 0, "of": 1,
              "command": "scute eval"}
    item = {"task": "task", "item": 0, "values": {"x": 0.5, "y": None}}
    metric = {"metric": "accuracy", "unit": "share", "direction": "higher", "form": "share", "mean": 0.5,
              "standard_error": 0.1, "items": 2, "protocol": [{"name": "n", "value": "2"}],
              "items_in": {"kind": "k", "value": ["hit"], "name": "n"}, "words": {"label": "accuracy"}}
    put("fuzz_kept", "collection", folder({f"part-{i}-of-2.safetensors": part(i, 2) for i in range(2)}))
    put("fuzz_kept", "hessians", folder({"part-0-of-1.safetensors": hessian_part()}))
    put("fuzz_kept", "evaluation", folder({"part-0-of-1.jsonl": lines(header, item, {"finished": True})}))
    put("fuzz_kept", "marker", folder({"marker.json": json.dumps(
        {"format": "scute-writing", "version": 1, "output": "o", "host": "h", "boot": "b", "process": 2,
         "started": "2026-01-01T00:00:00Z"}) + "\npublishing\n"}))
    put("fuzz_kept", "undo", folder({"recipe.json": undo()}))
    put("fuzz_kept", "items", folder({
        "results.json": {"metrics": [metric]},
        "items.jsonl": '{"kind": "k", "n": "a", "hit": true}\n{"kind": "k", "n": 2, "hit": false}\n'}))


def small_model():
    """Names and shapes of a Mamba-2 of one layer."""
    mixer = "layers.0.mixer."
    return {"embedding.weight": np.ones((4, 8), "<f4"), "norm_f.weight": np.ones(8, "<f4"),
            "lm_head.weight": np.ones((4, 8), "<f4"), "layers.0.norm.weight": np.ones(8, "<f4"),
            mixer + "dt_bias": np.ones(4, "<f4"), mixer + "A_log": np.ones(4, "<f4"), mixer + "D": np.ones(4, "<f4"),
            mixer + "conv1d.weight": np.ones((24, 1, 4), "<f4"), mixer + "conv1d.bias": np.ones(24, "<f4"),
            mixer + "in_proj.weight": np.ones((44, 8), "<f4"), mixer + "norm.weight": np.ones(16, "<f4"),
            mixer + "out_proj.weight": np.ones((8, 16), "<f4")}


def models(put):
    params = {"dim": 8, "n_layers": 1, "vocab_size": 4, "n_groups": 1, "rms_norm": True, "residual_in_fp32": True,
              "fused_add_norm": True, "pad_vocab_size_multiple": 1, "tie_embeddings": False,
              "model_type": "mamba"}
    config = {"d_model": 8, "n_layer": 1, "vocab_size": 4, "pad_vocab_size_multiple": 1,
              "tie_embeddings": False,
              "ssm_cfg": {"layer": "Mamba2", "headdim": 4, "d_state": 4}}
    small = small_model()
    put("fuzz_model_folder", "mistral", folder({
        "params.json": params,
        "consolidated.safetensors": safetensors({"model." + name: array for name, array in small.items()})}))
    # Shards, and an index that says which tensor is in which.
    ours = {("" if name.startswith("lm_head") else "backbone.") + name: array for name, array in small.items()}
    shards = ({}, {})
    for i, (name, array) in enumerate(ours.items()):
        shards[i % 2][name] = array
    files = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    put("fuzz_model_folder", "shards", folder({
        "config.json": config,
        "model.safetensors.index.json": {"metadata": {"total_size": 1}, "weight_map": {
            name: file for file, shard in zip(files, shards) for name in shard}},
        **{file: safetensors(shard) for file, shard in zip(files, shards)}}))
    put("fuzz_model_folder", "beside", folder({
        "config.json": config, "model.safetensors": safetensors(ours),
        "generation_config.json": {"eos_token_id": [1, 2]}, "layers.json": ["W4A8"],
        "tokenizer.json": {"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]},
                           "added_tokens": []}}))
