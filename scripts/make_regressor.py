#!/usr/bin/python3
"""Makes tests/golden/regressor: small random regressors, one for each option and key style, and
what float64 makes of some windows.

  scripts/make_regressor.py          writes tests/golden/regressor
  scripts/make_regressor.py --check  computes it again and compares with the stored files
"""

import pathlib
import sys

try:
    import numpy as np
except ImportError:
    sys.exit("make_regressor: expected numpy; run it as /usr/bin/python3 after apt install python3-numpy")

from checkpoint_files import read_safetensors, write_safetensors
from regressor_float64 import forward
from torch_files import fake_class, read_torch, write_torch

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden" / "regressor"
WINDOWS = 3

# Odd sizes on purpose. name -> changes to these, and to the options.
CFG = {"Din": 7, "K": 9, "proj_dim": 5, "d_model": 6, "n_layer": 2, "patch_len": 3, "stride": 2,
       "batch_size": 32, "lr": 0.0003, "epochs": 20, "num_workers": 2, "mmap": True,
       "feat_root": "features", "seed": 42}
ARCH = {"use_dwconv": False, "pe_off": True, "pe_scale": 1.0, "gate_off": False, "agg_pool": "",
        "quant_backend": "python", "quantize_all": False, "q_proj": False, "q_head": False,
        "q_block_linear": False, "q_backbone_linear": False, "quant_bits": 16,
        "quant_mode": "fixed"}
MODELS = {
    "slim": ({}, {}),
    "slim_dwconv": ({"n_layer": 1}, {"use_dwconv": True, "quant_mode": "fixed88"}),
    "slim_positions": ({"Din": 261}, {"pe_off": False, "pe_scale": 0.75}),  # proj in two sums
    "slim_positions_odd": ({"d_model": 9, "n_layer": 1}, {"pe_off": False}),
    "slim_gate_off": ({"n_layer": 1}, {"gate_off": True}),
    "slim_average": ({"n_layer": 1}, {"agg_pool": "AVG", "pe_off": False}),
    "slim_maximum": ({"n_layer": 1}, {"agg_pool": "max"}),
    "slim_remainder": ({"K": 6, "patch_len": 4, "stride": 4, "n_layer": 1}, {}),
    "slim_one_frame": ({"K": 1, "patch_len": 1, "stride": 1, "n_layer": 1}, {"use_dwconv": True}),
    "origin": ({"d_model": 18}, {}),  # dt_rank 2
    "origin_positions": ({"n_layer": 1}, {"pe_off": False, "agg_pool": "avg"}),
}
WITH_SITES = {"slim", "slim_average", "origin_positions"}  # also the inputs of their layers


def random_tensors(cfg, arch, origin, rng):
    """Under the modules' names, in the order of a state_dict."""
    C, D, P = cfg["proj_dim"], cfg["d_model"], cfg["patch_len"]
    I, N, R, L = 2 * D, 16, -(-D // 16), (cfg["K"] - P) // cfg["stride"] + 1

    def matrix(*shape):
        return rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))

    def vector(n):
        return 0.3 * rng.standard_normal(n)

    t = {"proj.weight": matrix(C, cfg["Din"], 1), "proj.bias": vector(C),
         "backbone.patch_embedding.weight": matrix(D, C, P), "backbone.patch_embedding.bias": vector(D)}
    for i in range(cfg["n_layer"]):
        b = f"backbone.blocks.{i}."
        if origin:
            t[b + "A_log"] = np.log(np.arange(1, N + 1)) + 0.2 * rng.standard_normal((I, N))
            t[b + "D"] = 1 + vector(I)
        t[b + "norm.weight"] = 1 + vector(D)
        t[b + "in_proj.weight"] = matrix(2 * I, D, 1)
        if origin:
            t[b + "conv1d.weight"], t[b + "conv1d.bias"] = matrix(I, 1, 4), vector(I)
            t[b + "x_proj.weight"] = matrix(R + 2 * N, I)
            t[b + "dt_proj.weight"], t[b + "dt_proj.bias"] = matrix(I, R), vector(I)
        else:
            if arch["use_dwconv"]:
                t[b + "dw_conv.weight"], t[b + "dw_conv.bias"] = matrix(I, 1, 5), vector(I)
            t[b + "ssm.dt_proj.weight"], t[b + "ssm.dt_proj.bias"] = matrix(I, I, 1), vector(I)
        t[b + "out_proj.weight"] = matrix(D, I, 1)
    t["backbone.norm_f.weight"] = 1 + vector(D)
    t["backbone.output_layer_flat.weight"], t["backbone.output_layer_flat.bias"] = (
        matrix(C, D, L), vector(C))
    t["backbone.output_layer_pool.weight"], t["backbone.output_layer_pool.bias"] = (
        matrix(C, D, 1), vector(C))
    t["head.weight"], t["head.bias"] = matrix(2, C, 1), vector(2)
    return {name: array.astype("<f4") for name, array in t.items()}


def is_wrapped(layer):
    """Whether the layer is written as LAYER.conv, and may be quantized."""
    return (layer in ("proj", "head", "backbone.patch_embedding", "backbone.output_layer_pool")
            or layer.startswith("backbone.blocks.")
            and layer.split(".")[-1] in ("in_proj", "out_proj"))


def in_style(tensors, style, rng=None):
    """The keys of a float checkpoint ("float"), or of one calibrated by the Python backend, by the
    C++ extension, or by the Python backend of old; the latter with random scales."""
    out = {}
    for name, array in tensors.items():
        layer, part = name.rsplit(".", 1)
        if not is_wrapped(layer):
            out[name] = array
            continue
        patch = layer == "backbone.patch_embedding"
        inner = {"float": "conv.", "python": "qconv.conv.", "old": "" if patch else "qconv.conv.",
                 "extension": "qconv.conv." if patch else "qconv.impl.conv."}[style]
        out[f"{layer}.{inner}{part}"] = array
        if part == "bias" or style == "float" or (style == "old" and patch):
            continue
        outputs, inputs = array.shape[:2]

        def scales(*shape):
            return rng.uniform(0.002, 0.01, shape)

        if style == "extension":
            prefix = f"{layer}.{inner.removesuffix('conv.')}"
            out[prefix + "a_scale"] = scales(inputs)
            out[prefix + "a_zp"] = np.array(3.0 if layer == "head" else 0.0)
            out[prefix + "w_scale"] = scales(outputs)
        else:
            old = style == "old"
            out[f"{layer}.qconv.qa.scale"] = scales() if old else scales(inputs)
            out[f"{layer}.qconv.qa.zero_point"] = np.zeros(1)
            out[f"{layer}.qconv.qw.scale"] = scales(outputs, 1) if old else scales(outputs)
            out[f"{layer}.qconv.qw.zero_point"] = np.zeros(1)
    return {name: np.asarray(array, dtype="<f4") for name, array in out.items()}


def settings(name):
    cfg, arch = MODELS[name]
    return {**CFG, **cfg}, {**ARCH, **arch}


def outputs(folder):
    """name/x and name/y of every model in `folder`, and name/site of some, from its stored tensors and
    x."""
    stored = read_safetensors(folder / "windows.safetensors")
    out = {}
    for name in MODELS:
        root = read_torch(folder / f"{name}.pt")
        tensors = {key.replace(".conv.", "."): array for key, array in root["state_dict"].items()}
        x, sites = stored[f"{name}/x"], {}
        out[f"{name}/x"] = x
        out[f"{name}/y"] = np.array([forward(root["cfg"], root["arch"], tensors, window, sites)
                                     for window in x])
        if name in WITH_SITES:
            out.update({f"{name}/{site}": np.concatenate(rows) for site, rows in sites.items()})
    return out


def make():
    rng = np.random.default_rng(20260211)
    GOLDEN.mkdir(parents=True, exist_ok=True)
    inputs = {}
    for name in MODELS:
        cfg, arch = settings(name)
        tensors = random_tensors(cfg, arch, name.startswith("origin"), rng)
        write_torch(GOLDEN / f"{name}.pt", {
            "state_dict": in_style(tensors, "float"), "cfg": cfg, "arch": arch, "epoch": 7,
            "best_metric": "epe_mean", "best_val": 0.125})
        inputs[f"{name}/x"] = rng.standard_normal((WINDOWS, cfg["K"], cfg["Din"])).astype("<f4")

    cfg, arch = settings("slim_dwconv")
    root = read_torch(GOLDEN / "slim_dwconv.pt")
    tensors = {key.replace(".conv.", "."): array for key, array in root["state_dict"].items()}
    calibrated = {**arch, "quantize_all": True, "quant_mode": "fixed"}
    write_torch(GOLDEN / "calibrated_python.pt", {
        "state_dict": in_style(tensors, "python", rng), "cfg": cfg, "arch": calibrated})
    write_torch(GOLDEN / "calibrated_extension.pt", {
        "state_dict": in_style(tensors, "extension", rng), "cfg": cfg,
        "arch": {**calibrated, "quant_backend": "cpp", "quant_bits": 8, "quant_mode": "dynamic"}})
    old = {key: value for key, value in calibrated.items()
           if key not in ("q_proj", "q_head", "quant_mode")}
    write_torch(GOLDEN / "calibrated_old.pt", {
        "state_dict": in_style(tensors, "old", rng), "cfg": cfg,
        "arch": {**old, "quantize_all": False, "q_proj_head": True}})

    # A slim model's own tensors beside blocks of the origin variant as they begin: what loading one
    # into the other without strictness leaves behind.
    cfg, arch = settings("origin_positions")
    cfg["n_layer"] = 2
    tensors = random_tensors(cfg, arch, True, rng)
    for name in tensors:
        if name.endswith(".A_log"):
            tensors[name] = np.tile(np.log(np.arange(1, 17, dtype="<f4")), (2 * cfg["d_model"], 1))
        if name.endswith(".D"):
            tensors[name] = np.ones(2 * cfg["d_model"], "<f4")
    write_torch(GOLDEN / "untrained_origin.pt", {
        "state_dict": in_style(tensors, "float"), "cfg": cfg, "arch": arch})

    # torch.save of a whole module.
    module = fake_class("refactor.core.mamba_regressor", "MambaRegressor")()
    module.training = False
    write_torch(GOLDEN / "module.pt", module)

    write_safetensors(GOLDEN / "windows.safetensors", inputs)
    write_safetensors(GOLDEN / "windows.safetensors", outputs(GOLDEN))


def check():
    """The largest difference between what is stored and what is computed now."""
    stored, computed = read_safetensors(GOLDEN / "windows.safetensors"), outputs(GOLDEN)
    assert stored.keys() == computed.keys(), stored.keys() ^ computed.keys()
    worst = 0.0
    for name, array in computed.items():
        assert stored[name].shape == array.shape, name
        difference = np.max(np.abs(stored[name] - array))
        worst = difference if not difference <= worst else worst  # NaN too
    total = sum(path.stat().st_size for path in GOLDEN.iterdir())
    print(f"make_regressor: {len(MODELS)} models, {len(stored)} tensors, largest difference "
          f"{worst:.1e}; {total} bytes in all")
    # Another order of summation in float64; values are around 1.
    return 0 if worst <= 1e-12 and total < 300_000 else 1


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit(__doc__)
    if not sys.argv[1:]:
        make()
    sys.exit(check())
