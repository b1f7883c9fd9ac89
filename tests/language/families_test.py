#!/usr/bin/python3
"""The float64 models of every family (scripts/families_float64.py) and the tiny models made with them.

  tests/language/families_test.py --tiny     what scripts/make_families.py makes
  tests/language/families_test.py --public   the references of ../shared, made by other code; skipped without
"""

import filecmp
import pathlib
import re
import sys
import tempfile

import numpy as np

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from checkpoint_files import read_folder, read_safetensors, to_float64  # noqa: E402
from families import effects, models  # noqa: E402
from families_float64 import compare, difference, forward, read_config  # noqa: E402
from make_families import FACTOR, OUTLIERS, families, make  # noqa: E402

PUBLIC = SCRIPTS.parent.parent / "shared/golden/families"
# Of all of them; they are made whenever tests are built.
MOST_BYTES = 3_500_000
# What a rule must move the logits by, of the largest, in every model where it moves any: 100 times what
# single precision loses. Both forms of GELU agree within 5e-4; rounding five factors to bf16 is small by
# nature.
LEAST_EFFECT = 1e-3
SMALL_EFFECTS = {"tanh GELU": 2e-4, "exact ssm multipliers": 1e-6}
# Mistakes that only these families invite.
ONLY = {"steps at least 0.001": ("nemotron", "zamba2"), "eps of the gated norm a tenth": ("zamba2",)}
# Its weights are f32.
NOT_IN = {("exact ssm multipliers", "falcon-h1-before")}
# Whose outputs are added to the residual stream, in the models that --outliers makes.
WRITERS = re.compile(r"(embed_tokens|embeddings?|out_proj|o_proj|(?<!transformer\.feed_forward\.)down_proj|"
                     r"output_linear|layers\.\d+\.linear)\.(weight|bias)$")


def same_bytes(tiny, out):
    """Made twice, every file is the same."""
    for name, model in models.every().items():
        make(tiny / name, name, model)
        make(out / name, name, model)
        for file in sorted((out / name).iterdir()):
            if not filecmp.cmp(file, tiny / name / file.name, shallow=False):
                yield f"{name}/{file.name}: expected the same bytes when made twice"
    total = sum(file.stat().st_size for file in tiny.glob("*/*"))
    print(f"families_test: {len(models.every())} models, {total} bytes")
    if total > MOST_BYTES:
        yield f"{tiny}: expected at most {MOST_BYTES} bytes, found {total}"


def golden_agrees(tiny):
    for name in models.every():
        if not compare(tiny / name):
            yield f"{name}: expected what golden.safetensors holds"


def silent_experts(tiny):
    for name, model in models.every().items():
        golden = read_safetensors(tiny / name / "golden.safetensors")
        for layer, expert in model.silent:
            (chosen,) = (array for key, array in golden.items()
                         if key.startswith("experts/") and f".layers.{layer}." in key)
            if expert in chosen:
                yield f"{name}: expected no token for expert {expert} of layer {layer}"


def every_rule_counts(tiny):
    """Each change of effects.py moves some model, and far enough each that it moves."""
    smallest, moving = (1.0, "", ""), set()
    for name in models.every():
        golden = read_safetensors(tiny / name / "golden.safetensors")
        moved = effects.effects(forward, read_config(tiny / name), read_folder(tiny / name), golden["ids"])
        for change, by in moved.items():
            if not name.startswith(ONLY.get(change, "")) or (change, name) in NOT_IN:
                continue
            moving.add(change)
            if change not in SMALL_EFFECTS:
                smallest = min(smallest, (by, change, name))
            if by < SMALL_EFFECTS.get(change, LEAST_EFFECT):
                yield f"{name}: {change}: expected to move the logits, found {by:.1e}"
    for change in sorted(set(effects.names()) - moving):
        yield f"{change}: expected a model that has this rule, found none"
    by, change, name = smallest
    print(f"families_test: {len(moving)} rules got wrong; the smallest effect is that of '{change}', "
          f"{by:.1e} of the largest logit ({name})")


def older_reference():
    """mamba_float64.py, an older hand's, says the same of Mamba-1 and Mamba-2."""
    for folder in sorted((SCRIPTS.parent / "tests" / "golden").glob("mamba*")):
        golden = read_safetensors(folder / "golden.safetensors")
        off = difference(forward(read_config(folder), read_folder(folder), golden["ids"])[0],
                         golden["logits"])
        if not off <= 1e-6:
            yield f"{folder.name}: expected the stored logits, found a difference of {off:.1e}"


def outliers(out):
    """The planted channels stand out of the residual stream, and nothing else is another number."""
    for name in families():
        folders = out / name / "plain", out / name / "planted"
        for folder in folders:
            make(folder, name, models.every()[name], outliers=folder is folders[1])
        plain, planted = (read_folder(folder) for folder in folders)
        for key, array in plain.items():
            ratio = to_float64(planted[key]) / np.where(to_float64(array) == 0, 1, to_float64(array))
            writer = WRITERS.search(key) and "transformer.self_attn" not in key
            if np.any(np.abs(ratio - 1) > 1e-6) != bool(writer):
                yield f"{name}: {key}: expected outliers in what writes the stream alone"
        stream = read_safetensors(folders[1] / "golden.safetensors")
        head = next(value for key, value in stream.items() if key.endswith("lm_head"))
        peaks = np.abs(head).max(axis=(0, 1))
        if min(peaks[list(OUTLIERS)]) < FACTOR / 10 * np.median(peaks):
            yield f"{name}: expected outliers before the head, found {peaks}"


def check():
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder)
        tiny = out / "tiny"
        wrong = [*same_bytes(tiny, out / "again"), *golden_agrees(tiny), *older_reference(), *silent_experts(tiny),
                 *every_rule_counts(tiny), *outliers(out / "outliers")]
    for line in wrong:
        print(f"families_test: {line}")
    return 1 if wrong else 0


def public():
    if not PUBLIC.is_dir():
        print("SKIPPED: ../shared not present")
        return 0
    folders = sorted(PUBLIC.glob("*/golden.safetensors"))
    return 0 if folders and all([compare(file.parent) for file in folders]) else 1


if __name__ == "__main__":
    if sys.argv[1:] not in (["--tiny"], ["--public"]):
        sys.exit(__doc__)
    sys.exit(public() if sys.argv[1] == "--public" else check())
