# What CPack makes: Debian packages scute (the program) and libscute-dev (the library), in a build folder
# `cpack -G DEB`. Their licence is the system's; an
# installation by hand has LICENSE (component license). The archive that runs anywhere:
# scripts/make_archive.sh.
set(CPACK_PACKAGE_NAME scute)
set(CPACK_PACKAGE_CONTACT "scute developers <developers@scute.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "exact activation statistics and quantization of Mamba models")
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL program development)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_NAME scute)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_SHLIBDEPS ON)
set(CPACK_COMPONENT_PROGRAM_DESCRIPTION
    "scute measures the activations of Mamba language models, Cobra and small
 Mamba regressors once, exactly, decides clip ranges and quantization scales
 from what it measured, writes low-bit checkpoints, runs them with integer
 arithmetic and scores them.")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libscute-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS
    "libfmt-dev, libssl-dev, libzip-dev, zlib1g-dev, libpcre2-dev, libutf8proc-dev, libhwy-dev, libjpeg-dev, libpng-dev, libwebp-dev, pkg-config")
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION
    "The library behind scute, a static one, with its headers, for
 find_package(scute) and pkg-config.")

# What Debian wants beside every package.
configure_file(cmake/debian/changelog.in ${PROJECT_BINARY_DIR}/debian/changelog @ONLY)
execute_process(COMMAND gzip -9nf ${PROJECT_BINARY_DIR}/debian/changelog COMMAND_ERROR_IS_FATAL ANY)
foreach(of program:scute development:libscute-dev)
  string(REPLACE ":" ";" of ${of})
  list(GET of 0 component)
  list(GET of 1 name)
  install(FILES cmake/debian/copyright ${PROJECT_BINARY_DIR}/debian/changelog.gz
          DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${name} COMPONENT ${component})
endforeach()
include(CPack)
