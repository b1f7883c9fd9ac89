#!/usr/bin/env bash
# What `cmake --install BUILD` gives: used by a project of somebody else, by shells and by man.
# usage: install_test.sh BUILD [C++ COMPILER]
set -euo pipefail
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
build=$(readlink -f "$1")
compiler=${2:-c++}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix

fail() {
  echo "install: $*" >&2
  exit 1
}

cmake --install "$build" --prefix "$prefix" >"$work/log" || fail "cmake --install failed: $(tail -n 5 "$work/log")"
# Moved, as an archive of it would be.
mv "$prefix" "$work/moved"
prefix=$work/moved
examples=$prefix/share/scute/examples

# No header of tests or of other projects among the public ones, and all of them in one file.
if grep -rlE '#include [<"](gtest|gmock|fmt|nlohmann|hwy|CLI)' "$prefix/include"; then
  fail "the headers above are public and include those of other projects"
fi
if find "$prefix/include" -name '*test*' | grep .; then fail "the headers above are for tests"; fi
(cd "$prefix/include" && find scute -name '*.h' | sort -r | sed 's/.*/#include <&>/') >"$work/all.cc"
"$compiler" -std=c++20 -Wall -Wextra -Werror -I"$prefix/include" -fsyntax-only "$work/all.cc" ||
  fail "the public headers do not stand by themselves"

# find_package, and the same program by pkg-config.
if ! { cmake -S "$here" -B "$work/outside" -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_PREFIX_PATH="$prefix" &&
  cmake --build "$work/outside"; } >"$work/log" 2>&1; then
  fail "find_package(scute): $(tail -n 20 "$work/log")"
fi
# shellcheck disable=SC2046  # a list of words
PKG_CONFIG_PATH=$prefix/lib/pkgconfig "$compiler" -fsyntax-only "$here/main.cc" $(PKG_CONFIG_PATH=$prefix/lib/pkgconfig \
  pkg-config --cflags scute) || fail "pkg-config --cflags scute"
# shellcheck disable=SC2046
"$compiler" -std=c++20 "$here/main.cc" -o "$work/by-pkg-config" $(PKG_CONFIG_PATH=$prefix/lib/pkgconfig \
  pkg-config --cflags --libs scute) || fail "pkg-config --libs scute"
for program in "$work/outside/outside" "$work/by-pkg-config"; do
  "$program" "$examples/tiny-mamba1" "$examples/text/calibration.jsonl" "$examples/text/heldout.txt" \
    "$work/low-bit-$(basename "$program")" | tee -a "$work/answers"
done
[ "$(sort -u "$work/answers" | wc -l)" = 1 ] || fail "expected one answer, found $(cat "$work/answers")"

# The program, from anywhere, without a folder named by the user.
(cd "$work" && "$prefix/bin/scute" demo --model-dir "$examples/tiny-mamba1" --quiet --json --out demo >demo.json) ||
  fail "scute demo in an empty folder"
"$prefix/bin/scute" --version | head -n 1

# Completion and manual are there for every verb.
verbs=$("$prefix/bin/scute" --man | sed -nE 's/.*scute\\-([a-z]+)\\fR\(1\).*/\1/p')
[ "$(wc -w <<<"$verbs")" -ge 18 ] || fail "expected at least 18 verbs in scute.1, found: $verbs"
for verb in $verbs; do
  [ -s "$prefix/share/man/man1/scute-$verb.1.gz" ] || fail "no manual page of $verb"
done
if command -v groff >/dev/null; then
  for page in "$prefix"/share/man/man1/*.1.gz; do
    said=$(gunzip -c "$page" | groff -Kutf8 -man -Tutf8 -ww -z 2>&1) || true
    [ -z "$said" ] || fail "$page: $said"
  done
fi
completed() {
  bash --norc -c '. "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _scute; echo "${COMPREPLY[*]}"' \
    "$prefix/share/bash-completion/completions/scute" "$@"
}
expect() {
  [ "$1" = "$2" ] || fail "completion: expected \"$1\", found \"$2\""
}
expect "collect" "$(completed scute coll)"
expect "--compute" "$(completed scute collect --comp)"
expect "f32 bf16" "$(completed scute collect model --compute "")"
expect "heldout.txt" "$(cd "$examples/text" && completed scute eval heldout.t)"
if command -v zsh >/dev/null; then zsh -n "$prefix/share/zsh/site-functions/_scute" || fail "zsh's completion"; fi
if command -v fish >/dev/null; then
  fish --no-execute "$prefix/share/fish/vendor_completions.d/scute.fish" || fail "fish's completion"
fi
echo "install: all of it works"
