"""Zamba2 in float64: Mamba-2 layers, some of which a transformer precedes whose weights they share."""

import numpy as np

from checkpoint_files import to_float64
from families.blocks import attend, gate_up, gelu, mixer2, rms_norm
from families.hybrids import head_of
from families.keys import layer_kinds, step_limit, theta


def adapted(m, name, adapters, n, x):
    """W x, and A₁ A₀ x of the n-th hybrid layer where the block has such an adapter."""
    y = m.linear(name, x)
    if f"{adapters}.{n}.0.weight" in m:
        y = y + m.linear(f"{adapters}.{n}.1", m.linear(f"{adapters}.{n}.0", x))
    return y


def beside(r, x0):
    return np.concatenate([r, x0], axis=-1)


def shared_transformer(config, m, n, r, x0):
    """What it adds to the input of the mixer; the residual does not pass through it."""
    eps = config.get("rms_norm_eps", 1e-5)
    d = 2 * config["hidden_size"] // config.get("num_attention_heads", 32)
    c = rms_norm(beside(r, x0), m["input_layernorm.weight"], eps)
    a = m.within("self_attn")
    q, k, v = (adapted(a, f"{part}_proj", f"linear_{part}_adapter_list", n, c) for part in "qkv")
    positions = (theta(config), d) if config.get("use_mem_rope", False) else None
    y = a.linear("o_proj", attend(q, k, v, d, (d / 2) ** -0.5, positions))
    y = rms_norm(y, m["pre_ff_layernorm.weight"], eps)
    f = m.within("feed_forward")
    gate, up = gate_up(adapted(f, "gate_up_proj", "gate_up_proj_adapter_list", n, y))
    return f.linear("down_proj", gelu(gate) * up)


def transformer_of(m, layer, first):
    """The shared transformer of a hybrid layer, whose tensors are stored under the layer `first`, and in
    older files under every hybrid layer once more: equal ones."""
    own, stored = f"{layer}.shared_transformer.", f"{first}.shared_transformer."
    view, named = m.within(f"{layer}.shared_transformer"), {}
    for name, array in m.tensors.items():
        if name.startswith(stored):
            named[own + name[len(stored):]] = array
    for name in sorted(set(named) & set(m.tensors)):
        if not np.array_equal(to_float64(named[name]), to_float64(m.tensors[name])):
            raise ValueError(f"{name}: expected what {first} holds, found other numbers")
        m.read.add(name)
    view.tensors = named
    return view


def zamba2(config, m, ids):
    eps, kinds = config.get("rms_norm_eps", 1e-5), layer_kinds(config)
    hybrids = [f"model.layers.{i}" for i, kind in enumerate(kinds) if kind == "hybrid"]
    blocks = config.get("num_mem_blocks", 1)
    table = m["model.embed_tokens.weight"]
    x0 = r = table[ids]
    for i, kind in enumerate(kinds):
        path = f"model.layers.{i}"
        layer, t = m.within(path), 0.0
        if kind == "hybrid":
            n = hybrids.index(path)
            shared = transformer_of(m, path, hybrids[n % blocks])
            t = layer.linear("linear", shared_transformer(config, shared, n, r, x0))
            m.read.update(name.replace(path, hybrids[n % blocks], 1) for name in list(m.read)
                          if name.startswith(shared.path))
            layer = layer.within("mamba_decoder")
        u = rms_norm(r + t, layer["input_layernorm.weight"], eps)  # r alone is carried on
        # The gated norm's eps is fixed.
        r = r + mixer2(layer.within("mamba"), u, groups=config.get("mamba_ngroups", 1), eps=1e-5,
                       limit=step_limit(config))
    hidden = rms_norm(r, m["model.final_layernorm.weight"], eps)
    return head_of(m, hidden, table, config.get("tie_word_embeddings", True))
