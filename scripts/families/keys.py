"""What the keys of config.json mean in both of its dialects (4.x and 5.x of the library)."""

import math

KINDS = {"mamba": "mamba", "linear_attention": "mamba", "m": "mamba", "M": "mamba",
         "attention": "attention", "full_attention": "attention", "*": "attention",
         "mlp": "mlp", "-": "mlp", "moe": "moe", "E": "moe", "hybrid": "hybrid", "g": "hybrid"}


def layer_kinds(config):
    """mamba, attention, mlp, moe or hybrid, one a layer; none where the config has no such list."""
    for key in ("layers_block_type", "layer_types", "hybrid_override_pattern"):
        if config.get(key) is not None:
            return [KINDS[word] for word in config[key]]
    return None


def number(value):
    """Also the infinities that 5.x writes as {"__float__": "Infinity"}."""
    if isinstance(value, dict):
        value = value["__float__"].replace("Infinity", "inf")
    return float(value)


def step_limit(config):
    """(lowest, highest) time step; null, missing and infinite are no limit."""
    limit = config.get("time_step_limit")
    return (0.0, math.inf) if limit is None else tuple(number(value) for value in limit)


def theta(config, default=10000.0):
    """The base of RoPE's angles; the dictionary of 5.x wins."""
    kept = config.get("rope_parameters") or {}
    return float(kept.get("rope_theta", config.get("rope_theta", default)))


def first_of(config, names, default):
    """The value of whichever spelling is there."""
    return next((config[name] for name in names if config.get(name) is not None), default)
