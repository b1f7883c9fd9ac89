#!/usr/bin/python3
"""Measures what quantization costs on the bundled models; writes the tables of docs/quality.md.

  scripts/quality.py                 every table; about 40 minutes on two shared cores
  scripts/quality.py --only A,E      some of them
  scripts/quality.py --quick         a few minutes: fewer windows and rows; prints, writes nothing

Needs the program (./demo.sh builds it) and numpy. Results are kept in --work, so that a second run
only does what is missing. Exit 1: a bound is missed, or a command failed.
"""

import argparse
import pathlib
import sys

import quality_tables
from lab import REPO, Lab, Skipped

TEXT = "examples/text/calibration.jsonl"
HELDOUT = "examples/text/heldout.txt"
OUTLIERS = "../shared/models/"
MODELS = ("tiny-mamba1", "tiny-mamba2")
OFF = ("--hadamard", "off")
GPTQ = ("--gptq", "--data", TEXT, "--seed")
ENDS = ("--quantize-embedding", "--quantize-lm-head")
SEEDS = ("42", "0", "1", "2")


def both(value):
    return {model: value for model in MODELS}


class Bench:
    """Measures one recipe on one model at a time."""

    def __init__(self, lab, quick):
        self.lab, self.quick = lab, quick
        self.windows = ("--max-windows", "24") if quick else ()

    def statistics(self, model, name):
        out = f"$WORK/{name}.safetensors"
        words = ("collect", model, "--data", TEXT, "--samples", "128", "--out", out)
        return self.lab.make(out, words)

    def quantize(self, model, name, options, statistics, out):
        """Writes the checkpoint `out`; `name` names the statistics."""
        stats = ("--stats", self.statistics(model, name)) if statistics else ()
        return self.lab.make(out, ("quantize", model, *stats, *options, "--out", out))

    def ratio(self, model, name, options, against=None, statistics=True, protocol=None):
        """Perplexity over that of `against` (default: `model` in floats), on the same windows."""
        out = f"$WORK/{name}-{'_'.join(o.lstrip('-') for o in options) or 'default'}".replace(
            TEXT, "text")
        protocol = protocol or ("--window", "512", *self.windows)
        words = ("eval", out, "--against", against or model, "--perplexity", HELDOUT, *protocol)
        found = self.lab.result(
            words, lambda: self.quantize(model, name, options, statistics, out))
        self.lab.remove(out)
        return {"ratio": found["against"]["ratio"],
                # None: every window scores the same with both, to the bit.
                "error": found["against"]["standard_error_ratio"] or 0.0,
                "perplexity": found["perplexity"]["value"],
                "perplexity_error": found["perplexity"]["standard_error"],
                "windows": found["perplexity"]["windows"]}


def table_w8a8(bench, table):
    rows = [("`--policy auto`: the default", (), 1.003)]
    if not bench.quick:
        rows += [
            ("min-max, rotated", ("--policy", "minmax"), None),
            ("percentile 0.9995, rotated", ("--policy", "percentile"), None),
            ("auto, not rotated", OFF, None),
            ("naive min-max", ("--policy", "minmax", *OFF), None),
            ("percentile 0.9995, not rotated", ("--policy", "percentile", *OFF), None),
            ("one scale a matrix and shared scales, as Quamba", ("--per-tensor", "--shared-scales"),
             None),
            ("grouped heads, as Quamba2", ("--group-heads",), None),
            ("embedding and head 8-bit too", ENDS, None)]
    for label, options, bound in rows:
        for model in MODELS:
            own = tuple(o for o in options if o != "--shared-scales" or model == MODELS[0])
            if model == MODELS[0] and "--group-heads" in own:
                continue
            table.add(label, model, " ".join(own) or "(none)",
                      bench.ratio(f"examples/{model}", model, own), bound)


def table_w4(bench, table):
    gptq = (*GPTQ, SEEDS[0]) if not bench.quick else (*GPTQ, SEEDS[0], "--samples", "16")
    for bits, bound in (("16", 1.008), ("8", 1.011)):
        base = ("--w-bits", "4", "--a-bits", bits)
        rows = [("GPTQ", gptq, bound)]
        if not bench.quick:
            rows = [("to nearest", (), None)] + rows
            rows += [(f"GPTQ, calibration split {seed}", (*GPTQ, seed), bound)
                     for seed in SEEDS[1:]]
            rows += [("GPTQ, embedding and head 4-bit too", (*gptq, *ENDS), None)]
        for label, options, limit in rows:
            for model in MODELS:
                table.add(f"W4A{bits} {label}", model, " ".join((*base, *options)),
                          bench.ratio(f"examples/{model}", model, (*base, *options),
                                      statistics=bits == "8"), limit)
    base = ("--w-bits", "8", "--a-bits", "16")
    for model in MODELS if not bench.quick else ():
        table.add("W8A16 to nearest", model, " ".join(base),
                  bench.ratio(f"examples/{model}", model, base, statistics=False), None)


def table_norm_outliers(bench, table):
    if not (REPO / OUTLIERS / f"{MODELS[0]}-outliers").exists():
        raise Skipped(f"{OUTLIERS}{MODELS[0]}-outliers not present")
    for twin in MODELS:
        model, name = f"{OUTLIERS}{twin}-outliers", f"{twin}-outliers"
        table.same(f"float logits of {name} and {twin}",
                   logits(bench, f"examples/{twin}", twin), logits(bench, model, name))
        table.add("default", name, "(none)", bench.ratio(model, name, ()), 1.003)
        base = bench.quantize(f"examples/{twin}", twin, (), True, f"$WORK/{twin}-w8a8")
        table.equal("default, beside the twin's W8A8", name, "(none)",
                    bench.ratio(model, name, (), base))
        plain = ("--fold", "off", *OFF)
        table.add("neither folded nor rotated", name, " ".join(plain),
                  bench.ratio(model, name, plain), None)
        table.add("the same, of the twin", twin, " ".join(plain),
                  bench.ratio(f"examples/{twin}", twin, plain), None)
        own = bench.quantize(model, name, (), True, f"$WORK/{name}-w8a8")
        table.worse("neither, beside the default", name, " ".join(plain),
                    bench.ratio(model, name, plain, own))


def logits(bench, model, name):
    """The logits of one text, as an array."""
    out = f"$WORK/{name}-logits.safetensors"
    words = ("dump", model, "--text", "examples/text/README.md", "--sites", "layer_0.in_proj:input",
             "--out", out)
    return quality_tables.read_tensor(bench.lab.path(bench.lab.make(out, words)), "logits")


def table_activation_outliers(bench, table):
    gptq = (*GPTQ, SEEDS[0])
    for twin in MODELS:
        name = f"{twin}-planted"
        model = f"$WORK/{name}"
        bench.lab.make(model, ("scripts/plant_outliers.py", f"examples/{twin}", model))
        table.same(f"float logits of {name} and {twin}",
                   logits(bench, f"examples/{twin}", twin), logits(bench, model, name))
        rows = [("W8A8", (), True, 1.008)]
        if not bench.quick:
            rows += [
                ("W8A8 naive min-max", ("--policy", "minmax", *OFF), True, None),
                ("W4A16 GPTQ", ("--w-bits", "4", "--a-bits", "16", *gptq), False, 1.013),
                ("W4A8 GPTQ", ("--w-bits", "4", "--a-bits", "8", *gptq), True, 1.016)]
            if twin == MODELS[1]:
                rows.insert(1, ("W8A8 grouped heads", ("--group-heads",), True, None))
        for label, options, statistics, bound in rows:
            table.add(label, name, " ".join(options) or "(none)",
                      bench.ratio(model, name, options, statistics=statistics), bound)


def table_state(bench, table):
    protocol = ("--stepwise", "--context", "1000", "--window", "1512", "--max-windows",
                "8" if bench.quick else "32")
    rows = [("default", ())]
    if not bench.quick:
        rows += [(f"default, seed {seed}", ("--seed", seed)) for seed in ("1", "2")]
        rows += [(f"{scale}, {rounding}, clip {clip}",
                  ("--state-scale", scale, "--state-rounding", rounding, "--state-clip", clip))
                 for scale in ("tensor", "channel") for rounding in ("nearest", "stochastic")
                 for clip in ("1", "0.7", "0.5", "0.3")]
    for label, options in rows:
        for model in MODELS:
            base = bench.quantize(f"examples/{model}", model, ("--state-scale", "none"), True,
                                  f"$WORK/{model}-float-state")
            table.add(label, model, " ".join(options) or "(none)",
                      bench.ratio(f"examples/{model}", model, options, base, protocol=protocol),
                      1.01 if label.startswith("default") else None)


def table_size(bench, table):
    size, ids = "mamba-130m", "$WORK/random-ids.npy"
    model, stats = f"$WORK/{size}", f"$WORK/{size}.safetensors"
    lab = bench.lab
    lab.make(model, ("random", size), lambda: quality_tables.random_model(size, lab.path(model)))
    lab.make(ids, ("random", "ids"), lambda: quality_tables.random_ids(size, lab.path(ids)))
    lab.make(stats, ("collect", model, "--data", ids, "--seqlen", "128", "--out", stats))
    plain = lab.path(f"{model}/model.safetensors").stat().st_size
    recipes = (("W8A8", (), 0.53), ("W4A8", ("--w-bits", "4"), 0.33))
    for label, options, bound in recipes:
        out = f"$WORK/{size}-{label}"
        lab.make(out, ("quantize", model, "--stats", stats, *options, *ENDS, "--out", out))
        table.add_size(label, size, " ".join((*options, *ENDS)),
                       lab.path(f"{out}/model.safetensors").stat().st_size, plain, bound)


TABLES = {
    "A": (table_w8a8, "quantize MODEL --stats STATS OPTIONS; eval --against MODEL --window 512"),
    "B": (table_w4, "quantize MODEL [--stats STATS] OPTIONS; eval --against MODEL --window 512"),
    "C": (table_norm_outliers, "quantize MODEL --stats STATS OPTIONS; eval --against FLOAT|LOW-BIT "
                               "--window 512"),
    "D": (table_activation_outliers, "plant_outliers.py; quantize, eval as in A and B"),
    "E": (table_state, "quantize MODEL --stats STATS OPTIONS; eval --against FLOAT-STATE "
                       "--stepwise --context 1000 --window 1512 --max-windows 32"),
    "F": (table_size, "quantize MODEL --stats STATS OPTIONS; bytes of both model.safetensors"),
}


SUMMARY = "of bounds"  # the name of its place in the document


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--scute", default=REPO / "build" / "cli" / "scute", help="the program")
    parser.add_argument("--work", default=REPO / "build" / "quality", metavar="DIR",
                        help="intermediate results [build/quality]; delete it to measure again")
    parser.add_argument("--only", default=",".join(TABLES), help="tables, e.g. A,E [all]")
    parser.add_argument("--quick", action="store_true",
                        help="a subset; the document stays as it is")
    parser.add_argument("--doc", default=REPO / "docs" / "quality.md", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=0, help="0: all processors")
    args = parser.parse_args()
    args.only = args.only.split(",")
    if not set(args.only) <= set(TABLES):
        parser.error(f"--only: expected letters of {','.join(TABLES)}, found {','.join(args.only)}")
    if not pathlib.Path(args.scute).exists():
        parser.error(f"--scute: {args.scute} does not exist; ./demo.sh builds it")
    if not args.quick:  # before the long run, not after it
        try:
            quality_tables.check_places(args.doc, [*TABLES, SUMMARY])
        except (OSError, ValueError) as error:
            sys.exit(f"quality: --doc: {error}")
    return args


def main():
    args = parse()
    # A subset must not stand in for a full measurement, so that it has its own memory as well.
    work = pathlib.Path(args.work) / ("quick" if args.quick else "full")
    bench = Bench(Lab(args.scute, work, args.threads), args.quick)
    missed, checked, skipped = [], 0, []
    for letter in args.only:
        measure, command = TABLES[letter]
        table = quality_tables.Table(letter, command)
        try:
            measure(bench, table)
        except Skipped as reason:
            print(f"quality: table {letter} SKIPPED: {reason}")
            skipped.append(letter)
            continue
        except (RuntimeError, OSError, ValueError) as error:
            sys.exit(f"quality: table {letter}: {error}")
        print(table.text())
        checked, missed = checked + table.checked, missed + table.missed
        if not args.quick:
            quality_tables.write_between(args.doc, letter, table.text())
    count = f"{checked} bounds checked, {len(missed)} missed" + ":" * bool(missed)
    summary = "\n".join([count, ""] + [f"* {line}" for line in missed]).strip()
    if not (args.quick or skipped or set(args.only) != set(TABLES)):
        quality_tables.write_between(args.doc, SUMMARY, summary)
    print(f"quality: {summary}")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
