#!/usr/bin/env bash
# Prints the path of each Python of 3.12 or later that is here, one a version: on PATH, or installed by pyenv,
# whose names on PATH lead nowhere where another version is chosen.
set -euo pipefail
shopt -s nullglob

for minor in 12 13 14; do
  for python in "$(command -v "python3.$minor" || true)" "${PYENV_ROOT:-${HOME-}/.pyenv}"/versions/"3.$minor".*/bin/python3; do
    if [ -n "$python" ] && "$python" -c '' 2>/dev/null; then
      echo "$python"
      break
    fi
  done
done
