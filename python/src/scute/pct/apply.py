"""python -m scute.pct.apply: a percentile and a clip range for each bucket, from statistics.

Writes {bucket: {"percentile", "lo", "hi"}}. With --model PACKAGE.MODULE:FACTORY the ranges are also
given to the quantizers of a torch model, to show what that does; a folder is quantized by
`scute quantize --overrides`.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from scute import Error
from scute.pct.config import BUCKETS, PctConfig, parse_targets
from scute.pct.schema import write_json

_log = logging.getLogger("scute.pct")


def _decide(stats: str, bucket: str, override: float | None) -> dict[str, float] | str:
    """`scute decide` of one bucket: its range, or why there is none."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "plan.json")
        words = ["decide", stats, "--policy", "tail", "--targets", bucket, "--out", out, "--json"]
        if override is not None:
            words += ["--percentile-override", str(override)]
        # A process of its own: what the command line says goes to the process's own files.
        done = subprocess.run(
            [sys.executable, "-m", "scute", *words], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            return done.stderr.strip().removeprefix("scute: error: ")
        with open(out, encoding="utf-8") as file:
            entry = json.load(file)[bucket]
    return {key: float(entry[key]) for key in ("percentile", "lo", "hi")}


def decide_overrides(
    stats: str | os.PathLike[str],
    targets: Sequence[str] | None = None,
    override: float | None = None,
) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """({bucket: {"percentile", "lo", "hi"}}, {bucket: why it has no range}).

    stats: a file of scute's (.pt, .safetensors) or another tool's .pt of percentiles. targets
    None: the four, of which those that were not measured are passed over. Error when no bucket has
    a range.
    """
    path = os.fspath(stats)
    if not os.path.exists(path):
        raise Error(f"{path}: expected statistics, found no such file")
    ranges: dict[str, dict[str, float]] = {}
    failed: dict[str, str] = {}
    for bucket in parse_targets(targets):
        found = _decide(path, bucket, override)
        if isinstance(found, str):
            failed[bucket] = found
        else:
            ranges[bucket] = found
    if not ranges:
        raise Error(next(iter(failed.values())))
    return ranges, failed


def write_overrides(
    stats: str | os.PathLike[str],
    out: str | os.PathLike[str],
    targets: Sequence[str] | None = None,
    override: float | None = None,
) -> dict[str, dict[str, float]]:
    """decide_overrides() as JSON; buckets without a range are left out with a warning."""
    ranges, failed = decide_overrides(stats, targets, override)
    for bucket, why in failed.items():
        if targets is not None or "expected" not in why:
            _log.warning("%s left out: %s", bucket, why)
    write_json(ranges, out)
    return ranges


def quantizers_of(model: Any, targets: Sequence[str]) -> dict[str, list[Any]]:
    """Bucket → the quantizers of inputs inside its module. Error when there is none at all."""
    from scute.pct.targets import resolve_hooks

    out = {}
    for bucket, module in resolve_hooks(model, targets).items():
        found = [m.act_quantizer for m in module.modules() if hasattr(m, "act_quantizer")]
        if found:
            out[bucket] = found
    if not out:
        raise Error("--model: expected quantizers (QuantLinear, …) in its buckets, found none")
    return out


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scute.pct.apply", description="Clip ranges of buckets, from statistics."
    )
    parser.add_argument("--stats", "--summary", dest="stats", help="what pct.collect wrote")
    parser.add_argument("--out", help="the ranges, .json [the statistics' name + _overrides.json]")
    parser.add_argument("--targets", help="buckets, separated by commas [all that were measured]")
    parser.add_argument("--percentile-override", type=float, help="for every bucket: 50 … 100")
    parser.add_argument(
        "--best-percentile", choices=("none", "apply"), default="none", help="also print the choice"
    )
    parser.add_argument("--model", help="a folder, or PACKAGE.MODULE:FACTORY with quantizers")
    parser.add_argument("--device", help="accepted: ranges are decided on the processor")
    return parser


def _run(args: argparse.Namespace) -> int:
    config = PctConfig.from_env().merge({"percentile_override": args.percentile_override})
    stats = args.stats or config.stats_out
    out = args.out or config.chosen("overrides_json")
    out = out or os.path.splitext(stats)[0] + "_overrides.json"
    targets = parse_targets(args.targets) if args.targets else config.chosen("targets")
    ranges = write_overrides(stats, out, targets, config.percentile_override)
    for bucket, entry in ranges.items():
        if args.best_percentile == "apply":
            print(f"[BestPercentile] {bucket}: {entry['percentile']:.3f} applied:true")
        print(f"{bucket} p{entry['percentile']:g} lo={entry['lo']:.6g} hi={entry['hi']:.6g}")
    print(f"wrote {out}")
    if args.model and ":" in args.model:
        from scute.pct.collect import load_factory
        from scute.pct.quantizer import apply_pct_overrides_to_quantizers

        model, _ = load_factory(args.model)
        quantizers = quantizers_of(model, [b for b in BUCKETS if b in ranges])
        for bucket in apply_pct_overrides_to_quantizers(quantizers, out):
            print(f"{bucket} set in {len(quantizers[bucket])} quantizers")
    return 0


def main(words: Sequence[str] | None = None) -> int:
    """The exit code: 0, 1 when the work failed, 2 for wrong usage."""
    args = _parser().parse_args(words)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        return _run(args)
    except (Error, OSError) as error:
        print(f"scute: error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
