# Puts text files into the library: they become string literals of a generated source file.
#   scute_find_chart_library(VARIABLE)  where Debian's Chart.js lies
#   scute_embed(OUTPUT HTML f STYLE f CHART f SCRIPTS f...)
# The same file, run by cmake -P at build time, writes OUTPUT.

function(scute_find_chart_library variable)
  find_file(${variable} chart.min.js
            PATHS /usr/share/javascript/chart.js /usr/local/share/javascript/chart.js
            NO_DEFAULT_PATH
            DOC "Chart.js 3, minified: drawn with in the report")
  if(NOT ${variable})
    message(FATAL_ERROR "chart.min.js: expected Chart.js 3 in /usr/share/javascript/chart.js, "
                        "found none. Install Debian's package libjs-chart.js "
                        "(scripts/setup_debian.sh does), or pass "
                        "-D${variable}=/path/to/chart.min.js")
  endif()
endfunction()

set(SCUTE_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_FILE})

function(scute_embed output)
  cmake_parse_arguments(ARG "" "HTML;STYLE;CHART" "SCRIPTS" ${ARGN})
  string(JOIN "|" scripts ${ARG_SCRIPTS})
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DOUTPUT=${output} -DHTML=${ARG_HTML} -DSTYLE=${ARG_STYLE}
            -DCHART=${ARG_CHART} "-DSCRIPTS=${scripts}" -P ${SCUTE_EMBED_SCRIPT}
    DEPENDS ${ARG_HTML} ${ARG_STYLE} ${ARG_CHART} ${ARG_SCRIPTS} ${SCUTE_EMBED_SCRIPT}
    COMMENT "Embedding the report's page" VERBATIM)
endfunction()

if(NOT CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
  return()
endif()

# Adds one array of characters that holds the files one after the other.
function(add_literal name)
  set(text "")
  foreach(file ${ARGN})
    file(READ ${file} part)
    string(APPEND text "${part}")
  endforeach()
  foreach(bad ")scute_embedded" "</script" "</style")
    string(FIND "${text}" "${bad}" at)
    if(NOT at EQUAL -1 AND NOT name STREQUAL kHtml)
      message(FATAL_ERROR "${ARGN}: expected no \"${bad}\", found one at byte ${at}")
    endif()
  endforeach()
  file(APPEND ${OUTPUT} "constexpr char ${name}[] = R\"scute_embedded(${text})scute_embedded\";\n")
endfunction()

string(REPLACE "|" ";" SCRIPTS "${SCRIPTS}")
file(WRITE ${OUTPUT} "// Made by cmake/embed.cmake.
#include \"scute/experiments/report/assets.h\"

namespace scute {
namespace {
")
add_literal(kHtml ${HTML})
add_literal(kStyle ${STYLE})
add_literal(kChart ${CHART})
add_literal(kScript ${SCRIPTS})
file(APPEND ${OUTPUT} "
template <size_t n>
std::string_view view(const char (&text)[n]) {
  return {text, n - 1};
}
}  // namespace

const ReportAssets& report_assets() {
  static const ReportAssets assets{view(kHtml), view(kStyle), view(kChart), view(kScript)};
  return assets;
}

}  // namespace scute
")
