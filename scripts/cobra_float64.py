"""Cobra's forward pass in float64, and its preparation of pictures to the byte, written from their
definitions: vision transformers as timm computes them, Pillow's and PyTorch's bicubic resampling,
the projectors, the sequence of picture and text. The language model is mamba_float64's.

Pictures are (height, width, 3) bytes, pixels (3, S, S), all others tokens × channels.
"""

import math

import numpy as np

from checkpoint_files import to_float64
from mamba_float64 import describe, mamba1_mixer, rms_norm

STATISTICS = {
    "dino": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "siglip": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
POOLED = 14  # a side of the grid that fused-ldpnet leaves


# --- pictures ------------------------------------------------------------------------------------

def keys_cubic(x):
    """Keys' kernel with a = -0.5."""
    x = abs(x)
    if x < 1:
        return (1.5 * x - 2.5) * x * x + 1
    return ((-0.5 * x + 2.5) * x - 4) * x + 2 if x < 2 else 0.0


def cubic_taps(size, to):
    """For each of `to` outputs: the first input and the weights from there on, which sum to 1."""
    scale = size / to
    stretch = max(scale, 1.0)
    taps = []
    for i in range(to):
        center, support = (i + 0.5) * scale, 2 * stretch
        first = max(0, int(center - support + 0.5))
        end = min(size, int(center + support + 0.5))
        weights = [keys_cubic((x - center + 0.5) / stretch) for x in range(first, end)]
        total = 0.0
        for w in weights:  # one after the other, as Pillow; sum() is more exact in later Pythons
            total += w
        taps.append((first, [w / total for w in weights]))
    return taps


def resize_rows(picture, to):
    """Along the first axis, as Pillow: weights in 22 fractional bits, each result a byte."""
    if len(picture) == to:
        return picture
    out = np.empty((to, *picture.shape[1:]), np.uint8)
    for i, (first, weights) in enumerate(cubic_taps(len(picture), to)):
        whole = [int(math.copysign(math.floor(abs(w) * 2 ** 22 + 0.5), w)) for w in weights]
        part = picture[first:first + len(whole)].astype(np.int64)
        total = np.tensordot(np.array(whole, np.int64), part, 1) + 2 ** 21
        out[i] = np.clip(total >> 22, 0, 255)
    return out


def resize(picture, width, height):
    wide = resize_rows(picture.transpose(1, 0, 2), width).transpose(1, 0, 2)
    return resize_rows(wide, height)


def resize_crop(picture, size):
    height, width = picture.shape[:2]
    if width <= height:
        scaled = resize(picture, size, int(size * height / width))
    else:
        scaled = resize(picture, int(size * width / height), size)
    top = int(round((scaled.shape[0] - size) / 2))
    left = int(round((scaled.shape[1] - size) / 2))
    return scaled[top:top + size, left:left + size]


def letterbox(picture, size, mean):
    height, width = picture.shape[:2]
    longest = max(height, width)
    above, beside = int((longest - height) / 2), int((longest - width) / 2)
    padded = np.empty((height + 2 * above, width + 2 * beside, 3), np.uint8)
    padded[:] = [int(m * 255) for m in mean]
    padded[above:above + height, beside:beside + width] = picture
    return resize_crop(padded, size)


def square(picture, size, strategy, tower):
    if strategy == "resize-naive":
        return resize(picture, size, size)
    if strategy == "resize-crop":
        return resize_crop(picture, size)
    assert strategy == "letterbox", strategy
    return letterbox(picture, size, STATISTICS[tower][0])


def normalized(picture, tower):
    """float32, as torchvision's ToTensor and Normalize leave them."""
    mean, deviation = (np.array(part, np.float32)[:, None, None] for part in STATISTICS[tower])
    share = picture.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    return (share - mean) / deviation


# --- towers --------------------------------------------------------------------------------------

def resampled(positions, to):
    """(from², D) to (to², D): PyTorch's antialiased bicubic interpolation of the grid."""
    size = math.isqrt(len(positions))
    if size == to:
        return positions
    matrix = np.zeros((to, size))
    for i, (first, weights) in enumerate(cubic_taps(size, to)):
        matrix[i, first:first + len(weights)] = weights
    grid = positions.reshape(size, size, -1)
    return np.einsum("yv,xu,vud->yxd", matrix, matrix, grid).reshape(to * to, -1)


def timm_names(tensors):
    """float64 under timm's names, from OpenCLIP's or Meta's own."""
    tensors = {name: to_float64(array) for name, array in tensors.items()}
    if "visual.trunk.pos_embed" in tensors:
        return {name.removeprefix("visual.trunk."): array for name, array in tensors.items()
                if name.startswith("visual.trunk.")}
    if "mask_token" in tensors:
        del tensors["mask_token"]
        tensors["reg_token"] = tensors.pop("register_tokens")
        tensors["cls_token"] = tensors["cls_token"] + tensors["pos_embed"][:, :1]
        tensors["pos_embed"] = tensors["pos_embed"][:, 1:]
    return tensors


def affine(x, w, name):
    return x @ w[name + ".weight"].T + w[name + ".bias"]


def layer_norm(x, w, name):
    centred = x - x.mean(axis=1, keepdims=True)
    variance = np.mean(centred ** 2, axis=1, keepdims=True)
    return centred / np.sqrt(variance + 1e-6) * w[name + ".weight"] + w[name + ".bias"]


_erf = np.vectorize(math.erf, otypes=[np.float64])


def gelu(x):
    return x / 2 * (1 + _erf(x / math.sqrt(2)))


def attention(x, w, name, heads):
    tokens, width = x.shape
    qkv = affine(x, w, name + "qkv").reshape(tokens, 3, heads, width // heads)
    q, k, v = qkv.transpose(1, 2, 0, 3)
    scores = q @ k.transpose(0, 2, 1) / math.sqrt(width // heads)
    shares = np.exp(scores - scores.max(axis=2, keepdims=True))
    shares /= shares.sum(axis=2, keepdims=True)
    return affine((shares @ v).transpose(1, 0, 2).reshape(tokens, width), w, name + "proj")


def block(x, w, name, heads):
    attended = attention(layer_norm(x, w, name + "norm1"), w, name + "attn.", heads)
    x = x + attended * w.get(name + "ls1.gamma", 1.0)
    inner = gelu(affine(layer_norm(x, w, name + "norm2"), w, name + "mlp.fc1"))
    return x + affine(inner, w, name + "mlp.fc2") * w.get(name + "ls2.gamma", 1.0)


def tower(arguments, tensors, pixels):
    """timm's model_args, the file's tensors, (3, S, S): the patches after the last block but one."""
    w, patch = timm_names(tensors), arguments["patch_size"]
    grid = pixels.shape[1] // patch
    cut = pixels[:, :grid * patch, :grid * patch].astype(np.float64)
    rows = cut.reshape(3, grid, patch, grid, patch).transpose(1, 3, 0, 2, 4)
    rows = rows.reshape(grid * grid, -1)
    kernel = w["patch_embed.proj.weight"]
    x = rows @ kernel.reshape(len(kernel), -1).T + w["patch_embed.proj.bias"]
    x = x + resampled(w["pos_embed"][0], grid)
    prefix = [w[name][0] for name in ("cls_token", "reg_token") if name in w]
    x = np.concatenate([*prefix, x])
    for i in range(arguments["depth"] - 1):
        x = block(x, w, f"blocks.{i}.", arguments["num_heads"])
    return x[len(x) - grid * grid:]


# --- projector and language model ----------------------------------------------------------------

def pooled(x):
    """Adaptive average pooling of a square grid to 14 × 14: (grid², D) to (196, D)."""
    grid = math.isqrt(len(x))
    share = np.zeros((POOLED, grid))
    for i in range(POOLED):
        first, end = i * grid // POOLED, -(-(i + 1) * grid // POOLED)
        share[i, first:end] = 1 / (end - first)
    return np.einsum("yv,xu,vud->yxd", share, share, x.reshape(grid, grid, -1))


def convolved(x, weight, bias):
    """Depth-wise 3 × 3 with zeros around; x: (14, 14, D), weight: (D, 1, 3, 3)."""
    height, width, _ = x.shape
    around = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    return bias + sum(weight[:, 0, i, j] * around[i:i + height, j:j + width]
                      for i in range(3) for j in range(3))


def project(arch, tensors, x):
    w = {name.removeprefix("projector."): to_float64(array) for name, array in tensors.items()}
    if arch == "linear":
        return x @ w["weight"].T + w["bias"]
    x = affine(gelu(affine(x, w, "0")), w, "2")
    if arch.endswith("fused-gelu-mlp"):
        return affine(gelu(x), w, "4")
    if arch.endswith("fused-ldpnet"):
        x = pooled(x)
        x = x + convolved(x, w["4.peg.0.weight"], w["4.peg.0.bias"])
        return x.reshape(POOLED * POOLED, -1)
    assert arch.endswith("gelu-mlp"), arch
    return x


def last_logits(config, tensors, picture, ids):
    """After the picture's vectors, then the text's; the head is the embedding."""
    d = describe({"tie_embeddings": True, **config})
    w = {name.removeprefix("llm.backbone."): to_float64(array) for name, array in tensors.items()}
    x = np.concatenate([picture, w["embedding.weight"][ids]])
    for i in range(d["layers"]):
        mixer = f"layers.{i}.mixer."
        own = {name.removeprefix(mixer): array for name, array in w.items()
               if name.startswith(mixer)}
        x = x + mamba1_mixer(d, own, rms_norm(x, w[f"layers.{i}.norm.weight"]), lambda *_: None)
    return rms_norm(x[-1:], w["norm_f.weight"])[0] @ w["embedding.weight"].T
