#!/usr/bin/env bash
# Files that are handed on say nothing of who made them and where, and have the rights that the umask leaves:
#   tests/shared_files_test.sh SCUTE
# Not the experiment log, which is its owner's record and has the command as it was typed; but what is made of
# it to be handed on.
set -euo pipefail
umask 027
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
scute=$(readlink -f "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
user=zaphod-the-user
home=$work/home/$user
made=$home/made
mkdir -p "$made"
cp -r examples/tiny-mamba1 "$home/model"
cp examples/text/calibration.jsonl examples/text/heldout.txt "$home"
export HOME=$home USER=$user LOGNAME=$user

run() { "$scute" "$@" --quiet >/dev/null; }
texts=(--data "$home/calibration.jsonl" --samples 1 --seqlen 32)
run collect "$home/model" "${texts[@]}" --out "$made/s.safetensors"
run collect "$home/model" "${texts[@]}" --out "$made/s.pt"
"$scute" decide "$made/s.safetensors" --out "$made/plan.json" >/dev/null
run quantize "$home/model" --plan "$made/plan.json" --stats "$made/s.safetensors" --out "$made/low"
run export "$made/low" --dequantized --out "$made/plain"
run eval "$made/low" --perplexity "$home/heldout.txt" --window 32 --max-windows 1 --items-out "$made/items.jsonl"
"$scute" trace "$made/low" --csv >"$made/trace.csv"
log=(--log "$home/logs/experiments.jsonl")
run run "$home/model" "${texts[@]}" --tasks perplexity --eval-data "$home/heldout.txt" --window 32 --max-windows 1 "${log[@]}"
grep -qF "$home/model" "$home/logs/experiments.jsonl" || { echo "expected the log to have the command as typed"; exit 1; }
"$scute" log "${log[@]}" --csv --mlflow "$made/mlflow" >"$made/experiments.csv" 2>/dev/null
"$scute" log "${log[@]}" --markdown >"$made/experiments.md"
"$scute" report "${log[@]}" --stats "$made/s.safetensors" --plan "$made/plan.json" --checkpoint "$made/low" --out "$made/report.html" >/dev/null
golden=$home/golden
mkdir "$golden"
cp -r tests/golden/regressor/slim.pt tests/golden/regressor_features tests/golden/cobra/model tests/golden/cobra/pictures "$golden"
frames=(--feat-root "$golden/regressor_features")
run export "$golden/slim.pt" --per-layer "${frames[@]}" --out "$made/hardware"
run collect "$golden/slim.pt" "${frames[@]}" --out "$made/frames.safetensors"
run eval "$golden/slim.pt" "${frames[@]}" --quant-mode per-layer --save-calib-ckpt "$made/calibrated.pt"
run collect "$golden/model" --images "$golden/pictures" --out "$made/pictures.safetensors"
"$scute" decide "$made/pictures.safetensors" --out "$made/ranges.json" >/dev/null
run quantize "$golden/model" --overrides "$made/ranges.json" --out "$made/cobra"

status=0
names=("$user" "$work")
host=$(uname -n)
# Shorter ones occur by chance.
[ ${#host} -lt 6 ] || names+=("$host")
for name in "${names[@]}"; do
  # MLflow's meta.yaml names the folder of a run from the root, as MLflow itself does.
  if grep -rlaF --exclude=meta.yaml -- "$name" "$made"; then
    echo "expected no file above to hold \"$name\", found it"
    status=1
  fi
done
while read -r rights file; do
  case $rights in
    640 | 750) ;;
    *)
      echo "$file: expected the rights 640 of a file or 750 of a folder, found $rights"
      status=1
      ;;
  esac
done < <(find "$made" -printf '%m %P\n')
[ "$(find "$made" -type f | wc -l)" -ge 12 ] || { echo "expected 12 files and more, found fewer"; status=1; }
[ $status -ne 0 ] || echo "$(find "$made" -type f | wc -l) files: no names of user, host and folders, rights of the umask"
exit $status
