"""Random weights of the parts of a Cobra, under each of their files' names; activations of order 1."""

import numpy as np


class Numbers:
    """Random numbers made of the generator's bits by exact arithmetic: the same on any machine."""

    def __init__(self, seed):
        self.bits = np.random.PCG64(seed)

    def words(self, shape):
        return self.bits.random_raw(int(np.prod(shape, dtype=int))).reshape(shape)

    def normal(self, *shape):
        """Nearly: four uniform numbers of 16 bits, whose sum has the variance 4 · 65536² / 12."""
        words = self.words(shape)
        total = sum(((words >> np.uint64(16 * i)) & np.uint64(0xFFFF)).astype(np.int64)
                    for i in range(4))
        return (total - 131070) / 37837.2

    def uniform(self, low, high, *shape):
        return low + (high - low) * ((self.words(shape) >> np.uint64(11)) * 2.0 ** -53)

    def integers(self, below, *shape):
        return (self.words(shape) >> np.uint64(32)).astype(np.int64) % below

    def matrix(self, outputs, *inputs):
        return self.normal(outputs, *inputs) / np.sqrt(np.prod(inputs, dtype=int))

    def around_one(self, *shape):
        return 1 + 0.3 * self.normal(*shape)

    def small(self, *shape):
        return 0.2 * self.normal(*shape)


def affine(numbers, name, outputs, inputs, gain=1.0):
    return {name + ".weight": gain * numbers.matrix(outputs, inputs),
            name + ".bias": numbers.small(outputs)}


def norm(numbers, name, width):
    return {name + ".weight": numbers.around_one(width), name + ".bias": numbers.small(width)}


def mlp(numbers, name, width, hidden):
    return {**affine(numbers, name + ".fc1", hidden, width),
            **affine(numbers, name + ".fc2", width, hidden)}


def tower_tensors(arguments, numbers):
    """Under timm's names, all that such a file has: also what Cobra never computes."""
    width, patch = arguments["embed_dim"], arguments["patch_size"]
    hidden, scaled = int(width * arguments.get("mlp_ratio", 4.0)), "init_values" in arguments
    t = {}
    if scaled:
        t["cls_token"] = numbers.normal(1, 1, width)
        t["reg_token"] = numbers.normal(1, arguments["reg_tokens"], width)
    t["pos_embed"] = numbers.normal(1, (arguments["img_size"] // patch) ** 2, width)
    t["patch_embed.proj.weight"] = numbers.matrix(width, 3, patch, patch)
    t["patch_embed.proj.bias"] = numbers.small(width)
    for i in range(arguments["depth"]):
        b = f"blocks.{i}."
        t.update(norm(numbers, b + "norm1", width))
        t.update(affine(numbers, b + "attn.qkv", 3 * width, width, 1.5))  # attention with a choice
        t.update(affine(numbers, b + "attn.proj", width, width))
        if scaled:
            t[b + "ls1.gamma"] = numbers.around_one(width)
        t.update(norm(numbers, b + "norm2", width))
        t.update(mlp(numbers, b + "mlp", width, hidden))
        if scaled:
            t[b + "ls2.gamma"] = numbers.around_one(width)
    t.update(norm(numbers, "norm", width))
    if not scaled:
        t["attn_pool.latent"] = numbers.normal(1, 1, width)
        t.update(affine(numbers, "attn_pool.q", width, width))
        t.update(affine(numbers, "attn_pool.kv", 2 * width, width))
        t.update(affine(numbers, "attn_pool.proj", width, width))
        t.update(norm(numbers, "attn_pool.norm", width))
        t.update(mlp(numbers, "attn_pool.mlp", width, hidden))
    return t


def meta_names(tensors, numbers):
    """Meta's own file: a mask, registers by another name, the class token's position in front."""
    tensors, width = dict(tensors), tensors["cls_token"].shape[2]
    out = {"cls_token": tensors.pop("cls_token")}
    own = numbers.normal(1, 1, width)
    out["pos_embed"] = np.concatenate([own, tensors.pop("pos_embed")], axis=1)
    out["register_tokens"] = tensors.pop("reg_token")
    out["mask_token"] = numbers.normal(1, width)
    return {**out, **tensors}


def open_clip_names(tensors, numbers):
    """OpenCLIP's file: the tower as visual.trunk, and a text tower."""
    out = {"logit_scale": np.array(4.75), "logit_bias": np.array(-16.5)}
    out.update({f"visual.trunk.{name}": array for name, array in tensors.items()})
    out["text.positional_embedding"] = numbers.normal(8, 16)
    out["text.token_embedding.weight"] = numbers.normal(32, 16)
    out.update(norm(numbers, "text.ln_final", 16))
    out.update(affine(numbers, "text.text_projection", 24, 16))
    return out


def projector_tensors(arch, vision, width, numbers):
    def layers(*sizes):
        return {key: value for i in range(len(sizes) - 1) for key, value in
                affine(numbers, f"projector.{2 * i}", sizes[i + 1], sizes[i], 1.5).items()}

    if arch == "linear":
        return affine(numbers, "projector", width, vision)
    if arch.endswith("fused-gelu-mlp"):
        return layers(vision, 4 * vision, width, width)
    if arch.endswith("fused-ldpnet"):
        peg = {"projector.4.peg.0.weight": numbers.matrix(width, 1, 3, 3),
               "projector.4.peg.0.bias": numbers.small(width)}
        return {**layers(vision, 4 * vision, width), **peg}
    return layers(vision, width, width)


def language_tensors(config, numbers):
    D, E, N, R = config["d_model"], 2 * config["d_model"], 16, -(-config["d_model"] // 16)
    rows = -(-config["vocab_size"] // 8) * 8
    t = {"embedding.weight": 0.5 * numbers.normal(rows, D)}
    for i in range(config["n_layer"]):
        m = f"layers.{i}.mixer."
        t[m + "A_log"] = numbers.uniform(0, 2.77, E, N)  # A from -1 to -16
        t[m + "D"] = numbers.around_one(E)
        t[m + "in_proj.weight"] = numbers.matrix(2 * E, D)
        t[m + "conv1d.weight"], t[m + "conv1d.bias"] = numbers.matrix(E, 1, 4), numbers.small(E)
        t[m + "x_proj.weight"] = numbers.matrix(R + 2 * N, E)
        t[m + "dt_proj.weight"] = numbers.matrix(E, R)
        t[m + "dt_proj.bias"] = numbers.uniform(-6, -2, E)  # steps of 0.002 to 0.13
        t[m + "out_proj.weight"] = numbers.matrix(D, E)
        t[f"layers.{i}.norm.weight"] = numbers.around_one(D)
    t["norm_f.weight"] = numbers.around_one(D)
    return {f"llm.backbone.{name}": array for name, array in t.items()}
