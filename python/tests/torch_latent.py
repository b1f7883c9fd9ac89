"""Latent experts (Nemotron 3 Super) in plain torch: sites and rounding beside scute's own.

With the module names and calls of transformers 5, which needs a torch that Debian does not have.
"""

import json
import struct

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

import scute  # noqa: E402
from scute.mixers import mamba2  # noqa: E402
from scute.observation import observe  # noqa: E402
from small_models import RMSNorm, program  # noqa: E402

pytestmark = pytest.mark.torch
D, LATENT, INNER, EXPERTS, VOCABULARY = 64, 16, 32, 4, 160
CONFIG = {
    "model_type": "nemotron_h", "architectures": ["NemotronHForCausalLM"], "vocab_size": VOCABULARY,
    "hidden_size": D, "num_hidden_layers": 2, "hybrid_override_pattern": "ME", "head_dim": 16,
    "num_attention_heads": 4, "num_key_value_heads": 2, "mamba_num_heads": 16, "mamba_head_dim": 8,
    "ssm_state_size": 16, "n_groups": 2, "intermediate_size": 96, "n_routed_experts": EXPERTS,
    "num_experts_per_tok": EXPERTS, "moe_intermediate_size": INNER, "moe_latent_size": LATENT,
    "moe_shared_expert_intermediate_size": 48, "mlp_bias": True, "tie_word_embeddings": False,
    "layer_norm_epsilon": 1e-5,
}  # fmt: skip


def squared_relu(x):
    return torch.relu(x).square()


class Plain:
    """A pass of a mixer that changes nothing."""

    def site(self, op, x):
        return x

    def linear(self, matrix, x, plain=None):
        return F.linear(x, matrix.weight, matrix.bias)

    def convolution_weight(self, weight):
        return weight


class Mixer(nn.Module):
    """Mamba-2 as the package computes it: the experts are what is tested here."""

    def __init__(self, heads=16, head_width=8, groups=2, state=16):
        super().__init__()
        inner, self.n_groups = heads * head_width, groups
        channels = inner + 2 * groups * state
        self.in_proj = nn.Linear(D, inner + channels + heads, bias=False)
        self.conv1d = nn.Conv1d(channels, channels, 4, groups=channels, padding=3)
        self.A_log = nn.Parameter(torch.log(torch.arange(1, heads + 1).float()))
        self.D, self.dt_bias = nn.Parameter(torch.ones(heads)), nn.Parameter(torch.zeros(heads))
        self.norm, self.out_proj = RMSNorm(inner), nn.Linear(inner, D, bias=False)

    def forward(self, hidden_states):
        return mamba2(self, hidden_states, None, Plain())


class Stacked(nn.Module):
    def __init__(self):
        super().__init__()
        self.up_proj = nn.Parameter(torch.randn(EXPERTS, INNER, LATENT) / LATENT**0.5)
        self.down_proj = nn.Parameter(torch.randn(EXPERTS, LATENT, INNER) / INNER**0.5)
        self.act_fn = squared_relu

    def forward(self, hidden_states, top_k_index, top_k_weights):
        out = torch.zeros_like(hidden_states)
        for e in range(EXPERTS):
            rows, at = torch.where(top_k_index == e)
            y = self.act_fn(hidden_states[rows] @ self.up_proj[e].T) @ self.down_proj[e].T
            out.index_add_(0, rows, y * top_k_weights[rows, at, None])
        return out


class FeedForward(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.up_proj, self.down_proj = nn.Linear(D, inner), nn.Linear(inner, D)

    def forward(self, x):
        return self.down_proj(squared_relu(self.up_proj(x)))


class Mixture(nn.Module):
    """Every token goes to all experts, so that no rounding sends it elsewhere."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(D, EXPERTS, bias=False)
        self.experts, self.shared_experts = Stacked(), FeedForward(48)
        self.fc1_latent_proj, self.fc2_latent_proj = nn.Linear(D, LATENT), nn.Linear(LATENT, D)

    def forward(self, hidden_states):
        x = hidden_states.reshape(-1, D)
        scores = torch.sigmoid(self.gate(x))
        weights, chosen = (scores / scores.sum(-1, keepdim=True)).sort(-1, descending=True)
        y = self.fc2_latent_proj(self.experts(self.fc1_latent_proj(x), chosen, weights))
        return y.reshape(hidden_states.shape) + self.shared_experts(hidden_states)


class Block(nn.Module):
    def __init__(self, mixer):
        super().__init__()
        self.norm, self.mixer = RMSNorm(D), mixer

    def forward(self, x):
        return x + self.mixer(self.norm(x))


class Nemotron(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.embeddings = nn.Embedding(VOCABULARY, D)
        self.backbone.layers = nn.ModuleList([Block(Mixer()), Block(Mixture())])
        self.backbone.norm_f = RMSNorm(D)
        self.lm_head = nn.Linear(D, VOCABULARY, bias=False)

    def forward(self, ids):
        x = self.backbone.embeddings(ids)
        for layer in self.backbone.layers:
            x = layer(x)
        return self.lm_head(self.backbone.norm_f(x))


def published(model):
    """name -> tensor: one expert after the other, and the router's correction."""
    for name, tensor in model.state_dict().items():
        if ".experts." not in name:
            yield name, tensor
            continue
        stem, _, op = name.rpartition(".")
        for e in range(EXPERTS):
            yield f"{stem}.{e}.{op}.weight", tensor[e]
        if op == "up_proj":
            yield stem.replace("experts", "gate.e_score_correction_bias"), torch.zeros(EXPERTS)


def made(folder):
    """A random model, saved: latent vectors have one channel of many times the others."""
    torch.manual_seed(1)
    model = Nemotron().eval()
    with torch.no_grad():
        for layer in model.backbone.layers:
            layer.norm.weight.add_(0.1 * torch.randn(D))
        experts = model.backbone.layers[1].mixer
        experts.fc1_latent_proj.weight[3] *= 20
        experts.experts.up_proj[:, :, 3] /= 20
    header, data = {}, b""
    for name, tensor in published(model):
        raw = tensor.contiguous().numpy().astype("<f4").tobytes()
        at = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": at}
        data += raw
    text = json.dumps(header).encode()
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    return model


def seen_by(model, tokens):
    with torch.no_grad(), observe(model, names="sites") as seen:
        model(tokens)
    return seen.statistics


def test_the_twins_of_the_latent_width_are_those_of_scute_collect(tmp_path):
    model = made(tmp_path / "model")
    ids = np.random.default_rng(0).integers(0, VOCABULARY, (3, 70)).astype(np.int32)
    np.save(tmp_path / "ids.npy", ids)
    collected = tmp_path / "collected.safetensors"
    program(
        *("collect", tmp_path / "model", "--data", tmp_path / "ids.npy", "--seqlen", 70),
        *("--out", collected),
    )
    expected = scute.Statistics.load(collected)
    seen = seen_by(model, torch.as_tensor(ids, dtype=torch.long))
    assert set(seen) == set(expected)
    for op in ("experts.up_proj", "latent_out"):
        for twin in ("", "@rotated"):
            site = f"layer_1.{op}:input{twin}"
            largest = [max(abs(s[site].min), abs(s[site].max)) for s in (seen, expected)]
            assert seen[site].count == expected[site].count, site
            assert largest[0] == pytest.approx(largest[1], rel=1e-4), site


@pytest.mark.parametrize("options", [{}, {"hadamard": False}, {"w_bits": 4}])
def test_rounding_is_that_of_scutes_simulation(options, tmp_path):
    folder = tmp_path / "model"
    model = made(folder)
    ids = np.random.default_rng(0).integers(0, VOCABULARY, (4, 64)).astype(np.int64)
    tokens = torch.as_tensor(ids)
    statistics = seen_by(model, tokens)
    plan = scute.decide(statistics)
    with torch.no_grad():
        exact = model(tokens)
        with plan.fake_quantize(model, statistics=statistics, **options):
            rounded = model(tokens)
    flags = {"hadamard": "on" if options.get("hadamard", True) else "off"}
    flags |= {"w_bits": options["w_bits"]} if "w_bits" in options else {}
    scute.quantize(folder, statistics, plan=plan, out=tmp_path / "low", **flags)
    low = scute.load(tmp_path / "low", backend="simulate")
    simulated = torch.as_tensor(np.stack([np.array(low.logits(row)) for row in ids]))
    apart, cost = (simulated - rounded).pow(2).mean(), (simulated - exact).pow(2).mean()
    assert float(apart) < float(cost) / 1e6  # 3e-10 at most
