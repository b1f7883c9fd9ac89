#!/usr/bin/env bash
# Runs scute's main job on two small bundled models: with an installed scute of this version, or else it installs
# what is missing (Debian 12) and builds one.
# Safe to run again, from any directory.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"

version=$(sed -nE 's/^project\(scute VERSION ([0-9.]+).*/\1/p' CMakeLists.txt)
commit=$(git rev-parse --short=12 HEAD 2>/dev/null || true)
# In a clone only one of this commit, wherever it was built.
said="scute $version${commit:+ (commit $commit)}"
if installed=$(command -v scute) && [[ "$("$installed" --version | head -n 1)" == "$said"* ]]; then
  echo "demo: with $installed, which is scute $version; without it this would build build/cli/scute"
  exec "$installed" demo "$@"
fi

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
