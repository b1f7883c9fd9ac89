#!/usr/bin/python3
"""Makes tests/golden/cobra: a small random Cobra, variants of it in every form its files come in,
pictures, and what float64 makes of them.

  scripts/make_cobra.py                   writes tests/golden/cobra
  scripts/make_cobra.py --check           makes it again and compares with the stored files
  scripts/make_cobra.py --against FOLDER  compares this reference with another model's
                                          golden.safetensors, from its resized_uint8 on

A variant is model/ with those of config.json, checkpoints, llm, vision/dino and vision/siglip
replaced that it has of its own.
"""

import collections
import json
import pathlib
import sys
import tempfile

try:
    import numpy as np
except ImportError:
    sys.exit("make_cobra: expected numpy; run it as /usr/bin/python3 after apt install python3-numpy")

import cobra_float64 as reference
from checkpoint_files import BF16, read_safetensors, read_torch, write_safetensors
from cobra_pictures import pictures
from cobra_weights import (Numbers, language_tensors, meta_names, open_clip_names,
                           projector_tensors, tower_tensors)
from torch_files import write_torch

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden" / "cobra"
MOST_BYTES = 3_000_000

DINO, SIGLIP = "vit_large_patch14_reg4_dinov2.lvd142m", "vit_so400m_patch14_siglip_384"


def dino(width, heads, **other):
    return {"img_size": 84, "patch_size": 14, "embed_dim": width, "depth": 3, "num_heads": heads,
            "init_values": 1e-05, "reg_tokens": 4, "no_embed_class": True, **other}


def siglip(width, heads, **other):
    return {"img_size": 56, "patch_size": 14, "embed_dim": width, "depth": 3, "num_heads": heads,
            "mlp_ratio": 3.7362, "class_token": False, "global_pool": "map", **other}


def language(width, layers, vocabulary):
    return {"d_model": width, "n_layer": layers, "vocab_size": vocabulary, "ssm_cfg": {},
            "rms_norm": True, "residual_in_fp32": True, "fused_add_norm": True,
            "pad_vocab_size_multiple": 8}


# What a model is, and which files it has. Towers: model_args; None: that of model/. "fine": the
# checkpoint brings them. Odd widths on purpose. `outputs`: pictures whose outputs are stored.
MODELS = {
    "model": {
        "id": "dinosiglip-vit-small-56px", "image": 56, "strategy": "resize-naive",
        "arch": "no-align+fused-gelu-mlp", "dino": dino(32, 4), "siglip": siglip(48, 3),
        "llm": language(64, 2, 4096), "outputs": 5},
    "variants/crop": {  # 59 = 4 · 14 + 3: rows and columns that no patch reads
        "id": "dinosiglip-vit-small-59px", "image": 59, "strategy": "resize-crop",
        "arch": "no-align+fused-gelu-mlp", "dino": None, "siglip": None, "llm": None},
    "variants/letterbox": {
        "id": "dinosiglip-vit-small-56px", "image": 56, "strategy": "letterbox",
        "arch": "fused-gelu-mlp", "dino": None, "siglip": None, "llm": None},
    "variants/openclip_gelu": {
        "id": "siglip-vit-small-56px", "image": 56, "strategy": "resize-naive",
        "arch": "no-align+gelu-mlp", "siglip": siglip(24, 4, depth=2), "llm": language(24, 1, 61),
        "names": "openclip"},
    "variants/meta_linear": {
        "id": "dinov2-vit-small-56px", "image": 56, "strategy": "resize-naive", "arch": "linear",
        "dino": dino(20, 2, depth=2), "llm": language(24, 1, 61), "names": "meta"},
    "variants/ldpnet": {  # 110 = 27 · 4 + 2: the grid of cobra+3b; its positions are upsampled
        "id": "siglip-vit-small-110px", "image": 110, "strategy": "resize-naive",
        "arch": "no-align+fused-ldpnet",
        "siglip": siglip(12, 2, img_size=32, patch_size=4, depth=2), "llm": language(24, 1, 61),
        "outputs": 1},
    "variants/finetuned": {
        "id": "dinosiglip-vit-small-56px", "image": 56, "strategy": "resize-naive",
        "arch": "full-align+fused-gelu-mlp", "dino": dino(20, 2, depth=2),
        "siglip": siglip(24, 4, depth=2), "llm": language(24, 1, 61), "names": "fine"},
    "variants/finetuned_alone": {
        "id": "siglip-vit-small-56px", "image": 56, "strategy": "resize-naive",
        "arch": "full-align+gelu-mlp", "siglip": siglip(12, 2), "llm": language(24, 1, 61),
        "names": "fine"},
}
TOWERS = ("dino", "siglip")


# --- files ---------------------------------------------------------------------------------------

def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def as_type(tensors, code):
    return {name: np.asarray(array, code) for name, array in tensors.items()}


def write_tower(folder, kind, arguments, names, numbers):
    """The folder's files; returns tensors that the checkpoint is to hold."""
    config = {"architecture": DINO if kind == "dino" else SIGLIP, "num_classes": 0,
              "num_features": arguments["embed_dim"], "model_args": arguments}
    if names != "openclip":  # there the released statistics are understood
        mean, deviation = reference.STATISTICS[kind]
        side = arguments["img_size"]
        config["pretrained_cfg"] = {"input_size": [3, side, side], "interpolation": "bicubic",
                                    "mean": mean, "std": deviation}
    write_json(folder / "config.json", config)
    tensors = tower_tensors(arguments, numbers)
    if names == "openclip":
        write_safetensors(folder / "open_clip_model.safetensors",
                          as_type(open_clip_names(tensors, numbers), "<f4"), {"format": "pt"})
    elif names == "meta":
        write_torch(folder / "dinov2_vits14_reg4_pretrain.pth",
                    as_type(meta_names(tensors, numbers), "<f4"))
    elif names != "fine" or kind == "dino":  # a fine-tuned DINO's folder has what it began with
        code = "<f2" if kind == "siglip" or names == "fine" else "<f4"
        write_safetensors(folder / "model.safetensors", as_type(tensors, code), {"format": "pt"})
    if names != "fine":
        return {}
    tuned = tower_tensors(arguments, numbers)
    tuned["pos_embed"] = numbers.normal(1, 16, arguments["embed_dim"])  # of the grid it was run on
    return tuned


def write_checkpoint(folder, spec, towers, numbers):
    vision = sum(spec[kind]["embed_dim"] for kind in TOWERS if spec.get(kind))
    width = spec["llm"]["d_model"]

    def rounded(tensors):
        return collections.OrderedDict(
            (name, BF16.rounded(array)) for name, array in tensors.items())

    llm = rounded(language_tensors(spec["llm"], numbers))
    if folder.name == "model":  # saved twice, stored once
        llm["llm.lm_head.weight"] = llm["llm.backbone.embedding.weight"]
    model = {"projector": rounded(projector_tensors(spec["arch"], vision, width, numbers)),
             "llm_backbone": llm}
    if any(towers.values()):
        alone = len(towers) == 1
        model["vision_backbone"] = rounded({
            f"{'' if alone else kind + '_'}featurizer.{name}": array
            for kind, tensors in towers.items() for name, array in tensors.items()})
    root = {"model": model}
    if any(towers.values()):
        root["optimizer"] = {"state": {}, "param_groups": [{"lr": 2e-05, "params": [0, 1, 2]}]}
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    write_torch(folder / "checkpoints" / "latest-checkpoint.pt", root)


def write_model(folder, name, spec):
    numbers = Numbers(700 + list(MODELS).index(name))
    backbone = "small-mamba-zephyr" if spec["llm"] is None or name == "model" else "small-mamba"
    config = {"type": "small-cobra", "model_id": name.removeprefix("variants/"),
              "arch_specifier": spec["arch"], "vision_backbone_id": spec["id"],
              "llm_backbone_id": backbone, "image_resize_strategy": spec["strategy"],
              "llm_max_length": 2048}
    if name != "variants/meta_linear":  # there the id alone says it
        config["image_size"] = spec["image"]
    write_json(folder / "config.json", {"model": config, "stage": "finetune", "seed": 7,
                                        "dataset": {"type": "none", "dataset_id": "random"}})
    if spec["llm"] is None:
        return
    kinds = [kind for kind in TOWERS if spec.get(kind)]
    towers = {kind: write_tower(folder / "vision" / kind, kind, spec[kind], spec.get("names"),
                                numbers) for kind in kinds}
    write_json(folder / "llm" / "config.json", spec["llm"])
    if name == "model":
        (folder / "llm" / "tokenizer.json").write_bytes(
            (ROOT / "examples" / "tiny-mamba1" / "tokenizer.json").read_bytes())
    write_checkpoint(folder, spec, towers, numbers)


def write_inputs(root):
    for name, spec in MODELS.items():
        write_model(root / name, name, spec)
    (root / "pictures").mkdir(exist_ok=True)
    for name, (content, _) in pictures(Numbers(7)).items():
        (root / "pictures" / name).write_bytes(content)


# --- what float64 makes of them ------------------------------------------------------------------

class Stored:
    """A model as its files say, each part the variant's own or, without one, model/'s."""

    def __init__(self, own, otherwise=None):
        def part(name):
            return own / name if otherwise is None or (own / name).exists() else otherwise / name

        model = json.loads(part("config.json").read_text(encoding="utf-8"))["model"]
        backbone = model["vision_backbone_id"]
        self.image = model.get("image_size") or int(backbone.split("-")[-1].removesuffix("px"))
        self.strategy, self.arch = model["image_resize_strategy"], model["arch_specifier"]
        self.checkpoint = read_torch(part("checkpoints") / "latest-checkpoint.pt")["model"]
        self.kinds = [kind for kind, prefix in zip(TOWERS, (("dino",), ("siglip", "dinosiglip")))
                      if backbone.startswith(prefix)]
        self.language = json.loads((part("llm") / "config.json").read_text(encoding="utf-8"))
        self.arguments, self.tensors = {}, {}
        for kind in self.kinds:
            folder = part(f"vision/{kind}")
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            self.arguments[kind] = config["model_args"]
            self.tensors[kind] = self.tower(kind, folder)

    def tower(self, kind, folder):
        if "vision_backbone" in self.checkpoint:
            prefix = "featurizer." if len(self.kinds) == 1 else f"{kind}_featurizer."
            return {name.removeprefix(prefix): array for name, array
                    in self.checkpoint["vision_backbone"].items() if name.startswith(prefix)}
        (path,) = (path for path in folder.iterdir() if path.suffix in (".safetensors", ".pth"))
        return read_safetensors(path) if path.suffix == ".safetensors" else read_torch(path)

    def squares(self, picture):
        return {kind: reference.square(picture, self.image, self.strategy, kind)
                for kind in self.kinds}

    def outputs(self, squares, ids):
        """Of one picture and text, under the names of golden.safetensors."""
        out = {f"vision.{kind}": reference.tower(self.arguments[kind], self.tensors[kind],
                                                 reference.normalized(squares[kind], kind))
               for kind in self.kinds}
        features = np.concatenate(list(out.values()), axis=1)
        out["projector"] = reference.project(self.arch, self.checkpoint["projector"], features)
        out["logits_last"] = reference.last_logits(
            self.language, self.checkpoint["llm_backbone"], out["projector"], ids)
        return out


def golden(name, ids):
    """The tensors of golden.safetensors; `ids`: a row for each picture whose outputs it holds. The
    three strategies are shown on all pictures."""
    model = Stored(GOLDEN / name, GOLDEN / "model")
    whole = [picture for _, picture in pictures(Numbers(7)).values() if picture is not None]
    resizing = name in ("model", "variants/crop", "variants/letterbox")
    squares = [model.squares(picture) for picture in (whole if resizing else whole[:len(ids)])]
    rows = [model.outputs(square, row) for square, row in zip(squares, ids)]
    out = {key: np.stack([row[key] for row in rows]).astype("<f4") for key in rows[0]}
    for kind in model.kinds:
        positions = reference.timm_names(model.tensors[kind])["pos_embed"][0]
        grid = model.image // model.arguments[kind]["patch_size"]
        if len(positions) != grid * grid:
            fitted = reference.resampled(positions, grid)
            out[f"pos_embed.{kind}.resampled"] = fitted[None].astype("<f4")
        if name == "model":
            out[f"pixels.{kind}"] = np.stack([reference.normalized(square[kind], kind)
                                              for square in squares[:2]])
    out["text_ids"] = ids
    for kind in model.kinds if model.strategy == "letterbox" else model.kinds[:1]:
        suffix = f".{kind}" if model.strategy == "letterbox" else ""
        out["resized_uint8" + suffix] = np.stack([square[kind] for square in squares])
    return out


def make():
    write_inputs(GOLDEN)
    for i, (name, spec) in enumerate(MODELS.items()):
        vocabulary = (spec["llm"] or MODELS["model"]["llm"])["vocab_size"]
        ids = Numbers(800 + i).integers(vocabulary, spec.get("outputs", 2), 7).astype("<i4")
        write_safetensors(GOLDEN / name / "golden.safetensors", golden(name, ids))


def files_below(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*") if path.is_file()}


def difference(one, other):
    """As a share of the largest magnitude; infinite for NaN, and unless bytes and ids are equal."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return np.inf
    apart = np.max(np.abs(one.astype(np.float64) - other))
    if one.dtype.kind != "f":
        return np.inf if apart > 0 else 0.0
    ratio = apart / np.max(np.abs(other))
    return np.inf if np.isnan(ratio) else ratio


def worst_of(pairs):
    """pairs: (name, one, other): the largest difference and its name."""
    worst, where = 0.0, ""
    for name, one, other in pairs:
        found = difference(one, other)
        if found > worst:
            worst, where = found, name
    return worst, where


def check():
    stored = files_below(GOLDEN)
    with tempfile.TemporaryDirectory() as folder:
        write_inputs(pathlib.Path(folder))
        made = files_below(pathlib.Path(folder))
    inputs = {name for name in stored if not name.endswith("golden.safetensors")}
    wrong = sorted(inputs ^ made.keys())
    wrong += sorted(name for name in inputs & made.keys() if stored[name] != made[name])
    pairs = []
    for name in MODELS:
        kept = read_safetensors(GOLDEN / name / "golden.safetensors")
        computed = golden(name, kept["text_ids"])
        if kept.keys() != computed.keys():
            wrong.append(f"{name}/golden.safetensors: {sorted(kept.keys() ^ computed.keys())}")
            continue
        pairs += [(f"{name} {key}", kept[key], array) for key, array in computed.items()]
    worst, where = worst_of(pairs)
    total = sum(map(len, stored.values()))
    print(f"make_cobra: {len(MODELS)} models, {len(pairs)} tensors, largest difference {worst:.1e} of the "
          f"largest magnitude ({where}); {total} bytes in all"
          + "".join(f"\n  differs: {name}" for name in wrong))
    # float32 storage rounds to 6e-8; another order of summation in float64 is far below that.
    return 0 if not wrong and worst <= 1e-6 and total <= MOST_BYTES else 1


def against(folder):
    model, kept = Stored(folder), read_safetensors(folder / "golden.safetensors")
    rows = [model.outputs(dict.fromkeys(TOWERS, square), ids)
            for square, ids in zip(kept["resized_uint8"], kept["text_ids"])]
    worst, where = worst_of((f"{key} {i}", row[key].astype("<f4"), kept[key][i])
                            for i, row in enumerate(rows) for key in row)
    print(f"make_cobra: {folder.name}: {len(rows)} pictures, largest difference {worst:.1e} of the "
          f"largest magnitude ({where})")
    return 0 if worst <= 1e-4 else 1  # the other reference may be one of float32


if __name__ == "__main__":
    if sys.argv[1:2] == ["--against"] and len(sys.argv) == 3:
        sys.exit(against(pathlib.Path(sys.argv[2])))
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit(__doc__)
    if not sys.argv[1:]:
        make()
    sys.exit(check())
