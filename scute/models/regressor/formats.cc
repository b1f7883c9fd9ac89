#include "scute/models/regressor/formats.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "scute/base/error.h"

namespace scute {
namespace {

void check(const Grid& grid, std::string_view name) {
  const bool bits = grid.spec.bits == 8 || grid.spec.bits == 16;
  if (bits && grid.spec.symmetric && grid.zero == 0 && grid.scale > 0 && std::isfinite(grid.scale))
    return;
  fail(name, "a symmetric grid of 8 or 16 bits with a positive scale",
       fmt::format("{} bits, scale {}, zero point {}", grid.spec.bits, grid.scale, grid.zero));
}

bool same(const Grid& a, const Grid& b) {
  return a.spec.bits == b.spec.bits && a.spec.symmetric == b.spec.symmetric && a.scale == b.scale &&
         a.zero == b.zero;
}

}  // namespace

const RegressorFormats::Layer& RegressorFormats::layer(std::string_view name) const {
  const auto found = layers.find(name);
  if (found == layers.end()) {
    fail(name, "the formats of this layer's input and weights", "none");
  }
  check(found->second.input, name);
  return found->second;
}

const Grid& RegressorFormats::value(std::string_view name) const {
  const auto found = values.find(name);
  if (found == values.end()) fail(name, "the format of these values", "none");
  check(found->second, name);
  if (found->second.spec.bits != 16) {
    fail(name, "a format of 16 bits", fmt::format("{} bits", found->second.spec.bits));
  }
  return found->second;
}

bool RegressorFormats::operator==(const RegressorFormats& other) const {
  return std::ranges::equal(layers, other.layers,
                            [](const auto& a, const auto& b) {
                              return a.first == b.first && same(a.second.input, b.second.input) &&
                                     a.second.weight == b.second.weight &&
                                     a.second.bias == b.second.bias;
                            }) &&
         std::ranges::equal(values, other.values, [](const auto& a, const auto& b) {
           return a.first == b.first && same(a.second, b.second);
         });
}

int fraction_of(const Grid& grid, std::string_view name) {
  int exponent = 0;
  const float mantissa = std::frexp(grid.scale, &exponent);  // scale = ½ · 2^exponent
  const int fraction = 1 - exponent;
  if (mantissa != 0.5F || fraction < 0 || fraction > 14) {
    fail(name, "a scale that is a power of two from 2^-14 to 1, for the table of the sigmoid",
         fmt::format("{}", grid.scale));
  }
  return fraction;
}

std::vector<float> spread_scales(std::span<const float> scales, int64_t count,
                                 std::string_view name) {
  if (scales.size() != 1 && std::ssize(scales) != count) {
    fail(name, fmt::format("one scale, or {}, one for each", count),
         fmt::format("{}", scales.size()));
  }
  for (const float scale : scales) {
    if (!(scale > 0) || !std::isfinite(scale)) {
      fail(name, "scales above 0", fmt::format("{}", scale));
    }
  }
  if (std::ssize(scales) == count) return {scales.begin(), scales.end()};
  return std::vector<float>(static_cast<size_t>(count), scales[0]);
}

}  // namespace scute
