#!/usr/bin/env bash
# The adapters' tests, each beside the real package in an environment of its own.
#   python/tests/adapters.sh install [NAME…]   environments/NAME.txt into build/environments/NAME
#   python/tests/adapters.sh run [NAME…]       the tests there; build/python_package must be built
# Names: onnxruntime lm_eval transformers ray (the default), and torch2 (7 GB), which runs the torch tests too.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
folder=build/environments
lists=python/tests/environments

usage() {
  echo "usage: python/tests/adapters.sh install|run [NAME…]" >&2
  exit 2
}

install() {
  local name=$1 options=()
  [ "$name" != transformers ] || options=(--system-site-packages)
  if [ -x "$folder/$name/bin/python" ] && cmp -s "$lists/$name.txt" "$folder/$name/installed.txt"; then
    return 0
  fi
  echo "setup: installing $lists/$name.txt into $folder/$name"
  /usr/bin/python3 -m venv --clear "${options[@]}" "$folder/$name"
  "$folder/$name/bin/python" -m pip install --quiet --disable-pip-version-check -r "$lists/$name.txt"
  cp "$lists/$name.txt" "$folder/$name/installed.txt"
}

run() {
  local name=$1 tests=(python/tests/adapter_"$1".py)
  if [ ! -x "$folder/$name/bin/python" ]; then
    echo "SKIPPED: no $folder/$name (python/tests/adapters.sh install $name)"
    return 0
  fi
  if [ "$name" = torch2 ]; then
    tests=(python/tests/torch_*.py python/tests/adapter_{torch_ao,modelopt,llm_compressor}.py)
  fi
  if [ "$name" = transformers ]; then tests+=(python/tests/torch_hybrids.py); fi
  PYTHONPATH=$PWD/build/python_package "$folder/$name/bin/python" -m pytest -q -p no:cacheprovider "${tests[@]}"
}

[ $# -ge 1 ] || usage
what=$1
shift
case $what in install | run) ;; *) usage ;; esac
[ $# -gt 0 ] || set -- onnxruntime lm_eval transformers ray
for name in "$@"; do
  [ -f "$lists/$name.txt" ] || usage
  "$what" "$name"
done
