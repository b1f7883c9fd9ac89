"""Small torch models for the tests: a Mamba-1 language model in the slow path's straight form,
and a vision-language model with Cobra's module names."""

import json
import pathlib
import struct
import subprocess
import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

HERE = pathlib.Path(__file__).parent
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
TINY = REPOSITORY / "examples" / "tiny-mamba1"


def table_of(values):
    """Exact percentiles, as the pipeline records them."""
    found = np.quantile(values, [q / 100 for q in (25, 50, 75, 90, 99, 99.9, 99.99, 99.999)])
    keys = ("p25.0", "p50.0", "p75.0", "p90.0", "p99.0", "p99.9", "p99.99", "p99.999")
    return {
        "min": float(min(values)),
        "max": float(max(values)),
        "numel": len(values),
        "percentiles": dict(zip(keys, map(float, found), strict=True)),
    }


def program(*words, module="scute", code=0):
    """`python -m MODULE WORDS…` in a process of its own, beside this file; what it said."""
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, words)], capture_output=True, text=True, cwd=HERE
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def read_safetensors(path):
    """name -> float32 tensor; bf16, fp16 and float32 files."""
    raw = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header, out = json.loads(raw[8 : 8 + length]), {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        first, last = (8 + length + at for at in entry["data_offsets"])
        data = raw[first:last]
        if entry["dtype"] == "BF16":
            bits = np.frombuffer(data, "<u2").astype(np.uint32) << 16
            array = bits.view(np.float32)
        else:
            array = np.frombuffer(data, {"F16": "<f2", "F32": "<f4", "I32": "<i4"}[entry["dtype"]])
        out[name] = torch.from_numpy(array.astype(np.float32)).reshape(entry["shape"])
    return out


class RMSNorm(nn.Module):
    def __init__(self, width, eps=1e-5):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


class Mamba1Mixer(nn.Module):
    """As mamba_ssm's with use_fast_path=False: dt_proj is not called, its weight is used."""

    def __init__(self, width, state=16, taps=4):
        super().__init__()
        inner, self.rank, self.state = 2 * width, -(-width // 16), state
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, taps, groups=inner, padding=taps - 1)
        self.act = nn.SiLU()
        self.x_proj = nn.Linear(inner, self.rank + 2 * state, bias=False)
        self.dt_proj = nn.Linear(self.rank, inner)
        self.A_log = nn.Parameter(torch.log(torch.arange(1, state + 1).float()).repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, width, bias=False)

    def forward(self, hidden_states, inference_params=None):
        length = hidden_states.shape[1]
        x, z = self.in_proj(hidden_states).transpose(1, 2).chunk(2, dim=1)
        x = self.act(self.conv1d(x)[..., :length])
        parts = self.x_proj(x.transpose(1, 2))
        dt, B, C = parts.split([self.rank, self.state, self.state], -1)
        dt = F.softplus(dt @ self.dt_proj.weight.T + self.dt_proj.bias)
        A, x, z = -torch.exp(self.A_log), x.transpose(1, 2), z.transpose(1, 2)
        h, y = x.new_zeros(x.shape[0], *A.shape), []
        for t in range(length):
            h = torch.exp(dt[:, t, :, None] * A) * h + (dt * x)[:, t, :, None] * B[:, t, None]
            y.append((h * C[:, t, None]).sum(-1))
        return self.out_proj((torch.stack(y, 1) + self.D * x) * F.silu(z))


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm, self.mixer = RMSNorm(width), Mamba1Mixer(width)

    def forward(self, residual):
        return residual + self.mixer(self.norm(residual))


class Backbone(nn.Module):
    def __init__(self, width, layers, vocabulary):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList(Block(width) for _ in range(layers))
        self.norm_f = RMSNorm(width)

    def forward(self, ids):
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x)
        return self.norm_f(x)


class Mamba1(nn.Module):
    """ids (B, L) -> logits (B, L, V); the head shares the table."""

    def __init__(self, width=32, layers=2, vocabulary=64):
        super().__init__()
        self.backbone = Backbone(width, layers, vocabulary)
        self.lm_head = nn.Linear(width, vocabulary, bias=False)
        self.lm_head.weight = self.backbone.embedding.weight

    def forward(self, ids):
        return self.lm_head(self.backbone(ids))

    @staticmethod
    def load(folder):
        """One of the repository's: state-spaces' config.json and model.safetensors."""
        config = json.loads((folder / "config.json").read_text())
        tensors = read_safetensors(folder / "model.safetensors")
        vocabulary = tensors["backbone.embedding.weight"].shape[0]
        model = Mamba1(config["d_model"], config["n_layer"], vocabulary)
        tensors.setdefault("lm_head.weight", tensors["backbone.embedding.weight"])
        model.load_state_dict(tensors)
        return model.eval()


@torch.no_grad()
def perplexity(model, ids, window):
    """Consecutive windows, the tail dropped: the protocol of `scute eval --perplexity`."""
    rows = torch.as_tensor(ids[: len(ids) // window * window], dtype=torch.long).reshape(-1, window)
    nll = []
    for batch in rows.split(16):
        logits = model(batch).float()[:, :-1].log_softmax(-1)
        nll.append(-logits.gather(-1, batch[:, 1:, None]).double().flatten())
    return float(torch.exp(torch.cat(nll).mean()))


class Tower(nn.Module):
    """A vision tower: pictures (B, 3, 8, 8) to a 1-tuple of (B, 4, width), as Cobra's give."""

    def __init__(self, width):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, width, 4, stride=4)
        self.blocks = nn.ModuleList([nn.ModuleDict({"qkv": nn.Linear(width, width)})])

    def forward(self, pixels):
        x = self.patch_embed(pixels).flatten(2).transpose(1, 2)
        return (x + self.blocks[0]["qkv"](x),)


class VisionBackbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.dino_featurizer, self.siglip_featurizer = Tower(4), Tower(6)

    def forward(self, pixels):
        return torch.cat([self.dino_featurizer(pixels)[0], self.siglip_featurizer(pixels)[0]], 2)


class Projector(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.projector = nn.Sequential(nn.Linear(10, 20), nn.GELU(), nn.Linear(20, width))

    def forward(self, x):
        return self.projector(x)


class LanguagePart(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.llm = Mamba1(width, layers=1)


class TinyVlm(nn.Module):
    """Cobra's module names and forward's arguments; the text passes the table, as there."""

    def __init__(self, width=32):
        super().__init__()
        torch.manual_seed(7)
        self.vision_backbone = VisionBackbone()
        self.projector = Projector(width)
        self.llm_backbone = LanguagePart(width)

    def forward(self, input_ids=None, pixel_values=None):
        text = self.llm_backbone.llm.backbone.embedding(input_ids)
        if pixel_values is None:
            return text
        return torch.cat([self.projector(self.vision_backbone(pixel_values)), text], 1)


def pixels_of(files):
    """Without a picture library: pixels drawn from the files' names."""
    out = []
    for file in files:
        seed = sum(map(ord, pathlib.Path(file).name))
        out.append(torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(seed)))
    return torch.stack(out)


def tiny_vlm():
    """The factory of `python -m scute.pct.collect --model small_models:tiny_vlm`."""

    def forward(model, files, ids):
        pixels = pixels_of(files)
        if ids is None:
            return model.projector(model.vision_backbone(pixels))
        return model(input_ids=ids, pixel_values=pixels)

    return TinyVlm().eval(), forward


def quantized_vlm():
    """The same with quantizers inside its projector and towers."""
    from scute.pct import wrap

    model, forward = tiny_vlm()
    wrap(model, ["projector.projector.0", "vision_backbone.dino_featurizer.blocks.0.qkv"])
    return model, forward
