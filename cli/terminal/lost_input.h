// Large files are mapped, and their pages can be taken away while they are read.
#pragma once

namespace scute::cli {

/// From now on the program then ends with an error that names the file, exit code 1, instead of
/// dying of SIGBUS without a word. Claims are treated as by other signals that end
/// it.
void name_lost_inputs();

}  // namespace scute::cli
