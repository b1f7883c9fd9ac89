#!/usr/bin/python3
"""Makes tests/golden: two very small random models with every site computed in float64.

  scripts/make_golden.py                    writes tests/golden
  scripts/make_golden.py --check            computes it again and compares with the stored files
  scripts/make_golden.py --against FOLDER…  compares this reference with golden.safetensors of
                                            other model folders (another implementation's)
"""

import json
import pathlib
import sys

try:
    import numpy as np
except ImportError:
    sys.exit("make_golden: expected numpy; run it as /usr/bin/python3 after apt install python3-numpy")

from checkpoint_files import BF16, read_folder, read_safetensors, write_safetensors
from mamba_float64 import describe, forward

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden"

# Odd sizes on purpose: no dimension is a multiple of a vector's lanes where the model allows it.
MAMBA1 = {
    "d_model": 24, "d_intermediate": 0, "n_layer": 2, "vocab_size": 37,
    "ssm_cfg": {"d_state": 5, "d_conv": 3, "expand": 2}, "attn_layer_idx": [], "attn_cfg": {},
    "rms_norm": True, "residual_in_fp32": True, "fused_add_norm": True,
    "pad_vocab_size_multiple": 8, "tie_embeddings": True,
}
MAMBA2 = {
    "model_type": "mamba2", "architectures": ["Mamba2ForCausalLM"], "hidden_size": 32,
    "num_hidden_layers": 2, "state_size": 12, "num_heads": 8, "head_dim": 8, "n_groups": 2,
    "conv_kernel": 4, "expand": 2, "chunk_size": 16, "vocab_size": 48, "layer_norm_epsilon": 1e-5,
    "use_bias": False, "use_conv_bias": True, "hidden_act": "silu", "rms_norm": True,
    "norm_before_gate": False, "time_step_limit": [0.0, float("inf")], "residual_in_fp32": True,
    "tie_word_embeddings": False, "torch_dtype": "bfloat16",
}


def random_weights(config, vocabulary, rng):
    """Scales as in trained models: activations near 1, time steps from 0.001 to 0.1."""
    d = describe(config)
    D, E, N, R, K = d["D"], d["E"], d["N"], d["R"], d["K"]
    hugging_face = "hidden_size" in config

    def matrix(outputs, inputs):
        return rng.standard_normal((outputs, inputs)) / np.sqrt(inputs)

    def around_one(n):
        return 1 + 0.3 * rng.standard_normal(n)

    def step_bias(n):
        return np.log(np.expm1(np.exp(rng.uniform(np.log(0.001), np.log(0.1), n))))

    embedding = "embeddings" if hugging_face else "embedding"
    w = {f"backbone.{embedding}.weight": rng.standard_normal((vocabulary, D))}
    for i in range(d["layers"]):
        m = f"backbone.layers.{i}.mixer."
        w[f"backbone.layers.{i}.norm.weight"] = around_one(D)
        if d["mamba2"]:
            H, channels = d["H"], E + 2 * d["G"] * N
            w[m + "dt_bias"] = step_bias(H)
            w[m + "A_log"] = np.log(rng.uniform(1, 16, H))
            w[m + "D"] = around_one(H)
            w[m + "in_proj.weight"] = matrix(E + channels + H, D)
            w[m + "norm.weight"] = around_one(E)
        else:
            channels = E
            w[m + "A_log"] = np.log(rng.uniform(1, N, (E, N)))
            w[m + "D"] = around_one(E)
            w[m + "in_proj.weight"] = matrix(2 * E, D)
            w[m + "x_proj.weight"] = matrix(R + 2 * N, E)
            w[m + "dt_proj.weight"] = matrix(E, R)
            w[m + "dt_proj.bias"] = step_bias(E)
        w[m + "conv1d.weight"] = matrix(channels, K).reshape(channels, 1, K)
        w[m + "conv1d.bias"] = 0.1 * rng.standard_normal(channels)
        w[m + "out_proj.weight"] = matrix(D, E)
    w["backbone.norm_f.weight"] = around_one(D)
    if not d["tied"]:
        w["lm_head.weight"] = matrix(vocabulary, D)
    return w


def write_model(folder, config, weights, shards):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    if shards == 1:
        write_safetensors(folder / "model.safetensors", weights, {"format": "pt"})
        return
    names, index = list(weights), {}
    for s in range(shards):
        file = f"model-{s + 1:05d}-of-{shards:05d}.safetensors"
        own = names[s * len(names) // shards:(s + 1) * len(names) // shards]
        write_safetensors(folder / file, {n: weights[n] for n in own}, {"format": "pt"})
        index.update(dict.fromkeys(own, file))
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": index}, indent=1) + "\n", encoding="utf-8")


def write_golden(folder, config, vocabulary, rng):
    ids = rng.integers(0, vocabulary, (2, 19)).astype("<i4")
    tensors = forward(config, read_folder(folder), ids)
    extras = ("conv1d:output", "norm:input")  # of Mamba-2: no sites
    golden = {"ids": ids}
    golden.update({name: value.astype("<f4") for name, value in tensors.items()
                   if not name.endswith(extras)})
    write_safetensors(folder / "golden.safetensors", golden)


def make():
    rng = np.random.default_rng(20240701)
    weights = random_weights(MAMBA1, 40, rng)
    write_model(GOLDEN / "mamba1-f32", MAMBA1, {n: v.astype("<f4") for n, v in weights.items()}, 1)
    write_golden(GOLDEN / "mamba1-f32", MAMBA1, 37, rng)
    weights = random_weights(MAMBA2, 48, rng)
    write_model(GOLDEN / "mamba2-bf16-sharded", MAMBA2,
                {n: BF16.rounded(v) for n, v in weights.items()}, 2)
    write_golden(GOLDEN / "mamba2-bf16-sharded", MAMBA2, 48, rng)


def compare(folder):
    """The largest difference of any stored tensor, relative to that tensor's largest magnitude."""
    folder = pathlib.Path(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    golden = read_safetensors(folder / "golden.safetensors")
    mine = forward(config, read_folder(folder), golden["ids"])
    worst, where = 0.0, ""
    for name, value in golden.items():
        if name == "ids":
            continue
        assert mine[name].shape == value.shape, (name, mine[name].shape, value.shape)
        ratio = np.max(np.abs(mine[name] - value)) / np.max(np.abs(value))
        if not ratio <= worst:  # NaN too
            worst, where = ratio, name
    print(f"make_golden: {folder.name}: {len(golden) - 1} tensors, largest difference {worst:.1e} of "
          f"the largest magnitude ({where})")
    return worst


def main():
    arguments = sys.argv[1:]
    if not arguments:
        make()
    # float32 storage rounds to 6e-8; another order of summation in float64 is far below that.
    folders = arguments[1:] or sorted(p.parent for p in GOLDEN.glob("*/golden.safetensors"))
    if not folders:
        sys.exit(f"make_golden: expected model folders in {GOLDEN}, found none")
    return 0 if max(compare(folder) for folder in folders) <= 1e-6 else 1


if __name__ == "__main__":
    if sys.argv[1:2] not in ([], ["--check"], ["--against"]):
        sys.exit(__doc__)
    sys.exit(main())
