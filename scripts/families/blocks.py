"""What the families of language models are made of, in float64: norms, convolution, the two mixers,
attention, feed-forwards and the choice of experts.

Arrays are (B, L, channels): sequences, tokens, and what a token carries. E: inner width of a mixer,
N: state size, H heads of P channels, G groups of B and C, K taps, d: size of an attention head.
A rule that is easily got wrong is a function of its own: effects.py replaces it and sees what moves.
"""

import math

import numpy as np

from checkpoint_files import to_float64


class Modules:
    """The tensors under one path, and a record of what every Linear there was given."""

    def __init__(self, tensors, path="", inputs=None, read=None, chosen=None):
        self.tensors, self.path = tensors, path
        self.inputs = {} if inputs is None else inputs  # path of a Linear -> (B, L, width)
        self.read = set() if read is None else read  # names of tensors that were used
        self.chosen = {} if chosen is None else chosen  # path of a router -> (B, L, T) experts

    def within(self, path):
        return Modules(self.tensors, self.path + path + ".", self.inputs, self.read, self.chosen)

    def __contains__(self, name):
        return self.path + name in self.tensors

    def __getitem__(self, name):
        self.read.add(self.path + name)
        return to_float64(self.tensors[self.path + name])

    def get(self, name):
        return self[name] if name in self else None

    def linear(self, name, x):
        self.inputs[self.path + name] = x
        y, bias = x @ self[name + ".weight"].T, self.get(name + ".bias")
        return y if bias is None else y + bias


def silu(x):
    return x / (1 + np.exp(-x))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.logaddexp(x, 0)


def gelu(x):
    """The exact one."""
    return 0.5 * x * (1 + np.vectorize(math.erf, otypes=[float])(x / math.sqrt(2)))


def relu2(x):
    return np.maximum(x, 0) ** 2


def softmax(x):
    raised = np.exp(x - x.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def rms_norm(x, weight, eps, groups=1):
    """Over each of the groups of the last axis; the weight spans all of it."""
    parts = x.reshape(*x.shape[:-1], groups, -1)
    parts = parts / np.sqrt(np.mean(parts ** 2, axis=-1, keepdims=True) + eps)
    return parts.reshape(x.shape) * weight


def causal_conv(x, weight, bias):
    """weight: channels × 1 × K; tap K−1 multiplies the current token, zeros stand before the first."""
    L, K = x.shape[1], weight.shape[-1]
    padded = np.concatenate([np.zeros((x.shape[0], K - 1, x.shape[2])), x], axis=1)
    y = sum(weight[:, 0, k] * padded[:, k:k + L] for k in range(K))
    return y if bias is None else y + bias


# ----------------------------------------------------------------------------------------- mixer 1

def inner_norms(dt, B, C, weights, eps):
    """RMS norms of what x_proj makes: Falcon-Mamba (weights of 1) and Jamba."""
    return tuple(rms_norm(part, weight, eps) for part, weight in zip((dt, B, C), weights))


def mixer1(m, u, inner=None):
    """inner: (weights of the norms of dt, B and C; their eps), or none."""
    E, N = m["A_log"].shape
    R = m["dt_proj.weight"].shape[1]
    x, z = np.split(m.linear("in_proj", u), [E], axis=-1)
    x = silu(causal_conv(x, m["conv1d.weight"], m.get("conv1d.bias")))
    dt, B, C = np.split(m.linear("x_proj", x), [R, R + N], axis=-1)
    if inner:
        dt, B, C = inner_norms(dt, B, C, *inner)
    delta = softplus(m.linear("dt_proj", dt))
    A, state, y = -np.exp(m["A_log"]), np.zeros((len(x), E, N)), np.empty_like(x)
    for t in range(x.shape[1]):
        state = (np.exp(delta[:, t, :, None] * A) * state
                 + (delta[:, t] * x[:, t])[..., None] * B[:, t, None, :])
        y[:, t] = np.einsum("ben,bn->be", state, C[:, t])
    y = y + m["D"] * x
    return m.linear("out_proj", y * silu(z))


# ----------------------------------------------------------------------------------------- mixer 2

def repeat_groups(groups, heads):
    """(B, L, G, N) -> (B, L, H, N): each group serves H/G heads in a row."""
    return np.repeat(groups, heads // groups.shape[2], axis=2)


def clamp_steps(delta, limit):
    return np.clip(delta, *limit)


def gate_then_norm(y, z, weight, eps, groups):
    return rms_norm(y * silu(z), weight, eps, groups)


def norm_then_gate(y, z, weight, eps, groups):
    return rms_norm(y, weight, eps, groups) * silu(z)


def mixer2(m, u, *, groups, eps, limit=(0.0, math.inf), scales=None, norm_first=False):
    """limit: of the time steps; scales: one factor each for z, x, B, C and dt as in_proj makes them
    (Falcon-H1); norm_first: norm before the gate; without norm.weight there is the gate alone."""
    E, H = m["out_proj.weight"].shape[1], len(m["A_log"])
    GN = (m["conv1d.weight"].shape[0] - E) // 2
    parts = np.split(m.linear("in_proj", u), np.cumsum([E, E, GN, GN]), axis=-1)
    if scales is not None:
        parts = [scale * part for scale, part in zip(scales, parts)]
    z, dt = parts[0], parts[4]
    xBC = silu(causal_conv(np.concatenate(parts[1:4], axis=-1), m["conv1d.weight"],
                           m.get("conv1d.bias")))
    x, B, C = np.split(xBC, [E, E + GN], axis=-1)
    x = x.reshape(*x.shape[:2], H, E // H)
    B, C = (repeat_groups(part.reshape(*part.shape[:2], groups, -1), H) for part in (B, C))
    delta = clamp_steps(softplus(dt + m["dt_bias"]), limit)
    A, state = -np.exp(m["A_log"]), np.zeros((len(x), H, E // H, GN // groups))
    y = np.empty_like(x)
    for t in range(x.shape[1]):
        state = (np.exp(delta[:, t] * A)[..., None, None] * state
                 + (delta[:, t, :, None] * x[:, t])[..., None] * B[:, t, :, None, :])
        y[:, t] = np.einsum("bhpn,bhn->bhp", state, C[:, t])
    y = (y + m["D"][:, None] * x).reshape(z.shape)
    if "norm.weight" not in m:
        y = y * silu(z)
    else:
        gated = norm_then_gate if norm_first else gate_then_norm
        y = gated(y, z, m["norm.weight"], eps, groups)
    return m.linear("out_proj", y)


# --------------------------------------------------------------------------------------- attention

def rope(x, theta, rotary):
    """x: (B, h, L, d); turns the pairs (i, i + rotary/2) of the first `rotary` dimensions."""
    half = rotary // 2
    angles = np.arange(x.shape[2])[:, None] * theta ** (-2.0 * np.arange(half) / rotary)
    first, second = x[..., :half], x[..., half:rotary]
    return np.concatenate([first * np.cos(angles) - second * np.sin(angles),
                           second * np.cos(angles) + first * np.sin(angles),
                           x[..., rotary:]], axis=-1)


def share_keys(keys, heads):
    """(B, hk, L, d) -> (B, h, L, d): each key head serves h/hk query heads in a row."""
    return np.repeat(keys, heads // keys.shape[1], axis=1)


def attend(q, k, v, d, scale, positions=None):
    """q: (B, L, h·d), k and v: (B, L, hk·d); positions: (theta, rotated dimensions) of RoPE, or none."""
    q, k, v = (x.reshape(*x.shape[:2], -1, d).transpose(0, 2, 1, 3) for x in (q, k, v))
    if positions:
        q, k = rope(q, *positions), rope(k, *positions)
    k, v = share_keys(k, q.shape[1]), share_keys(v, q.shape[1])
    L = q.shape[2]
    scores = np.where(np.tri(L, dtype=bool), scale * (q @ k.transpose(0, 1, 3, 2)), -np.inf)
    y = softmax(scores) @ v
    return y.transpose(0, 2, 1, 3).reshape(len(y), L, -1)


def attention(m, u, d, scale, positions=None):
    q, k, v = (m.linear(name, u) for name in ("q_proj", "k_proj", "v_proj"))
    return m.linear("o_proj", attend(q, k, v, d, scale, positions))


# ---------------------------------------------------------------------------- feed-forward, experts

def swiglu(m, u):
    return m.linear("down_proj", silu(m.linear("gate_proj", u)) * m.linear("up_proj", u))


def gate_up(x):
    """What a fused projection makes: the half that goes through the activation, then the other."""
    return np.split(x, 2, axis=-1)


def squared_relu(m, u):
    return m.linear("down_proj", relu2(m.linear("up_proj", u)))


def best(scores, count):
    """The indices of the largest; of equal ones the first."""
    return np.argsort(-scores, axis=-1, kind="stable")[..., :count]


def taken(scores, chosen):
    return np.take_along_axis(scores, chosen, axis=-1)


def choose_then_softmax(logits, count):
    """Granite: (B, L, X) logits -> experts and their weights, (B, L, T) each."""
    chosen = best(logits, count)
    return chosen, softmax(taken(logits, chosen))


def softmax_then_choose(logits, count):
    """Jamba: the chosen probabilities, which do not sum to 1."""
    chosen = best(logits, count)
    return chosen, taken(softmax(logits), chosen)


def kept_groups(choice, groups, kept):
    """Of `groups` equal parts those `kept` whose two best sum highest; the others fall to −∞."""
    parts = choice.reshape(*choice.shape[:-1], groups, -1)
    marks = np.sort(parts, axis=-1)[..., -2:].sum(axis=-1)
    inside = np.zeros(marks.shape, dtype=bool)
    np.put_along_axis(inside, best(marks, kept), True, axis=-1)
    return np.where(inside[..., None], parts, -np.inf).reshape(choice.shape)


def choose_by_sigmoid(logits, count, correction, groups, kept, normalized, factor):
    """Nemotron-H: the correction enters the choice, never the weights."""
    scores = sigmoid(logits)
    chosen = best(kept_groups(scores + correction, groups, kept), count)
    weights = taken(scores, chosen)
    if normalized:
        weights = weights / (weights.sum(axis=-1, keepdims=True) + 1e-20)
    return chosen, weights * factor


def mixture(u, chosen, weights, count, expert):
    """Σ weight · expert(e, rows) over the experts that a token chose; expert: rows -> rows."""
    total = 0
    for e in range(count):
        share = np.where(chosen == e, weights, 0).sum(axis=-1)
        total = total + share[..., None] * expert(e, u)
    return total
