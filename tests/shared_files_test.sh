#!/usr/bin/env bash
# Files that are handed on say nothing of who made them and where, and have the rights that the umask leaves:
#   tests/shared_files_test.sh SCUTE
# Not the experiment log, which is its owner's record and has the command as it was typed.
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

status=0
names=("$user" "$work")
host=$(uname -n)
# Shorter ones occur by chance.
[ ${#host} -lt 6 ] || names+=("$host")
for name in "${names[@]}"; do
  if grep -rlaF -- "$name" "$made"; then
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
