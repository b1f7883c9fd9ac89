// How far statistics, plans and checkpoints of one input may differ between instruction sets,
// without --portable; docs/numerics.md has the figures, which --gtest_output=xml of this program
// holds.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "scute/language/collect.h"
#include "scute/language/quantize.h"
#include "scute/observe/distribution.h"
#include "tests/test_machines.h"

namespace scute::instruction_sets_test {
namespace {

/// Each instruction set is within 1e-4 of the tensor's largest magnitude from float64
/// (models_golden_test; docs/numerics.md), so two of them are within twice that of each other.
constexpr double kApart = 2e-4;
constexpr double kShares[] = {0.01, 0.1, 0.5, 0.9, 0.99, 0.999};

class InstructionSets : public testing::TestWithParam<const char*> {
 protected:
  std::string model() const { return std::string("examples/") + GetParam(); }

  std::map<std::string, Statistic> collected(int64_t best) const {
    const Machine machine(best);
    CollectOptions options;
    options.data = {"examples/text/calibration.jsonl"};
    options.windows = {.samples = 4, .seqlen = 128, .shuffle = 42};
    return collect(describe_model(model()), options, {}).statistics.sites;
  }

  /// By GPTQ, or to nearest.
  LowBitModel rounded(int64_t best, bool gptq) const {
    const Machine machine(best);
    const ModelDescription described = describe_model(model());
    QuantizeOptions options;
    options.format = LayerFormat::parse("W4A16", "");
    options.gptq = gptq;
    options.calibration.data = {"examples/text/calibration.jsonl"};
    options.calibration.windows = {.samples = 4, .seqlen = 128, .shuffle = 42};
    const Hessians hessians =
        gptq ? measure_hessians(described, options.calibration, {.threads = 2}) : Hessians();
    return quantize(described, {}, nullptr, gptq ? &hessians : nullptr, options, 2);
  }
};
INSTANTIATE_TEST_SUITE_P(Tiny, InstructionSets, testing::Values("tiny-mamba1", "tiny-mamba2"),
                         [](const auto& tested) { return std::string(tested.param).substr(5); });

double largest(const Statistic& s) {
  return std::max(std::abs(static_cast<double>(s.min)), std::abs(static_cast<double>(s.max)));
}

/// Values that are in another bucket, of all.
struct Moved {
  uint64_t values = 0, all = 0;
  double share() const { return static_cast<double>(values) / static_cast<double>(all); }
};

void add_moved(const Histogram& a, const Histogram& b, Moved& out) {
  std::map<uint32_t, int64_t> counts;
  for (const Histogram::Bucket& bucket : a.by_id()) {
    counts[bucket.id] += static_cast<int64_t>(bucket.count);
  }
  for (const Histogram::Bucket& bucket : b.by_id()) {
    counts[bucket.id] -= static_cast<int64_t>(bucket.count);
  }
  for (const auto& [id, left] : counts)
    out.values += static_cast<uint64_t>(std::max<int64_t>(left, 0));
  out.all += a.total();
}

/// Minimum, maximum and every quantile of n values move no further than the value that moves most:
/// at most kApart. A histogram reads a quantile within half a bucket, a factor 1 ± 2^-(fine + 1),
/// on either side.
TEST_P(InstructionSets, StatisticsMoveNoFurtherThanValuesDo) {
  const auto best = collected(machines().front());
  for (const int64_t other : machines()) {
    if (other == machines().front()) continue;
    const auto lesser = collected(other);
    ASSERT_EQ(lesser.size(), best.size());
    Moved moved;
    double extremes = 0;
    for (const auto& [site, a] : best) {
      const Statistic& b = lesser.at(site);
      const double apart = kApart * std::max(largest(a), largest(b));
      EXPECT_EQ(a.count, b.count) << site;
      EXPECT_NEAR(a.min, b.min, apart) << site;
      EXPECT_NEAR(a.max, b.max, apart) << site;
      const double bucket = std::ldexp(1.0, -a.histogram.fine());
      const Distribution x(a), y(b);
      for (const double share : kShares) {
        const double q = x.quantile(share);
        EXPECT_NEAR(q, y.quantile(share), (1 + bucket) * apart + bucket * std::abs(q))
            << site << " " << share;
      }
      add_moved(a.histogram, b.histogram, moved);
      if (largest(a) > 0) {
        extremes = std::max({extremes, std::abs(double{a.max} - double{b.max}) / largest(a),
                             std::abs(double{a.min} - double{b.min}) / largest(a)});
      }
    }
    const std::string name = hwy::TargetName(other);
    RecordProperty(name + "_moved_share", std::to_string(1e6 * moved.share()) + "e-6");
    RecordProperty(name + "_extremes", std::to_string(1e6 * extremes) + "e-6");
  }
}

/// Of each range: how far its ends are apart, as a share of the site's largest magnitude; the most.
double apart(const Plan& a, const Plan& b, const std::map<std::string, Statistic>& seen) {
  double worst = 0;
  for (const auto& [site, range] : a.sites) {
    const Decision& other = b.sites.at(site);
    const double most = largest(seen.at(site));
    const double most_apart =
        std::max(std::abs(range.lo - other.lo), std::abs(range.hi - other.hi));
    if (most > 0) worst = std::max(worst, most_apart / most);
  }
  return worst;
}

/// Ranges that are extremes or quantiles move as those do. The policies that choose among
/// candidates may choose another one where two are about as good, so nothing bounds them: their
/// figures are measured.
TEST_P(InstructionSets, RangesMoveNoFurtherEither) {
  const auto best = collected(machines().front());
  for (const int64_t other : machines()) {
    if (other == machines().front()) continue;
    const auto lesser = collected(other);
    for (const char* policy : {"minmax", "percentile", "auto"}) {
      PlanOptions options;
      options.policy = Policy::parse(policy);
      const double found = apart(make_plan(best, options), make_plan(lesser, options), best);
      const double bucket = std::ldexp(1.0, -8);
      if (std::string(policy) != "auto") {
        EXPECT_LE(found, (1 + bucket) * kApart + bucket) << policy;
      }
      RecordProperty(std::string(policy) + "_" + hwy::TargetName(other),
                     std::to_string(1e6 * found) + "e-6");
    }
  }
}

/// Codes of 4 bits that differ, of all.
double codes_apart(const LowBitModel& a, const LowBitModel& b) {
  Moved moved;
  for (size_t i = 0; i < a.tensors.size(); ++i) {
    if (!a.tensors[i].name.ends_with(".weight_packed")) continue;
    const auto x = a.tensors[i].tensor.bytes(), y = b.tensors[i].tensor.bytes();
    for (size_t k = 0; k < x.size(); ++k) {
      const auto both = static_cast<unsigned>(x[k] ^ y[k]);
      moved.values += static_cast<uint64_t>((both & 0x0f) != 0) + static_cast<uint64_t>(both > 15);
      moved.all += 2;
    }
  }
  return moved.share();
}

TEST_P(InstructionSets, WeightsToNearestAreTheSameBytes) {
  const LowBitModel best = rounded(machines().front(), false);
  for (const int64_t other : machines()) {
    EXPECT_EQ(codes_apart(best, rounded(other, false)), 0.0) << hwy::TargetName(other);
  }
}

/// A code that GPTQ rounds the other way changes what later ones make good, so nothing bounds how
/// many differ. What it makes small, the error at the outputs, is as small everywhere: the two
/// solutions are as good as each other.
TEST_P(InstructionSets, GptqIsAsGoodOnEach) {
  const LowBitModel best = rounded(machines().front(), true);
  for (const int64_t other : machines()) {
    if (other == machines().front()) continue;
    const LowBitModel lesser = rounded(other, true);
    double worst = 0;
    ASSERT_EQ(best.gptq.size(), lesser.gptq.size());
    for (const auto& [matrix, a] : best.gptq) {
      const GptqReport& b = lesser.gptq.at(matrix);
      worst = std::max(worst, std::abs(a.error - b.error) / a.error);
      EXPECT_LT(b.error, b.error_nearest) << matrix;
    }
    EXPECT_LT(worst, 0.02) << hwy::TargetName(other);
    const std::string name = hwy::TargetName(other);
    RecordProperty(name + "_codes_share", std::to_string(1e6 * codes_apart(best, lesser)) + "e-6");
    RecordProperty(name + "_gptq_error", std::to_string(1e6 * worst) + "e-6");
  }
}

}  // namespace
}  // namespace scute::instruction_sets_test
