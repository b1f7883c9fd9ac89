# Which commit a program was built from: run by cmake -P at build time, writes OUTPUT, a source file with
# scute::cli::commit(). Empty where there is no git, as in a released archive.
execute_process(COMMAND git -C ${SOURCE} rev-parse --short=12 HEAD OUTPUT_VARIABLE commit
                OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
file(WRITE ${OUTPUT} "#include \"cli/help.h\"\n\nnamespace scute::cli {\n\n"
                     "std::string_view commit() { return \"${commit}\"; }\n\n}  // namespace scute::cli\n")
