#!/usr/bin/env python3
"""Measures the tables of docs/performance.md and writes them between their markers; all other text stays.

  bench/performance.py                        # every table, about half an hour on two cores; leave the machine alone meanwhile
  bench/performance.py --only limits,language --threads 1
  bench/performance.py --quick                # tiny models, printed instead of written: does the script work?

Every table says machine, instruction sets, threads and load. A share is that of `scute bench --roofline`, whose limits are measured in the
same run as the figure (scute bench --help). Low-bit models are made once, in --work, of random weights."""
import argparse
import json
import os
import pathlib
import subprocess
import sys

REPO = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO / "scripts"))
import quality_tables

SCRIPT = "bench/performance.py"
ENDS = ("--quantize-embedding", "--quantize-lm-head")
FORMATS = {"W8A8": (), "W4A8": ("--w-bits", "4"), "W4A16": ("--w-bits", "4", "--a-bits", "16")}


class Bench:
    def __init__(self, options):
        self.options, self.machine = options, ""

    def scute(self, *words):
        """What it printed, which must be JSON for bench."""
        command = [str(self.options.scute), *map(str, words), "--quiet"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=REPO)
        if done.returncode != 0:
            sys.exit(f"performance: {' '.join(command)}: expected exit code 0, found {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def bench(self, *words):
        answer = json.loads(self.scute("bench", *words, "--roofline", "--json"))
        found = answer["roofline"]
        self.machine = f"{found['processor']}; {found['instruction_sets']}"
        return answer

    def model(self, size, form):
        """The folder of a random model, float or low-bit."""
        work = self.options.work
        folder, ids, stats = work / size, work / f"{size}-ids.npy", work / f"{size}.safetensors"
        if not (folder / "config.json").exists():
            quality_tables.random_model(size, folder)
        if form == "float":
            return folder
        if not ids.exists():
            quality_tables.random_ids(size, ids)
        if not stats.exists():
            self.scute("collect", folder, "--data", ids, "--seqlen", 128, "--out", stats)
        low = work / f"{size}-{form}"
        if not (low / "config.json").exists():
            statistics = () if form == "W4A16" else ("--stats", stats)
            self.scute("quantize", folder, *statistics, *FORMATS[form], *ENDS, "--out", low)
        return low


def digits(value):
    """Three digits that count, without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table(head, rows):
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def share(figure):
    limit = figure["limit"]
    return f"{limit['share']:.2f} ({limit['bound_by']})"


def limits(bench):
    rows, threads = {}, bench.options.threads
    for count in threads:
        for rate in bench.bench("--threads", count)["roofline"]["rates"]:
            if rate["threads"] == count:
                cell = f"{digits(rate['median'])} ({digits(rate['least'])} – {digits(rate['most'])})"
                rows.setdefault((rate["limit"], rate["by"], rate["unit"]), {})[count] = cell
    return table(["limit", "by", *(f"{count} thread{'s' * (count > 1)}" for count in threads), "unit"],
                 [[limit, by, *(cells.get(count, "–") for count in threads), unit] for (limit, by, unit), cells in rows.items()])


def language(bench):
    quick, rows = bench.options.quick, []
    sizes = ["mamba-tiny"] if quick else ["mamba-130m", "mamba2-130m"]
    lengths = ("-p", 32, "-n", 8, "--repeat", 2) if quick else ("-p", 512, "-n", 128, "--repeat", 5)
    forms = [("f32", ()), ("bf16", ("--compute", "bf16"))] + [(name, None) for name in FORMATS if not quick]
    for size in sizes:
        for name, flags in forms:
            which = ("--random", size, *flags) if flags is not None else (bench.model(size, name),)
            for count in bench.options.threads:
                found = bench.bench(*which, *lengths, "--size", "--threads", count)
                cells = []
                for figure in (found["pp"], found["tg"]):
                    cells += [f"{digits(figure['tokens_per_second'])} ± {digits(figure['standard_deviation'])}", share(figure)]
                rows.append([f"{size} {name}", str(count), *cells, f"{found['size']['weight_bytes']['total'] / 1e6:.0f} MB"])
    pp, tg = ("pp32", "tg8") if quick else ("pp512", "tg128")
    return table(["model", "threads", pp, "share", tg, "share", "weights"], rows)


def observation(bench):
    quick, rows = bench.options.quick, []
    for size in ["mamba-tiny"] if quick else ["mamba-130m", "mamba2-130m"]:
        for compute in ("f32", "bf16"):
            found = bench.bench("--random", size, "--compute", compute, "--threads", bench.options.threads[-1], *(("--seqlen", 32) if quick else ()))
            rows.append([f"{size} {compute}", digits(found["tokens_per_second"]), share(found["forward"]), digits(found["tokens_per_second_observed"]),
                         f"{100 * found['observation_cost']:+.1f} %"])
    return table(["model", f"tokens a second, {bench.options.threads[-1]} threads", "share", "all sites observed", "more processor time"], rows)


def cobra(bench):
    quick, rows = bench.options.quick, []
    size = "tiny-cobra-vision" if quick else "cobra+3b-vision"
    for name, flags in (("f32", ()), ("bf16", ("--compute", "bf16")), ("int8 (W8A8)", ("--int8",))):
        found = bench.bench("--random", size, *flags, "--threads", bench.options.threads[-1])
        rows.append([name, f"{found['pictures_per_second']:.3g}", share(found["vision"]), f"{found['weight_bytes'] / 1e9:.2f} GB", f"{found['peak_bytes'] / 1e9:.2f} GB"])
    return table([size, f"pictures a second, {bench.options.threads[-1]} threads", "share", "weights", "peak"], rows)


TABLES = {"limits": limits, "language": language, "observation": observation, "cobra": cobra}


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scute", type=pathlib.Path, default=REPO / "build" / "cli" / "scute", help="the program")
    parser.add_argument("--work", type=pathlib.Path, default=REPO / "build" / "performance", help="models; a few GB [build/performance]")
    parser.add_argument("--doc", type=pathlib.Path, default=REPO / "docs" / "performance.md")
    parser.add_argument("--only", default=",".join(TABLES), help="tables, with commas [all]")
    parser.add_argument("--threads", type=int, nargs="+", help="[1 and all processors]")
    parser.add_argument("--quick", action="store_true", help="tiny models; prints, writes nothing")
    options = parser.parse_args()
    options.only = options.only.split(",")
    processors = len(os.sched_getaffinity(0))
    options.threads = sorted(set(options.threads or [1, processors]))
    if not set(options.only) <= set(TABLES):
        parser.error(f"--only: expected some of {','.join(TABLES)}, found {','.join(options.only)}")
    if not options.scute.exists():
        parser.error(f"--scute: {options.scute} does not exist; build it, or say where it is")
    options.scute, options.work = options.scute.resolve(), options.work.resolve()
    options.work.mkdir(parents=True, exist_ok=True)
    if not options.quick:  # before the long run, not after it
        try:
            quality_tables.check_places(options.doc, options.only, SCRIPT)
        except (OSError, ValueError) as error:
            sys.exit(f"performance: --doc: {error}")
    return options


def main():
    options = parse()
    bench = Bench(options)
    for name in options.only:
        load = os.getloadavg()[0]
        rows = TABLES[name](bench)
        place = f"{bench.machine}; {len(os.sched_getaffinity(0))} processors, load {load:.1f} before"
        text = f"\n{place}:\n\n{rows}\n"
        print(text)
        if not options.quick:
            quality_tables.write_between(options.doc, name, text, SCRIPT)


if __name__ == "__main__":
    main()
