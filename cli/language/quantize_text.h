// What was made of a language model, in words.
#pragma once

#include <string>

#include "scute/language/quantize.h"

namespace scute::cli {

/// What GPTQ did: a line, or "" where it did nothing.
std::string gptq_text(const LowBitModel& low);
/// "24 × W8A8", or by kinds of parts where they differ.
std::string formats_text(const LowBitModel& low);

}  // namespace scute::cli
