"""Hybrids of transformers: sites and fake quantization beside scute on the same weights and ids.

Jamba with transformers 4.45; all families with transformers 5 (python/tests/adapters.sh run torch2).
"""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import scute  # noqa: E402
from scute.observation import observe  # noqa: E402
from scute.parts import parts_of  # noqa: E402
from small_models import program  # noqa: E402

pytestmark = pytest.mark.torch
SHARES = [0, 0.001, 0.01, 0.25, 0.5, 0.75, 0.99, 0.999, 1]
_COMMON = {"vocab_size": 160, "hidden_size": 64, "num_attention_heads": 4, "pad_token_id": 0}
_GROUPED = _COMMON | {"num_key_value_heads": 2, "num_hidden_layers": 4}
_MAMBA2 = {"mamba_n_heads": 16, "mamba_d_head": 8, "mamba_d_state": 16, "mamba_n_groups": 1}
_GRANITE = {
    "layer_types": ["mamba", "attention", "mamba", "attention"],
    "shared_intermediate_size": 96,
    "embedding_multiplier": 12.0,
    "residual_multiplier": 0.22,
    "logits_scaling": 8.0,
    "attention_multiplier": 0.0625,
    "position_embedding_type": "nope",
    "intermediate_size": 48,
}
_NEMOTRON = {
    "head_dim": 16,
    "mamba_num_heads": 16,
    "mamba_head_dim": 8,
    "ssm_state_size": 16,
    "n_groups": 2,
    "intermediate_size": 96,
    "moe_intermediate_size": 32,
    "moe_shared_expert_intermediate_size": 48,
    "n_routed_experts": 6,
    "num_experts_per_tok": 2,
}
_FAMILIES = {
    "jamba": ("Jamba", _GROUPED | {
        "intermediate_size": 96, "mamba_d_state": 16, "mamba_dt_rank": 8, "num_experts": 4,
        "num_experts_per_tok": 2, "attn_layer_offset": 2, "attn_layer_period": 4,
        "expert_layer_offset": 1, "expert_layer_period": 2, "use_mamba_kernels": False,
    }),
    "bamba": ("Bamba", _GROUPED | _MAMBA2 | {
        "intermediate_size": 96, "attn_layer_indices": [1, 3],
    }),
    "granite-dense": ("GraniteMoeHybrid", _GROUPED | _MAMBA2 | _GRANITE | {
        "num_local_experts": 0, "num_experts_per_tok": 0,
    }),
    "granite-experts": ("GraniteMoeHybrid", _GROUPED | _MAMBA2 | _GRANITE | {
        "num_local_experts": 6, "num_experts_per_tok": 2,
    }),
    "falcon-h1": ("FalconH1", _GROUPED | _MAMBA2 | {
        "intermediate_size": 96, "mamba_d_ssm": 128, "head_dim": 16, "key_multiplier": 0.39,
        "ssm_in_multiplier": 1.25, "ssm_multipliers": [0.375, 0.25, 0.1875, 0.5, 0.375],
        "ssm_out_multiplier": 0.24, "mlp_multipliers": [0.88, 0.22],
    }),
    "nemotron-dense": ("NemotronH", _COMMON | _NEMOTRON | {
        "num_key_value_heads": 2, "layers_block_type": ["mamba", "mlp", "attention", "mlp"],
    }),
    "nemotron-experts": ("NemotronH", _COMMON | _NEMOTRON | {
        "num_key_value_heads": 2, "layers_block_type": ["mamba", "moe", "attention", "moe"],
    }),
    "zamba2": ("Zamba2", _COMMON | {
        "num_hidden_layers": 4, "layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"],
        "mamba_d_state": 16, "mamba_headdim": 8, "n_mamba_heads": 16, "mamba_ngroups": 2,
        "intermediate_size": 96, "num_key_value_heads": 4, "attention_head_dim": 32,
        "attention_hidden_size": 128, "use_mem_rope": True, "num_mem_blocks": 1,
        "adapter_rank": 8,
    }),
}


def made(family, folder):
    """A random model of the family, and its folder."""
    transformers = pytest.importorskip("transformers")
    name, options = _FAMILIES[family]
    if not hasattr(transformers, f"{name}ForCausalLM"):
        pytest.skip(f"SKIPPED: transformers {transformers.__version__} has no {name}")
    torch.manual_seed(1)
    config = getattr(transformers, f"{name}Config")(**options)
    model = getattr(transformers, f"{name}ForCausalLM")(config).eval()
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            if "norm" in path:
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    for module in model.modules():
        # Clamped there at this and not at time_step_limit (docs/families.md).
        if hasattr(module, "time_step_min"):
            module.time_step_min = 0.0
    return model


@pytest.mark.parametrize("family", _FAMILIES)
def test_sites_are_those_of_scute_collect(family, tmp_path):
    model = made(family, tmp_path)
    ids = np.random.default_rng(0).integers(0, 160, (3, 70)).astype(np.int32)
    np.save(tmp_path / "ids.npy", ids)
    collected = tmp_path / "collected.safetensors"
    program(
        *("collect", tmp_path, "--data", tmp_path / "ids.npy", "--seqlen", 70),
        *("--out", collected),
    )
    expected = scute.Statistics.load(collected)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("error", UserWarning)
        with observe(model, names="sites") as seen:
            model(torch.as_tensor(ids, dtype=torch.long), use_cache=False)
    assert set(seen.statistics) == set(expected)
    for site in expected:
        mine, theirs = seen.statistics[site], expected[site]
        # Where two experts' scores are nearly equal, a token may go to either.
        slack = 0.05 * theirs.count if ".experts." in site else 0
        assert abs(mine.count - theirs.count) <= slack, site
        # Experts in a list are called once for all sequences.
        assert mine.samples == theirs.samples or ".experts." in site, site
        largest = max(abs(theirs.min), abs(theirs.max))
        apart = np.abs(np.subtract(mine.quantile(SHARES), theirs.quantile(SHARES)))
        step = np.abs(theirs.quantile(SHARES)) / 256
        near = 1e-4 * largest + step if slack == 0 else 0.1 * largest
        shares = slice(2, -2) if slack else slice(None)
        assert np.all((apart <= near)[shares]), site


@pytest.mark.parametrize("options", [{}, {"hadamard": False}, {"w_bits": 4}])
@pytest.mark.parametrize("family", _FAMILIES)
def test_rounding_is_that_of_scutes_simulation(family, options, tmp_path):
    folder = tmp_path / "model"
    model = made(family, folder)
    ids = np.random.default_rng(0).integers(0, 160, (4, 64)).astype(np.int64)
    tokens = torch.as_tensor(ids)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        with observe(model, names="sites") as seen:
            model(tokens, use_cache=False)
        plan = scute.decide(seen.statistics)
        exact = model(tokens, use_cache=False).logits
        with plan.fake_quantize(model, statistics=seen.statistics, **options):
            rounded = model(tokens, use_cache=False).logits
        assert torch.equal(model(tokens, use_cache=False).logits, exact)
    flags = {"hadamard": "on" if options.get("hadamard", True) else "off"}
    flags |= {"w_bits": options["w_bits"]} if "w_bits" in options else {}
    scute.quantize(folder, seen.statistics, plan=plan, out=tmp_path / "low", **flags)
    low = scute.load(tmp_path / "low", backend="simulate")
    simulated = torch.as_tensor(np.stack([np.array(low.logits(row)) for row in ids]))
    apart, cost = (simulated - rounded).pow(2).mean(), (simulated - exact).pow(2).mean()
    assert float(apart) < float(cost) / 4


def test_the_table_knows_the_names_of_each_library():
    def linears(**shapes):
        return nn.ModuleDict({name: nn.Linear(*shape) for name, shape in shapes.items()})

    layer = nn.ModuleDict(
        {
            "input_layernorm": nn.LayerNorm(8),
            "post_attention_layernorm": nn.LayerNorm(8),
            "self_attn": linears(q_proj=(8, 8), k_proj=(8, 4), v_proj=(8, 4), o_proj=(8, 8)),
            "shared_mlp": linears(input_linear=(8, 12), output_linear=(6, 8)),
        }
    )
    other = nn.ModuleDict({"norm2": nn.LayerNorm(8), "mlp": linears(fc1=(8, 12), fc2=(6, 8))})
    model = nn.ModuleDict({"layers": nn.ModuleList([layer, other])})
    parts = parts_of(dict(model.named_modules()), (), {})
    found = [(p.layer, p.op, p.site, p.first, p.reads, p.writes, p.fused) for p in parts.products]
    assert found == [
        ("layer_0.", "q_proj", "q_proj", True, True, False, False),
        ("layer_0.", "k_proj", "q_proj", False, True, False, False),
        ("layer_0.", "v_proj", "q_proj", False, True, False, False),
        ("layer_0.", "o_proj", "o_proj", True, False, True, False),
        ("layer_0.", "input_linear", "gate_proj", True, True, False, True),
        ("layer_0.", "down_proj", "down_proj", True, False, True, False),
        ("layer_1.", "fc1", "gate_proj", True, True, False, True),
        ("layer_1.", "down_proj", "down_proj", True, False, True, False),
    ]
    assert parts.products[0].norm is layer["input_layernorm"].weight
    assert parts.products[4].norm is layer["post_attention_layernorm"].weight
    assert not parts.rotates_down()  # 6 has no rotation
