# What `cmake --install` puts in place: the program with its manual, completions and examples (component
# program); the library as one archive with its chosen headers, for find_package(scute) and pkg-config
# (component development).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# What a program of others begins with; what these include comes along. The rest is not installed.
set(SCUTE_PUBLIC_HEADERS
    language/collect.h language/quantize.h language/scoring.h language/model_folder.h
    observe/statistics_file.h decide/policy.h evaluate/perplexity.h evaluate/generate.h
    evaluate/divergence.h recipe/measure.h recipe/statistics_io.h recipe/folder_writer.h
    cobra/collect.h cobra/quantize.h cobra/writer.h cobra/compare.h cobra/generate.h
    regressor/checkpoint.h regressor/collect.h regressor/decide.h regressor/quantize.h regressor/writer.h
    regressor/evaluation.h)

# Adds `header`, below scute/, and what it includes to the list `variable`.
function(scute_with_includes variable header)
  if(header IN_LIST ${variable})
    return()
  endif()
  list(APPEND ${variable} ${header})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/scute/${header})
  file(STRINGS ${PROJECT_SOURCE_DIR}/scute/${header} lines REGEX "^#include \"scute/")
  foreach(line ${lines})
    string(REGEX REPLACE "^#include \"scute/([^\"]+)\".*" "\\1" included "${line}")
    scute_with_includes(${variable} ${included})
  endforeach()
  set(${variable} ${${variable}} PARENT_SCOPE)
endfunction()

set(headers)
foreach(header ${SCUTE_PUBLIC_HEADERS})
  scute_with_includes(headers ${header})
endforeach()
foreach(header ${headers})
  get_filename_component(folder ${header} DIRECTORY)
  install(FILES scute/${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/scute/${folder}
          COMPONENT development)
endforeach()

# One archive of all layers, and the libraries that they link with.
set(objects)
set(libraries)
foreach(layer ${SCUTE_LAYERS})
  list(APPEND objects $<TARGET_OBJECTS:scute_${layer}>)
  get_target_property(of_layer scute_${layer} LINK_LIBRARIES)
  list(APPEND libraries ${of_layer})
endforeach()
list(REMOVE_DUPLICATES libraries)
list(FILTER libraries EXCLUDE REGEX "^(scute_|nlohmann_json)")
add_library(scute_archive STATIC ${objects})
set_target_properties(scute_archive PROPERTIES OUTPUT_NAME scute LINKER_LANGUAGE CXX EXPORT_NAME scute)
target_compile_features(scute_archive PUBLIC cxx_std_20)
target_include_directories(scute_archive INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_libraries(scute_archive PRIVATE ${libraries})

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/scute)
install(TARGETS scute_archive EXPORT scuteTargets ARCHIVE COMPONENT development)
install(EXPORT scuteTargets NAMESPACE scute:: DESTINATION ${package} COMPONENT development)
configure_package_config_file(cmake/scuteConfig.cmake.in ${PROJECT_BINARY_DIR}/scuteConfig.cmake
                              INSTALL_DESTINATION ${package})
# Before 1.0 a minor version may change the library (docs/versions.md).
write_basic_package_version_file(${PROJECT_BINARY_DIR}/scuteConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/scuteConfig.cmake ${PROJECT_BINARY_DIR}/scuteConfigVersion.cmake
              cmake/dependencies.cmake DESTINATION ${package} COMPONENT development)
file(RELATIVE_PATH SCUTE_PC_TO_PREFIX /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
configure_file(cmake/scute.pc.in ${PROJECT_BINARY_DIR}/scute.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/scute.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig
        COMPONENT development)

# The program, and what it says of itself.
install(TARGETS scute COMPONENT program)
set(pages ${PROJECT_BINARY_DIR}/manual)
add_custom_command(
  OUTPUT ${pages}/made
  COMMAND ${CMAKE_COMMAND} -DPROGRAM=$<TARGET_FILE:scute> -DFOLDER=${pages}
          -P ${PROJECT_SOURCE_DIR}/cmake/manual.cmake
  DEPENDS scute ${PROJECT_SOURCE_DIR}/cmake/manual.cmake VERBATIM
  COMMENT "Manual pages and completions")
add_custom_target(manual ALL DEPENDS ${pages}/made)
# As Debian keeps them, and man reads them everywhere.
install(DIRECTORY ${pages}/man1 DESTINATION ${CMAKE_INSTALL_MANDIR} COMPONENT program)
install(FILES ${pages}/scute.bash RENAME scute COMPONENT program
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${pages}/_scute DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions COMPONENT program)
install(FILES ${pages}/scute.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d
        COMPONENT program)
install(DIRECTORY examples/ DESTINATION ${CMAKE_INSTALL_DATADIR}/scute/examples COMPONENT program
        PATTERN python EXCLUDE)
install(FILES README.md CHANGELOG.md CITATION.cff NOTICE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT program)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT license)
install(FILES docs/formats.md docs/versions.md DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT program)

include(cmake/package.cmake)
