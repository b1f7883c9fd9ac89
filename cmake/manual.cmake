# Asks PROGRAM for its manual pages and completions, into FOLDER: cmake -P.
function(ask output)
  execute_process(COMMAND ${PROGRAM} ${ARGN} OUTPUT_FILE ${output} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

file(REMOVE_RECURSE ${FOLDER})
file(MAKE_DIRECTORY ${FOLDER}/man1)
ask(${FOLDER}/scute.bash --completion bash)
ask(${FOLDER}/_scute --completion zsh)
ask(${FOLDER}/scute.fish --completion fish)
ask(${FOLDER}/man1/scute.1 --man)
# The verbs are those that its page names.
file(STRINGS ${FOLDER}/man1/scute.1 verbs REGEX "scute\\\\-[a-z]+\\\\fR\\(1\\)")
foreach(line ${verbs})
  string(REGEX REPLACE ".*scute\\\\-([a-z]+)\\\\fR\\(1\\).*" "\\1" verb "${line}")
  ask(${FOLDER}/man1/scute-${verb}.1 --man ${verb})
endforeach()
# Without a time, so that the same program gives the same bytes.
file(GLOB pages ${FOLDER}/man1/*.1)
execute_process(COMMAND gzip -9n ${pages} COMMAND_ERROR_IS_FATAL ANY)
file(TOUCH ${FOLDER}/made)
