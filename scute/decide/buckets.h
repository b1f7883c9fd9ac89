// The four canonical sites of the vision-language model, by the names that its tools share.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace scute {

/// In the order they are listed everywhere.
inline constexpr std::array<std::string_view, 4> kBuckets{"vision.siglip", "vision.dino", "llm",
                                                          "projector"};
bool is_bucket(std::string_view name);
/// Their names, as a list to choose from.
std::vector<std::string> bucket_names();

}  // namespace scute
