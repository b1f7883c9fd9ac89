#!/usr/bin/python3
"""What low bits do to every family, part by part: table G of docs/quality.md.

    scripts/quality_families.py [MODELS]   MODELS: a folder of model folders (default: ../shared/golden/families)

The models have random weights, so that no text means anything to them: compared are the logits of random ids, low-bit
against float. A minute.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

from checkpoint_files import read_safetensors
from quality_tables import check_places, write_between

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "build/cli/scute"
DOCUMENT = ROOT / "docs/quality.md"
SCRIPT = "scripts/quality_families.py"
FORMATS = {"W8A8": (8, 8), "W8A16": (8, 16), "W4A8": (4, 8), "W4A16": (4, 16)}
KINDS = {"mixer": "--mixers", "attention": "--attention", "feed_forward": "--feed-forwards", "experts": "--experts"}


def scute(*arguments):
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"scute {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return done.stdout


def logits(model, ids, work):
    scute("dump", model, "--ids", ids, "--sites", "lm_head:output", "--out", work / "dump.safetensors", "--force")
    return read_safetensors(work / "dump.safetensors")["logits"].astype(np.float64)


def kinds_of(model):
    """The kinds of parts of a model, by its sites."""
    sites = scute("sites", model, "--json")
    names = [site["name"] for site in json.loads(sites)["sites"]]
    has = {"mixer": ".out_proj:input", "attention": ".o_proj:input", "experts": ".router:output"}
    out = [kind for kind, end in has.items() if any(name.endswith(end) for name in names)]
    experts = {name.split(".")[0] for name in names if ".router:" in name}
    if any(name.endswith(".down_proj:input") and name.split(".")[0] not in experts for name in names):
        out.append("feed_forward")
    return out


def error(low, reference):
    """Relative error of the logits and its standard error over the sequences."""
    each = np.sqrt(((low - reference) ** 2).sum((1, 2)) / (reference**2).sum((1, 2)))
    return each.mean(), each.std(ddof=1) / np.sqrt(len(each))


def measure(model, work):
    vocabulary = json.loads((model / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    rng = np.random.default_rng(20261130)
    for name, rows in (("calibration", 64), ("scored", 16)):
        np.save(work / f"{name}.npy", rng.integers(0, vocabulary, (rows, 128), dtype=np.int32))
    statistics, ids, low = work / "statistics.safetensors", work / "scored.npy", work / "low"
    scute("collect", model, "--data", work / "calibration.npy", "--out", statistics, "--force", "--quiet")
    reference = logits(model, ids, work)

    def cost(bits, *flags):
        ranges = ["--stats", statistics] if bits[1] == 8 else []
        scute("quantize", model, "--w-bits", bits[0], "--a-bits", bits[1], *ranges, *flags, "--out", low, "--force")
        mean, deviation = error(logits(low, ids, work), reference)
        return f"{100 * mean:.2f} ± {100 * deviation:.2f}"

    cells = [cost(bits) for bits in FORMATS.values()]
    kinds = kinds_of(model)
    for kind in KINDS:
        others = [word for other in kinds if other != kind for word in (KINDS[other], "FP")]
        cells.append(cost(FORMATS["W8A8"], *others) if kind in kinds and len(kinds) > 1 else "–")
    return f"| {model.name} | " + " | ".join(cells) + " |"


def main():
    models = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT.parent / "shared/golden/families")
    check_places(DOCUMENT, ["G"], SCRIPT)
    rows = ["| model | " + " | ".join(FORMATS) + " | " + " | ".join(f"W8A8 of {flag[2:]} alone" for flag in KINDS.values()) + " |",
            "|---" * (1 + len(FORMATS) + len(KINDS)) + "|"]
    with tempfile.TemporaryDirectory() as work:
        for model in sorted(path.parent for path in models.glob("*/config.json")):
            rows.append(measure(model, pathlib.Path(work)))
            print(rows[-1], flush=True)
    write_between(DOCUMENT, "G", "\n".join(rows), SCRIPT)


if __name__ == "__main__":
    main()
