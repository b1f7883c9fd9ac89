// Manual pages, from the table of verbs.
#pragma once

#include <string>
#include <string_view>

namespace scute::cli {

/// roff of scute.1, or of scute-VERB.1; UsageError when there is no such verb.
std::string man_page(std::string_view verb);

}  // namespace scute::cli
