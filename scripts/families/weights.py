"""Random tensors of tiny models under the names that each family publishes; float64, rounded by the caller.

A family is a function (config, tensors): it reads the config and puts the tensors. Scales: what a norm or a
matrix makes is near 1, but the residual stream is near STREAM, so small that eps counts. The first head of
every group of Mamba-2 has time steps of 1e-4 and hardly a skip: a floor under the time steps shows.
"""

import math

import numpy as np

from families.keys import first_of, layer_kinds

STREAM = 0.02


class Tensors:
    def __init__(self, seed):
        self.rng, self.named = np.random.default_rng(seed), {}

    def normal(self, name, *shape, scale=1.0, mean=0.0):
        self.named[name] = mean + scale * self.rng.standard_normal(shape)

    def uniform(self, low, high, *shape):
        return self.rng.uniform(low, high, shape)

    def table(self, name, rows, width, scale=STREAM):
        self.normal(name, rows, width, scale=scale)

    def norm(self, name, width):
        self.normal(f"{name}.weight", width, scale=0.3, mean=1.0)

    def linear(self, name, outputs, inputs, bias=False, gain=1.0):
        self.normal(f"{name}.weight", outputs, inputs, scale=gain / math.sqrt(inputs))
        if bias:
            self.normal(f"{name}.bias", outputs, scale=0.3 * gain)

    def conv(self, name, channels, taps, bias):
        self.normal(f"{name}.weight", channels, 1, taps, scale=1 / math.sqrt(taps))
        if bias:
            self.normal(f"{name}.bias", channels, scale=0.3)

    def step_bias(self, name, count):
        """Time steps from 0.01 to 0.3."""
        steps = np.exp(self.uniform(math.log(0.01), math.log(0.3), count))
        self.named[name] = np.log(np.expm1(steps))


def mixer1(t, path, D, E, *, N, R, K, proj_bias, conv_bias, inner=False, small=False):
    """inner: weighted norms of dt, B and C; small: x_proj makes so little that the eps of norms counts."""
    t.linear(f"{path}.in_proj", 2 * E, D, proj_bias)
    t.conv(f"{path}.conv1d", E, K, conv_bias)
    t.linear(f"{path}.x_proj", R + 2 * N, E, gain=0.01 if small else 1.0)
    t.linear(f"{path}.dt_proj", E, R)
    t.step_bias(f"{path}.dt_proj.bias", E)
    t.named[f"{path}.A_log"] = np.log(t.uniform(1, 8, E, N))
    t.normal(f"{path}.D", E, scale=0.3, mean=1.0)
    t.linear(f"{path}.out_proj", D, E, proj_bias, STREAM)
    for name, width in (("dt_layernorm", R), ("b_layernorm", N), ("c_layernorm", N)) if inner else ():
        t.norm(f"{path}.{name}", width)


def mixer2(t, path, D, E, *, H, G, N, K, in_bias=False, out_bias=False, conv_bias=True, norm=True,
           gain=STREAM, gate=1.0):
    """gain: of out_proj; gate: of the rows of z."""
    channels = E + 2 * G * N
    t.linear(f"{path}.in_proj", E + channels + H, D, in_bias)
    t.named[f"{path}.in_proj.weight"][:E] *= gate
    t.conv(f"{path}.conv1d", channels, K, conv_bias)
    t.step_bias(f"{path}.dt_bias", H)
    t.named[f"{path}.A_log"] = np.log(t.uniform(1, 8, H))
    t.normal(f"{path}.D", H, scale=0.3, mean=0.5)
    t.named[f"{path}.dt_bias"][::H // G] = -9
    t.named[f"{path}.D"][::H // G] = 0.01
    if norm:
        t.norm(f"{path}.norm", E)
    t.linear(f"{path}.out_proj", D, E, out_bias, gain)


def attention(t, path, D, h, hk, d, *, bias=False, gain=STREAM, width=None, keys=1.0):
    """width: of what q, k and v read; keys: the factor that the model puts on k_proj's output."""
    width = width or D
    t.linear(f"{path}.q_proj", h * d, width, bias, 1.5)
    t.linear(f"{path}.k_proj", hk * d, width, bias, 1.5 / keys)
    t.linear(f"{path}.v_proj", hk * d, width, bias)
    t.linear(f"{path}.o_proj", D, h * d, bias, gain)


def swiglu(t, path, D, I, *, bias=False, gain=STREAM, gate=1.0):
    t.linear(f"{path}.gate_proj", I, D, bias, gate)
    t.linear(f"{path}.up_proj", I, D, bias)
    t.linear(f"{path}.down_proj", D, I, bias, gain)


def squared_relu(t, path, D, I, *, bias=False, gain=STREAM):
    t.linear(f"{path}.up_proj", I, D, bias)
    t.linear(f"{path}.down_proj", D, I, bias, gain)


def head(t, config, D, tied):
    if not tied:
        t.linear("lm_head", config["vocab_size"], D)


def hugging_face(config, t):
    """mamba, falcon_mamba, mamba2."""
    D, E = config["hidden_size"], config.get("intermediate_size") or 2 * config["hidden_size"]
    # The name of older repositories.
    table = "embedding" if config["transformers_version"].startswith("4") else "embeddings"
    t.table(f"backbone.{table}.weight", config["vocab_size"], D)
    for i in range(config["num_hidden_layers"]):
        path = f"backbone.layers.{i}"
        t.norm(f"{path}.norm", D)
        shared = {"N": config["state_size"], "K": config["conv_kernel"],
                  "conv_bias": config["use_conv_bias"]}
        if config["model_type"] == "mamba2":
            mixer2(t, f"{path}.mixer", D, 2 * D, H=config["num_heads"], G=config["n_groups"],
                   in_bias=config["use_bias"], out_bias=config["use_bias"], **shared)
        else:
            rank = config["time_step_rank"]
            mixer1(t, f"{path}.mixer", D, E, R=-(-D // 16) if rank == "auto" else rank,
                   proj_bias=config["use_bias"],
                   small=config["model_type"] == "falcon_mamba", **shared)
    t.norm("backbone.norm_f", D)
    head(t, config, D, config["tie_word_embeddings"])


def state_spaces(config, t, prefix=""):
    D, ssm, attn = config["d_model"], config["ssm_cfg"], config.get("attn_cfg") or {}
    rows = -(-config["vocab_size"] // config["pad_vocab_size_multiple"]) * config["pad_vocab_size_multiple"]
    inner = -(-config["d_intermediate"] // 128) * 128
    t.table(f"{prefix}backbone.embedding.weight", rows, D)
    for i in range(config["n_layer"]):
        path = f"{prefix}backbone.layers.{i}"
        t.norm(f"{path}.norm", D)
        if i in config["attn_layer_idx"]:
            h, d = attn["num_heads"], attn.get("head_dim", D // attn["num_heads"])
            wide = (h + 2 * attn.get("num_heads_kv", h)) * d
            t.linear(f"{path}.mixer.in_proj", wide, D, attn.get("qkv_proj_bias", True), 1.5)
            if attn.get("d_conv", 0):
                t.conv(f"{path}.mixer.conv1d", wide, attn["d_conv"], True)
            t.linear(f"{path}.mixer.out_proj", D, h * d, attn.get("out_proj_bias", True), STREAM)
        elif ssm.get("layer") == "Mamba2":
            P = ssm.get("headdim", 64)
            mixer2(t, f"{path}.mixer", D, 2 * D, H=2 * D // P, G=ssm.get("ngroups", 1),
                   N=ssm.get("d_state", 128), K=ssm.get("d_conv", 4))
        else:
            mixer1(t, f"{path}.mixer", D, 2 * D, N=ssm.get("d_state", 16), R=-(-D // 16),
                   K=ssm.get("d_conv", 4), proj_bias=False, conv_bias=True)
        if inner:
            t.norm(f"{path}.norm2", D)
            t.linear(f"{path}.mlp.fc1", 2 * inner, D)
            t.linear(f"{path}.mlp.fc2", D, inner, gain=STREAM)
    t.norm(f"{prefix}backbone.norm_f", D)
    if not config["tie_embeddings"]:
        t.linear(f"{prefix}lm_head", rows, D)


def mistral(config, t):
    state_spaces({"d_model": config["dim"], "n_layer": config["n_layers"], "d_intermediate": 0,
                  "vocab_size": config["vocab_size"], "attn_layer_idx": [],
                  "pad_vocab_size_multiple": config["pad_vocab_size_multiple"],
                  "ssm_cfg": {"layer": "Mamba2", "ngroups": config["n_groups"]},
                  "tie_embeddings": config["tie_embeddings"]}, t, "model.")


def mamba_keys(config):
    """Of the families whose keys begin with mamba_."""
    return {"H": config["mamba_n_heads"], "G": config["mamba_n_groups"], "N": config["mamba_d_state"],
            "K": config["mamba_d_conv"], "conv_bias": config["mamba_conv_bias"]}


def bamba(config, t):
    D, h, hk = (config[k] for k in ("hidden_size", "num_attention_heads", "num_key_value_heads"))
    kinds = layer_kinds(config) or [
        "attention" if i in config["attn_layer_indices"] else "mamba"
        for i in range(config["num_hidden_layers"])]
    t.table("model.embed_tokens.weight", config["vocab_size"], D)
    for i, kind in enumerate(kinds):
        path = f"model.layers.{i}"
        t.norm(f"{path}.input_layernorm", D)
        if kind == "attention":
            attention(t, f"{path}.self_attn", D, h, hk, D // h, bias=config["attention_bias"])
        else:
            mixer2(t, f"{path}.mamba", D, config["mamba_expand"] * D, in_bias=config["mamba_proj_bias"],
                   out_bias=config["mamba_proj_bias"], **mamba_keys(config))
        t.norm(f"{path}.pre_ff_layernorm", D)
        swiglu(t, f"{path}.feed_forward", D, config["intermediate_size"], bias=config["mlp_bias"])
    t.norm("model.final_layernorm", D)
    head(t, config, D, config["tie_word_embeddings"])


def granite(config, t):
    D, h = config["hidden_size"], config["num_attention_heads"]
    hk = config["num_key_value_heads"] or h
    gain, X = STREAM / config["residual_multiplier"], config["num_local_experts"]
    t.table("model.embed_tokens.weight", config["vocab_size"], D, STREAM / config["embedding_multiplier"])
    for i, kind in enumerate(layer_kinds(config)):
        path = f"model.layers.{i}"
        t.norm(f"{path}.input_layernorm", D)
        if kind == "attention":
            attention(t, f"{path}.self_attn", D, h, hk, D // h, bias=config["attention_bias"], gain=gain)
        else:
            mixer2(t, f"{path}.mamba", D, config["mamba_expand"] * D, in_bias=config["mamba_proj_bias"],
                   out_bias=config["mamba_proj_bias"], gain=gain, **mamba_keys(config))
        t.norm(f"{path}.post_attention_layernorm", D)
        inner = config["shared_intermediate_size"]
        t.linear(f"{path}.shared_mlp.input_linear", 2 * inner, D)
        t.linear(f"{path}.shared_mlp.output_linear", D, inner, gain=gain)
        if X:
            own, inner = f"{path}.block_sparse_moe", config["intermediate_size"]
            t.linear(f"{own}.router.layer", X, D)
            t.normal(f"{own}.input_linear.weight", X, 2 * inner, D, scale=1 / math.sqrt(D))
            t.normal(f"{own}.output_linear.weight", X, D, inner, scale=gain / math.sqrt(inner))
    t.norm("model.norm", D)
    head(t, config, D, config["tie_word_embeddings"])


def falcon_h1(config, t):
    D, E, d = config["hidden_size"], config["mamba_d_ssm"], config["head_dim"]
    h, hk = config["num_attention_heads"], config["num_key_value_heads"]
    gate, down = config["mlp_multipliers"]
    t.table("model.embed_tokens.weight", config["vocab_size"], D, STREAM / config["embedding_multiplier"])
    for i in range(config["num_hidden_layers"]):
        path = f"model.layers.{i}"
        t.norm(f"{path}.input_layernorm", D)
        mixer2(t, f"{path}.mamba", D, E, in_bias=config["mamba_proj_bias"],
               out_bias=config["projectors_bias"], norm=config["mamba_rms_norm"],
               gain=STREAM / config["ssm_out_multiplier"], **mamba_keys(config))
        attention(t, f"{path}.self_attn", D, h, hk, d, bias=config["attention_bias"],
                  gain=STREAM / config["attention_out_multiplier"], keys=config["key_multiplier"])
        t.norm(f"{path}.pre_ff_layernorm", D)
        swiglu(t, f"{path}.feed_forward", D, config["intermediate_size"], bias=config["mlp_bias"],
               gate=1 / gate, gain=STREAM / down)
    t.norm("model.final_layernorm", D)
    head(t, config, D, config["tie_word_embeddings"])


def nemotron_h(config, t):
    D, d = config["hidden_size"], first_of(config, ["head_dim", "attention_head_dim"], 128)
    H, inner = config["mamba_num_heads"], config["intermediate_size"]
    t.table("backbone.embeddings.weight", config["vocab_size"], D)
    for i, kind in enumerate(layer_kinds(config)):
        path = f"backbone.layers.{i}"
        t.norm(f"{path}.norm", D)
        path += ".mixer"
        if kind == "mamba":
            mixer2(t, path, D, H * config["mamba_head_dim"], H=H,
                   G=first_of(config, ["n_groups", "mamba_n_groups"], 8), N=config["ssm_state_size"],
                   K=first_of(config, ["conv_kernel", "mamba_d_conv"], 4), in_bias=config["use_bias"],
                   out_bias=config["use_bias"], conv_bias=config["use_conv_bias"])
        elif kind == "attention":
            attention(t, path, D, config["num_attention_heads"], config["num_key_value_heads"], d)
        elif kind == "mlp":
            squared_relu(t, path, D, inner[i] if isinstance(inner, list) else inner, bias=config["mlp_bias"])
        else:
            nemotron_experts(config, t, path, D)
    t.norm("backbone.norm_f", D)
    head(t, config, D, False)


def nemotron_experts(config, t, path, D):
    """mlp_bias is of the shared expert and the latent projections; the routed experts have none."""
    X, latent, bias = config["n_routed_experts"], config.get("moe_latent_size"), config["mlp_bias"]
    t.linear(f"{path}.gate", X, D)
    t.normal(f"{path}.gate.e_score_correction_bias", X, scale=0.2)
    if latent:
        t.linear(f"{path}.fc1_latent_proj", latent, D, bias)
    for e in range(X):
        squared_relu(t, f"{path}.experts.{e}", latent or D, config["moe_intermediate_size"],
                     gain=1.0 if latent else STREAM)
    if latent:
        t.linear(f"{path}.fc2_latent_proj", D, latent, bias, STREAM)
    squared_relu(t, f"{path}.shared_experts", D, config["moe_shared_expert_intermediate_size"], bias=bias)


def jamba(config, t, first_release=False):
    """first_release: the names moe and experts.0 of the first repositories."""
    D, h, X = config["hidden_size"], config["num_attention_heads"], config["num_experts"]
    feed_forward = "moe" if first_release else "feed_forward"
    t.table("model.embed_tokens.weight", config["vocab_size"], D)
    for i in range(config["num_hidden_layers"]):
        path = f"model.layers.{i}"
        t.norm(f"{path}.input_layernorm", D)
        if i % config["attn_layer_period"] == config["attn_layer_offset"]:
            attention(t, f"{path}.self_attn", D, h, config["num_key_value_heads"], D // h)
        else:
            rank = config["mamba_dt_rank"]
            mixer1(t, f"{path}.mamba", D, config["mamba_expand"] * D, N=config["mamba_d_state"],
                   R=-(-D // 16) if rank == "auto" else rank, K=config["mamba_d_conv"],
                   proj_bias=config["mamba_proj_bias"], conv_bias=config["mamba_conv_bias"], inner=True,
                   small=True)
        t.norm(f"{path}.pre_ff_layernorm", D)
        own, inner = f"{path}.{feed_forward}", config["intermediate_size"]
        if X > 1 and i % config["expert_layer_period"] == config["expert_layer_offset"]:
            t.linear(f"{own}.router", X, D)
            for e in range(X):
                swiglu(t, f"{own}.experts.{e}", D, inner)
        else:
            swiglu(t, own + ".experts.0" * first_release, D, inner)
    t.norm("model.final_layernorm", D)
    head(t, config, D, config["tie_word_embeddings"])


def zamba2(config, t, repeated=False):
    """repeated: the shared tensors stand under every hybrid layer that uses them."""
    D, r, bias = config["hidden_size"], config["adapter_rank"], config["add_bias_linear"]
    kinds = layer_kinds(config)
    hybrids = [i for i, kind in enumerate(kinds) if kind == "hybrid"]
    blocks = config["num_mem_blocks"]
    t.table("model.embed_tokens.weight", config["vocab_size"], D)
    for i, kind in enumerate(kinds):
        path = f"model.layers.{i}"
        if kind == "hybrid":
            n = hybrids.index(i)
            first = f"model.layers.{hybrids[n % blocks]}.shared_transformer"
            if n < blocks:
                transformer(config, t, first, range(n, len(hybrids), blocks))
            elif repeated:
                t.named.update({name.replace(first, f"{path}.shared_transformer"): array
                                for name, array in t.named.items() if name.startswith(first + ".")})
            t.linear(f"{path}.linear", D, D, gain=STREAM)
            path += ".mamba_decoder"
        t.norm(f"{path}.input_layernorm", D)
        mixer2(t, f"{path}.mamba", D, config["mamba_expand"] * D, H=config["n_mamba_heads"],
               G=config["mamba_ngroups"], N=config["mamba_d_state"], K=config["mamba_d_conv"],
               in_bias=bias, out_bias=bias, gate=0.05)
    t.norm("model.final_layernorm", D)
    head(t, config, D, config["tie_word_embeddings"])


def transformer(config, t, path, own):
    """own: the hybrid layers, counted from 0, whose adapters it has."""
    D, r, inner = config["hidden_size"], config["adapter_rank"], config["intermediate_size"]
    h = config["num_attention_heads"]
    t.norm(f"{path}.input_layernorm", 2 * D)
    attention(t, f"{path}.self_attn", D, h, h, 2 * D // h, width=2 * D, gain=1.0)
    t.norm(f"{path}.pre_ff_layernorm", D)
    bias = config["add_bias_linear"]
    # The two forms of GELU differ most at 2.
    t.linear(f"{path}.feed_forward.gate_up_proj", 2 * inner, D, bias, 2.0)
    t.linear(f"{path}.feed_forward.down_proj", D, inner, bias)
    for n in own:
        adapters = [("feed_forward.gate_up_proj_adapter_list", D, 2 * inner)]
        if config["use_shared_attention_adapter"]:
            adapters += [(f"self_attn.linear_{part}_adapter_list", 2 * D, 2 * D) for part in "qkv"]
        for name, inputs, outputs in adapters:
            t.linear(f"{path}.{name}.{n}.0", r, inputs)
            t.linear(f"{path}.{name}.{n}.1", outputs, r)
