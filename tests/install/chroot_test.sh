#!/usr/bin/env bash
# scute in fresh Debian 12 systems, each a folder: its package with what that depends on, and the archive with
# nothing. Both run the demo. Needs root, and what scripts/setup_debian.sh --all left in CACHE.
# usage: chroot_test.sh BUILD CACHE
set -euo pipefail
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
build=$(readlink -f "$1") cache=$(readlink -f "$2")
if [ "$(id -u)" != 0 ]; then
  echo "SKIPPED: chroot needs root"
  exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "chroot: $*" >&2
  exit 1
}
# inside ROOT COMMAND…: with /proc, which goes when the command ends.
inside() {
  local root=$1
  shift
  unshare --mount bash -c 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"' "$root" "$@"
}
# demo ROOT PROGRAM EXAMPLES
demo() {
  inside "$1" "$2" demo --model-dir "$3/tiny-mamba1" --quiet --json --out /tmp/demo >"$work/demo.json" ||
    fail "$2 demo failed in $1"
  grep -q '"perplexity"' "$work/demo.json" || fail "expected a perplexity of the demo"
}

(cd "$build" && cpack -G DEB >"$work/log") || fail "cpack: $(tail -n 5 "$work/log")"
mkdir "$work/installed"
tar -xf "$cache/base.tar" -C "$work/installed"
cp "$build"/scute_*.deb "$work/installed/scute.deb"
if inside "$work/installed" dpkg -i /scute.deb >"$work/log" 2>&1; then fail "expected the package to ask for libraries"; fi
inside "$work/installed" dpkg -r scute >/dev/null 2>&1
mkdir "$work/installed/debs"
cp "$cache"/debs/*.deb "$work/installed/debs/"
inside "$work/installed" sh -c 'dpkg -i /debs/*.deb' >"$work/log" 2>&1 || fail "what it depends on: $(tail -n 5 "$work/log")"
inside "$work/installed" dpkg -i /scute.deb >"$work/log" 2>&1 || fail "dpkg -i: $(tail -n 5 "$work/log")"
demo "$work/installed" scute /usr/share/scute/examples
echo "package: $(inside "$work/installed" dpkg-query -W -f '${Package} ${Version}, ${Installed-Size} KB' scute)"
inside "$work/installed" dpkg -r scute >/dev/null
if find "$work/installed/usr" -name '*scute*' | grep .; then fail "the files above stay when the package goes"; fi
if command -v lintian >/dev/null; then
  lintian --allow-root --fail-on error "$build"/scute_*.deb "$build"/libscute-dev_*.deb >"$work/lintian" 2>&1 ||
    fail "lintian: $(grep ^E: "$work/lintian")"
  echo "lintian: no errors, $(grep -c ^W: "$work/lintian") warnings"
fi
rm -rf "$work/installed"

"$here/../../scripts/make_archive.sh" "$build" "$work/scute.tar.gz"
mkdir "$work/bare"
tar -xf "$cache/base.tar" -C "$work/bare"
mkdir "$work/bare/any folder"
tar -xf "$work/scute.tar.gz" -C "$work/bare/any folder"
demo "$work/bare" "/any folder/scute/bin/scute" "/any folder/scute/share/scute/examples"
echo "chroot: package and archive work"
