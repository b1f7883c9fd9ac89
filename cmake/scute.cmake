# How every layer is declared: scute_layer(io DEPENDS base tensor LIBRARIES libzip::zip).
# Sources are *.cc of the folder and below, tests are *_test.cc beside them, one test program per layer.

include(${CMAKE_CURRENT_LIST_DIR}/dependencies.cmake)
find_package(nlohmann_json REQUIRED)  # headers alone, and inside .cc files alone
if(SCUTE_TESTS)
  find_package(GTest REQUIRED)
  include(GoogleTest)
endif()

add_library(scute_flags INTERFACE)
# Clang's -Wshadow warns of a local name that a constant of another file has, where files of a layer are
# compiled as one; GCC's does not, and test.sh --all has Clang look at every file by itself.
target_compile_options(scute_flags INTERFACE -Wall -Wextra -Wconversion -Wnon-virtual-dtor -ffp-contract=off)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" OR NOT SCUTE_UNITY)
  target_compile_options(scute_flags INTERFACE -Wshadow)
endif()
# GCC 12 warns of overlapping copies inside std::string that cannot happen (GCC bug 105651).
target_compile_options(scute_flags INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)
# What tests/install/hardening_test.sh asks of a program that reads files of strangers. Checked copies need
# an optimizing level, which tests do not have: they come with the levels below.
if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT SCUTE_SANITIZE)
  target_compile_options(scute_flags INTERFACE -fstack-protector-strong)
  if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
    target_compile_options(scute_flags INTERFACE -fcf-protection)
  endif()
  target_link_options(scute_flags INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack)
  set(SCUTE_FORTIFY -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif()
if(SCUTE_WERROR)
  target_compile_options(scute_flags INTERFACE -Werror)
endif()
if(SCUTE_SANITIZE)
  target_compile_options(scute_flags INTERFACE -fsanitize=${SCUTE_SANITIZE} -fno-omit-frame-pointer
                                               -fno-sanitize-recover=all -g1)
  target_link_options(scute_flags INTERFACE -fsanitize=${SCUTE_SANITIZE})
  # Marks of the sanitizer hide from GCC that an empty std::optional is not read; Clang has no such warning.
  target_compile_options(scute_flags INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
endif()
# -O3 where loops are hot, -O2 elsewhere, -O1 where code is long and runs once: half the time to
# build of -O3 everywhere, and the same speed (docs/performance.md). Nothing here changes a number:
# no level of GCC or Clang reorders floating-point sums.
set(SCUTE_HOT kernels observe quantize models data)
set(SCUTE_COLD recipe language cobra regressor cli)
function(scute_optimization variable name)
  if(name IN_LIST SCUTE_HOT)
    set(${variable} 3 PARENT_SCOPE)
  elseif(name IN_LIST SCUTE_COLD)
    set(${variable} 1 PARENT_SCOPE)
  else()
    set(${variable} 2 PARENT_SCOPE)
  endif()
endfunction()

# The standard library and fmt, parsed once for each level instead of once for each of 280 files
# (1.7 of 3 seconds each).
function(scute_precompiled target level)
  if(NOT TARGET scute_headers_${level})
    file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/headers_${level}.cc CONTENT "")
    add_library(scute_headers_${level} OBJECT ${PROJECT_BINARY_DIR}/headers_${level}.cc)
    target_link_libraries(scute_headers_${level} PRIVATE scute_flags fmt::fmt)
    target_compile_options(scute_headers_${level} PRIVATE ${level_${level}})
    target_precompile_headers(
      scute_headers_${level} PRIVATE <algorithm> <array> <atomic> <chrono> <cmath> <cstdint>
      <filesystem> <functional> <limits> <map> <memory> <mutex> <optional> <set> <span> <string>
      <string_view> <unordered_map> <utility> <variant> <vector> <fmt/format.h>)
  endif()
  target_compile_options(${target} PRIVATE ${level_${level}})
  target_link_libraries(${target} PRIVATE fmt::fmt)
  target_precompile_headers(${target} REUSE_FROM scute_headers_${level})
  # Not in kernels: Highway includes each of those files several times.
  if(NOT target STREQUAL scute_kernels)
    scute_together(${target})
  endif()
endfunction()

# Several files are compiled as one: what each instantiates of the same templates is then done
# once (24 files of language: 13.3 s by sixes, 11.1 by twelves; without optimization 12.6 and 9.9).
# Names in anonymous namespaces must be unique in a layer.
function(scute_together target)
  if(SCUTE_UNITY)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 24)
    # A class with members of types that only its own .cc knows: fine there, and GCC cannot tell.
    target_compile_options(${target} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>)
  endif()
endfunction()
foreach(level 1 2 3)
  set(level_${level} $<$<CONFIG:Release>:-O${level}> ${SCUTE_FORTIFY})
endforeach()
# What the optimizer hides, and the kernels of processors that have none of their own.
set(level_plain -O0 -UNDEBUG)

target_compile_definitions(scute_flags INTERFACE SCUTE_VERSION="${PROJECT_VERSION}")
target_include_directories(scute_flags INTERFACE ${PROJECT_SOURCE_DIR})

# scute_library(base [PLAIN] SOURCES … DEPENDS … LIBRARIES …): scute_base, or scute_base_plain.
function(scute_library name)
  cmake_parse_arguments(ARG "PLAIN" "" "SOURCES;DEPENDS;LIBRARIES" ${ARGN})
  list(TRANSFORM ARG_DEPENDS PREPEND "scute_")
  set(target scute_${name})
  if(ARG_PLAIN)
    set(target scute_${name}_plain)
    list(TRANSFORM ARG_DEPENDS APPEND "_plain")
    add_library(${target} STATIC EXCLUDE_FROM_ALL ${ARG_SOURCES})
  else()
    add_library(${target} STATIC ${ARG_SOURCES})
  endif()
  set_target_properties(${target} PROPERTIES LINKER_LANGUAGE CXX)
  target_link_libraries(${target} PUBLIC scute_flags ${ARG_DEPENDS} Threads::Threads
                                  PRIVATE ${ARG_LIBRARIES})
  if(ARG_PLAIN OR SCUTE_PLAIN)
    target_compile_definitions(${target} PRIVATE SCUTE_PLAIN)
  endif()
  if(ARG_PLAIN AND name STREQUAL kernels)
    # Highway's vectors are functions that must be inlined, and GCC 12 takes the wrong form of a
    # prefetch at -O0 when a precompiled header comes first.
    target_compile_options(${target} PRIVATE -O1 -UNDEBUG)
  elseif(ARG_PLAIN AND name STREQUAL decide)
    # The search for a clip takes half the time of who decides at -O0 (four of cobra's tests: 3.4 s,
    # so 1.9). One batch needs no precompiled header.
    target_compile_options(${target} PRIVATE -O1 -UNDEBUG)
    scute_together(${target})
  elseif(ARG_PLAIN)
    scute_precompiled(${target} plain)
  else()
    scute_optimization(level ${name})
    scute_precompiled(${target} ${level})
  endif()
endfunction()

# Every layer twice when there are tests: as users get it, and without optimization (target
# `unoptimized`).
function(scute_layer name)
  cmake_parse_arguments(ARG "" "" "GENERATED;DEPENDS;LIBRARIES;PLAIN_LIBRARIES" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(APPEND sources ${ARG_GENERATED})
  scute_library(${name} SOURCES ${sources} DEPENDS ${ARG_DEPENDS} LIBRARIES ${ARG_LIBRARIES})
  if(NOT SCUTE_TESTS)
    return()
  endif()
  if(NOT ARG_PLAIN_LIBRARIES)
    set(ARG_PLAIN_LIBRARIES ${ARG_LIBRARIES})
  endif()
  scute_library(${name} PLAIN SOURCES ${sources} DEPENDS ${ARG_DEPENDS}
                LIBRARIES ${ARG_PLAIN_LIBRARIES})
  if(tests)
    scute_test(${name}_test SOURCES ${tests} LIBRARIES scute_${name} PLAIN_LIBRARIES
               scute_${name}_plain)
  endif()
endfunction()

# The test library's headers are 1.8 of the 3.7 s that a test file takes to compile alone: parsed once for
# all tests.
if(SCUTE_TESTS)
  file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/headers_test.cc CONTENT "")
  add_library(scute_headers_test OBJECT ${PROJECT_BINARY_DIR}/headers_test.cc)
  target_link_libraries(scute_headers_test PRIVATE scute_flags GTest::gmock)
  target_compile_options(scute_headers_test PRIVATE -O0)
  target_precompile_headers(scute_headers_test PRIVATE <gmock/gmock.h> <gtest/gtest.h>)
  # Test programs and fuzzers are linked with what takes a fifth of the time (0.3 s instead of 1.5 each).
  find_program(SCUTE_LLD ld.lld)
  if(SCUTE_LLD)
    set(SCUTE_FAST_LINKER -fuse-ld=lld)
  endif()
endif()

# A test program; its tests run from the repository's top folder. With PLAIN_LIBRARIES the same
# objects are linked once more, with those, for the target `unoptimized`.
function(scute_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBRARIES;PLAIN_LIBRARIES" ${ARGN})
  set(objects ${name}_objects)
  add_library(${objects} OBJECT ${ARG_SOURCES})
  target_link_libraries(${objects} PRIVATE scute_flags ${ARG_LIBRARIES} GTest::gmock)
  # Compiled together too (25 files of language: 40 s of processor, 3.2 each alone); each has a namespace of its name, so
  # that its names need not be unique.
  if(SCUTE_UNITY)
    set_target_properties(${objects} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 24)
  endif()
  # Tests take half the time to build at -O0, and hardly longer to run: what they test is not.
  target_compile_options(${objects} PRIVATE -O0)
  target_precompile_headers(${objects} REUSE_FROM scute_headers_test)
  add_executable(${name} $<TARGET_OBJECTS:${objects}>)
  set_target_properties(${name} PROPERTIES LINKER_LANGUAGE CXX)
  target_link_libraries(${name} PRIVATE scute_flags ${ARG_LIBRARIES} GTest::gmock GTest::gtest_main)
  target_link_options(${name} PRIVATE ${SCUTE_FAST_LINKER})
  if(ARG_PLAIN_LIBRARIES)
    add_executable(${name}_plain EXCLUDE_FROM_ALL $<TARGET_OBJECTS:${objects}>)
    set_target_properties(${name}_plain PROPERTIES LINKER_LANGUAGE CXX)
    target_link_libraries(${name}_plain PRIVATE scute_flags ${ARG_PLAIN_LIBRARIES} GTest::gmock
                                                GTest::gtest_main)
    target_link_options(${name}_plain PRIVATE ${SCUTE_FAST_LINKER})
    add_dependencies(unoptimized ${name}_plain)
  endif()
  gtest_discover_tests(${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR} TEST_PREFIX "${name}."
                       DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 300 LABELS gtest)
endfunction()
if(SCUTE_TESTS)
  add_custom_target(unoptimized)

  # Tiny models of every family, and what they compute in float64: made in a second when needed.
  set(SCUTE_FAMILIES ${PROJECT_BINARY_DIR}/families)
  set(maker /usr/bin/python3 ${PROJECT_SOURCE_DIR}/scripts/make_families.py ${SCUTE_FAMILIES})
  file(GLOB scripts CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/scripts/families/*.py)
  foreach(name make_families families_float64 make_golden mamba_float64 checkpoint_files)
    list(APPEND scripts ${PROJECT_SOURCE_DIR}/scripts/${name}.py)
  endforeach()
  add_custom_command(OUTPUT ${SCUTE_FAMILIES}/made
                     COMMAND ${CMAKE_COMMAND} -E rm -rf ${SCUTE_FAMILIES}
                     COMMAND ${maker}
                     COMMAND ${maker} --outliers
                     COMMAND ${CMAKE_COMMAND} -E touch ${SCUTE_FAMILIES}/made
                     DEPENDS ${scripts} VERBATIM
                     COMMENT "Making tiny models of every family")
  add_custom_target(families DEPENDS ${SCUTE_FAMILIES}/made)
endif()

# The tests of this program find those models in the folder SCUTE_FAMILIES.
function(scute_test_families target)
  add_dependencies(${target}_objects families)
  target_compile_definitions(${target}_objects PRIVATE SCUTE_FAMILIES="${SCUTE_FAMILIES}")
endfunction()
