"""The Mamba regressor in float64, written from its equations alone."""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def silu(x):
    return x * sigmoid(x)


def rms_norm(x, weight):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + 1e-5) * weight


def depthwise(u, weight, bias, before):
    """u: (L, I); weight: (I, 1, taps); zeros around."""
    L, taps = len(u), weight.shape[2]
    padded = np.concatenate([np.zeros((before, u.shape[1])), u, np.zeros((taps, u.shape[1]))])
    return bias + sum(weight[:, 0, k] * padded[k:k + L] for k in range(taps))


def position_table(L, D):
    table = np.zeros((L, D))
    for position in range(L):
        for j in range((D + 1) // 2):
            angle = position * 10000.0 ** (-j / (D / 2))
            table[position, 2 * j] = np.sin(angle)
            if 2 * j + 1 < D:
                table[position, 2 * j + 1] = np.cos(angle)
    return table


def slim_block(x, w, name, arch, show):
    uz = show(name + "in_proj", rms_norm(x, w(name + "norm.weight"))) @ w(name + "in_proj.weight").T
    u, z = np.split(uz, 2, axis=1)
    if arch["use_dwconv"]:
        u = depthwise(u, w(name + "dw_conv.weight"), w(name + "dw_conv.bias"), 2)
    u = show(name + "ssm.dt_proj", silu(u))
    leak = sigmoid(u @ w(name + "ssm.dt_proj.weight").T + w(name + "ssm.dt_proj.bias"))
    y, s = np.zeros_like(u), np.zeros(u.shape[1])
    for l in range(len(u)):
        s = leak[l] * s + (1 - leak[l]) * u[l]
        y[l] = s
    if not arch["gate_off"]:
        y = y * silu(z)
    return x + show(name + "out_proj", y) @ w(name + "out_proj.weight").T


def origin_block(x, w, name, arch, show):
    uz = show(name + "in_proj", rms_norm(x, w(name + "norm.weight"))) @ w(name + "in_proj.weight").T
    u, z = np.split(uz, 2, axis=1)
    u = show(name + "x_proj", silu(depthwise(u, w(name + "conv1d.weight"), w(name + "conv1d.bias"), 3)))
    A, D = -np.exp(w(name + "A_log")), w(name + "D")
    R, N = w(name + "dt_proj.weight").shape[1], A.shape[1]
    dt, B, C = np.split(u @ w(name + "x_proj.weight").T, [R, R + N], axis=1)
    dt = show(name + "dt_proj", dt) @ w(name + "dt_proj.weight").T + w(name + "dt_proj.bias")
    step = np.log1p(np.exp(dt))
    y, h = np.zeros_like(u), np.zeros_like(A)
    for l in range(len(u)):
        h = np.exp(step[l][:, None] * A) * h + np.outer(step[l] * u[l], B[l])
        y[l] = h @ C[l] + D * u[l]
    if not arch["gate_off"]:
        y = y * silu(z)
    return x + show(name + "out_proj", y) @ w(name + "out_proj.weight").T


def forward(cfg, arch, tensors, window, sites=None):
    """One window (K, Din) to a position; `tensors` under their modules' names. Appends the input of
    every layer to the lists of `sites`."""

    def w(name):
        array = np.asarray(tensors[name], dtype=np.float64)
        return array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array

    def show(name, x):
        if sites is not None:
            sites.setdefault(name.removeprefix("backbone.") + ":input", []).append(np.atleast_2d(x))
        return x

    K, P, S = cfg["K"], cfg["patch_len"], cfg["stride"]
    h0 = show("proj", window.astype(np.float64)) @ w("proj.weight").T + w("proj.bias")
    show("patch_embedding", h0)
    We = np.asarray(tensors["backbone.patch_embedding.weight"], dtype=np.float64)
    x = np.array([np.einsum("mcp,pc->m", We, h0[begin:begin + P])
                  for begin in range(0, K - P + 1, S)]) + w("backbone.patch_embedding.bias")
    if not arch["pe_off"]:
        x = x + arch["pe_scale"] * position_table(*x.shape)
    origin = "backbone.blocks.0.A_log" in tensors
    for i in range(cfg["n_layer"]):
        block = origin_block if origin else slim_block
        name = f"backbone.blocks.{i}."
        x = block(x, w, name, arch, show)
    x = rms_norm(x, w("backbone.norm_f.weight"))
    pool = arch["agg_pool"].lower()
    if pool in ("avg", "max"):
        pooled = show("output_layer", x.mean(axis=0) if pool == "avg" else x.max(axis=0))
        f = w("backbone.output_layer_pool.weight") @ pooled + w("backbone.output_layer_pool.bias")
    else:
        Wf = np.asarray(tensors["backbone.output_layer_flat.weight"], dtype=np.float64)
        show("output_layer", x.reshape(-1))
        f = np.einsum("cml,lm->c", Wf, x) + w("backbone.output_layer_flat.bias")
    return w("head.weight") @ show("head", f) + w("head.bias")
