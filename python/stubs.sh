#!/usr/bin/env bash
# Writes python/src/scute/_core.pyi, the types of the extension, from the one that is built in
# build/python_package. A test compares.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
PYTHONPATH=build/python_package build/python/bin/python -m nanobind.stubgen -q -m scute._core \
  -o python/src/scute/_core.pyi
