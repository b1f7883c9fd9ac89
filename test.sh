#!/usr/bin/env bash
# Installs what is missing (Debian 12), builds scute and runs every check, fastest first.
#   ./test.sh         what every change must pass, in 25 minutes of two cores; continuous integration runs it
#   ./test.sh --fast  format, layers, golden data, build and tests only
#   ./test.sh --all   all of it, and what takes longer: every layer under the sanitizers, 60 s of each fuzzer,
#                     a build file by file, 10,000 random strings for each kind of tokenizer, GGUF files read back, Slurm,
#                     every output that documents show, and their site
# Safe to run again, from any directory. Ends with a non-zero code and the names of the failed stages.
set -uo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" || exit 1

extent=usual
case "${1:-}" in
  "") ;;
  --fast) extent=fast ;;
  --all) extent=all ;;
  *)
    echo "usage: ./test.sh [--fast|--all]" >&2
    exit 2
    ;;
esac

jobs=$(nproc)
passed=0
failed=()
began=$SECONDS
logs=build/test-logs

clock() { printf '%dm%02ds' $(($1 / 60)) $(($1 % 60)); }

# stage NAME COMMAND…: runs it, says how it went, and goes on whatever happens.
stage() {
  local name=$1 start=$SECONDS
  shift
  printf '\n== %s\n' "$name"
  if "$@"; then
    passed=$((passed + 1))
    echo "-- passed: $name ($(clock $((SECONDS - start))))"
  else
    failed+=("$name")
    echo "-- FAILED: $name ($(clock $((SECONDS - start))))"
  fi
}

# quietly LOG COMMAND…: shows what matters of the output, and only when the command fails.
quietly() {
  local log=$logs/$1.log
  shift
  "$@" >"$log" 2>&1 && return
  grep -nE 'error|FAILED|ERROR: |SUMMARY|WARNING: ThreadSanitizer|BINARY|runtime error' "$log" | head -n 30
  tail -n 30 "$log"
  echo "the whole output: $log"
  return 1
}

# A build folder made elsewhere (the repository was copied or moved) cannot be continued; the set-up's
# packages and this run's logs can.
fresh_if_moved() {
  if [ -f "$1/CMakeCache.txt" ] &&
    ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$PWD" "$1/CMakeCache.txt"; then
    find "$1" -mindepth 1 -maxdepth 1 ! -name python ! -name test-logs -exec rm -rf {} +
  fi
}

# sources PATTERN…: the repository's own files, with or without git.
sources() {
  local names=(-false)
  for pattern in "$@"; do names+=(-o -name "$pattern"); done
  find ./*.sh .ci cli cluster bench examples python scripts scute tests cmake -type f \( "${names[@]}" \) | sort
}

check_format() {
  local files
  mapfile -t files < <(sources '*.h' '*.cc')
  [ ${#files[@]} -gt 0 ] && quietly format clang-format-14 --dry-run -Werror "${files[@]}" &&
    echo "${#files[@]} files"
}

check_layers() {
  /usr/bin/python3 scripts/check_layers.py --self-test && /usr/bin/python3 scripts/check_layers.py
}

# A file longer than this does two things (DESIGN §3).
check_sizes() {
  local file lines status=0
  while read -r file; do
    lines=$(wc -l <"$file")
    if [ "$lines" -gt 400 ]; then
      echo "$file: expected at most 400 lines, found $lines"
      status=1
    fi
  done < <(sources '*.h' '*.cc' '*.cmake' '*.sh' '*.py')
  return $status
}

golden_data() {
  /usr/bin/python3 scripts/make_golden.py --check && /usr/bin/python3 scripts/make_regressor.py --check &&
    /usr/bin/python3 scripts/make_features.py --check && /usr/bin/python3 scripts/make_cobra.py --check
}

# build_in FOLDER "TARGETS" CMAKE-OPTIONS…
build_in() {
  local folder=$1 targets=$2
  shift 2
  fresh_if_moved "$folder"
  # shellcheck disable=SC2086  # TARGETS is a list
  quietly "configure-${folder//\//-}" cmake -S . -B "$folder" -G Ninja "$@" &&
    quietly "build-${folder//\//-}" cmake --build "$folder" -j "$jobs" ${targets:+--target $targets}
}

# Whole programs, not test by test as ctest alone would: what a suite sets up is made once, which is a third
# less. cli_test, a third of all, goes in four parts and first; ctest runs what is no test program beside them.
run_all_tests() {
  local status=0 programs=(ctest) others part
  for part in 0 1 2 3; do programs+=("tests/cli_test $part/4"); done
  mapfile -t others < <(ctest --test-dir build --show-only=json-v1 -L gtest |
    sed -nE 's|^ *"[^"]*/build/(.*_test)",?$|\1|p' | grep -vxF tests/cli_test | sort -ur)
  rm -f $logs/run-build-*
  # One more than processors: some tests wait, for signals and for each other.
  jobs=$((jobs + 1)) run_tests build "${programs[@]}" "${others[@]}" || status=1
  said_skipped $logs/ctest-skipped.log $logs/run-build-*.log
  [ ${#others[@]} -gt 0 ] && return $status
}

# said_skipped LOG…: why tests were skipped, and how many.
said_skipped() {
  grep -asohE 'SKIPPED: [^"]*' "$@" | sort | uniq -c | while read -r count reason; do echo "$reason (tests: $count)"; done
}

# The tests of a build that are no test programs.
run_ctest() {
  local log=$logs/ctest.log
  if ctest --test-dir "$1" -LE gtest --output-on-failure --no-tests=error >"$log" 2>&1; then
    echo "ctest: $(grep -cE '^ *[0-9]+/[0-9]+ Test .* Passed' "$log") passed, $(grep -cE '\*\*\*Skipped' "$log") skipped"
    cp "$1/Testing/Temporary/LastTest.log" $logs/ctest-skipped.log
    return 0
  fi
  grep -vE '^ *[0-9]+/[0-9]+ Test .* Passed|^ *Start ' "$log" | head -n 200
  return 1
}

# run_program FOLDER "PROGRAM [--gtest_filter=…] [PART/PARTS]": one test program of a build; "ctest": see there.
run_program() {
  local folder=$1 code words log ran skipped part=0/1
  if [ "$2" = ctest ]; then
    run_ctest "$folder"
    return
  fi
  read -ra words <<<"$2"
  log=$logs/run-${folder//\//-}-$(basename "${words[0]}")
  if [[ ${words[-1]} =~ ^[0-9]+/[0-9]+$ ]]; then
    part=${words[-1]}
    log+=-${part%/*}
    unset 'words[-1]'
  fi
  log+=.log
  GTEST_SHARD_INDEX=${part%/*} GTEST_TOTAL_SHARDS=${part#*/} timeout 900 \
    "$folder/${words[0]}" "${words[@]:1}" >"$log" 2>&1
  code=$?
  ran=$(sed -nE 's/^\[  PASSED  \] ([0-9]+) tests?.*/\1/p' "$log")
  skipped=$(sed -nE 's/^\[  SKIPPED \] ([0-9]+) tests?.*/, \1 skipped/p' "$log")
  if [ $code -eq 0 ] && [ "${ran:-0}${skipped//[^0-9]/}" -gt 0 ]; then
    echo "${words[0]##*/}: $ran passed$skipped"
    return
  fi
  grep -nE -A8 ': Failure$' "$log" | head -n 100
  grep -nE 'FAILED|ERROR: |SUMMARY|WARNING: ThreadSanitizer|runtime error' "$log" | head -n 20
  echo "${words[0]}: failed (exit code $code, ${ran:-0} passed); the whole output: $log"
  return 1
}

# side_by_side COMMAND ARGUMENT -- LINE…: COMMAND ARGUMENT LINE for every line, one on each processor.
side_by_side() {
  local command=$1 argument=$2 status=0 running=0 line
  shift 3
  for line in "$@"; do
    if [ $running -ge "$jobs" ]; then
      wait -n || status=1
      running=$((running - 1))
    fi
    "$command" "$argument" "$line" &
    running=$((running + 1))
  done
  while [ $running -gt 0 ]; do
    wait -n || status=1
    running=$((running - 1))
  done
  return $status
}

# run_tests FOLDER "PROGRAM [--gtest_filter=…]"…
run_tests() {
  local folder=$1
  shift
  side_by_side run_program "$folder" -- "$@"
}

# left_out PROGRAM: tests of a layer that such a run can do without, as gtest's patterns.
left_out() {
  case $1 in
    # The simulations of verdicts take two minutes under the sanitizers, and do nothing there that the other
    # tests of the layer do not do.
    experiments_test*) echo "Difference.ItemsNeeded*:Difference.EqualModels*" ;;
    # A property of the search by brute force, four fifths of its time; the other tests search the same models.
    # Layers in turn are the same loops for every family: four have all kinds of parts, and all ten run in
    # QuantizeHybrids and MemoryOfHybrids.
    language_test_plain)
      local patterns="*/SearchHybrids.NoList*:$no_kernels" family
      for family in bamba granite nemotronbiases falconh1biases zamba2blocks statespaces; do
        patterns+=":*/QuantizedWithinMemory.*/$family:*/LayerByLayer.*/$family"
      done
      echo "$patterns"
      ;;
    # Figures of a larger model, which CobraQuantize's tests quantize small.
    cobra_test_plain) echo "CobraQuantizeQuality.*:$no_kernels" ;;
    *_plain) echo "$no_kernels" ;;
  esac
}

# Memory, and time for much input, of what has no kernels.
no_kernels="*/QuantizePeak.*:CobraWithinMemory.*:Jsonl.ALargeFile*:ToSquare.*Memory:*.AMegabyte*:UserPain07And25.*"

# layer_programs SUFFIX LAYER…: their test programs.
layer_programs() {
  local filter suffix=$1
  shift
  for layer in "$@"; do
    filter=$(left_out "${layer}_test$suffix")
    echo "scute/$layer/${layer}_test$suffix${filter:+ --gtest_filter=-$filter}"
  done
}

layers=(base tensor io text kernels observe quantize decide models data evaluate recipe language cobra regressor
  experiments)

# Without SIMD (other processors) and without optimization (what inlining hides). The tests are
# the objects of the main build, which are compiled so in any case, with other libraries.
unoptimized() {
  local programs
  mapfile -t programs < <(layer_programs _plain "${layers[@]}")
  build_in build unoptimized &&
    run_tests build "${programs[@]}" &&
    quietly unoptimized tests/unoptimized_test.sh build/cli/scute_plain build/cli/scute &&
    cat $logs/unoptimized.log
}

# Addresses, undefined behaviour and fuzzing share one build with Clang.
# In the usual run the layers that read untrusted bytes or walk raw memory.
sanitized_layers=(base tensor io text data observe models experiments)
if [ $extent = all ]; then sanitized_layers=("${layers[@]}"); fi
sanitizer_build() {
  local targets=fuzz kernels=OFF
  # Kernels for one instruction set are enough where their own tests do not run: a quarter of their time.
  if [ $extent = usual ]; then kernels=ON; fi
  for layer in "${sanitized_layers[@]}"; do targets+=" ${layer}_test"; done
  build_in build/sanitize "$targets" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DSCUTE_WERROR=ON \
    -DCMAKE_CXX_FLAGS_RELWITHDEBINFO="-O1 -g1" -DCMAKE_CXX_COMPILER=clang++-14 -DSCUTE_FUZZ=ON \
    -DSCUTE_ONE_TARGET=$kernels -DSCUTE_SANITIZE=address,undefined,fuzzer-no-link
}
sanitizer_tests() {
  local programs
  mapfile -t programs < <(layer_programs "" "${sanitized_layers[@]}")
  run_tests build/sanitize "${programs[@]}"
}

fuzz_seconds=5
if [ $extent = all ]; then fuzz_seconds=60; fi
fuzzed=

# One program for that long.
fuzz_one() {
  local seeds=$1 program=$2 name inputs edges folder
  name=$(basename "$program")
  # The corpus found so far stays in build/, so that every run begins where the last one ended.
  local corpus=("build/fuzz-found/$name" "$seeds/$name")
  folder=tests/fuzz/regressions/$name
  if [ -d "$folder" ]; then corpus+=("$folder"); fi
  mkdir -p "${corpus[@]}"
  if "$program" -max_total_time=$fuzz_seconds -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 \
    -artifact_prefix="build/fuzz-found/$name-" "${corpus[@]}" >"$logs/$name.log" 2>&1; then
    inputs=$(sed -nE 's/^stat::number_of_executed_units: ([0-9]+)/\1/p' "$logs/$name.log")
    edges=$(sed -nE 's/.* cov: ([0-9]+) .*/\1/p' "$logs/$name.log" | tail -n 1)
    echo "$name: $inputs inputs reach $edges edges, none breaks it"
  else
    grep -nE 'ERROR: |SUMMARY|runtime error|Test unit written|what\(\)|^ +#[0-9]+ .* in scute::|Base64' "$logs/$name.log" |
      cut -c1-400 | head -n 20
    echo "$name: failed; the whole output: $logs/$name.log"
    return 1
  fi
}

fuzz() {
  local program programs=()
  for program in build/sanitize/tests/fuzz/fuzz_*; do
    if [ -f "$program" ] && [ -x "$program" ]; then programs+=("$program"); fi
  done
  if [ ${#programs[@]} -eq 0 ]; then
    echo "no fuzz program was built"
    return 1
  fi
  fuzzed="${#programs[@]} readers, $fuzz_seconds s each: ${programs[*]##*/fuzz_}"
  side_by_side fuzz_one build/sanitize/fuzz-seeds -- "${programs[@]}"
}

threads() {
  # The portable path, which is built in a third of the time.
  build_in build/threads "base_test collect_test models_golden_test" -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    -DCMAKE_CXX_FLAGS_RELWITHDEBINFO="-O1 -g1" -DSCUTE_PLAIN=ON -DSCUTE_SANITIZE=thread -DSCUTE_WERROR=ON &&
    run_tests build/threads \
      "tests/collect_test --gtest_filter=*AnyNumberOfThreads*mamba1:*Interruption*mamba2" \
      "tests/models_golden_test --gtest_filter=*OurOwnModels*" "scute/base/base_test --gtest_filter=Threads*"
}

# python_tests FOLDER MARKERS [NAME=VALUE…]: of the package in that build, with those variables. MARKERS
# choose among them, as pytest's -m.
python_tests() {
  local log=$logs/python-${1//\//-}.log folder=$PWD/$1/python_package markers=$2 status=0
  shift 2
  env "$@" PYTHONPATH="$folder" build/python/bin/python -m pytest -p no:cacheprovider -rsfE -q -s -m "$markers" \
    python/tests >"$log" 2>&1 || status=1
  grep -E '^(SKIPPED|FAILED|ERROR|E  )|(passed|failed|error).* in |^[.sF]*(import|update): |ERROR: AddressSanitizer' "$log" | head -n 40
  [ $status -eq 0 ] || echo "the whole output: $log"
  return $status
}

# The kernels' tests try every instruction set themselves; those of models have the kernels that such a
# machine would choose (tests/older_machine.cc).
older_machine() {
  SCUTE_TEST_AVX2=1 run_tests build tests/models_golden_test tests/families_golden_test \
    "tests/low_bit_test --gtest_filter=OlderMachine*:*/LowBit.BothExecutions*:*/LowBit.TheHead*:*/LowBit.PiecesOf*"
}

# shellcheck source=tests/long_stages.sh
. tests/long_stages.sh

case $extent in
  usual) echo "test.sh: the usual run (--all: also every layer under the sanitizers, longer fuzzing)" ;;
  fast) echo "test.sh: the fast run" ;;
  all) echo "test.sh: the whole run" ;;
esac
stage "set-up" scripts/setup_debian.sh --test
mkdir -p $logs
stage "format" check_format
stage "layers" check_layers
stage "file sizes" check_sizes
stage "golden data" golden_data
stage "build (GCC, Release, warnings are errors)" build_in build "" -DCMAKE_BUILD_TYPE=Release \
  -DSCUTE_WERROR=ON -DSCUTE_TESTS=ON -DSCUTE_PYTHON=ON
stage "tests" run_all_tests
stage "Python package, with NumPy alone" python_tests build "not torch and not adapter"
if [ $extent != fast ]; then
  stage "kernels and models as on a machine with AVX2 only" older_machine
  stage "portable path, without optimization: every layer, and the main job" unoptimized
  stage "build with Clang, address and undefined-behaviour sanitizers" sanitizer_build
  stage "tests under the sanitizers" sanitizer_tests
  stage "fuzzing, $fuzz_seconds seconds each" fuzz
  stage "threads under the thread sanitizer" threads
fi

if [ $extent = all ]; then long_stages; fi

printf '\nstages: %d passed, %d failed\n' $passed ${#failed[@]}
echo "fuzzed: ${fuzzed:-nothing}"
time=$(clock $((SECONDS - began)))
if [ ${#failed[@]} -gt 0 ]; then
  printf 'failed: %s\n' "${failed[@]}"
  echo "test.sh: ${#failed[@]} stages failed in $time"
  exit 1
fi
echo "test.sh: all stages passed in $time"
