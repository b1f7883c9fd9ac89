"""The families whose layers have a mixer or an attention, and mostly a feed-forward: Bamba, Granite,
Falcon-H1, Jamba, Nemotron-H, in float64.

A family is a function (config, modules, ids) -> logits (B, L, V).
"""

import numpy as np

from checkpoint_files import BF16
from families.blocks import (attend, attention, choose_by_sigmoid, choose_then_softmax, gate_up, mixer1,
                             mixer2, mixture, rms_norm, silu, softmax_then_choose, squared_relu, swiglu)
from families.keys import first_of, layer_kinds, step_limit, theta


def head_of(m, hidden, table, tied):
    """The logits; a tied table is the head even if the file holds another."""
    if tied:
        if "lm_head.weight" in m and not np.array_equal(m["lm_head.weight"], table):
            raise ValueError("lm_head.weight: expected the tied table, found other numbers")
        m.inputs["lm_head"] = hidden
        return hidden @ table.T
    return m.linear("lm_head", hidden)


def bamba(config, m, ids):
    eps, heads = config.get("rms_norm_eps", 1e-5), config.get("num_attention_heads", 32)
    d = config["hidden_size"] // heads
    kinds = layer_kinds(config) or [
        "attention" if i in (config.get("attn_layer_indices") or []) else "mamba"
        for i in range(config["num_hidden_layers"])]
    table = m["model.embed_tokens.weight"]
    r = table[ids]
    for i, kind in enumerate(kinds):
        layer = m.within(f"model.layers.{i}")
        u = rms_norm(r, layer["input_layernorm.weight"], eps)
        if kind == "attention":  # half of each head is turned, whatever the file says
            r = r + attention(layer.within("self_attn"), u, d, d ** -0.5, (theta(config), d // 2))
        else:
            r = r + mixer2(layer.within("mamba"), u, groups=config.get("mamba_n_groups", 1), eps=eps,
                           limit=step_limit(config))
        r = r + swiglu(layer.within("feed_forward"), rms_norm(r, layer["pre_ff_layernorm.weight"], eps))
    hidden = rms_norm(r, m["model.final_layernorm.weight"], eps)
    return head_of(m, hidden, table, config.get("tie_word_embeddings", False))


def granite_experts(config, m, u):
    """The stacked experts: input_linear (X, 2I, D) of rows [gate; up], output_linear (X, D, I)."""
    inputs, outputs = m["input_linear.weight"], m["output_linear.weight"]
    chosen, weights = choose_then_softmax(m.linear("router.layer", u),
                                          config.get("num_experts_per_tok", 2))
    m.chosen[m.path + "router"] = chosen

    def expert(e, rows):
        gate, up = gate_up(rows @ inputs[e].T)
        return (silu(gate) * up) @ outputs[e].T

    return mixture(u, chosen, weights, len(inputs), expert)


def fused_swiglu(m, u):
    gate, up = gate_up(m.linear("input_linear", u))
    return m.linear("output_linear", silu(gate) * up)


def granite(config, m, ids):
    eps, residual = config.get("rms_norm_eps", 1e-6), config.get("residual_multiplier", 1.0)
    d = config["hidden_size"] // config.get("num_attention_heads", 32)
    positions = (theta(config), d) if config.get("position_embedding_type") == "rope" else None
    table = m["model.embed_tokens.weight"]
    r = config.get("embedding_multiplier", 1.0) * table[ids]
    for i, kind in enumerate(layer_kinds(config) or ["mamba"] * config["num_hidden_layers"]):
        layer = m.within(f"model.layers.{i}")
        u = rms_norm(r, layer["input_layernorm.weight"], eps)
        if kind == "attention":
            y = attention(layer.within("self_attn"), u, d, config.get("attention_multiplier", 1.0),
                          positions)
        else:
            y = mixer2(layer.within("mamba"), u, groups=config.get("mamba_n_groups", 1), eps=eps,
                       limit=step_limit(config))
        r = r + residual * y
        u = rms_norm(r, layer["post_attention_layernorm.weight"], eps)
        y = fused_swiglu(layer.within("shared_mlp"), u)
        if config.get("num_local_experts", 8) > 0:
            y = y + granite_experts(config, layer.within("block_sparse_moe"), u)
        r = r + residual * y
    hidden = rms_norm(r, m["model.norm.weight"], eps)
    logits = head_of(m, hidden, table, config.get("tie_word_embeddings", False))
    return logits / config.get("logits_scaling", 1.0)


def as_stored(values, like):
    """The numbers as a buffer of the type of the tensor `like` keeps them."""
    if isinstance(like, BF16):
        return BF16.rounded(np.array(values)).widened().astype(float)
    return np.array(values, dtype=like.dtype).astype(float)


def falcon_h1(config, m, ids):
    def by(name, default=1.0):
        return config.get(name, default)

    eps = by("rms_norm_eps", 1e-5)
    d = first_of(config, ["head_dim"], config["hidden_size"] // by("num_attention_heads", 32))
    gate_by, down_by = by("mlp_multipliers", [1.0, 1.0])
    scales = as_stored(by("ssm_multipliers", [1.0] * 5), m.tensors["model.layers.0.mamba.in_proj.weight"])
    table = m["model.embed_tokens.weight"]
    r = by("embedding_multiplier") * table[ids]
    for i in range(config["num_hidden_layers"]):
        layer = m.within(f"model.layers.{i}")
        u = rms_norm(r, layer["input_layernorm.weight"], eps)
        ssm = mixer2(layer.within("mamba"), by("ssm_in_multiplier") * u,
                     groups=by("mamba_n_groups", 1), eps=eps, limit=step_limit(config), scales=scales,
                     norm_first=by("mamba_norm_before_gate", True))
        a, attended = layer.within("self_attn"), by("attention_in_multiplier") * u
        q, k, v = (a.linear(name, attended) for name in ("q_proj", "k_proj", "v_proj"))
        y = a.linear("o_proj", attend(q, by("key_multiplier") * k, v, d, d ** -0.5, (theta(config), d)))
        r = r + by("ssm_out_multiplier") * ssm + by("attention_out_multiplier") * y
        f, u = layer.within("feed_forward"), rms_norm(r, layer["pre_ff_layernorm.weight"], eps)
        y = silu(gate_by * f.linear("gate_proj", u)) * f.linear("up_proj", u)
        r = r + down_by * f.linear("down_proj", y)
    hidden = rms_norm(r, m["model.final_layernorm.weight"], eps)
    return by("lm_head_multiplier") * head_of(m, hidden, table, by("tie_word_embeddings", False))


def jamba_feed_forward(config, layer, u, experts):
    """experts: of this layer. The first releases say moe for feed_forward, and experts.0 for the only one."""
    f = layer.within("moe" if any(name.startswith(layer.path + "moe.") for name in layer.tensors)
                     else "feed_forward")
    if experts == 1:
        return swiglu(f.within("experts.0") if "experts.0.up_proj.weight" in f else f, u)
    chosen, weights = softmax_then_choose(f.linear("router", u), config.get("num_experts_per_tok", 2))
    f.chosen[f.path + "router"] = chosen
    return mixture(u, chosen, weights, experts,
                   lambda e, rows: unseen(f.within(f"experts.{e}"), rows, swiglu))


def unseen(m, rows, feed_forward):
    """A routed expert, whose inputs are other rows for every expert and are not recorded."""
    m.inputs = {}
    return feed_forward(m, rows)


def jamba(config, m, ids):
    def by(name, default):
        return config.get(name, default)

    eps = by("rms_norm_eps", 1e-6)
    d = config["hidden_size"] // by("num_attention_heads", 32)
    table = m["model.embed_tokens.weight"]
    r = table[ids]
    for i in range(config["num_hidden_layers"]):
        layer = m.within(f"model.layers.{i}")
        u = rms_norm(r, layer["input_layernorm.weight"], eps)
        if i % by("attn_layer_period", 8) == by("attn_layer_offset", 4):
            r = r + attention(layer.within("self_attn"), u, d, d ** -0.5)
        else:
            mixer = layer.within("mamba")
            norms = [mixer[f"{part}_layernorm.weight"] for part in ("dt", "b", "c")]
            r = r + mixer1(mixer, u, (norms, eps))
        routed = i % by("expert_layer_period", 2) == by("expert_layer_offset", 1)
        r = r + jamba_feed_forward(config, layer, rms_norm(r, layer["pre_ff_layernorm.weight"], eps),
                                   by("num_experts", 16) if routed else 1)
    hidden = rms_norm(r, m["model.final_layernorm.weight"], eps)
    return head_of(m, hidden, table, by("tie_word_embeddings", False))


def nemotron_experts(config, m, u):
    correction = m["gate.e_score_correction_bias"]
    chosen, weights = choose_by_sigmoid(
        m.linear("gate", u), config.get("num_experts_per_tok", 2), correction,
        config.get("n_group", 1), config.get("topk_group", 1), config.get("norm_topk_prob", True),
        config.get("routed_scaling_factor", 1.0))
    m.chosen[m.path + "gate"] = chosen
    latent = config.get("moe_latent_size") is not None
    y = mixture(m.linear("fc1_latent_proj", u) if latent else u, chosen, weights, len(correction),
                lambda e, rows: unseen(m.within(f"experts.{e}"), rows, squared_relu))
    y = m.linear("fc2_latent_proj", y) if latent else y
    return y + squared_relu(m.within("shared_experts"), u)


def nemotron_h(config, m, ids):
    eps = first_of(config, ["layer_norm_epsilon", "rms_norm_eps", "norm_eps"], 1e-5)
    d = first_of(config, ["head_dim", "attention_head_dim"], 128)
    groups = first_of(config, ["n_groups", "mamba_n_groups"], 8)
    table = m["backbone.embeddings.weight"]
    r = table[ids]
    for i, kind in enumerate(layer_kinds(config)):
        layer = m.within(f"backbone.layers.{i}")
        u, mixer = rms_norm(r, layer["norm.weight"], eps), layer.within("mixer")
        if kind == "mamba":
            r = r + mixer2(mixer, u, groups=groups, eps=eps, limit=step_limit(config))
        elif kind == "attention":
            r = r + attention(mixer, u, d, d ** -0.5)
        elif kind == "mlp":
            r = r + squared_relu(mixer, u)
        else:
            r = r + nemotron_experts(config, mixer, u)
    hidden = rms_norm(r, m["backbone.norm_f.weight"], eps)
    return head_of(m, hidden, table, config.get("tie_word_embeddings", False))
