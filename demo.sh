#!/usr/bin/env bash
# Installs what is missing (Debian 12), builds scute and runs its main job on two small bundled models.
# Safe to run again, from any directory.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"

scripts/setup_debian.sh

# A build folder made elsewhere (the repository was copied or moved) cannot be continued.
if [ -f build/CMakeCache.txt ] &&
  ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$PWD" build/CMakeCache.txt; then
  rm -rf build
fi
# test.sh shares this folder; what it switched on stays on, so that nothing is built twice.
options=(-DCMAKE_BUILD_TYPE=Release)
[ -f build/CMakeCache.txt ] || options+=(-DSCUTE_TESTS=OFF)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "demo: building build/cli/scute (Release; a few minutes the first time)"
if ! { cmake -S . -B build -G Ninja "${options[@]}" &&
  cmake --build build --target scute; } >"$log" 2>&1; then
  tail -n 40 "$log" >&2
  echo "demo: the build failed, see above" >&2
  exit 1
fi

build/cli/scute demo "$@"
command -v scute >/dev/null || echo "
(scute is $PWD/build/cli/scute here; export PATH=$PWD/build/cli:\$PATH lets you type it as above.)"
