#!/usr/bin/env bash
# Installs each wheel of build/wheels into an empty environment, without the network, and runs the tests there
# that need NumPy alone.
#   python/test_wheels.sh [--python FILE]...   a Python of 3.12 or later, else all of python/newer_pythons.sh
# NumPy comes from build/wheelhouse, where scripts/setup_debian.sh --all puts it.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."

newer=()
while [ $# -gt 0 ]; do
  case "$1" in
    --python)
      newer+=("${2:?--python: expected the path of a Python}")
      shift 2
      ;;
    *)
      echo "usage: python/test_wheels.sh [--python FILE]..." >&2
      exit 2
      ;;
  esac
done
if [ ${#newer[@]} -eq 0 ]; then mapfile -t newer < <(python/newer_pythons.sh); fi

# Pure Python, so it serves every version.
packages=$(build/python/bin/python -c 'import pathlib, pytest; print(pathlib.Path(pytest.__file__).parents[1])')

# test_wheel WHEEL PYTHON
test_wheel() {
  local folder=build-wheel/empty start=$SECONDS
  rm -rf "$folder"
  "$2" -m venv "$folder"
  "$folder/bin/python" -m pip install --quiet --no-index --disable-pip-version-check \
    --find-links build/wheelhouse "$1"
  echo "$(basename "$1"), $("$2" --version): installed in $((SECONDS - start)) s"
  (cd / && env -u PYTHONPATH "$OLDPWD/$folder/bin/scute" --version >/dev/null)
  # Nothing of the system but what every system has; zlib is in manylinux's list too, because Python needs it.
  if "$folder/bin/python" -c 'import scute._core as c; print(c.__file__)' | xargs ldd |
    grep -vE 'scute\.libs|linux-vdso|ld-linux|lib(c|m|dl|rt|pthread|gcc_s|stdc\+\+|z)\.so'; then
    echo "test_wheels: expected no other library of the system, found those above" >&2
    return 1
  fi
  PYTHONPATH=$packages "$folder/bin/python" -m pytest -q -p no:cacheprovider -p no:hypothesispytest \
    -m "not slow and not torch and not adapter" python/tests
}

tested=0
for wheel in build/wheels/*.whl; do
  case "$wheel" in
    *-cp311-*) pythons=(/usr/bin/python3) ;;
    *) pythons=("${newer[@]}") ;;
  esac
  for python in "${pythons[@]}"; do
    if ! "$python" -c '' 2>/dev/null; then continue; fi
    test_wheel "$wheel" "$python"
    tested=$((tested + 1))
  done
done
if [ $tested -eq 0 ]; then
  echo "test_wheels: expected wheels in build/wheels (python/build_wheels.sh), found none that a Python here takes" >&2
  exit 1
fi
