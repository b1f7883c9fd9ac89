"""What it does to the logits of a model when one of its rules is got wrong.

A change is a name and what it replaces: functions of the twins, or keys of the config. It says nothing about
models in which it changes no bit.
"""

import contextlib
import copy
import math
from unittest import mock

import numpy as np

from families import blocks, hybrids, mambas, zamba


@contextlib.contextmanager
def replaced(functions):
    """functions: name -> (original -> replacement), in every module that has the name; MODULE.name: there
    alone."""
    with contextlib.ExitStack() as stack:
        for name, make in functions.items():
            place, _, name = name.rpartition(".")
            modules = [module for module in (blocks, hybrids, mambas, zamba)
                       if hasattr(module, name) and module.__name__.endswith(place)]
            replacement = make(getattr(modules[0], name))
            for module in modules:
                stack.enter_context(mock.patch.object(module, name, replacement))
        yield


def interleaved(x, theta, rotary):
    """RoPE of the pairs (2i, 2i + 1)."""
    half = rotary // 2
    order = np.concatenate([np.arange(0, rotary, 2), np.arange(1, rotary, 2)])
    turned = ORIGINAL_ROPE(np.concatenate([x[..., order], x[..., rotary:]], axis=-1), theta, rotary)
    back = np.empty_like(turned)
    back[..., order], back[..., rotary:] = turned[..., :2 * half], turned[..., rotary:]
    return back


ORIGINAL_ROPE = blocks.rope


def tiled(x, axis, count):
    return np.concatenate([x] * (count // x.shape[axis]), axis=axis)


def always(value):
    return lambda original: value


def scaled_as(power):
    """attend with scale d^power."""
    return lambda attend: lambda q, k, v, d, scale, positions=None: attend(
        q, k, v, d, float(d) ** power, positions)


def turned(theta_of):
    """attend whose positions are what theta_of makes of (positions, d)."""
    return lambda attend: lambda q, k, v, d, scale, positions=None: attend(
        q, k, v, d, scale, theta_of(positions, d))


def sigmoid_choice(**other):
    """choose_by_sigmoid with some of its arguments replaced."""
    def make(choose):
        def replacement(logits, count, correction, groups, kept, normalized, factor):
            given = {"correction": correction, "groups": groups, "kept": kept, "normalized": normalized,
                     "factor": factor, **other}
            return choose(logits, count, **given)
        return replacement
    return make


def corrected_weights(logits, count, correction, groups, kept, normalized, factor):
    """The correction also in the weights."""
    scores = blocks.sigmoid(logits) + correction
    chosen = blocks.best(blocks.kept_groups(scores, groups, kept), count)
    weights = blocks.taken(scores, chosen)
    if normalized:
        weights = weights / (weights.sum(axis=-1, keepdims=True) + 1e-20)
    return chosen, weights * factor


def renormalized(choose):
    def replacement(logits, count):
        chosen, weights = choose(logits, count)
        return chosen, weights / weights.sum(axis=-1, keepdims=True)
    return replacement


def one_group(norm):
    return lambda y, z, weight, eps, groups: norm(y, z, weight, eps, 1)


def with_eps(change):
    """A function that has eps by name."""
    return lambda function: lambda *given, eps, **named: function(*given, eps=change(eps), **named)


FUNCTIONS = {
    "no RoPE": {"rope": always(lambda x, theta, rotary: x)},
    "RoPE on interleaved pairs": {"rope": always(interleaved)},
    "RoPE on whole heads": {"attend": turned(lambda at, d: at and (at[0], d))},
    "RoPE where there is none": {"attend": turned(lambda at, d: at or (10000.0, d))},
    "RoPE of base 10000": {"attend": turned(lambda at, d: at and (10000.0, at[1]))},
    "scale 1/√d": {"attend": scaled_as(-0.5)},
    "key heads tiled": {"share_keys": always(lambda keys, heads: tiled(keys, 1, heads))},
    "groups tiled": {"repeat_groups": always(lambda groups, heads: tiled(groups, 2, heads))},
    "one group in the gated norm": {"gate_then_norm": one_group, "norm_then_gate": one_group},
    "gate after the norm": {"gate_then_norm": always(blocks.norm_then_gate)},
    "gate before the norm": {"norm_then_gate": always(blocks.gate_then_norm)},
    "no gated norm": {"gate_then_norm": always(lambda y, z, weight, eps, groups: y * blocks.silu(z)),
                      "norm_then_gate": always(lambda y, z, weight, eps, groups: y * blocks.silu(z))},
    "steps not clamped": {"clamp_steps": always(lambda delta, limit: delta)},
    "steps at least 0.001": {"clamp_steps": always(lambda delta, limit: np.maximum(delta, 0.001))},
    "no norms of dt, B, C": {"inner_norms": always(lambda dt, B, C, weights, eps: (dt, B, C))},
    "their eps ten times larger": {"inner_norms": lambda norms: lambda dt, B, C, weights, eps: norms(
        dt, B, C, weights, 10 * eps)},
    "softmax before the choice": {"choose_then_softmax": always(blocks.softmax_then_choose)},
    "softmax after the choice": {"softmax_then_choose": always(blocks.choose_then_softmax)},
    "weights renormalized": {"softmax_then_choose": renormalized},
    "no correction": {"choose_by_sigmoid": sigmoid_choice(correction=0.0)},
    "correction in the weights": {"choose_by_sigmoid": always(corrected_weights)},
    "no groups of experts": {"choose_by_sigmoid": sigmoid_choice(groups=1, kept=1)},
    "weights not normalized": {"choose_by_sigmoid": sigmoid_choice(normalized=False)},
    "weights normalized": {"choose_by_sigmoid": sigmoid_choice(normalized=True)},
    "no routed scaling": {"choose_by_sigmoid": sigmoid_choice(factor=1.0)},
    "tanh GELU": {"gelu": always(lambda x: 0.5 * x * (1 + np.tanh(
        math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3))))},
    "ReLU not squared": {"relu2": always(lambda x: np.maximum(x, 0))},
    "taps in reverse": {"causal_conv": lambda conv: lambda x, weight, bias: conv(
        x, weight[..., ::-1], bias)},
    "SiLU after the convolution of q, k, v": {"mambas.causal_conv": lambda conv: lambda *given: blocks.silu(
        conv(*given))},
    "eps ten times larger": {"rms_norm": lambda norm: lambda x, weight, eps, groups=1: norm(
        x, weight, 10 * eps, groups)},
    "eps of the gated norm a tenth": {"mixer2": with_eps(lambda eps: eps / 10)},
    "gate and up exchanged": {"gate_up": lambda halves: lambda x: halves(x)[::-1]},
    "x0 first": {"beside": lambda beside: lambda r, x0: beside(x0, r)},
    "exact ssm multipliers": {"as_stored": always(lambda values, like: np.array(values))},
}


def swapped(values, i, j):
    values = list(values)
    values[i], values[j] = values[j], values[i]
    return values


CONFIGS = {
    **{f"{key} 1": (key, lambda value: 1.0) for key in (
        "embedding_multiplier", "residual_multiplier", "logits_scaling", "attention_multiplier",
        "lm_head_multiplier", "key_multiplier", "attention_in_multiplier", "attention_out_multiplier",
        "ssm_in_multiplier", "ssm_out_multiplier")},
    "gate multiplier 1": ("mlp_multipliers", lambda value: [1.0, value[1]]),
    "down multiplier 1": ("mlp_multipliers", lambda value: [value[0], 1.0]),
    "ssm multipliers 1": ("ssm_multipliers", lambda value: [1.0] * 5),
    "those of z and x exchanged": ("ssm_multipliers", lambda value: swapped(value, 0, 1)),
    "those of B and C exchanged": ("ssm_multipliers", lambda value: swapped(value, 2, 3)),
    "dt's 1": ("ssm_multipliers", lambda value: [*value[:4], 1.0]),
    "one expert a token": ("num_experts_per_tok", lambda value: min(value, 1)),
}

# Tensors that are easily overlooked.
ENDS = ("in_proj.bias", "out_proj.bias", "conv1d.bias", "q_proj.bias", "k_proj.bias", "v_proj.bias",
        "o_proj.bias", "gate_proj.bias", "up_proj.bias", "down_proj.bias", "gate_up_proj.bias",
        "latent_proj.bias", "up_proj_adapter_list.1.0.weight", "v_adapter_list.1.0.weight")


def altered(config, tensors):
    """(name, config, tensors, functions) of every change."""
    for name, functions in FUNCTIONS.items():
        yield name, config, tensors, functions
    for name, (key, change) in CONFIGS.items():
        if key in config:
            other = copy.deepcopy(config)
            other[key] = change(config[key])
            yield name, other, tensors, {}
    for end in ENDS:
        kept = {key: array for key, array in tensors.items() if not key.endswith(end)}
        if len(kept) < len(tensors):
            yield f"no {end}", config, kept, {}


def names():
    return [*FUNCTIONS, *CONFIGS, *(f"no {end}" for end in ENDS)]


def effects(forward, config, tensors, ids):
    """name -> the largest difference of the logits, of the largest, of every change that changes any."""
    right, moved = forward(config, tensors, ids)[0], {}
    for name, other_config, other_tensors, functions in altered(config, tensors):
        with replaced(functions):
            logits = forward(other_config, other_tensors, ids)[0]
        if not np.array_equal(logits, right):
            moved[name] = float(np.max(np.abs(logits - right)) / np.max(np.abs(right)))
    return moved
