#!/usr/bin/env bash
# Collects statistics as a job array of SHARDS tasks, and merges them into OUT when all have ended well:
#   cluster/slurm/submit.sh SHARDS OUT [SBATCH-OPTION…] -- MODEL --data TEXT [COLLECT-OPTION…]
#   cluster/slurm/submit.sh 6 stats.safetensors --time=1:00:00 --cpus-per-task=8 --mem=6G -- models/mamba-130m --data pile.jsonl
# The parts lie in OUT.parts, which every node must see. The same line again does what is still missing.
# Prints the numbers of the two jobs, the array's first.
set -euo pipefail
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

usage() {
  sed -nE '3,4s/^# +//p' "${BASH_SOURCE[0]}" >&2
  exit 2
}

if [ $# -lt 4 ] || ! [[ $1 =~ ^[1-9][0-9]*$ ]]; then usage; fi
shards=$1
out=$2
shift 2
options=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  options+=("$1")
  shift
done
if [ $# -lt 2 ]; then usage; fi
shift

parts=$out.parts
array=$(sbatch --parsable --array=0-$((shards - 1)) "${options[@]}" "$here/collect.sbatch" "$parts" "$@")
array=${array%%;*} # a federation's answer names its cluster too
echo "collect: $array ($shards tasks)"
merge=$(sbatch --parsable --dependency="afterok:$array" --kill-on-invalid-dep=yes "$here/merge.sbatch" "$parts" "$out")
echo "merge: ${merge%%;*}"
