# Puts text files into the library: they become string literals of a generated source file, and one
# function there returns them as a struct of string_views.
#   scute_find_chart_library(VARIABLE)  where Debian's Chart.js lies
#   scute_embed(OUTPUT HEADER h TYPE struct FUNCTION name PARTS f f,f ...)
# HEADER declares the struct and the function; each of PARTS is one member, in order: a file, or
# several with commas between, one after the other. The same file, run by cmake -P at build time, writes OUTPUT.

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
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "HEADER;TYPE;FUNCTION" "PARTS")
  set(members "")
  set(files "")
  foreach(part ${ARG_PARTS})
    string(REPLACE "," ";" of_part "${part}")
    list(APPEND files ${of_part})
  endforeach()
  string(JOIN "|" members ${ARG_PARTS})
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DOUTPUT=${output} -DHEADER=${ARG_HEADER} -DTYPE=${ARG_TYPE}
            -DFUNCTION=${ARG_FUNCTION} "-DPARTS=${members}" -P ${SCUTE_EMBED_SCRIPT}
    DEPENDS ${files} ${SCUTE_EMBED_SCRIPT}
    COMMENT "Embedding ${ARG_TYPE}" VERBATIM)
endfunction()

if(NOT CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
  return()
endif()

# Adds one array of characters that holds the files one after the other. Only a page itself may end
# a script or a style: what is put into one must not.
function(add_literal name)
  set(text "")
  foreach(file ${ARGN})
    file(READ ${file} part)
    string(APPEND text "${part}")
    foreach(bad ")scute_embedded" "</script" "</style")
      string(FIND "${part}" "${bad}" at)
      if(NOT at EQUAL -1 AND NOT file MATCHES "\\.html$")
        message(FATAL_ERROR "${file}: expected no \"${bad}\", found one at byte ${at}")
      endif()
    endforeach()
  endforeach()
  file(APPEND ${OUTPUT} "constexpr char ${name}[] = R\"scute_embedded(${text})scute_embedded\";\n")
endfunction()

file(WRITE ${OUTPUT} "// Made by cmake/embed.cmake.
#include \"${HEADER}\"

namespace scute {
namespace {
")
string(REPLACE "|" ";" PARTS "${PARTS}")
set(views "")
foreach(part ${PARTS})
  string(REPLACE "," ";" files "${part}")
  list(LENGTH views number)
  add_literal(k${TYPE}${number} ${files})
  list(APPEND views "{k${TYPE}${number}, sizeof(k${TYPE}${number}) - 1}")
endforeach()
string(JOIN ", " views ${views})
file(APPEND ${OUTPUT} "}  // namespace

const ${TYPE}& ${FUNCTION}() {
  static const ${TYPE} all{${views}};
  return all;
}

}  // namespace scute
")
