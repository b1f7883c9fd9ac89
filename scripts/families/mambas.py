"""The families without hybrids of the library: Mamba and Mamba-2 of Hugging Face, Falcon-Mamba, the
state-spaces checkpoints with attention and MLP, and Mistral's files, in float64.

A family is a function (config, modules, ids) -> logits (B, L, V).
"""

import numpy as np

from families.blocks import attend, causal_conv, gate_up, mixer1, mixer2, rms_norm, silu
from families.hybrids import head_of
from families.keys import step_limit

# Of mamba_ssm, where a config is silent.
EPS = 1e-5


def hugging_face(config, m, ids, mixer, eps, tied):
    old = "backbone.embedding.weight"
    table = m[old if old in m else "backbone.embeddings.weight"]
    r = table[ids]
    for i in range(config["num_hidden_layers"]):
        layer = m.within(f"backbone.layers.{i}")
        r = r + mixer(layer.within("mixer"), rms_norm(r, layer["norm.weight"], eps))
    hidden = rms_norm(r, m["backbone.norm_f.weight"], eps)
    return head_of(m, hidden, table, tied)


def mamba(config, m, ids):
    return hugging_face(config, m, ids, mixer1, config.get("layer_norm_epsilon", EPS),
                        config.get("tie_word_embeddings", True))


def falcon_mamba(config, m, ids):
    inner = ((1.0, 1.0, 1.0), config.get("mixer_rms_eps", 1e-6))
    return hugging_face(config, m, ids, lambda mixer, u: mixer1(mixer, u, inner),
                        config.get("layer_norm_epsilon", EPS), config.get("tie_word_embeddings", True))


def mamba2(config, m, ids):
    eps = config.get("layer_norm_epsilon", EPS)

    def mixer(own, u):
        return mixer2(own, u, groups=config.get("n_groups", 8), eps=eps, limit=step_limit(config))

    return hugging_face(config, m, ids, mixer, eps, config.get("tie_word_embeddings", False))


def state_spaces_attention(m, u, settings, width):
    """One projection to [q; k; v], a convolution over all of it without activation, RoPE on leading
    dimensions."""
    heads = settings["num_heads"]
    shared = settings.get("num_heads_kv") or heads
    d = settings.get("head_dim") or width // heads
    qkv = m.linear("in_proj", u)
    if settings.get("d_conv", 0) > 0:
        qkv = causal_conv(qkv, m["conv1d.weight"], m.get("conv1d.bias"))
    q, k, v = np.split(qkv, [heads * d, (heads + shared) * d], axis=-1)
    rotary = settings.get("rotary_emb_dim", 0)
    y = attend(q, k, v, d, settings.get("softmax_scale") or d ** -0.5,
               (settings.get("rotary_emb_base", 10000.0), rotary) if rotary else None)
    return m.linear("out_proj", y)


def up_gate(m, u):
    """fc1 makes [up; gate], the other way round than everywhere else."""
    up, gate = gate_up(m.linear("fc1", u))
    return m.linear("fc2", up * silu(gate))


def state_spaces(config, m, ids, prefix=""):
    m = m.within(prefix) if prefix else m
    ssm = config.get("ssm_cfg") or {}
    table = m["backbone.embedding.weight"]
    r = table[ids]
    for i in range(config["n_layer"]):
        layer = m.within(f"backbone.layers.{i}")
        own, u = layer.within("mixer"), rms_norm(r, layer["norm.weight"], EPS)
        if i in (config.get("attn_layer_idx") or []):
            y = state_spaces_attention(own, u, config["attn_cfg"], config["d_model"])
        elif ssm.get("layer", "Mamba1") == "Mamba2":
            y = mixer2(own, u, groups=ssm.get("ngroups", 1), eps=EPS)
        else:
            y = mixer1(own, u)
        r = r + y
        if config.get("d_intermediate", 0) > 0:
            r = r + up_gate(layer.within("mlp"), rms_norm(r, layer["norm2.weight"], EPS))
    hidden = rms_norm(r, m["backbone.norm_f.weight"], EPS)
    return head_of(m, hidden, table, config.get("tie_embeddings", True))


def mistral(config, m, ids):
    """params.json: Mamba-2 as mamba_ssm makes it, its names behind a prefix."""
    return state_spaces({"d_model": config["dim"], "n_layer": config["n_layers"],
                         "ssm_cfg": {"layer": "Mamba2", "ngroups": config["n_groups"]},
                         "tie_embeddings": config.get("tie_embeddings", False)}, m, ids, "model")
