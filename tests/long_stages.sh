# The stages of `test.sh --all` alone, which reads this file: what needs packages of PyPI, other programs or
# more time.

# Every file by itself, with the other compiler: an include that is missing shows, which the main build's
# batches may hide.
file_by_file() {
  build_in build/files "" -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-O0 -DSCUTE_PLAIN=ON -DSCUTE_UNITY=OFF \
    -DSCUTE_WERROR=ON -DCMAKE_CXX_COMPILER=clang++-14
}

# Ids as the tokenizers package makes them today: the stored ones, and those of random strings.
tokenizers() {
  local python=build/python/bin/python
  scripts/setup_debian.sh --all && rm -rf build/tokenizers &&
    $python scripts/make_tokenizers.py --check && $python scripts/make_tokenizers.py --random build/tokenizers &&
    run_tests build "scute/text/text_test --gtest_filter=TokenizerKinds.*" && rm -rf build/tokenizers
}

# The bindings under the address sanitizer. Python itself is not built for it, so its library comes first and
# leaks are not looked for: an interpreter keeps what it has to the end.
python_addresses() {
  build_in build/python-addresses scute_python -DCMAKE_BUILD_TYPE=RelWithDebInfo -DSCUTE_WERROR=ON \
    -DCMAKE_CXX_FLAGS_RELWITHDEBINFO="-O1 -g1" -DSCUTE_TESTS=OFF -DSCUTE_PYTHON=ON -DSCUTE_ONE_TARGET=ON \
    -DSCUTE_SANITIZE=address &&
    python_tests build/python-addresses "not slow and not torch and not adapter" ASAN_OPTIONS=detect_leaks=0 \
      LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libstdc++.so)"
}

# The adapters, each beside the real package in an environment of its own; torch.ao and Model Optimizer's
# contract with Debian's torch.
adapters() {
  scripts/setup_debian.sh --all &&
    PYTHONPATH=$PWD/build/python_package quietly adapters-torch build/python/bin/python -m pytest -p no:cacheprovider \
      -q python/tests/adapter_torch_ao.py python/tests/adapter_modelopt.py &&
    quietly adapters python/tests/adapters.sh run onnxruntime lm_eval transformers && grep -hE 'passed|^SKIPPED' $logs/adapters*.log
}

# A Ray cluster of this machine, two workers, one of which is killed.
ray_cluster() {
  scripts/setup_debian.sh --all && quietly ray python/tests/adapters.sh run ray && grep -hE 'passed|^SKIPPED' $logs/ray.log
}

wheels() {
  scripts/setup_debian.sh --all && python/build_wheels.sh && quietly wheels python/test_wheels.sh &&
    grep -E 'installed in|passed' $logs/wheels.log
}

# Every GGUF file that export writes, read back by the gguf package: keys, and each value.
gguf_files() {
  scripts/setup_debian.sh --all && build/python/bin/python scripts/check_gguf.py build/cli/scute
}

# Slurm as three nodes of this machine, which the test starts and ends.
slurm() {
  scripts/setup_debian.sh --all && quietly slurm tests/cluster/slurm_test.py build/cli/scute && cat $logs/slurm.log
}

# 40 faults of each kind while each output is written, an output on each processor; the usual run has 2.
many_faults() {
  local part programs=()
  for part in 0 1 2 3 4; do programs+=("tests/faults_test $part/5"); done
  SCUTE_MANY_FAULTS=1 run_tests build "${programs[@]}"
}

# tests/soak/soak.py runs for half an hour, or as long as it is asked to; here for five minutes.
soak() {
  quietly soak build/python/bin/python tests/soak/soak.py --minutes 5 && cat $logs/soak.log
}

# The package in a fresh Debian, and the archive in another.
fresh_systems() {
  scripts/setup_debian.sh --all && quietly chroot tests/install/chroot_test.sh build build/chroot && cat $logs/chroot.log
}

# Every document with the whole texts, and what takes longer to run and compare.
documents() {
  quietly documents tests/documents/documents_test.py build/cli/scute --whole && tail -n 1 $logs/documents.log
}

# The site of all documents with its references: every link followed, every page opened in a browser.
site() {
  scripts/setup_debian.sh --all && quietly site scripts/site/make_site.py build build/site && tail -n 1 $logs/site.log &&
    quietly site-pages tests/documents/site_page_test.py build/site && cat $logs/site-pages.log
}

# --portable on processors that QEMU emulates.
other_processors() {
  scripts/setup_debian.sh --all && quietly portable tests/portable_test.sh build/cli/scute && cat $logs/portable.log
}

long_stages() {
  stage "documents: commands and their output" documents
  stage "documents: the site, and headers by Doxygen" site
  stage "tokenizers, compared with the tokenizers package" tokenizers
  stage "GGUF files, read by the gguf package" gguf_files
  stage "an array of Slurm, with a task killed and nodes lost" slurm
  stage "faults of the system while outputs are written" many_faults
  stage "mixed random work for five minutes" soak
  stage "the package and the archive in fresh systems" fresh_systems
  stage "--portable on other processors" other_processors
  stage "every file by itself, with Clang" file_by_file
  stage "Python bindings under the address sanitizer" python_addresses
  stage "Python package, with torch" python_tests build torch
  stage "Python adapters, beside the real packages" adapters
  stage "Python over a Ray cluster" ray_cluster
  stage "Python wheels, in empty environments" wheels
}
