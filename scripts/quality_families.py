#!/usr/bin/python3
"""What low bits do to every family, part by part, and what the forms of the cache do: tables G and H of docs/quality.md.

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


def show_error(low, reference):
    mean, deviation = error(low, reference)
    return f"{100 * mean:.2f} ± {100 * deviation:.2f}" if mean >= 1e-4 else f"{100 * mean:.1g}"


def measure_cache(model, work):
    """Bytes of a token's keys and values, and what rounding them alone does, after random_ids()."""
    kinds = [kind for kind in kinds_of(model) if kind in KINDS]
    if "attention" not in kinds:
        return None
    low = work / "low"

    def made(form):
        floats = [word for kind in kinds for word in (KINDS[kind], "FP")]
        scute("quantize", model, "--w-bits", 8, "--a-bits", 16, *floats, "--cache", form, "--out", low, "--force")
        size = json.loads(scute("bench", low, "--size", "--json"))["size"]["state_bytes"]["cache_per_token"]
        return size, logits(low, work / "scored.npy", work)

    plain = logits(model, work / "scored.npy", work)
    size, exact = made("f32")
    cells = [str(size), show_error(exact, plain)]
    for form in ("bf16", "int8"):
        size, rounded = made(form)
        cells += [str(size), show_error(rounded, exact)]
    return f"| {model.name} | " + " | ".join(cells) + " |"


def random_ids(model, work):
    """calibration.npy and scored.npy."""
    vocabulary = json.loads((model / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    rng = np.random.default_rng(20261130)
    for name, rows in (("calibration", 64), ("scored", 16)):
        np.save(work / f"{name}.npy", rng.integers(0, vocabulary, (rows, 128), dtype=np.int32))


def measure(model, work):
    statistics, ids, low = work / "statistics.safetensors", work / "scored.npy", work / "low"
    scute("collect", model, "--data", work / "calibration.npy", "--out", statistics, "--force", "--quiet")
    reference = logits(model, ids, work)

    def cost(bits, *flags):
        ranges = ["--stats", statistics] if bits[1] == 8 else []
        scute("quantize", model, "--w-bits", bits[0], "--a-bits", bits[1], *ranges, *flags, "--out", low, "--force")
        return show_error(logits(low, ids, work), reference)

    cells = [cost(bits) for bits in FORMATS.values()]
    kinds = kinds_of(model)
    for kind in KINDS:
        others = [word for other in kinds if other != kind for word in (KINDS[other], "FP")]
        cells.append(cost(FORMATS["W8A8"], *others) if kind in kinds and len(kinds) > 1 else "–")
    return f"| {model.name} | " + " | ".join(cells) + " |"


def header(*columns):
    return ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]


def main():
    models = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT.parent / "shared/golden/families")
    check_places(DOCUMENT, ["G", "H"], SCRIPT)
    parts = header("model", *FORMATS, *(f"W8A8 of {flag[2:]} alone" for flag in KINDS.values()))
    caches = header("model", "f32, bytes a token", "all parts FP", "bf16, bytes", "bf16", "int8, bytes", "int8")
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        for model in sorted(path.parent for path in models.glob("*/config.json")):
            random_ids(model, work)
            parts.append(measure(model, work))
            print(parts[-1], flush=True)
            cache = measure_cache(model, work)
            if cache:
                caches.append(cache)
                print(cache, flush=True)
    write_between(DOCUMENT, "G", "\n".join(parts), SCRIPT)
    write_between(DOCUMENT, "H", "\n".join(caches), SCRIPT)


if __name__ == "__main__":
    main()
