#!/usr/bin/env bash
# Installs, with apt (and pip for --all) and only when something is missing, what scute needs on Debian 12.
#   scripts/setup_debian.sh          to build and run
#   scripts/setup_debian.sh --test   also what test.sh needs
#   scripts/setup_debian.sh --all    also what test.sh --all needs: packages of PyPI, into build/python
#   scripts/setup_debian.sh --dev    what --test installs, and benchmarks and clang-tidy
set -euo pipefail

# ocl-icd-opencl-dev: oneDNN's CMake file asks for OpenCL, but its package only recommends it.
packages=(cmake ninja-build g++ pkg-config libdnnl-dev ocl-icd-opencl-dev libhwy-dev
  nlohmann-json3-dev libcli11-dev libfmt-dev libzip-dev zlib1g-dev libssl-dev libutf8proc-dev
  libpcre2-dev libeigen3-dev libjpeg62-turbo-dev libpng-dev libwebp-dev libjs-chart.js ccache)
test_packages=(libgtest-dev libgmock-dev python3 python3-numpy clang-14 libclang-rt-14-dev
  clang-format-14 chromium chromium-driver)
all_packages=(python3-venv)
dev_packages=(libbenchmark-dev clang-tidy-14)
# Other tools that answers are compared with.
pypi_packages=(tokenizers==0.23.3)
pypi_wanted=no
pypi_folder=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../build/python

case "${1:-}" in
  "") ;;
  --test) packages+=("${test_packages[@]}") ;;
  --all)
    packages+=("${test_packages[@]}" "${all_packages[@]}")
    pypi_wanted=yes
    ;;
  --dev) packages+=("${test_packages[@]}" "${dev_packages[@]}") ;;
  *)
    echo "usage: scripts/setup_debian.sh [--test|--all|--dev]" >&2
    exit 2
    ;;
esac

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "setup: expected Debian 12 (dpkg-query, apt-get), found another system." >&2
  echo "setup: install by hand what these packages hold: ${packages[*]}" >&2
  exit 1
fi

# Into a folder of their own, without what they depend on for other purposes, and last of all.
finish() {
  [ $pypi_wanted = yes ] || exit 0
  local python=$pypi_folder/bin/python have package lost=()
  [ -x "$python" ] || /usr/bin/python3 -m venv "$pypi_folder" || exit 1
  have=$("$python" -m pip list --format=freeze --disable-pip-version-check 2>/dev/null)
  for package in "${pypi_packages[@]}"; do
    grep -qxF "$package" <<<"$have" || lost+=("$package")
  done
  [ ${#lost[@]} -gt 0 ] || exit 0
  echo "setup: installing ${lost[*]} into build/python"
  "$python" -m pip install --quiet --no-deps --disable-pip-version-check "${lost[@]}" && exit 0
  echo "setup: expected pip to install ${lost[*]}, found the errors above." >&2
  exit 1
}

missing=()
for package in "${packages[@]}"; do
  state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$state" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "setup: nothing to install with apt"
  finish
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "setup: expected root or sudo to install packages, found neither. As root, run:" >&2
    echo "  apt-get update && apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Waits up to two minutes for another apt to finish.
apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y \
    -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 "$@" </dev/null >>"$log" 2>&1
}
install() { apt install --no-install-recommends "${missing[@]}"; }

echo "setup: installing ${missing[*]}"
# The package lists are fetched only when they do not know a package, or know one that is gone.
known=yes
for package in "${missing[@]}"; do
  [ -n "$(apt-cache madison "$package" 2>/dev/null)" ] || known=no
done
if [ $known = yes ] && install; then finish; fi
if apt update && install; then finish; fi
tail -n 20 "$log" >&2
echo "setup: expected apt to install ${missing[*]}, found the errors above." >&2
exit 1
