#!/usr/bin/python3
"""Makes tiny random models of every family as they are published, with what they compute in float64.

  scripts/make_families.py OUT             OUT/NAME: config.json, model.safetensors, golden.safetensors
                                           (ids, logits, input/PATH of every Linear, experts/PATH)
  scripts/make_families.py OUT --outliers  the first of every family with outliers planted
  scripts/make_families.py --list          names and what each covers

The same bytes in every run. Inputs that several Linears share are stored once, under the first.
"""

import json
import pathlib
import sys
import zlib

try:
    import numpy as np
except ImportError:
    sys.exit("make_families: expected numpy; run it as /usr/bin/python3 after apt install python3-numpy")

from checkpoint_files import BF16, write_safetensors
from families import models
from families.weights import Tensors
from families_float64 import family_of, forward
from make_golden import write_model

TOKENS = 20  # a sequence
# Channels of the residual stream that --outliers multiplies, and by how much.
OUTLIERS, FACTOR = (3, 11, 20), 30
WRITERS = ("embed_tokens", "embedding", "embeddings", "out_proj", "o_proj", "fc2", "fc2_latent_proj",
           "output_linear", "linear")


def writes_stream(name, tensors):
    """Whether the rows (of a table the columns) of a tensor are channels of the residual stream."""
    module = name.rsplit(".", 1)[0]
    if "shared_transformer" in name:  # what it writes goes through linear
        return False
    if ".experts." in name and module.rsplit(".experts.", 1)[0] + ".fc2_latent_proj.weight" in tensors:
        return False
    return module.endswith("down_proj") or module.rsplit(".", 1)[-1] in WRITERS


def plant_outliers(tensors):
    for name, array in tensors.items():
        if not writes_stream(name, tensors):
            continue
        table = name.rsplit(".", 2)[-2].startswith("embed")
        axis = array.ndim - 1 if table or name.endswith(".bias") else array.ndim - 2
        np.moveaxis(array, axis, 0)[list(OUTLIERS)] *= FACTOR


def silence(tensors, layer, expert):
    """No token of this layer chooses the expert: by its correction, or by a channel of the stream that
    nothing but the table writes, positive for every id, which its router row reads alone."""
    for name in tensors:
        if f"layers.{layer}." in name and name.endswith("e_score_correction_bias"):
            tensors[name][expert] = -10
            return
    for name, array in tensors.items():
        if "embed" in name:
            array[:, 0] = np.abs(array).max()
        elif writes_stream(name, tensors):
            np.moveaxis(array, -1 if name.endswith(".bias") else -2, 0)[0] = 0
    router = next(name for name in tensors if f"layers.{layer}." in name and "router" in name)
    tensors[router][expert] = 0
    tensors[router][expert, 0] = -5


def stored(tiny, tensors):
    def as_stored(name, array):
        wide = tiny.type == "f32" or name.endswith(tiny.f32 or ("\0",))
        return array.astype("<f4") if wide else BF16.rounded(array)

    return {name: as_stored(name, array) for name, array in tensors.items()}


def golden(config, tensors, ids):
    logits, m = forward(config, tensors, ids)
    if unread := sorted(set(tensors) - m.read):
        raise ValueError(f"tensors that the twin does not read: {unread}")
    made, seen = {"ids": ids, "logits": logits.astype("<f4")}, set()
    for path, value in m.inputs.items():
        if id(value) not in seen:
            seen.add(id(value))
            made[f"input/{path}"] = value.astype("<f4")
    for path, value in m.chosen.items():
        made[f"experts/{path}"] = value.astype("<i4")
    return made


def make(folder, name, tiny, outliers=False):
    seed = zlib.crc32(name.encode())
    random = Tensors(seed)
    tiny.weights(tiny.config, random)
    for layer, expert in tiny.silent:
        silence(random.named, layer, expert)
    if outliers:
        plant_outliers(random.named)
    tensors = stored(tiny, random.named)
    folder.mkdir(parents=True, exist_ok=True)
    if tiny.file == "params.json":
        (folder / tiny.file).write_text(json.dumps(tiny.config, indent=1) + "\n", encoding="utf-8")
        write_safetensors(folder / "consolidated.safetensors", tensors, {"format": "pt"})
    else:
        write_model(folder, tiny.config, tensors, tiny.shards)
    ids = random.rng.integers(0, tiny.config["vocab_size"], (tiny.sequences, TOKENS)).astype("<i4")
    write_safetensors(folder / "golden.safetensors", golden(tiny.config, tensors, ids))


def families():
    """The first model of every family."""
    first = {}
    for name, tiny in models.every().items():
        first.setdefault(family_of(tiny.config), name)
    return first.values()


def main():
    arguments = sys.argv[1:]
    if arguments == ["--list"]:
        for name, tiny in models.every().items():
            print(f"{name}: {tiny.covers}")
        return
    if len(arguments) not in (1, 2) or arguments[0].startswith("-") or arguments[1:] not in (
            [], ["--outliers"]):
        sys.exit(__doc__)
    out, outliers = pathlib.Path(arguments[0]), len(arguments) == 2
    for name, tiny in models.every().items():
        if not outliers:
            make(out / name, name, tiny)
        elif name in families():
            make(out / f"{name}-outliers", name, tiny, outliers=True)


if __name__ == "__main__":
    main()
