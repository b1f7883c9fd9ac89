#!/usr/bin/env python3
"""Runs two builds in turns on the same command and says whether the second is slower.

  bench/compare.py OLD/scute NEW/scute -- bench --random mamba-130m --ttft --tpot --threads 1

Every run gets --json and --quiet. The figures compared are those that are times (ttft.median_ms, tpot, ttlt, one_window_seconds), as
new over old, and rates (tokens a second of pp, tg and the forward pass, windows, pictures), as old over new: above 1 the new
build is slower. A pair is an old and a new run, one right after the other, the first of them alternating; what is printed is the
median of the pairs' ratios with their quartiles.

The rule: pairs come in two separate blocks (--pairs in each; all of the first before the second). A figure is called slower when in both
blocks the median ratio is above 1 + --threshold / 100 (3 %) and the lower quartile above 1, so that what a neighbour does to one block is
no slowdown; it is called faster when the same holds of the inverted ratios. Exit code 1 when any figure is slower."""
import argparse
import json
import statistics
import subprocess
import sys

TIMES = ("median_ms", "one_window_seconds")
RATES = ("tokens_per_second", "pictures_per_second", "windows_per_second", "llm_tokens_per_second",
         "tower_pictures_per_second")


def figures(answer, path=""):
    """{"ttft.median_ms": (value, True where more is slower)} of a bench's JSON."""
    found = {}
    if isinstance(answer, dict):
        for key, value in answer.items():
            where = f"{path}.{key}" if path else key
            if key in ("limit", "roofline"):
                continue
            if key in TIMES + RATES and isinstance(value, (int, float)) and value > 0:
                found[where] = (float(value), key in TIMES)
            else:
                found.update(figures(value, where))
    elif isinstance(answer, list):
        for item in answer:
            name = item.get("network", len(found)) if isinstance(item, dict) else len(found)
            found.update(figures(item, f"{path}[{name}]"))
    return found


def ratios(old, new):
    """{figure: how many times slower} of two runs' figures."""
    out = {}
    for name, (value, is_time) in old.items():
        if name in new:
            out[name] = new[name][0] / value if is_time else value / new[name][0]
    return out


def quartiles(values):
    """Lower quartile, median, upper quartile; of one value three times itself."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def slower_in(block, threshold):
    low, middle, _ = quartiles(block)
    return middle > 1 + threshold / 100 and low > 1


def verdict(blocks, threshold):
    """"slower", "faster" or "same" of the ratios of each block: only what repeats in all of them."""
    if all(slower_in(block, threshold) for block in blocks):
        return "slower"
    if all(slower_in([1 / ratio for ratio in block], threshold) for block in blocks):
        return "faster"
    return "same"


def run(program, command):
    done = subprocess.run([program, *command, "--json", "--quiet"], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"compare.py: {program}: expected exit code 0, found {done.returncode}: {done.stderr.strip()}")
    try:
        found = figures(json.loads(done.stdout))
    except ValueError as error:
        sys.exit(f"compare.py: {program}: expected JSON, found something else ({error})")
    if not found:
        sys.exit(f"compare.py: {program}: expected times or rates in its JSON, found none; give bench with --ttft, -p, …")
    return found


def measure(old, new, command, pairs, blocks=2, say=lambda line: None):
    """{figure: [ratios of a block, …]}. A first pair warms up and is thrown away."""
    run(old, command), run(new, command)
    out = {}
    for block in range(blocks):
        for pair in range(pairs):
            if pair % 2 == 0:
                first = run(old, command)
                second = run(new, command)
            else:
                second = run(new, command)
                first = run(old, command)
            for name, ratio in ratios(first, second).items():
                out.setdefault(name, [[] for _ in range(blocks)])[block].append(ratio)
        say(f"block {block + 1} of {blocks} done")
    if not out:
        sys.exit("compare.py: expected a figure that both builds print, found none")
    return out


def table(found, threshold):
    lines = [f"{'figure':<40} {'new/old time':>12} {'quartiles':>15}  {'blocks':<15} verdict"]
    for name, blocks in found.items():
        low, middle, high = quartiles([ratio for block in blocks for ratio in block])
        each = " ".join(f"{quartiles(block)[1]:.3f}" for block in blocks)
        lines.append(f"{name:<40} {middle:>12.3f} {f'{low:.3f} – {high:.3f}':>15}  {each:<15} {verdict(blocks, threshold)}")
    return "\n".join(lines)


def main(words):
    if "--" not in words:
        words = [*words, "--"]
    at = words.index("--")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--pairs", type=int, default=5, help="of each of the two blocks [5]")
    parser.add_argument("--threshold", type=float, default=3, help="percent [3]")
    parser.add_argument("--json", help="a file for the ratios of every pair")
    options = parser.parse_args(words[:at])
    command = words[at + 1:]
    if not command:
        parser.error("expected a command behind --: bench/compare.py OLD NEW -- bench --random mamba-130m --ttft")
    if options.pairs < 1:
        parser.error(f"--pairs: expected at least 1, found {options.pairs}")
    found = measure(options.old, options.new, command, options.pairs, say=lambda line: print(line, file=sys.stderr))
    print(table(found, options.threshold))
    verdicts = {name: verdict(blocks, options.threshold) for name, blocks in found.items()}
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"command": command, "threshold": options.threshold, "ratios": found, "verdicts": verdicts}, file, indent=1)
    return 1 if "slower" in verdicts.values() else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
