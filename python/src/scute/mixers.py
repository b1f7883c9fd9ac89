"""Mamba-1 and Mamba-2 mixers of any torch library, computed as scute does, site by site.

A mixer is known by its parameters, not by its class: those of state-spaces' mamba_ssm, transformers
(Mamba, Mamba2, FalconMamba, Jamba and the hybrids) and whoever names them so. Everything is float32
and starts from an empty state; shapes are B sequences x L tokens x channels. Fused kernels never
call the modules inside a mixer, and no module holds B, C, dt or the state: hence this second
computation from the same input and the same parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch

from scute.formulas import convolved, gated, head_scan, rms, selective_scan
from scute.hadamard import shown_rotated


@dataclass(frozen=True)
class Matrix:
    """A matrix of a mixer, outputs x inputs, and the weight of the norm that its input comes from.

    op: "in_proj" and so on, without the layer.
    """

    op: str
    weight: torch.Tensor
    bias: torch.Tensor | None = None
    norm: torch.Tensor | None = None

    @staticmethod
    def of(module: Any, op: str, norm: torch.Tensor | None = None) -> Matrix:
        """The Linear of that name, in float32; dt_proj without its bias, which is added later."""
        own = getattr(module, op)
        bias = None if op == "dt_proj" else _f32(own.bias)
        return Matrix(op, _f32(own.weight), bias, norm)

    def unweighted(self, x: torch.Tensor, plain: torch.Tensor | None = None) -> torch.Tensor:
        """Its input x as a rotated model reads it, the norm's weight being part of the matrix.

        plain: x without that weight, where it is known better than by a division.
        """
        return shown_rotated(x, self.norm) if plain is None else shown_rotated(plain, None)


class Pass(Protocol):
    """What is done where a tensor passes: shown to statistics, or rounded."""

    def site(self, op: str, x: torch.Tensor) -> torch.Tensor:
        """op: "conv1d:input" and so on, without the layer; x: B x L x channels, or B x a state."""

    def linear(
        self, matrix: Matrix, x: torch.Tensor, plain: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The product, x passing op + ":input"; plain: as of Matrix.unweighted."""

    def product(self, matrix: Matrix, x: torch.Tensor) -> torch.Tensor:
        """The product alone: x has passed already."""

    def convolution_weight(self, weight: torch.Tensor) -> torch.Tensor:
        """(channels, 1, taps) in and out."""


@dataclass(frozen=True)
class Mixer:
    """One mixer of a model: where it is, weight (None: unknown) and eps of the norm it reads."""

    path: str
    layer: int
    module: torch.nn.Module
    norm: torch.Tensor | None
    eps: float = 1e-5

    @property
    def is_mamba2(self) -> bool:
        """Whether its dt has one bias a head, as Mamba-2's."""
        return hasattr(self.module, "dt_bias")

    def of(self, module: torch.nn.Module) -> Mixer:
        """The same mixer of a replica, which has weights of its own."""
        return replace(self, module=module)

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


def negative_exp(A_log: torch.Tensor) -> torch.Tensor:
    """A, float32 of a float64 exponential as scute's."""
    return -torch.exp(A_log.detach().double()).float()


def _convolved(module: Any, x: torch.Tensor, pass_: Pass) -> torch.Tensor:
    """SiLU of the causal depthwise convolution; B x L x channels."""
    weight = pass_.convolution_weight(_f32(module.conv1d.weight))
    return convolved(x, weight, _f32(module.conv1d.bias))


def _inner_norms(
    module: Any, dt: torch.Tensor, B: torch.Tensor, C: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Falcon-Mamba norms the three without weights, Jamba with."""
    if hasattr(module, "rms_eps"):
        return rms(dt, module.rms_eps), rms(B, module.rms_eps), rms(C, module.rms_eps)
    if hasattr(module, "dt_layernorm"):
        norms = (module.dt_layernorm, module.b_layernorm, module.c_layernorm)
        return tuple(  # type: ignore[return-value]
            rms(x, norm_eps(norm)) * _f32(norm.weight)
            for x, norm in zip((dt, B, C), norms, strict=True)
        )
    return dt, B, C


def norm_eps(norm: Any) -> float:
    """Under either of its names."""
    return float(getattr(norm, "variance_epsilon", None) or getattr(norm, "eps", None) or 1e-5)


def mamba1(module: Any, u: torch.Tensor, norm: torch.Tensor | None, p: Pass) -> torch.Tensor:
    """Gu & Dao 2023, algorithm 2."""
    E, N = module.A_log.shape
    R = module.dt_proj.weight.shape[1]
    xz = p.linear(Matrix.of(module, "in_proj", norm), u)
    xz = p.site("in_proj:output", xz)
    x = p.site("conv1d:input", xz[..., :E])
    z = p.site("z_act:input", xz[..., E:])
    x = p.site("x_proj:input", _convolved(module, x, p))
    dt_B_C = p.site("x_proj:output", p.product(Matrix.of(module, "x_proj"), x))
    dt, B, C = _inner_norms(module, *dt_B_C.split([R, N, N], -1))
    B, C = p.site("B_act:input", B), p.site("C_act:input", C)
    dt = p.site("dt_proj:output", p.linear(Matrix.of(module, "dt_proj"), dt))
    weights = (negative_exp(module.A_log), _f32(module.D), _f32(module.dt_proj.bias))
    y = gated(selective_scan((x, dt, B, C), weights, p.site), z)
    return p.site("out_proj:output", p.linear(Matrix.of(module, "out_proj"), y))


@dataclass(frozen=True)
class _Heads:
    """The sizes of a Mamba-2 mixer: inner width, heads, groups, state."""

    E: int
    H: int
    G: int
    N: int
    dt_limit: tuple[float, float]

    @staticmethod
    def of(module: Any) -> _Heads:
        E, H = module.out_proj.weight.shape[1], module.A_log.shape[0]
        G = getattr(module, "n_groups", None) or getattr(module, "ngroups", None) or 1
        N = (module.conv1d.weight.shape[0] - E) // (2 * G)
        limit = getattr(module, "time_step_limit", None) or getattr(module, "dt_limit", None)
        return _Heads(E, H, G, N, tuple(limit) if limit else (0.0, float("inf")))


def mamba2(module: Any, u: torch.Tensor, norm: torch.Tensor | None, p: Pass) -> torch.Tensor:
    """Dao & Gu 2024; the gate before the norm, as every family but Falcon-H1's option.

    Falcon-H1 has factors before in_proj and behind it.
    """
    h = _Heads.of(module)
    GN = h.G * h.N
    u = u * float(getattr(module, "ssm_in_multiplier", 1))
    rows = p.linear(Matrix.of(module, "in_proj", norm), u)
    if getattr(module, "mup_vector", None) is not None:
        rows = rows * _f32(module.mup_vector).reshape(-1)
    z, x, B, C, dt = p.site("in_proj:output", rows).split([h.E, h.E, GN, GN, h.H], -1)
    z = p.site("z_act:input", z)
    x, B, C = (p.site(f"{n}_conv_in:input", v) for n, v in (("x", x), ("B", B), ("C", C)))
    dt = p.site("dt_act:input", dt)
    parts = _convolved(module, torch.cat([x, B, C], -1), p).split([h.E, GN, GN], -1)
    x, B, C = (p.site(f"{n}_conv_out:input", v) for n, v in zip("xBC", parts, strict=True))
    weights = (negative_exp(module.A_log), _f32(module.D).reshape(-1), _f32(module.dt_bias))
    y = head_scan((x, dt, B, C), weights, h.G, h.dt_limit, p.site)
    y = p.site("ssd_out_act:input", y)
    weight = _f32(getattr(getattr(module, "norm", None), "weight", None))
    matrix = Matrix.of(module, "out_proj", weight)
    if weight is None:
        out = p.linear(matrix, gated(y, z))
    else:
        eps = norm_eps(module.norm)
        first = getattr(module.norm, "norm_before_gate", False)
        plain = gated(rms(y, eps, h.G), z) if first else rms(gated(y, z), eps, h.G)
        out = p.linear(matrix, plain * weight, plain)
    return p.site("out_proj:output", out)
