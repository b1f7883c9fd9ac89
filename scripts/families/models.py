"""The tiny models: their configs as the families publish them, in the keys of today's library (5.x) and in
older ones (names that end in -old), keys without effect included."""

import dataclasses
import typing

from families import weights

INFINITY = {"__float__": "Infinity"}  # as 5.x writes it
NEW = {"dtype": "bfloat16", "transformers_version": "5.24.0"}
OLD = {"torch_dtype": "bfloat16", "transformers_version": "4.48.0"}
ROPE = {"rope_theta": 10000.0, "rope_type": "default"}


@dataclasses.dataclass
class Tiny:
    covers: str
    config: dict
    weights: typing.Callable  # (config, Tensors): see weights.py
    file: str = "config.json"
    type: str = "bf16"  # or f32
    shards: int = 1
    f32: tuple = ()  # ends of names that are stored in f32 whatever the type
    silent: tuple = ()  # (layer, expert) that no id reaches
    sequences: int = 1


def mambas():
    shared = {"hidden_size": 32, "vocab_size": 61, "num_hidden_layers": 2, "conv_kernel": 4,
              "layer_norm_epsilon": 1e-5, "hidden_act": "silu", "use_conv_bias": True, "use_bias": False,
              "residual_in_fp32": True, "rescale_prenorm_residual": False, "initializer_range": 0.1,
              "time_step_min": 0.001, "time_step_max": 0.1, "time_step_floor": 1e-4, "use_cache": True,
              "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    mamba = {"model_type": "mamba", "architectures": ["MambaForCausalLM"], "state_size": 6, "expand": 2,
             "time_step_scale": 1.0, "time_step_init_scheme": "random"}
    falcon = {**mamba, "model_type": "falcon_mamba", "architectures": ["FalconMambaForCausalLM"],
              "tie_word_embeddings": False}
    mamba2 = {"model_type": "mamba2", "architectures": ["Mamba2ForCausalLM"], "state_size": 8,
              "num_heads": 8, "head_dim": 8, "expand": 2, "n_groups": 4, "rms_norm": True,
              "chunk_size": 16}
    return {
        "mamba-bias": Tiny(
            "HF Mamba-1: projection bias, E from intermediate_size and not expand, rank auto, tied",
            {**shared, **mamba, **NEW, "intermediate_size": 48, "use_bias": True, "time_step_rank": "auto",
             "tie_word_embeddings": True}, weights.hugging_face),
        "mamba-old": Tiny(
            "HF Mamba-1, older: left-over state-spaces keys that disagree, the table's older name, untied",
            {**shared, **mamba, **OLD, "torch_dtype": "float32", "intermediate_size": 64, "time_step_rank": 3,
             "tie_word_embeddings": False, "d_model": 1024, "n_layer": 48, "d_inner": 2048, "ssm_cfg": {},
             "rms_norm": True, "fused_add_norm": True, "pad_vocab_size_multiple": 8},
            weights.hugging_face, type="f32"),
        "falcon-mamba": Tiny(
            "Falcon3-Mamba: norms of dt, B, C with mixer_rms_eps 1e-5, no conv bias, two sequences",
            {**shared, **falcon, **NEW, "intermediate_size": 64, "time_step_rank": 4, "mixer_rms_eps": 1e-5,
             "use_conv_bias": False, "use_falcon_mambapy": False}, weights.hugging_face, sequences=2),
        "falcon-mamba-old": Tiny(
            "falcon-mamba-7b: expand 16 beside intermediate_size, no mixer_rms_eps (1e-6)",
            {**shared, **falcon, **OLD, "expand": 16, "intermediate_size": 64, "time_step_rank": 2},
            weights.hugging_face),
        "mamba2-limit": Tiny(
            "Mamba-2: 4 groups, steps limited to (0.02, 0.1), projection bias, no conv bias, tied",
            {**shared, **mamba2, **NEW, "use_bias": True, "use_conv_bias": False,
             "time_step_limit": [0.02, 0.1], "norm_before_gate": False, "tie_word_embeddings": True},
            weights.hugging_face, type="f32"),
        "codestral-old": Tiny(
            "Codestral: 4 groups, norm_before_gate true (without effect), bare Infinity, two shards",
            {**shared, **mamba2, **OLD, "norm_before_gate": True, "time_step_limit": [0.0, float("inf")],
             "time_step_rank": 2, "intermediate_size": 999, "tie_word_embeddings": False, "eos_token_id": 2},
            weights.hugging_face, shards=2),
        "mistral": Tiny(
            "Codestral in Mistral's files: params.json, consolidated.safetensors; N 128, P 64, 2 groups",
            {"dim": 64, "n_layers": 1, "vocab_size": 61, "n_groups": 2, "rms_norm": True,
             "residual_in_fp32": True, "fused_add_norm": True, "pad_vocab_size_multiple": 1,
             "tie_embeddings": False, "model_type": "mamba"}, weights.mistral, file="params.json"),
    }


def state_spaces():
    shared = {"d_model": 32, "n_layer": 3, "vocab_size": 61, "pad_vocab_size_multiple": 8, "rms_norm": True,
              "residual_in_fp32": True, "fused_add_norm": True, "attn_layer_idx": [1]}
    return {
        "mamba2attn": Tiny(
            "state-spaces as mamba2attn-2.7b: conv over q, k, v, rotary on half, h·d > D, no biases",
            {**shared, "d_intermediate": 0, "tie_embeddings": True,
             "ssm_cfg": {"layer": "Mamba2", "d_state": 8, "headdim": 8, "ngroups": 2},
             "attn_cfg": {"num_heads": 3, "head_dim": 16, "causal": True, "d_conv": 4, "out_proj_bias": False,
                          "qkv_proj_bias": False, "rotary_emb_dim": 8}}, weights.state_spaces),
        "mamba-mlp": Tiny(
            "state-spaces with d_intermediate (100 -> 128), Mamba-1, grouped queries with biases, no conv",
            {**shared, "n_layer": 2, "d_intermediate": 100, "tie_embeddings": False,
             "ssm_cfg": {"d_state": 5},
             "attn_cfg": {"num_heads": 4, "num_heads_kv": 2, "causal": True, "rotary_emb_dim": 4,
                          "rotary_emb_base": 100.0, "softmax_scale": 0.2}}, weights.state_spaces),
    }


def attention_and_mamba2(model_type, architecture, **keys):
    """What Bamba, Granite and Falcon-H1 have in common."""
    return {"model_type": model_type, "architectures": [architecture], "hidden_size": 32, "vocab_size": 61,
            "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_act": "silu",
            "attention_bias": False, "attention_dropout": 0.0, "mamba_n_heads": 8, "mamba_d_head": 8,
            "mamba_n_groups": 1, "mamba_d_state": 8, "mamba_d_conv": 4, "mamba_expand": 2,
            "mamba_chunk_size": 16, "mamba_conv_bias": True, "mamba_proj_bias": False,
            "initializer_range": 0.02, "max_position_embeddings": 2048, "use_cache": True,
            "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, **keys}


def bambas():
    shared = attention_and_mamba2("bamba", "BambaForCausalLM", intermediate_size=24, num_hidden_layers=3,
                                  rms_norm_eps=1e-5, num_logits_to_keep=1, z_loss_coefficient=0.0)
    return {
        "bamba": Tiny(
            "Bamba: half-turned heads, 2 groups, every bias, steps limited, tied",
            {**shared, **NEW, "layer_types": ["linear_attention", "full_attention", "linear_attention"],
             "mamba_n_groups": 2, "attention_bias": True, "mlp_bias": True, "mamba_proj_bias": True,
             "rope_parameters": {**ROPE, "partial_rotary_factor": 0.5}, "time_step_limit": [0.02, 0.1],
             "tie_word_embeddings": True}, weights.bamba),
        "bamba-old": Tiny(
            "Bamba-9B: attn_layer_indices, rope_theta and rope_scaling, untied",
            {**shared, **OLD, "attn_layer_indices": [1], "attn_rotary_emb": 4, "mlp_bias": False,
             "mamba_d_head": "auto", "rope_theta": 10000.0, "rope_scaling": None,
             "tie_word_embeddings": False}, weights.bamba),
    }


def granites():
    shared = attention_and_mamba2(
        "granitemoehybrid", "GraniteMoeHybridForCausalLM", num_hidden_layers=3, embedding_multiplier=12.0,
        residual_multiplier=0.22, logits_scaling=8.0, attention_multiplier=0.125, intermediate_size=12,
        shared_intermediate_size=24, output_router_logits=False, router_aux_loss_coef=0.001)
    none = {"num_local_experts": 0, "num_experts_per_tok": 0}
    return {
        "granite-h": Tiny(
            "Granite 4 H without experts: four multipliers, no positions though rope keys, 2 groups, untied",
            {**shared, **none, **NEW, "layer_types": ["linear_attention", "full_attention",
                                                      "linear_attention"],
             "mamba_n_groups": 2, "position_embedding_type": "nope", "rms_norm_eps": 1e-5,
             "rope_parameters": ROPE, "time_step_limit": [0.0, INFINITY], "tie_word_embeddings": False},
            weights.granite),
        "granite-moe-old": Tiny(
            "Granite 4 H: 6 stacked experts, 2 a token, one of layer 1 never chosen; older words, tied",
            {**shared, **OLD, "num_hidden_layers": 2, "layer_types": ["mamba", "attention"],
             "num_local_experts": 6, "num_experts_per_tok": 2, "position_embedding_type": "nope",
             "rope_theta": 10000.0, "rope_scaling": None, "rms_norm_eps": 1e-5, "tie_word_embeddings": True},
            weights.granite, silent=((1, 4),)),
        "granite-rope": Tiny(
            "Granite 4 without H: attention alone with RoPE, theta 1e7, biases; mamba_ keys that cannot be",
            {**shared, **none, **NEW, "num_hidden_layers": 2, "layer_types": ["full_attention"] * 2,
             "position_embedding_type": "rope", "rope_parameters": {**ROPE, "rope_theta": 1e7},
             "attention_bias": True, "num_key_value_heads": None, "mamba_d_head": 40, "rms_norm_eps": 1e-5,
             "tie_word_embeddings": True}, weights.granite),
    }


def falcon_h1s():
    shared = attention_and_mamba2(
        "falcon_h1", "FalconH1ForCausalLM", num_hidden_layers=2, intermediate_size=24, head_dim=8,
        mamba_d_ssm=64, rms_norm_eps=1e-5, mamba_rms_norm=False, mamba_norm_before_gate=True,
        projectors_bias=False, mlp_bias=False, embedding_multiplier=5.656854249492381,
        lm_head_multiplier=0.0390625, key_multiplier=0.39062499999999994, attention_in_multiplier=1.0,
        attention_out_multiplier=0.9375, ssm_in_multiplier=1.25, ssm_out_multiplier=0.23570226039551587,
        ssm_multipliers=[0.3535533905932738, 0.25, 0.18, 0.5, 0.35],
        mlp_multipliers=[0.8838834764831844, 0.5859375], tie_word_embeddings=False)
    normed = {"mamba_rms_norm": True, "mamba_n_groups": 2, "mamba_d_ssm": 48, "mamba_n_heads": 6,
              "num_attention_heads": 4, "head_dim": 12, "attention_in_multiplier": 0.8}
    biases = {"attention_bias": True, "mlp_bias": True, "mamba_proj_bias": True, "projectors_bias": True}
    return {
        "falcon-h1": Tiny(
            "Falcon-H1: no inner norm, all multipliers, those of the SSM rounded to bf16, untied",
            {**shared, **NEW, "rope_parameters": ROPE, "time_step_limit": [0.0, INFINITY]},
            weights.falcon_h1),
        "falcon-h1-before": Tiny(
            "Falcon-H1: norm before the gate, 2 groups, E 48 and h·d 48 (D 32), every bias, f32",
            {**shared, **normed, **biases, **NEW, "dtype": "float32", "rope_parameters": ROPE},
            weights.falcon_h1, type="f32"),
        "falcon-h1-old": Tiny(
            "Falcon-H1-34B: norm after the gate, 2 groups, rope_theta 1e11, tied",
            {**shared, **normed, **OLD, "mamba_norm_before_gate": False, "rope_theta": 100000000000.0,
             "rope_scaling": None, "attn_layer_indices": None, "mamba_use_mlp": True,
             "mlp_expansion_factor": 8, "tie_word_embeddings": True}, weights.falcon_h1),
    }


def nemotrons():
    shared = {"model_type": "nemotron_h", "architectures": ["NemotronHForCausalLM"], "hidden_size": 32,
              "vocab_size": 61, "num_attention_heads": 4, "num_key_value_heads": 2, "mamba_num_heads": 8,
              "mamba_head_dim": 6, "ssm_state_size": 8, "expand": 2, "chunk_size": 16,
              "intermediate_size": 40, "mlp_hidden_act": "relu2", "mamba_hidden_act": "silu",
              "use_bias": False, "mlp_bias": False, "use_conv_bias": True, "attention_bias": False,
              "time_step_min": 0.001, "time_step_max": 0.1, "time_step_floor": 1e-4,
              "rescale_prenorm_residual": True, "residual_in_fp32": False, "sliding_window": None,
              "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "tie_word_embeddings": False}
    new = {**NEW, "head_dim": 12, "n_groups": 4, "conv_kernel": 4, "layer_norm_epsilon": 1e-5,
           "time_step_limit": [0.0, INFINITY]}
    experts = {"n_routed_experts": 8, "num_experts_per_tok": 2, "n_shared_experts": 1,
               "moe_intermediate_size": 12, "moe_shared_expert_intermediate_size": 20}
    return {
        "nemotron-h": Tiny(
            "Nemotron-H: one part a layer, 4 groups, E 48 though expand 2, h·d 48; steps below the floor",
            {**shared, **new, "layers_block_type": ["linear_attention", "mlp", "full_attention",
                                                    "linear_attention"]}, weights.nemotron_h),
        "nemotron-h-old": Tiny(
            "Nemotron-H-8B: the pattern's letters, attention_head_dim, older names, an MLP width a layer",
            {**shared, **OLD, "hybrid_override_pattern": "M-M*-", "num_hidden_layers": 5,
             "attention_head_dim": 8, "mamba_n_groups": 2, "mamba_d_conv": 3, "mamba_conv_bias": True,
             "rms_norm_eps": 1e-5, "norm_eps": 1e-5, "intermediate_size": [0, 24, 0, 0, 40],
             "time_step_limit": [0.0, float("inf")], "rope_theta": 10000, "partial_rotary_factor": 1.0},
            weights.nemotron_h),
        "nemotron-h-moe": Tiny(
            "Nemotron 3: 8 experts in 4 groups of which 2 are kept, scaling 2.5, a correction in f32 that "
            "keeps one expert away",
            {**shared, **new, **experts, "layers_block_type": ["linear_attention", "moe", "full_attention",
                                                               "moe"],
             "n_group": 4, "topk_group": 2, "norm_topk_prob": True, "routed_scaling_factor": 2.5,
             "moe_latent_size": None}, weights.nemotron_h, f32=("e_score_correction_bias",),
            silent=((1, 5),)),
        "nemotron-h-latent": Tiny(
            "Nemotron 3 Super: experts in a latent space, 3 a token, weights not normalized, biases",
            {**shared, **new, **experts, "layers_block_type": ["linear_attention", "moe"],
             "num_experts_per_tok": 3, "n_group": 1, "topk_group": 1, "norm_topk_prob": False,
             "routed_scaling_factor": 1.5, "moe_latent_size": 16, "use_bias": True, "mlp_bias": True},
            weights.nemotron_h),
    }


def jambas():
    shared = {"model_type": "jamba", "architectures": ["JambaForCausalLM"], "hidden_size": 32,
              "vocab_size": 61, "intermediate_size": 24, "num_attention_heads": 4,
              "num_key_value_heads": 2, "hidden_act": "silu", "attention_dropout": 0.0,
              "num_experts_per_tok": 2, "expert_layer_period": 2, "expert_layer_offset": 1,
              "mamba_d_state": 6, "mamba_d_conv": 4, "mamba_expand": 2, "mamba_conv_bias": True,
              "rms_norm_eps": 1e-6, "num_logits_to_keep": 1, "router_aux_loss_coef": 0.001,
              "bos_token_id": 1, "eos_token_id": [2, 5], "pad_token_id": 0}
    return {
        "jamba": Tiny(
            "Jamba: weighted norms of dt, B, C, 4 experts in every other layer, attention without positions",
            {**shared, **NEW, "num_hidden_layers": 3, "attn_layer_period": 3, "attn_layer_offset": 2,
             "num_experts": 4, "mamba_dt_rank": 4, "mamba_proj_bias": False, "tie_word_embeddings": False},
            weights.jamba),
        "jamba-old": Tiny(
            "Jamba's first release: names moe and experts.0, rank auto, attention with experts",
            {**shared, **OLD, "num_hidden_layers": 2, "attn_layer_period": 2, "attn_layer_offset": 1,
             "num_experts": 3, "mamba_dt_rank": "auto", "mamba_proj_bias": False,
             "mamba_inner_layernorms": True, "tie_word_embeddings": False},
            lambda config, t: weights.jamba(config, t, first_release=True)),
        "jamba-dense": Tiny(
            "Jamba with one expert (dense), projection bias, tied, f32",
            {**shared, **NEW, "dtype": "float32", "num_hidden_layers": 2, "attn_layer_period": 2,
             "attn_layer_offset": 1, "num_experts": 1, "mamba_dt_rank": 3, "mamba_proj_bias": True,
             "tie_word_embeddings": True}, weights.jamba, type="f32"),
    }


def zamba2s():
    shared = {"model_type": "zamba2", "architectures": ["Zamba2ForCausalLM"], "hidden_size": 32,
              "vocab_size": 61, "intermediate_size": 16, "hidden_act": "gelu", "n_mamba_heads": 8,
              "mamba_ngroups": 2, "mamba_d_state": 8, "mamba_d_conv": 4, "mamba_expand": 2,
              "mamba_headdim": 999, "num_attention_heads": 4, "num_key_value_heads": 4,
              "attention_head_dim": 999, "attention_hidden_size": 999, "kv_channels": 999,
              "use_long_context": False, "adapter_rank": 4, "add_bias_linear": False, "use_mem_rope": True,
              "use_shared_attention_adapter": False, "time_step_min": 0.001, "time_step_max": 0.1,
              "rms_norm_eps": 1e-6, "chunk_size": 16, "bos_token_id": 1, "eos_token_id": 2,
              "pad_token_id": 0, "tie_word_embeddings": True}
    return {
        "zamba2": Tiny(
            "Zamba2-1.2B: one block for two layers, adapters of the MLP and of q, k, v, RoPE, 2 groups, tied",
            {**shared, **NEW, "num_hidden_layers": 3, "num_mem_blocks": 1, "rope_parameters": ROPE,
             "use_shared_attention_adapter": True,
             "layers_block_type": ["hybrid", "linear_attention", "hybrid"]}, weights.zamba2),
        "zamba2-blocks": Tiny(
            "Zamba2-7B: two blocks, each for two layers, hybrids alone, RoPE, biases",
            {**shared, **NEW, "num_hidden_layers": 4, "num_mem_blocks": 2, "rope_parameters": ROPE,
             "add_bias_linear": True,
             "layers_block_type": ["hybrid"] * 4},
            weights.zamba2),
        "zamba2-old": Tiny(
            "Zamba2, older words and keys: two blocks, no positions, shared tensors under every hybrid layer",
            {**shared, **OLD, "num_hidden_layers": 4, "num_mem_blocks": 2, "use_mem_rope": False,
             "rope_theta": 10000, "layers_block_type": ["mamba", "hybrid", "hybrid", "hybrid"],
             "hybrid_layer_ids": [1, 2, 3], "time_step_limit": None},
            lambda config, t: weights.zamba2(config, t, repeated=True)),
    }


def every():
    """name -> Tiny, in the order of README's list of families."""
    made = {}
    for family in (mambas, state_spaces, bambas, granites, falcon_h1s, nemotrons, jambas, zamba2s):
        made.update(family())
    return made
