# How every layer is declared: scute_layer(io DEPENDS base tensor LIBRARIES libzip::zip).
# Sources are *.cc of the folder and below, tests are *_test.cc beside them, one test program per layer.

find_package(Threads REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(fmt REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(libzip REQUIRED IMPORTED_TARGET libzip)
pkg_check_modules(pcre2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(utf8proc REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(hwy REQUIRED IMPORTED_TARGET libhwy)
pkg_check_modules(libjpeg REQUIRED IMPORTED_TARGET libjpeg)
pkg_check_modules(libpng REQUIRED IMPORTED_TARGET libpng)
pkg_check_modules(libwebp REQUIRED IMPORTED_TARGET libwebp libwebpdemux)
if(SCUTE_TESTS)
  find_package(GTest REQUIRED)
  include(GoogleTest)
endif()

add_library(scute_flags INTERFACE)
target_compile_options(scute_flags INTERFACE -Wall -Wextra -Wconversion -Wshadow -Wnon-virtual-dtor
                                             -ffp-contract=off)
# GCC 12 warns of overlapping copies inside std::string that cannot happen (GCC bug 105651).
target_compile_options(scute_flags INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)
if(SCUTE_WERROR)
  target_compile_options(scute_flags INTERFACE -Werror)
endif()
if(SCUTE_SANITIZE)
  target_compile_options(scute_flags INTERFACE -fsanitize=${SCUTE_SANITIZE} -fno-omit-frame-pointer
                                               -fno-sanitize-recover=all -g)
  target_link_options(scute_flags INTERFACE -fsanitize=${SCUTE_SANITIZE})
endif()
target_compile_definitions(scute_flags INTERFACE SCUTE_VERSION="${PROJECT_VERSION}")
if(SCUTE_PLAIN)
  target_compile_definitions(scute_flags INTERFACE SCUTE_PLAIN)
endif()
target_include_directories(scute_flags INTERFACE ${PROJECT_SOURCE_DIR})

function(scute_layer name)
  cmake_parse_arguments(ARG "" "" "DEPENDS;LIBRARIES" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(TRANSFORM ARG_DEPENDS PREPEND "scute_")
  if(NOT sources)
    add_library(scute_${name} INTERFACE)
    return()
  endif()
  add_library(scute_${name} STATIC ${sources})
  set_target_properties(scute_${name} PROPERTIES LINKER_LANGUAGE CXX)
  target_link_libraries(scute_${name} PUBLIC scute_flags ${ARG_DEPENDS} Threads::Threads
                                      PRIVATE ${ARG_LIBRARIES})
  if(SCUTE_TESTS AND tests)
    scute_test(${name}_test SOURCES ${tests} LIBRARIES scute_${name})
  endif()
endfunction()

# A test program; its tests run from the repository's top folder.
function(scute_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBRARIES" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  # Tests take half the time to build at -O0, and hardly longer to run: what they test is not.
  target_compile_options(${name} PRIVATE $<$<NOT:$<CONFIG:Debug>>:-O0>)
  # The test library's headers are 1.8 of the 3.7 s that a test file takes to compile.
  list(LENGTH ARG_SOURCES count)
  if(count GREATER 2)
    target_precompile_headers(${name} PRIVATE <gmock/gmock.h> <gtest/gtest.h>)
  endif()
  target_link_libraries(${name} PRIVATE scute_flags ${ARG_LIBRARIES} GTest::gmock
                                        GTest::gtest_main)
  gtest_discover_tests(${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR} TEST_PREFIX "${name}."
                       DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 300)
endfunction()
