"""What a mixer computes between its products, in float32: B sequences x L tokens x channels.

On the processor by the program's own kernels, so that what is rounded next is the same to the last
bit: a value on the edge of two codes would fall to either side. On other devices by torch's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional as F

from scute import _core

# Tokens from one shown state to the next, as collect's --state-every.
STATE_EVERY = 64

Show = Callable[[str, torch.Tensor], object]
# x, dt (without its bias), B, C; and A, D, dt's bias.
Inputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
Weights = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def on_processor(x: torch.Tensor) -> bool:
    """Whether the kernels read its memory."""
    return x.device.type == "cpu" and x.dtype == torch.float32 and x.numel() > 0


def _array(x: torch.Tensor) -> Any:
    return x.detach().contiguous().numpy()


def rms(x: torch.Tensor, eps: float, groups: int = 1) -> torch.Tensor:
    """Each of `groups` runs of channels over the root of its mean square."""
    if on_processor(x):
        found = _core.rms_norm(_array(x), x.shape[-1] // groups, eps)
        return torch.from_numpy(found).reshape(x.shape)
    parts = x.reshape(*x.shape[:-1], groups, -1)
    return (parts * torch.rsqrt(parts.pow(2).mean(-1, keepdim=True) + eps)).reshape(x.shape)


def gated(y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """y times SiLU of z."""
    if on_processor(y) and on_processor(z):
        return torch.from_numpy(_core.gate_silu(_array(y), _array(z))).reshape(y.shape)
    return y * F.silu(z)


def convolved(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """SiLU of the causal depthwise convolution; weight: channels x 1 x taps."""
    if on_processor(x):
        taps = _array(weight[:, 0].T)
        added = _array(x.new_zeros(x.shape[-1]) if bias is None else bias)
        each = [torch.from_numpy(_core.causal_conv_silu(_array(one), taps, added)) for one in x]
        return torch.stack(each)
    padded = F.pad(x.transpose(1, 2), (weight.shape[-1] - 1, 0))
    return F.silu(F.conv1d(padded, weight, bias, groups=weight.shape[0])).mT


def selective_scan(inputs: Inputs, weights: Weights, show: Show) -> torch.Tensor:
    """Mamba-1's recurrence from an empty state; y with D x, B x L x E.

    inputs: x and dt B x L x E, B and C B x L x N. weights: A E x N, D and bias E. Shows the state,
    B x E x N, after every 64th token and the last.
    """
    x, dt, B, C = inputs
    A, D, bias = weights
    if on_processor(x):
        return _scanned(_core.selective_scan, inputs, weights, A.shape, show)
    delta = F.softplus(dt + bias)
    state = x.new_zeros(x.shape[0], *A.shape)
    return _by_tokens(delta, A, (x, B[:, :, None], C[:, :, None]), state, show) + D * x


def head_scan(
    inputs: Inputs, weights: Weights, groups: int, limit: tuple[float, float], show: Show
) -> torch.Tensor:
    """Mamba-2's: one decay a head, each head reading the B and C of its group; B x L x H P.

    inputs: x B x L x H P, dt B x L x H, B and C B x L x G N. weights: A and bias H, D H or H P.
    limit: of dt behind its softplus. The state is B x H x P x N.
    """
    x, dt, B, C = inputs
    A, D, bias = weights
    batch, L, H = dt.shape
    P, N = x.shape[-1] // H, B.shape[-1] // groups
    if on_processor(x):

        def kernel(*arguments: Any) -> Any:
            return _core.head_scan(*arguments, groups, *limit)

        def shown(site: str, state: torch.Tensor) -> object:
            return show(site, state.reshape(batch, H, P, N))

        return _scanned(kernel, inputs, weights, (H * P, N), shown)
    heads = x.reshape(batch, L, H, P)
    B, C = (v.reshape(batch, L, groups, N).repeat_interleave(H // groups, 2) for v in (B, C))
    delta = F.softplus(dt + bias).clamp(*limit)[..., None]
    spread = (heads, B[:, :, :, None], C[:, :, :, None])
    y = _by_tokens(delta, A[:, None, None], spread, x.new_zeros(batch, H, P, N), show)
    D = D.reshape(-1, 1) if D.numel() == H else D.view(H, P)
    return (y + D * heads).reshape(batch, L, H * P)


def _scanned(
    kernel: Any, inputs: Inputs, weights: Weights, shape: Sequence[int], show: Show
) -> torch.Tensor:
    """By a kernel of one sequence's piece, from state to state of this shape."""
    x, fixed = inputs[0], tuple(map(_array, weights))
    states = [_array(x.new_zeros(*shape))] * x.shape[0]
    pieces = []
    for first in range(0, x.shape[1], STATE_EVERY):
        part = [one[:, first : first + STATE_EVERY] for one in inputs]
        found = [
            kernel(tuple(_array(one[i]) for one in part), fixed, state)
            for i, state in enumerate(states)
        ]
        pieces.append(_stacked([y for y, _ in found]))
        states = [state for _, state in found]
        if first + STATE_EVERY <= x.shape[1]:
            show("ssm_state_act:steps", _stacked(states))
    show("ssm_state_act:input", _stacked(states))
    return torch.cat(pieces, 1)


def _stacked(arrays: list[Any]) -> torch.Tensor:
    return torch.stack([torch.from_numpy(array) for array in arrays])


def _by_tokens(
    delta: torch.Tensor,
    A: torch.Tensor,
    inputs: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    state: torch.Tensor,
    show: Show,
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
            show("ssm_state_act:steps", state)
    show("ssm_state_act:input", state)
    return torch.stack(out, 1)
