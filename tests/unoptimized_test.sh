#!/usr/bin/env bash
# The main job on both bundled models with a program built without optimization, beside the optimized one:
#   tests/unoptimized_test.sh UNOPTIMIZED OPTIMIZED
# What the optimizer hides (two types of one name, reads of what was never set) shows here. Ranges decided from
# the same statistics must be the same bytes, perplexities within 0.1 %: the unoptimized build takes the
# portable kernels, whose sums have another order.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
plain=$(readlink -f "$1") fast=$(readlink -f "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

perplexity() {
  "$1" eval "$2" --perplexity examples/text/heldout.txt --window 128 --max-windows 2 --json --quiet |
    /usr/bin/python3 -c 'import json, sys; print(json.load(sys.stdin)["perplexity"]["value"])'
}

for model in tiny-mamba1 tiny-mamba2; do
  folder=examples/$model
  "$plain" collect "$folder" --data examples/text/calibration.jsonl --samples 2 --seqlen 128 --quiet \
    --out "$work/$model.safetensors" >/dev/null
  for program in "$plain" "$fast"; do
    "$program" decide "$work/$model.safetensors" --out "$work/plan.json" >/dev/null
    sha256sum <"$work/plan.json"
    rm "$work/plan.json"
  done | sort -u | wc -l | grep -qx 1 || { echo "$model: expected one plan of both programs, found two"; exit 1; }
  "$plain" quantize "$folder" --stats "$work/$model.safetensors" --out "$work/$model-w8a8" --quiet >/dev/null
  a=$(perplexity "$plain" "$work/$model-w8a8") b=$(perplexity "$fast" "$work/$model-w8a8")
  /usr/bin/python3 -c "import sys; a, b = $a, $b; sys.exit(not abs(a / b - 1) < 1e-3)" ||
    { echo "$model: expected a perplexity within 0.1 % of $b, found $a"; exit 1; }
  echo "$model: one plan; perplexity of W8A8 $a unoptimized, $b optimized"
done
