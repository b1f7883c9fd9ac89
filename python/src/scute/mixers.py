"""Mamba-1 and Mamba-2 mixers of any torch library, computed as scute does, site by site.

A mixer is known by its parameters, not by its class: those of state-spaces' mamba_ssm, transformers
(Mamba, Mamba2, FalconMamba, Jamba and the hybrids) and whoever names them so. Everything is float32
and starts from an empty state; shapes are B sequences x L tokens x channels. Fused kernels never
call the modules inside a mixer, and no module holds B, C, dt or the state: hence this second
computation from the same input and the same parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch.nn import functional as F

# Tokens from one shown state to the next, as collect's --state-every.
STATE_EVERY = 64


class Pass(Protocol):
    """What is done where a tensor passes: shown to statistics, or rounded."""

    def site(self, op: str, x: torch.Tensor) -> torch.Tensor:
        """op: "conv1d:input" and so on, without the layer; x: B x L x channels, or B x a state."""

    def linear(
        self,
        op: str,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None = None,
        norm: torch.Tensor | None = None,
        unweighted: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The product, x passing op + ":input"; `norm` is the weight of the norm before it.

        unweighted: x without that weight, where it is known better than by a division.
        """

    def product(self, op: str, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """The product alone: x has passed already."""

    def convolution_weight(self, weight: torch.Tensor) -> torch.Tensor:
        """(channels, 1, taps) in and out."""


@dataclass(frozen=True)
class Mixer:
    """One mixer of a model: where it is, and the weight of the norm it reads (None: unknown)."""

    path: str
    layer: int
    module: torch.nn.Module
    norm: torch.Tensor | None

    @property
    def is_mamba2(self) -> bool:
        """Whether its dt has one bias a head, as Mamba-2's."""
        return hasattr(self.module, "dt_bias")

    def forward(self, u: torch.Tensor, pass_: Pass) -> torch.Tensor:
        """The mixer's output for its input u, B x L x D, in float32."""
        run = mamba2 if self.is_mamba2 else mamba1
        norm = None if self.norm is None else _f32(self.norm)
        with torch.autocast(device_type=u.device.type, enabled=False):
            return run(self.module, u.float(), norm, pass_)


def is_mixer(module: torch.nn.Module) -> bool:
    """Whether it has the parameters of a Mamba-1 or Mamba-2 mixer."""
    common = all(hasattr(module, name) for name in ("in_proj", "conv1d", "out_proj", "A_log", "D"))
    first = hasattr(module, "x_proj") and hasattr(module, "dt_proj")
    return common and (first or hasattr(module, "dt_bias"))


def _f32(x: torch.Tensor | None) -> torch.Tensor | None:
    return None if x is None else x.detach().float()


def _rms(x: torch.Tensor, eps: float, groups: int = 1) -> torch.Tensor:
    parts = x.reshape(*x.shape[:-1], groups, -1)
    return (parts * torch.rsqrt(parts.pow(2).mean(-1, keepdim=True) + eps)).reshape(x.shape)


def _convolved(module: Any, x: torch.Tensor, pass_: Pass) -> torch.Tensor:
    """SiLU of the causal depthwise convolution; B x L x channels."""
    weight = pass_.convolution_weight(_f32(module.conv1d.weight))
    padded = F.pad(x.transpose(1, 2), (weight.shape[-1] - 1, 0))
    return F.silu(F.conv1d(padded, weight, _f32(module.conv1d.bias), groups=weight.shape[0])).mT


def _inner_norms(
    module: Any, dt: torch.Tensor, B: torch.Tensor, C: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Falcon-Mamba norms the three without weights, Jamba with."""
    if hasattr(module, "rms_eps"):
        return _rms(dt, module.rms_eps), _rms(B, module.rms_eps), _rms(C, module.rms_eps)
    if hasattr(module, "dt_layernorm"):
        norms = (module.dt_layernorm, module.b_layernorm, module.c_layernorm)
        return tuple(  # type: ignore[return-value]
            _rms(x, norm_eps(norm)) * _f32(norm.weight)
            for x, norm in zip((dt, B, C), norms, strict=True)
        )
    return dt, B, C


def norm_eps(norm: Any) -> float:
    """Under either of its names."""
    return float(getattr(norm, "variance_epsilon", None) or getattr(norm, "eps", None) or 1e-5)


def _scan(
    delta: torch.Tensor,
    A: torch.Tensor,
    inputs: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    state: torch.Tensor,
    p: Pass,
) -> torch.Tensor:
    """h = exp(delta A) h + (delta x) B token by token, y = h C.

    Shows h after every 64th token and the last. delta, x: B x L x …, B and C: B x L x … x N that
    spread over it; state: B x … x N, zeros. A token at a time, because 64 tokens' decays of a real
    model are gigabytes.
    """
    x, B, C = inputs
    driven, out = delta * x, []
    for t in range(delta.shape[1]):
        decay = torch.exp(delta[:, t, ..., None] * A)
        state = decay * state + driven[:, t, ..., None] * B[:, t]
        out.append((state * C[:, t]).sum(-1))
        if t % STATE_EVERY == STATE_EVERY - 1:
            p.site("ssm_state_act:steps", state)
    p.site("ssm_state_act:input", state)
    return torch.stack(out, 1)


def mamba1(module: Any, u: torch.Tensor, norm: torch.Tensor | None, p: Pass) -> torch.Tensor:
    """Gu & Dao 2023, algorithm 2."""
    E, N = module.A_log.shape
    R = module.dt_proj.weight.shape[1]
    xz = p.linear("in_proj", u, _f32(module.in_proj.weight), _f32(module.in_proj.bias), norm)
    xz = p.site("in_proj:output", xz)
    x = p.site("conv1d:input", xz[..., :E])
    z = p.site("z_act:input", xz[..., E:])
    x = p.site("x_proj:input", _convolved(module, x, p))
    dt_B_C = p.site("x_proj:output", p.product("x_proj", x, _f32(module.x_proj.weight)))
    dt, B, C = _inner_norms(module, *dt_B_C.split([R, N, N], -1))
    B, C = p.site("B_act:input", B), p.site("C_act:input", C)
    dt = p.site("dt_proj:output", p.linear("dt_proj", dt, _f32(module.dt_proj.weight)))
    delta = F.softplus(dt + _f32(module.dt_proj.bias))
    A = -torch.exp(_f32(module.A_log))
    state = u.new_zeros(u.shape[0], E, N)
    y = _scan(delta, A, (x, B[:, :, None], C[:, :, None]), state, p)
    y = (y + _f32(module.D) * x) * F.silu(z)
    out = p.linear("out_proj", y, _f32(module.out_proj.weight), _f32(module.out_proj.bias))
    return p.site("out_proj:output", out)


@dataclass(frozen=True)
class _Heads:
    """The sizes of a Mamba-2 mixer: inner width, heads, head width, groups, state."""

    E: int
    H: int
    P: int
    G: int
    N: int
    dt_limit: tuple[float, float]

    @staticmethod
    def of(module: Any) -> _Heads:
        E, H = module.out_proj.weight.shape[1], module.A_log.shape[0]
        G = getattr(module, "n_groups", None) or getattr(module, "ngroups", None) or 1
        N = (module.conv1d.weight.shape[0] - E) // (2 * G)
        limit = getattr(module, "time_step_limit", None) or getattr(module, "dt_limit", None)
        return _Heads(E, H, E // H, G, N, tuple(limit) if limit else (0.0, float("inf")))


def mamba2(module: Any, u: torch.Tensor, norm: torch.Tensor | None, p: Pass) -> torch.Tensor:
    """Dao & Gu 2024; the gate before the norm, as every family but Falcon-H1's option.

    Falcon-H1 has factors before in_proj and behind it.
    """
    h = _Heads.of(module)
    GN = h.G * h.N
    u = u * float(getattr(module, "ssm_in_multiplier", 1))
    rows = p.linear("in_proj", u, _f32(module.in_proj.weight), _f32(module.in_proj.bias), norm)
    if getattr(module, "mup_vector", None) is not None:
        rows = rows * _f32(module.mup_vector).reshape(-1)
    z, x, B, C, dt = p.site("in_proj:output", rows).split([h.E, h.E, GN, GN, h.H], -1)
    z = p.site("z_act:input", z)
    x, B, C = (p.site(f"{n}_conv_in:input", v) for n, v in (("x", x), ("B", B), ("C", C)))
    dt = p.site("dt_act:input", dt)
    parts = _convolved(module, torch.cat([x, B, C], -1), p).split([h.E, GN, GN], -1)
    x, B, C = (p.site(f"{n}_conv_out:input", v) for n, v in zip("xBC", parts, strict=True))
    y = p.site("ssd_out_act:input", _heads_scan(module, h, (x, B, C, dt), p))
    gate = F.silu(z)
    weight, bias = _f32(module.out_proj.weight), _f32(module.out_proj.bias)
    gated = _f32(getattr(getattr(module, "norm", None), "weight", None))
    if gated is None:
        out = p.linear("out_proj", y * gate, weight, bias)
    else:
        eps = norm_eps(module.norm)
        first = getattr(module.norm, "norm_before_gate", False)
        plain = _rms(y, eps, h.G) * gate if first else _rms(y * gate, eps, h.G)
        out = p.linear("out_proj", plain * gated, weight, bias, norm=gated, unweighted=plain)
    return p.site("out_proj:output", out)


def _heads_scan(
    module: Any,
    h: _Heads,
    inputs: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor],
    p: Pass,
) -> torch.Tensor:
    """x, B, C, dt to y, B x L x E: one decay a head, each head reading the B and C of its group."""
    x, B, C, dt = inputs
    batch, L = x.shape[:2]
    heads = x.reshape(batch, L, h.H, h.P)
    B, C = (v.reshape(batch, L, h.G, h.N).repeat_interleave(h.H // h.G, 2) for v in (B, C))
    delta = F.softplus(dt + _f32(module.dt_bias)).clamp(*h.dt_limit)[..., None]
    A = -torch.exp(_f32(module.A_log))[:, None, None]
    state = x.new_zeros(batch, h.H, h.P, h.N)
    y = _scan(delta, A, (heads, B[:, :, :, None], C[:, :, :, None]), state, p)
    D = _f32(module.D).reshape(-1, 1) if module.D.numel() == h.H else _f32(module.D).view(h.H, h.P)
    return (y + D * heads).reshape(batch, L, h.E)
