#include "scute/evaluate/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "scute/base/error.h"
#include "scute/base/portable_math.h"

namespace scute {

double mcnemar(int64_t few, int64_t n) {
  double probability = 0;
  const double half = static_cast<double>(n) * portable::log(0.5);
  const auto log_factorial = [](int64_t k) { return std::lgamma(static_cast<double>(k) + 1); };
  for (int64_t k = 0; k <= few; ++k) {
    probability += portable::exp(log_factorial(n) - log_factorial(k) - log_factorial(n - k) + half);
  }
  return std::min(1.0, 2 * probability);
}

PerplexityRatio compare(const PerplexityResult& model, const PerplexityResult& reference) {
  const auto same = [](const WindowScore& a, const WindowScore& b) {
    return a.start == b.start && a.predictions == b.predictions;
  };
  if (!std::ranges::equal(model.windows, reference.windows, same)) {
    fail("comparison", "the same windows scored by both models", "others");
  }
  std::vector<double> differences;
  for (size_t i = 0; i < model.windows.size(); ++i) {
    differences.push_back((model.windows[i].nll - reference.windows[i].nll) /
                          static_cast<double>(model.windows[i].predictions));
  }
  // The error is that of windows of equal weight: all of one protocol predict equally many tokens,
  // but for the first of overlapping ones.
  const double ratio = portable::exp(model.mean_nll - reference.mean_nll);
  return {ratio, ratio * mean_and_error(differences).standard_error};
}

HitComparison compare(const LastWordResult& model, const LastWordResult& reference) {
  if (model.items.size() != reference.items.size() || model.items.empty()) {
    fail("comparison", fmt::format("{} passages scored by both models", reference.items.size()),
         fmt::format("{}", model.items.size()));
  }
  HitComparison out;
  std::vector<double> differences;
  for (size_t i = 0; i < model.items.size(); ++i) {
    const bool a = model.items[i].hit, b = reference.items[i].hit;
    out.gained += a && !b ? 1 : 0;
    out.lost += b && !a ? 1 : 0;
    differences.push_back((a ? 1 : 0) - (b ? 1 : 0));
  }
  const auto mean = mean_and_error(differences);
  out.difference = mean.mean;
  out.standard_error = mean.standard_error;
  out.p = mcnemar(std::min(out.gained, out.lost), out.gained + out.lost);
  return out;
}

}  // namespace scute
