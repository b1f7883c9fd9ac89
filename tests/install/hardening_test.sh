#!/usr/bin/env bash
# What protects a program against faults of its own: addresses that change from run to run, nothing
# writable that is executed, tables of functions that cannot be written to after the start, guarded stack
# frames, checked copies, and marked targets of indirect jumps.
# usage: hardening_test.sh PROGRAM
set -euo pipefail
program=$1
status=0

# has WHAT COMMAND…: whether the command's output holds the pattern.
has() {
  local what=$1 pattern=$2
  shift 2
  if ! "$@" 2>/dev/null | grep -E -- "$pattern" >/dev/null; then
    echo "hardening: $what: expected \"$pattern\" in $*" >&2
    status=1
  fi
}
has "position-independent" 'Type: +DYN \(Position-Independent Executable' readelf -W -h "$program"
has "relocations read-only" 'GNU_RELRO' readelf -W -l "$program"
has "all of them at the start" 'FLAGS_1.*NOW.*PIE' readelf -W -d "$program"
has "no executable stack" 'GNU_STACK.* RW +0x' readelf -W -l "$program"
has "guarded stack frames" '__stack_chk_fail' readelf -W --dyn-syms "$program"
has "checked copies" '__[a-z]+_chk@' readelf -W --dyn-syms "$program"
# The whole program cannot be declared so: the start files of Debian 12's C library are not.
has "marked targets of indirect jumps" 'endbr64' objdump -d --section=.text --no-show-raw-insn "$program"
exit $status
