#!/usr/bin/python3
"""Plants outlier channels into the activations of a Mamba model without changing its function.

  scripts/plant_outliers.py MODEL OUT [--channels 3] [--factor 32] [--seed 0]

In every layer the rows of in_proj that make a few channels of x are multiplied by a power of two
and the taps of the convolution behind them divided by it. Both are exact in bf16, fp16 and f32 as
long as nothing becomes subnormal, which is checked, so every value behind the convolution keeps its
bits; only x before it, and the matrices, have outliers.
"""

import argparse
import json
import math
import pathlib
import shutil
import sys

try:
    import numpy as np
except ImportError:
    sys.exit("plant_outliers: expected numpy; run it as /usr/bin/python3 after apt install "
             "python3-numpy")

from checkpoint_files import BF16, read_folder, to_float64, write_safetensors
from mamba_float64 import describe


def scaled(array, rows, factor):
    """A copy with these rows times factor; refuses if a value does not survive exactly."""
    wide = to_float64(array)
    wide[rows] *= factor
    if isinstance(array, BF16):
        copy = BF16.rounded(wide)
    else:
        copy = wide.astype(array.dtype)
    tiny = 2.0 ** -126 if isinstance(array, BF16) else float(np.finfo(array.dtype).tiny)
    subnormal = (wide != 0) & (np.abs(wide) < tiny)
    if not np.array_equal(to_float64(copy), wide) or subnormal[rows].any():
        raise ValueError(f"a value times {factor} is not exact in the checkpoint's type")
    return copy


def plant(config, tensors, channels, factor, seed):
    """Changes tensors in place; returns the chosen channels of each layer."""
    d = describe(config)
    if not 0 < channels <= d["E"]:
        raise ValueError(f"expected 1 to {d['E']} channels a layer, found {channels}")
    # Mamba-2's in_proj makes [z, x, B, C, dt], Mamba-1's [x, z]; the convolution begins with x.
    first = d["E"] if d["mamba2"] else 0
    rng, planted = np.random.default_rng(seed), {}
    for i in range(d["layers"]):
        rows = np.sort(rng.choice(d["E"], channels, replace=False))
        mixer = f"backbone.layers.{i}.mixer."
        for name, own, by in (("in_proj.weight", rows + first, factor),
                              ("conv1d.weight", rows, 1 / factor)):
            tensors[mixer + name] = scaled(tensors[mixer + name], own, by)
        planted[i] = rows.tolist()
    return planted


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("model", type=pathlib.Path, metavar="MODEL")
    parser.add_argument("out", type=pathlib.Path, metavar="OUT")
    parser.add_argument("--channels", type=int, default=3, help="channels a layer [3]")
    parser.add_argument("--factor", type=float, default=32, help="a power of two [32]")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.out.exists():
        sys.exit(f"plant_outliers: {args.out} exists; expected a new folder")
    if not 0 < args.factor < math.inf or math.frexp(args.factor)[0] != 0.5:
        sys.exit(f"plant_outliers: expected a power of two, found {args.factor}")
    try:
        config = json.loads((args.model / "config.json").read_text(encoding="utf-8"))
        tensors = read_folder(args.model)
        planted = plant(config, tensors, args.channels, args.factor, args.seed)
    except (OSError, KeyError, ValueError) as error:
        sys.exit(f"plant_outliers: {args.model}: {error}")
    args.out.mkdir(parents=True)
    write_safetensors(args.out / "model.safetensors", tensors, {"format": "pt"})
    for file in args.model.glob("*.json"):  # no list of shards: the copy is one file
        if not file.name.endswith(".index.json") and file.name != "reference.json":
            shutil.copyfile(file, args.out / file.name)
    for layer, rows in planted.items():
        print(f"layer {layer}: x channels {rows} times {args.factor:g}")


if __name__ == "__main__":
    main()
