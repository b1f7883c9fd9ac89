#!/usr/bin/env bash
# Every command that cluster/parallel.md and cluster/mpi.md show (their ```sh blocks), as printed, in a folder of its own;
# and what they make: the bytes of one process.
#   tests/cluster/commands_test.sh build/cli/scute
set -euo pipefail
top=$(readlink -f "$(dirname "$(readlink -f "$0")")/../..")
PATH=$(dirname "$(readlink -f "$1")"):$PATH
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
ln -s "$top/examples" "$folder/examples"
cd "$folder"

# As root, and with fewer processors than ranks.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
for name in parallel mpi; do
  sed -n '/^```sh$/,/^```$/{/^```/!p}' "$top/cluster/$name.md" >"$name.sh"
  [ -s "$name.sh" ] || { echo "commands_test: expected commands in cluster/$name.md, found none" >&2; exit 1; }
  timeout 100 bash -euo pipefail "$name.sh" >"$name.log" 2>&1 || { cat "$name.log" >&2; exit 1; }
done

# mpi: three ranks, by Open MPI's numbers.
for rank in 0 1 2; do
  grep -q "part $rank/3 by OMPI_COMM_WORLD_RANK $rank of OMPI_COMM_WORLD_SIZE 3" mpi.log
done
scute collect examples/tiny-mamba1 --data examples/text/calibration.jsonl --samples 12 --seqlen 64 --quiet \
  --out one.safetensors >one.log
for made in stats stats-auto stats-mpi; do cmp "$made.safetensors" one.safetensors; done
echo "parallel and mpirun: the bytes of one process"
