#!/usr/bin/env bash
# Into FOLDER: base.tar, a fresh Debian 12 with nothing but what is essential, and debs/, the packages that scute's own
# depends on, with all that those need. tests/install/chroot_test.sh installs scute there. Needs root and debootstrap.
# usage: scripts/fresh_debian.sh FOLDER
set -euo pipefail
folder=$1
if [ -s "$folder/base.tar" ] && [ -f "$folder/debs/made" ]; then exit 0; fi
if [ "$(id -u)" != 0 ]; then
  echo "setup: a fresh Debian is made by root alone; the test that needs it is skipped"
  exit 0
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
rm -rf "$folder" && mkdir -p "$folder/debs"
echo "setup: making a fresh Debian in build/chroot"
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
if ! debootstrap --variant=minbase bookworm "$folder/root" "$mirror" >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "setup: expected debootstrap to make $folder/root, found the errors above." >&2
  exit 1
fi
tar -C "$folder/root" -cf "$folder/base.part" . && rm -rf "$folder/root"

libraries=(libfmt9 libhwy1 libjpeg62-turbo libpng16-16 libssl3 libutf8proc2 libwebp7 libwebpdemux2
  libzip4 libstdc++6 libpcre2-8-0 zlib1g)
all=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
  --no-enhances "${libraries[@]}" | grep '^[a-z0-9]' | sort -u)
# shellcheck disable=SC2086  # a list of words
(cd "$folder/debs" && apt-get -q download -o APT::Sandbox::User=root $all) >"$log" 2>&1 || {
  tail -n 20 "$log" >&2
  echo "setup: expected apt to download ${libraries[*]}, found the errors above." >&2
  exit 1
}
mv "$folder/base.part" "$folder/base.tar"
touch "$folder/debs/made"
