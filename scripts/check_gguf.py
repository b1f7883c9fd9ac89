#!/usr/bin/env python3
"""Reads what `scute export --gguf` writes with the gguf package of PyPI (scripts/setup_debian.sh --all) and compares keys and every value
with the checkpoint's own, under the names that the package gives the published ones.

  build/python/bin/python scripts/check_gguf.py build/cli/scute

Models: the bundled and golden ones, the tiny ones of every family (scripts/make_families.py), and low-bit ones made of some of them. f32 and
bf16 must be equal (A to its last bit but one: it is an exponential), q8_0 and q4_0 the package's own bytes and within the bound of
scute/quantize/block_codes.h. Ends with 1 and the first differences of each file."""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

import gguf
import numpy as np

from checkpoint_files import BF16, read_safetensors

ROOT = pathlib.Path(__file__).resolve().parent.parent
TYPES = {"f32": gguf.GGMLQuantizationType.F32, "bf16": gguf.GGMLQuantizationType.BF16,
         "q8_0": gguf.GGMLQuantizationType.Q8_0, "q4_0": gguf.GGMLQuantizationType.Q4_0}
# Of a block with largest magnitude m: block_codes.h's bounds, and what half precision loses of small scales.
BOUNDS = {"q8_0": (0.0045, 127 * 2.0 ** -25), "q4_0": (0.126, 8 * 2.0 ** -25)}
# Tiny models that the format has no place for, with a word of the reason.
REFUSED = {"mamba-bias": "bias", "mamba2-limit": "bias", "mamba2attn": "attention or MLP", "mamba-mlp": "attention or MLP",
           "bamba": "bias", "falcon-h1-before": "bias", "jamba-dense": "bias", "nemotron-h-latent": "bias", "zamba2": "zamba2",
           "zamba2-blocks": "zamba2", "zamba2-old": "zamba2"}
LOW_BIT = [("examples/tiny-mamba1", 4), ("examples/tiny-mamba2", 8), ("granite-h", 4), ("falcon-h1", 4), ("nemotron-h-moe", 8)]
F = np.float32


def read_folder(folder):
    config = json.loads((folder / "config.json").read_text()) if (folder / "config.json").exists() else {}
    tensors = {}
    for file in sorted(folder.glob("*.safetensors")):
        if file.name in ("golden.safetensors", "statistics.safetensors") or file.name.startswith("scute"):
            continue
        tensors.update(read_safetensors(file))
    return config, tensors


def widened(array):
    return np.ascontiguousarray(array.widened() if isinstance(array, BF16) else array, F)


def renamed(name, config):
    """As the package's table spells published names."""
    family = config.get("model_type")
    name = name.removeprefix("model.") if "backbone." in name or name == "model.lm_head.weight" else name
    name = name.replace(".moe.", ".feed_forward.") if family == "jamba" else name
    name = name.replace(".dt_bias", ".dt_proj.bias").replace("e_score_correction_bias", "e_score_correction.bias")
    if family == "jamba" and not re.search(r"experts\.[1-9]", name):
        period, offset = config.get("expert_layer_period", 2), config.get("expert_layer_offset", 1)
        layer = re.search(r"layers\.(\d+)\.", name)
        if layer and (int(layer[1]) < offset or (int(layer[1]) - offset) % period):
            name = name.replace(".experts.0.", ".")
    return name


def one_by_one(tensors, config):
    """(name, values) with fused ones split; experts carry their number."""
    for name, array in tensors.items():
        name, values = renamed(name, config), widened(array)
        if name.endswith("input_linear.weight"):
            stem = name.removesuffix("input_linear.weight")
            for part, half in zip(("gate", "up"), np.split(values, 2, axis=-2)):
                yield f"{stem}{part}.weight", None, half
            continue
        expert = re.search(r"\.experts\.(\d+)\.", name)
        yield (name.replace(expert[0], ".experts."), int(expert[1]), values) if expert else (name, None, values)


# Names that the package's table has not, or has under other circumstances.
def direct_name(name, config):
    layer = re.search(r"layers\.(\d+)\.(.*)", name)
    if not layer:
        return None
    i, rest = layer[1], layer[2]
    experts = bool(config.get("num_local_experts"))
    table = {"shared_mlp.gate.weight": "ffn_gate_shexp" if experts else "ffn_gate",
             "shared_mlp.up.weight": "ffn_up_shexp" if experts else "ffn_up",
             "shared_mlp.output_linear.weight": "ffn_down_shexp" if experts else "ffn_down",
             "block_sparse_moe.gate.weight": "ffn_gate_exps", "block_sparse_moe.up.weight": "ffn_up_exps",
             "block_sparse_moe.output_linear.weight": "ffn_down_exps", "block_sparse_moe.router.layer.weight": "ffn_gate_inp"}
    for wid in ("gate", "up", "down"):
        table[f"feed_forward.experts.{wid}_proj.weight"] = f"ffn_{wid}_exps"
        table[f"mixer.experts.{wid}_proj.weight"] = f"ffn_{wid}_exps"
    if rest == "pre_ff_layernorm.weight":
        return f"blk.{i}.ffn_norm" + ("" if config["model_type"] == "falcon_h1" else ".weight")
    return f"blk.{i}.{table[rest]}.weight" if rest in table else None


def mapped(folder, architecture):
    """GGUF name -> float32 values, before rounding to a type."""
    config, tensors = read_folder(folder)
    arch = next(a for a, n in gguf.MODEL_ARCH_NAMES.items() if n == architecture)
    names = gguf.get_tensor_name_map(arch, 512)
    out, stacks = {}, {}
    for name, expert, values in one_by_one(tensors, config):
        theirs = direct_name(name, config) or names.get_name(name, try_suffixes=(".weight", ".bias"))
        if theirs is None:
            raise SystemExit(f"{folder.name}: the gguf package has no name for {name}")
        if expert is None:
            out[theirs] = values
        else:
            stacks.setdefault(theirs, {})[expert] = values
    for name, parts in stacks.items():
        out[name] = np.stack([parts[e] for e in range(len(parts))])
    tied = config.get("tie_word_embeddings", config.get("tie_embeddings", config.get("model_type") in (None, "mamba")))
    if tied:
        out.pop("output.weight", None)
    shaped(out, config, architecture)
    factors(out, config, tensors, tied)
    return out, config


def paired(values, heads, turned):
    """Rows of heads: of the first `turned`, 0, m/2, 1, m/2 + 1, …"""
    rows = values.reshape(heads, -1, *values.shape[1:])
    half = turned // 2
    order = [i // 2 + (i % 2) * half for i in range(turned)] + list(range(turned, rows.shape[1]))
    return np.ascontiguousarray(rows[:, order]).reshape(values.shape)


def groups_of(config):
    for key in ("n_groups", "mamba_n_groups"):
        if key in config:
            return config[key]
    return config.get("ssm_cfg", {}).get("ngroups", 8 if config.get("model_type") in ("mamba2", "nemotron_h") else 1)


def shaped(out, config, architecture):
    turned = 0
    heads = config.get("num_attention_heads", 0)
    if config.get("model_type") == "bamba":
        turned = config["hidden_size"] // heads // 2
    elif config.get("position_embedding_type") == "rope":
        turned = config["hidden_size"] // heads
    for name, values in list(out.items()):
        if name.endswith("ssm_a"):
            values = -np.exp(values.astype(np.float64)).astype(F)
        if name.endswith("ssm_conv1d.weight"):
            values = values.squeeze(1)
        if values.ndim == 1 and name.endswith((".ssm_a", ".ssm_d")) and architecture not in ("mamba", "jamba"):
            values = values.reshape(-1, 1)
        if name.endswith("ssm_norm.weight"):
            values = values.reshape(groups_of(config), -1)
        if turned and ".attn_q." in name:
            values = paired(values, heads, turned)
        if turned and ".attn_k." in name:
            values = paired(values, config.get("num_key_value_heads") or heads, turned)
        out[name] = values
    for name in [n for n in out if n.endswith("ssm_conv1d.weight")]:
        out.setdefault(name.replace("weight", "bias"), np.zeros(out[name].shape[0], F))


def factors(out, config, tensors, tied):
    if config.get("model_type") == "falcon_mamba":
        factor = F(np.sqrt(float(F(config.get("layer_norm_epsilon", 1e-5))) / float(F(config.get("mixer_rms_eps", 1e-6)))))
        for name in [n for n in out if ".ssm_x." in n]:
            out[name] = out[name] * factor
    if config.get("model_type") != "falcon_h1":
        return
    of = lambda key: F(config.get(key, 1))
    held = np.array(config.get("ssm_multipliers", [1] * 5), F)
    if isinstance(next(v for n, v in tensors.items() if n.endswith("in_proj.weight")), BF16):
        held = BF16.rounded(held).widened()
    E, GN, H = config["mamba_d_ssm"], config["mamba_n_groups"] * config["mamba_d_state"], config["mamba_n_heads"]
    segments = np.repeat(of("ssm_in_multiplier") * held, [E, E, GN, GN, H])
    gate, down = (F(x) for x in config.get("mlp_multipliers", [1, 1]))
    if tied:
        out["output.weight"] = out["token_embd.weight"]
    plain = {"token_embd": of("embedding_multiplier"), "output.weight": of("lm_head_multiplier"), "ssm_out": of("ssm_out_multiplier"),
             "attn_q.": of("attention_in_multiplier"), "attn_v.": of("attention_in_multiplier"),
             "attn_k.": of("attention_in_multiplier") * of("key_multiplier"), "attn_output": of("attention_out_multiplier"),
             "ffn_gate": gate, "ffn_down": down}
    for name in out:
        if ".ssm_in.weight" in name:
            out[name] = out[name] * segments[:, None]
        for part, factor in plain.items():
            if name.startswith(part) or f".{part}" in name:
                out[name] = out[name] * factor


def differences(path, expected, kind):
    """What is wrong with the file's tensors, a line each."""
    reader, problems = gguf.GGUFReader(path), []
    found = {t.name: t for t in reader.tensors}
    if set(found) != set(expected):
        problems.append(f"names: lacks {sorted(set(expected) - set(found))[:3]}, has {sorted(set(found) - set(expected))[:3]}")
    if any(t.data_offset % 32 for t in reader.tensors):
        problems.append("a tensor that is not aligned to 32")
    for name in sorted(set(found) & set(expected)):
        tensor, wanted = found[name], expected[name]
        shape = tuple(int(x) for x in reversed(tensor.shape))
        if shape != wanted.shape:
            problems.append(f"{name}: shape {shape}, expected {wanted.shape}")
            continue
        keeps = wanted.ndim == 1 or re.search(r"ssm_a$|ssm_d$|ssm_conv1d|ssm_norm|ffn_gate_inp|ffn_norm", name)
        uneven = kind in BOUNDS and wanted.shape[-1] % 32 != 0
        type_wanted = TYPES["f32" if keeps or uneven else kind]
        if tensor.tensor_type != type_wanted:
            problems.append(f"{name}: {tensor.tensor_type.name}, expected {type_wanted.name}")
            continue
        problems += values_differ(name, tensor, wanted, type_wanted, kind)
    return problems, reader


def values_differ(name, tensor, wanted, type_wanted, kind):
    if type_wanted == TYPES["f32"]:
        got = np.asarray(tensor.data, F).reshape(wanted.shape)
        near = np.abs(got - wanted) <= (np.spacing(np.abs(wanted)) if name.endswith("ssm_a") else 0)
        return [] if near.all() else [f"{name}: {int((~near).sum())} of {wanted.size} values differ"]
    bytes_wanted = gguf.quants.quantize(wanted, type_wanted).view(np.uint8)
    if not np.array_equal(np.asarray(tensor.data).view(np.uint8).ravel(), bytes_wanted.ravel()):
        return [f"{name}: not the package's bytes"]
    if kind not in BOUNDS:
        return []
    share, least = BOUNDS[kind]
    error = np.abs(gguf.quants.dequantize(np.asarray(tensor.data), type_wanted).reshape(-1, 32) - wanted.reshape(-1, 32))
    bound = share * np.abs(wanted.reshape(-1, 32)).max(axis=1, keepdims=True) + least
    return [] if (error <= bound).all() else [f"{name}: an error above its bound"]


def keys_differ(reader, config, kind):
    value = lambda key: reader.fields[key].contents() if key in reader.fields else None
    architecture = value("general.architecture")
    given = lambda *keys: next((config[k] for k in keys if config.get(k) is not None), None)
    wanted = {"general.file_type": {"f32": 0, "bf16": 32, "q8_0": 7, "q4_0": 2}[kind],
              f"{architecture}.embedding_length": given("hidden_size", "d_model", "dim"),
              f"{architecture}.attention.head_count": given("num_attention_heads") or value(f"{architecture}.attention.head_count"),
              f"{architecture}.ssm.state_size": given("state_size", "mamba_d_state", "ssm_state_size"),
              f"{architecture}.embedding_scale": given("embedding_multiplier") if architecture.startswith("granite") else None,
              f"{architecture}.logit_scale": given("logits_scaling"), f"{architecture}.expert_count": given("num_local_experts") or None}
    out = []
    for key, want in wanted.items():
        if want is None or (key.endswith("state_size") and architecture in ("granite", "granitemoe")):
            continue
        if value(key) is None or abs(value(key) - want) > 1e-6 * abs(want):
            out.append(f"{key}: {value(key)}, expected {want}")
    tokens = value("tokenizer.ggml.tokens")
    if tokens is not None and len(tokens) != value(f"{architecture}.vocab_size"):
        out.append(f"{len(tokens)} tokens for {value(f'{architecture}.vocab_size')} rows")
    return out


class Checker:
    def __init__(self, scute, work):
        self.scute, self.work, self.failed, self.files = scute, work, 0, 0

    def run(self, *words):
        return subprocess.run([self.scute, *map(str, words)], capture_output=True, text=True, cwd=ROOT)

    def say(self, name, problems):
        for problem in problems[:5]:
            print(f"{name}: {problem}")
        self.failed += bool(problems)

    def check(self, model, values_of=None):
        """`values_of`: the folder whose tensors the file must hold; the model's own without one."""
        file = self.work / "a.gguf"
        for kind in TYPES:
            ended = self.run("export", model, "--gguf", kind, "--out", file, "--force", "-q", "--json")
            word = REFUSED.get(model.name)
            if ended.returncode or word:
                if ended.returncode != 1 or not word or word not in ended.stderr:
                    self.say(model.name, [f"expected {'a refusal: ' + word if word else 'a file'}, found {ended.stderr or 'one'}"])
                return
            expected, config = mapped(values_of or model, json.loads(ended.stdout)["architecture"])
            problems, reader = differences(file, expected, kind)
            self.say(f"{model.name} {kind}", problems + keys_differ(reader, config, kind))
            self.files += 1

    def check_low_bit(self, model, bits):
        low, plain = self.work / f"{model.name}-w{bits}a16", self.work / f"{model.name}-plain"
        for words in (["quantize", model, "--w-bits", bits, "--a-bits", 16, "--out", low, "-q"],
                      ["export", low, "--dequantized", "--out", plain]):
            ended = self.run(*words)
            if ended.returncode:
                self.say(model.name, [ended.stderr])
                return
        self.check(low, plain)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        subprocess.run(["/usr/bin/python3", ROOT / "scripts/make_families.py", work / "families"], check=True, capture_output=True)
        families = sorted(p for p in (work / "families").iterdir() if p.is_dir() and p.name != "mistral")
        checker = Checker(pathlib.Path(sys.argv[1]).resolve(), work)
        for model in [ROOT / "examples/tiny-mamba1", ROOT / "examples/tiny-mamba2", ROOT / "tests/golden/mamba1-f32",
                      ROOT / "tests/golden/mamba2-bf16-sharded", *families]:
            checker.check(model)
        for name, bits in LOW_BIT:
            checker.check_low_bit(ROOT / name if "/" in name else work / "families" / name, bits)
        print(f"{checker.files} files read by gguf, {checker.failed} with differences")
    sys.exit(1 if checker.failed or checker.files < 80 else 0)


if __name__ == "__main__":
    main()
