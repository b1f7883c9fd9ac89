#!/usr/bin/env bash
# --portable on other machines, which QEMU emulates: statistics, plan, checkpoint and scores of tiny-mamba1
# must be the bytes of this machine.
#   tests/portable_test.sh SCUTE
# The C library chooses its functions by the emulated processor too. Vectors of AVX2 take QEMU ten times as
# long, so that a Haswell collects alone.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
scute=$(readlink -f "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
model=examples/tiny-mamba1
texts=(--data examples/text/calibration.jsonl --samples 1 --seqlen 32)

# collected FOLDER PROGRAM…: statistics, by one thread.
collected() {
  local folder=$1
  shift
  mkdir "$folder"
  "$@" collect $model "${texts[@]}" --portable --threads 1 --quiet --out "$folder/s.safetensors" >/dev/null
}

# all_files FOLDER PROGRAM…: also what follows from them.
all_files() {
  local folder=$1
  collected "$@"
  shift
  "$@" decide "$folder/s.safetensors" --threads 1 --out "$folder/plan.json" >/dev/null
  "$@" quantize $model --plan "$folder/plan.json" --stats "$folder/s.safetensors" --portable --threads 1 --quiet \
    --out "$folder/low" >/dev/null
  "$@" eval "$folder/low" --perplexity examples/text/heldout.txt --window 32 --max-windows 1 --portable --threads 1 \
    --quiet --items-out "$folder/items.jsonl" >/dev/null
}

hashes() { (cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum); }

# as_here WHAT PROCESSOR: `collected` or `all_files` give the bytes of this machine.
as_here() {
  local start=$SECONDS
  if ! ($1 "$work/$2" qemu-x86_64 -cpu "$2" "$scute" 2>"$work/said"); then
    grep -v 'TCG doesn' "$work/said" || true
    echo "$2: expected scute to run, found the errors above"
    return 1
  fi
  # What was not made there is not compared.
  if diff <(hashes "$work/here") <(hashes "$work/$2") | grep '^>'; then
    echo "$2: expected the bytes of this machine, found others"
    return 1
  fi
  echo "$2: $(hashes "$work/$2" | wc -l) files, all as here ($((SECONDS - start)) s)"
}

all_files "$work/here" "$scute"
status=0
as_here all_files Nehalem || status=1   # no SSE4 with AES: plain loops
as_here all_files Westmere || status=1  # SSE4
as_here collected Haswell || status=1   # AVX2 with fused multiply-adds
exit $status
