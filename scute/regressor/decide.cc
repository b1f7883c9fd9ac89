#include "scute/regressor/decide.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "scute/base/error.h"

namespace scute {
namespace {

constexpr std::array kMethods{std::pair{std::string_view("maxabs"), RegressorMethod::maxabs},
                              std::pair{std::string_view("p99"), RegressorMethod::p99},
                              std::pair{std::string_view("mse"), RegressorMethod::mse}};

/// The residual stream, and what convolutions and gates take in.
constexpr const char* kValueSites =
    "norm_f:input,blocks.*.norm:input,blocks.*.dw_conv:input,blocks.*.conv1d:input,"
    "blocks.*.z_act:input";

/// 16-bit codes have room to spare: four times the headroom's margin, 2 instead of 1.25, costs them
/// one bit of 16, and nothing seen in training so far was exceeded by a factor of 2.
double margin(double headroom, int bits) { return bits == 16 ? 1 + 4 * (headroom - 1) : headroom; }

/// Positions: where calibration has been is not where evaluation goes (parity_2100_K32 predicts
/// positions beyond twice the largest of the train role), and what is cut there is lost. Another
/// factor of 2: 4 at a headroom of 1.25, which makes a step of 0.15 mm of a range of 1.25 m.
double outer_margin(double headroom) { return 1 + 12 * (headroom - 1); }

}  // namespace

RegressorMethod parse_regressor_method(std::string_view text) {
  const auto found = std::ranges::find(kMethods, text, &decltype(kMethods)::value_type::first);
  if (found == kMethods.end()) {
    fail("calibration method", "maxabs, p99 or mse", fmt::format("\"{}\"", text));
  }
  return found->second;
}

std::string_view name_of(RegressorMethod method) {
  return std::ranges::find(kMethods, method, &decltype(kMethods)::value_type::second)->first;
}

Policy policy_of(RegressorMethod method) {
  if (method == RegressorMethod::maxabs) return Policy::parse("minmax");
  return Policy::parse(method == RegressorMethod::p99 ? "percentile:0.99" : "mse");
}

bool of_regressor(const RegressorStatistics& statistics) {
  return statistics.contains("proj:input") && statistics.contains("patch_embedding:input");
}

void add_regressor_rules(PlanOptions& options) {
  const double headroom = options.headroom;
  const Policy minmax = Policy::parse("minmax");
  const GridSpec codes{16, true};
  options.headroom = margin(headroom, options.grid.bits);
  options.rules.push_back({kValueSites, minmax, codes, margin(headroom, 16)});
  options.rules.push_back({"head:output", minmax, codes, outer_margin(headroom)});
}

double value_margin(const Decision& decision) {
  return decision.grid.bits == 16 ? decision.headroom : margin(decision.headroom, 16);
}

Plan decide_regressor(const RegressorStatistics& statistics, const RegressorQuantization& how,
                      const RegressorRangeOptions& options) {
  PlanOptions asked;
  asked.policy = policy_of(options.method);
  asked.grid = {how.bits, true};
  asked.headroom = options.headroom;
  if (how.backend == RegressorBackend::extension && how.bits == 8) {
    // Its 8-bit codes, but for the first convolution's, span what was seen (README.md).
    asked.rules.push_back({"patch_embedding:input", asked.policy, {}, {}});
    asked.policy = Policy::parse("minmax");
  }
  add_regressor_rules(asked);
  // The largest magnitude is that of the finite values; infinite features are counted and told.
  asked.allow_nonfinite = options.method == RegressorMethod::maxabs;
  return make_plan(statistics, asked);
}

}  // namespace scute
