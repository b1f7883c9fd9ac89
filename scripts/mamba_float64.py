"""Mamba-1 and Mamba-2 in float64, plain loops over time: the reference of tests/golden.

Every function follows the equations of Gu & Dao 2023 (Mamba-1) and Dao & Gu 2024 (Mamba-2) for one
sequence. Arrays are tokens × channels; states are (E, N) and (H, P, N).
"""

import numpy as np

from checkpoint_files import to_float64


def describe(config):
    """The dimensions that either dialect of config.json states, by the letters of DESIGN."""
    if "hidden_size" in config:  # Hugging Face
        d = {"D": config["hidden_size"], "layers": config["num_hidden_layers"],
             "N": config["state_size"], "K": config["conv_kernel"], "expand": config["expand"],
             "tied": config["tie_word_embeddings"], "mamba2": config["model_type"] == "mamba2",
             "P": config.get("head_dim"), "G": config.get("n_groups"),
             "R": config.get("time_step_rank")}
    else:  # state-spaces
        ssm = config["ssm_cfg"]
        mamba2 = ssm.get("layer", "Mamba1") == "Mamba2"
        d = {"D": config["d_model"], "layers": config["n_layer"], "mamba2": mamba2,
             "N": ssm.get("d_state", 128 if mamba2 else 16), "K": ssm.get("d_conv", 4),
             "expand": ssm.get("expand", 2), "tied": config["tie_embeddings"],
             "P": ssm.get("headdim", 64), "G": ssm.get("ngroups", 1), "R": None}
    d["E"] = d["expand"] * d["D"]
    d["R"] = d["R"] or -(-d["D"] // 16)
    if d["mamba2"]:
        d["H"] = d["E"] // d["P"]
    return d


def silu(x):
    return x / (1 + np.exp(-x))


def softplus(x):
    return np.logaddexp(x, 0)


def rms_norm(x, weight=1.0, groups=1):
    parts = x.reshape(x.shape[0], groups, -1)
    parts = parts / np.sqrt(np.mean(parts ** 2, axis=-1, keepdims=True) + 1e-5)
    return parts.reshape(x.shape) * weight


def causal_conv_silu(x, weight, bias):
    """weight: channels × 1 × K; tap K−1 multiplies the current token."""
    K = weight.shape[-1]
    padded = np.vstack([np.zeros((K - 1, x.shape[1])), x])
    return silu(bias + sum(weight[:, 0, k] * padded[k:k + len(x)] for k in range(K)))


def hadamard(n):
    """The orthonormal (1/√n)·(H_K ⊗ H_{2^m}) with K = 12 if 12 divides n, else 1."""
    K = 12 if n % 12 == 0 else 1
    if (n // K) & (n // K - 1):
        raise ValueError(f"no Hadamard transform of width {n}")
    outer = np.ones((1, 1))
    if K == 12:  # Paley II from the conference matrix of order 6
        chi = {0: 0, 1: 1, 2: -1, 3: -1, 4: 1}
        conference = np.ones((6, 6), dtype=int)
        conference[0, 0] = 0
        for i in range(1, 6):
            for j in range(1, 6):
                conference[i, j] = chi[(j - i) % 5]
        blocks = {0: [[1, -1], [-1, -1]], 1: [[1, 1], [1, -1]], -1: [[-1, -1], [-1, 1]]}
        outer = np.block([[np.array(blocks[c]) for c in row] for row in conference.tolist()])
    inner = np.ones((1, 1))
    while len(inner) < n // K:
        inner = np.block([[inner, inner], [inner, -inner]])
    return np.kron(outer, inner) / np.sqrt(n)


def rotated(x):
    return x @ hadamard(x.shape[-1]).T


def mamba1_mixer(d, w, u, see):
    E, N, R = d["E"], d["N"], d["R"]
    xz = u @ w["in_proj.weight"].T
    see("in_proj:output", xz)
    x, z = xz[:, :E], xz[:, E:]
    see("conv1d:input", x)
    see("z_act:input", z)
    x = causal_conv_silu(x, w["conv1d.weight"], w["conv1d.bias"])
    see("x_proj:input", x)
    dtBC = x @ w["x_proj.weight"].T
    see("x_proj:output", dtBC)
    dt, B, C = dtBC[:, :R], dtBC[:, R:R + N], dtBC[:, R + N:]
    see("dt_proj:input", dt)
    see("B_act:input", B)
    see("C_act:input", C)
    dt = dt @ w["dt_proj.weight"].T
    see("dt_proj:output", dt)
    delta = softplus(dt + w["dt_proj.bias"])
    A = -np.exp(w["A_log"])
    h, y = np.zeros((E, N)), np.empty_like(x)
    for t in range(len(x)):
        h = np.exp(delta[t, :, None] * A) * h + (delta[t] * x[t])[:, None] * B[t]
        y[t] = h @ C[t] + w["D"] * x[t]
    see("ssm_state_act:input", h)
    y = y * silu(z)
    see("out_proj:input@rotated", rotated(y))
    see("out_proj:input", y)
    out = y @ w["out_proj.weight"].T
    see("out_proj:output", out)
    return out


def mamba2_mixer(d, w, u, see):
    E, H, P, G, N = d["E"], d["H"], d["P"], d["G"], d["N"]
    GN, L = G * N, len(u)
    zxBCdt = u @ w["in_proj.weight"].T
    see("in_proj:output", zxBCdt)
    z, xBC, dt = np.split(zxBCdt, [E, 2 * E + 2 * GN], axis=1)
    see("z_act:input", z)
    for name, part in zip("xBC", np.split(xBC, [E, E + GN], axis=1)):
        see(f"{name}_conv_in:input", part)
    see("dt_act:input", dt)
    xBC = causal_conv_silu(xBC, w["conv1d.weight"], w["conv1d.bias"])
    see("conv1d:output", xBC)
    x, B, C = np.split(xBC, [E, E + GN], axis=1)
    see("x_conv_out:input", x)
    see("B_conv_out:input", B)
    see("C_conv_out:input", C)
    # Every head reads the B and C of its group.
    B = np.repeat(B.reshape(L, G, N), H // G, axis=1)
    C = np.repeat(C.reshape(L, G, N), H // G, axis=1)
    x = x.reshape(L, H, P)
    delta = softplus(dt + w["dt_bias"])
    A = -np.exp(w["A_log"])
    h, y = np.zeros((H, P, N)), np.empty_like(x)
    for t in range(L):
        h = (np.exp(delta[t] * A)[:, None, None] * h
             + (delta[t][:, None] * x[t])[:, :, None] * B[t][:, None, :])
        y[t] = np.einsum("hpn,hn->hp", h, C[t]) + w["D"][:, None] * x[t]
    see("ssm_state_act:input", h)
    y = y.reshape(L, E)
    see("ssd_out_act:input", y)
    see("norm:input", y * silu(z))
    unweighted = rms_norm(y * silu(z), groups=G)
    see("out_proj:input@rotated", rotated(unweighted))
    y = unweighted * w["norm.weight"]
    see("out_proj:input", y)
    out = y @ w["out_proj.weight"].T
    see("out_proj:output", out)
    return out


def forward(config, tensors, ids):
    """ids: (B, L). Returns "logits" and "site/NAME" for every site, float64."""
    d = describe(config)
    weights = {name.replace("embeddings.", "embedding."): to_float64(array)
               for name, array in tensors.items()}
    embedding = weights["backbone.embedding.weight"]
    head = embedding if d["tied"] else weights["lm_head.weight"]
    mixer = mamba2_mixer if d["mamba2"] else mamba1_mixer
    shown = {}

    def see(name, value):
        shown.setdefault(name, []).append(value)

    def norm(name, x, weight):
        see(f"site/{name}", rms_norm(x, weight))
        see(f"site/{name}@rotated", rotated(rms_norm(x)))
        return rms_norm(x, weight)

    for sequence in ids:
        residual = embedding[sequence]
        see("site/embedding:output", residual)
        for i in range(d["layers"]):
            prefix = f"backbone.layers.{i}."
            u = norm(f"layer_{i}.in_proj:input", residual, weights[prefix + "norm.weight"])
            own = {name[len(prefix + "mixer."):]: array for name, array in weights.items()
                   if name.startswith(prefix + "mixer.")}
            residual = residual + mixer(
                d, own, u, lambda op, value, i=i: see(f"site/layer_{i}.{op}", value))
        hidden = norm("lm_head:input", residual, weights["backbone.norm_f.weight"])
        see("site/lm_head:output", hidden @ head.T)
        see("logits", hidden @ head.T)
    return {name: np.stack(values) for name, values in shown.items()}
