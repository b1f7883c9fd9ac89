// What was made of a language model, in words.
#pragma once

#include <string>

#include "scute/language/quantize.h"
#include "scute/language/search.h"

namespace scute::cli {

/// What GPTQ did: a line, or "" where it did nothing.
std::string gptq_text(const LowBitModel& low);
/// "24 × W8A8", or by kinds of parts where they differ.
std::string formats_text(const LowBitModel& low);
/// The loss of each layer, or of each part, in each format, and what was chosen.
std::string search_text(const SearchResult& found);

}  // namespace scute::cli
