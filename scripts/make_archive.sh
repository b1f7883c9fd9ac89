#!/usr/bin/env bash
# Makes scute-VERSION-x86_64.tar.gz: the program, its examples, manual and completions, and copies of the libraries
# it needs beside it, so that it runs from any folder of any x86-64 machine with glibc 2.36 or newer.
# usage: scripts/make_archive.sh BUILD OUT.tar.gz      BUILD: a Release build; needs patchelf (setup_debian.sh --all)
set -euo pipefail
if [ $# -ne 2 ]; then
  sed -n '2,4s/^# //p' "$0" >&2
  exit 2
fi
build=$1 out=$2
newest=2.36
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
folder=$work/$(basename "$out" .tar.gz)

for component in program license; do
  cmake --install "$build" --prefix "$folder" --component $component --strip >/dev/null
done
program=$folder/bin/scute
mkdir -p "$folder/lib/scute"
# What a copied library may be used for is said by its package, beside it.
copy_license() {
  local real package
  real=$(realpath "$1")
  # Packages of before the merge of / and /usr list a library without /usr.
  package=$({ dpkg -S "$real" || dpkg -S "${real#/usr}"; } 2>/dev/null | head -n 1 | cut -d: -f1)
  if [ -z "$package" ] || [ ! -f "/usr/share/doc/$package/copyright" ]; then
    echo "make_archive: expected the licence of $1 (/usr/share/doc/PACKAGE/copyright), found none" >&2
    exit 1
  fi
  cp -L "/usr/share/doc/$package/copyright" "$licenses/$package"
  # Long texts that several packages have in common are named there by their path; some name none.
  { grep -oE '/usr/share/common-licenses/[A-Za-z0-9.-]*[A-Za-z0-9]' "$licenses/$package" || true; } | sort -u | while read -r text; do
    mkdir -p "$licenses/common-licenses"
    cp -L "$text" "$licenses/common-licenses/"
  done
}
licenses=$folder/share/doc/scute/licenses
mkdir -p "$licenses"
# All but glibc's own, which fits the kernel and the loader of the machine it runs on.
ldd "$program" | awk '$3 ~ /^\// { print $3 }' | while read -r library; do
  case ${library##*/} in
    libc.so.* | libm.so.* | libpthread.so.* | libdl.so.* | librt.so.* | libresolv.so.*) ;;
    *)
      cp -L "$library" "$folder/lib/scute/"
      copy_license "$library"
      ;;
  esac
done
chmod 755 "$folder"/lib/scute/*
patchelf --set-rpath '$ORIGIN/../lib/scute' "$program"
for library in "$folder"/lib/scute/*; do patchelf --set-rpath '$ORIGIN' "$library"; done

wanted=$(objdump -T "$program" "$folder"/lib/scute/* 2>/dev/null | grep -oE 'GLIBC_2\.[0-9]+' | sort -uV | tail -n 1)
if [ "$(printf '%s\n' "GLIBC_$newest" "$wanted" | sort -V | tail -n 1)" != "GLIBC_$newest" ]; then
  echo "make_archive: expected libraries for glibc $newest, found one that needs $wanted; build on Debian 12" >&2
  exit 1
fi
# The same files give the same bytes.
tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -czf "$out" "$(basename "$folder")"
echo "$out: $(du -h "$out" | cut -f1), needs glibc ${wanted#GLIBC_}"
