#include "scute/models/language/routing.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "scute/base/portable_math.h"

namespace scute {
namespace {

using Routing = ExpertsConfig::Routing;

constexpr float kOut = -std::numeric_limits<float>::infinity();

float sigmoid(float x) { return static_cast<float>(1 / (1 + portable::exp(-double{x}))); }

/// Position of the largest, the first of equals.
int32_t first_largest(std::span<const float> marks) {
  return static_cast<int32_t>(std::ranges::max_element(marks) - marks.begin());
}

void softmax(std::span<float> x) {
  float most = kOut;
  for (const float value : x) most = std::max(most, value);
  double sum = 0;
  for (float& value : x) {
    value = static_cast<float>(portable::exp(double{value - most}));
    sum += double{value};
  }
  for (float& value : x) value = static_cast<float>(static_cast<double>(value) / sum);
}

/// The sum of the two largest.
float group_mark(std::span<const float> marks) {
  float first = kOut, second = kOut;
  for (const float mark : marks) {
    second = std::max(second, std::min(first, mark));
    first = std::max(first, mark);
  }
  return marks.size() > 1 ? first + second : first;
}

/// Takes the groups out whose mark is not among the `kept` largest, the worst first: cheap beside
/// the router's product.
void keep_groups(const ExpertsConfig& config, std::span<float> marks) {
  const auto size = static_cast<size_t>(config.count / config.groups);
  const auto group = [&](int64_t g) { return marks.subspan(static_cast<size_t>(g) * size, size); };
  for (int64_t out = config.kept; out < config.groups; ++out) {
    int64_t worst = -1;
    float least = 0;
    for (int64_t g = 0; g < config.groups; ++g) {
      if (group(g)[0] == kOut) continue;
      const float mark = group_mark(group(g));
      if (worst >= 0 && mark > least) continue;  // of equal ones the last goes
      worst = g;
      least = mark;
    }
    if (worst >= 0) std::ranges::fill(group(worst), kOut);
  }
}

/// The experts of one token, ascending; `marks` is what is compared, and lost.
void choose(std::span<float> marks, std::span<int32_t> experts) {
  for (int32_t& expert : experts) {
    expert = first_largest(marks);
    marks[static_cast<size_t>(expert)] = kOut;
  }
  std::ranges::sort(experts);
}

}  // namespace

void route(const ExpertsConfig& config, MatView<float> scores, const float* correction,
           MatView<int32_t> experts, MatView<float> weights) noexcept {
  const auto count = static_cast<size_t>(config.count), chosen = static_cast<size_t>(config.chosen);
  // As many experts as a model may have; no memory is taken in the token loop.
  float marks_memory[kMostExperts];
  const std::span<float> marks(marks_memory, count);
  for (int64_t t = 0; t < scores.rows; ++t) {
    const std::span<float> score(scores.row(t), count), weight(weights.row(t), chosen);
    const std::span<int32_t> choice(experts.row(t), chosen);
    if (config.routing == Routing::softmax) softmax(score);
    if (config.routing == Routing::sigmoid) std::ranges::transform(score, score.begin(), sigmoid);
    for (size_t e = 0; e < count; ++e) {
      marks[e] = score[e] + (correction == nullptr ? 0 : correction[e]);
    }
    if (std::ranges::any_of(marks, [](float mark) { return std::isnan(mark); })) {
      // Which experts these would be nobody can say, and the output is to show it.
      for (size_t i = 0; i < chosen; ++i) choice[i] = static_cast<int32_t>(i);
      std::ranges::fill(weight, std::numeric_limits<float>::quiet_NaN());
      continue;
    }
    if (config.routing == Routing::sigmoid) keep_groups(config, marks);
    choose(marks, choice);
    for (size_t i = 0; i < chosen; ++i) weight[i] = score[static_cast<size_t>(choice[i])];
    if (config.routing == Routing::softmax_of_chosen) softmax(weight);
    if (config.routing != Routing::sigmoid) continue;
    double sum = 1e-20;
    for (const float w : weight) sum += static_cast<double>(w);
    const double factor = static_cast<double>(config.scaling) / (config.normalized ? sum : 1);
    for (float& w : weight) w = static_cast<float>(static_cast<double>(w) * factor);
  }
}

}  // namespace scute
