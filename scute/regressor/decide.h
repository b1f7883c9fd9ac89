// From what the float network was seen to do to a plan, by the rules of a regressor: inputs of
// layers as asked for, values between layers with 16 bits and more room.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "scute/decide/plan.h"
#include "scute/observe/statistic.h"
#include "scute/regressor/checkpoint.h"

namespace scute {

/// How a layer's input range follows from its statistic. p99: the 99th percentile of |x|; mse: the
/// range with the least expected squared error of rounding.
enum class RegressorMethod { maxabs, p99, mse };
/// "maxabs", "p99", "mse"; Error naming them otherwise.
RegressorMethod parse_regressor_method(std::string_view text);
std::string_view name_of(RegressorMethod method);
/// The policy of decide that a method is: minmax, percentile:0.99, mse.
Policy policy_of(RegressorMethod method);

/// The statistics of one site each, by its name.
using RegressorStatistics = std::map<std::string, Statistic>;

/// How ranges of layer inputs are chosen.
struct RegressorRangeOptions {
  RegressorMethod method = RegressorMethod::maxabs;
  /// Factor on every measured range, at least 1: what comes later exceeds what was seen (on
  /// logo_2100 by 1.55 in one layer).
  double headroom = 1.25;
};

/// Whether these are the statistics of a regressor: they have the sites that every one has.
bool of_regressor(const RegressorStatistics& statistics);
/// Adds what a regressor asks for. `options` has the bits of layers' inputs, their policy and the
/// headroom; values that are no layer's input get 16 bits, min-max and margins of their own.
void add_regressor_rules(PlanOptions& options);
/// A value's factor of the range measured, at 16 bits, where its site was decided like this.
double value_margin(const Decision& decision);

/// The plan of every site. `how`: the bits, and the backend. Error naming the sites that cannot be
/// decided.
Plan decide_regressor(const RegressorStatistics& statistics, const RegressorQuantization& how,
                      const RegressorRangeOptions& options);

}  // namespace scute
