#include "scute/language/quantize.h"

#include <algorithm>
#include <cmath>

#include "scute/base/error.h"
#include "scute/base/random.h"
#include "scute/language/quantize_job.h"

namespace scute {

LowBitModel quantize(const ModelDescription& model, const Plan& plan,
                     const StatisticsSet* statistics, const Hessians* hessians,
                     const QuantizeOptions& options) {
  if (model.low_bit) fail(model.path, "a float model", "a low-bit one");
  return QuantizeJob(model, plan, statistics, hessians, options).run();
}

LanguageModel build_model(const LowBitModel& model, const Execution& execution) {
  Weights weights(model.description.path);
  for (const NamedTensor& item : model.tensors) weights.add(item.name, item.tensor);
  use_plain_names(weights);
  return {model.description.config, std::move(weights), execution, LanguageModel::Head::packed,
          model.description.scheme};
}

LogitComparison compare_logits(const LanguageModel& a, const LanguageModel& b, uint64_t seed) {
  constexpr int64_t kTokens = 64;
  const int64_t V = a.config().vocabulary;
  Random random(seed);
  std::vector<int32_t> ids;
  for (int64_t t = 0; t < kTokens; ++t) {
    ids.push_back(static_cast<int32_t>(random.below(static_cast<uint64_t>(V))));
  }
  const auto logits = [&](const LanguageModel& model) {
    Run run;
    State state = model.new_state();
    const auto hidden = run.matrix(kTokens, model.config().width);
    model.hidden(run, ids, state, hidden);
    Tensor out(DType::f32, {kTokens, V});
    model.logits(run, hidden, out.mutable_matrix<float>());
    return out;
  };
  const Tensor x = logits(a), y = logits(b);
  LogitComparison out{.tokens = kTokens};
  double difference = 0, magnitude = 0;
  for (int64_t i = 0; i < x.size(); ++i) {
    const auto u = static_cast<double>(x.values<float>()[static_cast<size_t>(i)]);
    const auto v = static_cast<double>(y.values<float>()[static_cast<size_t>(i)]);
    if (!std::isfinite(u) || !std::isfinite(v)) fail("logits", "finite ones", "NaN or infinite");
    difference = std::max(difference, std::abs(u - v));
    magnitude = std::max(magnitude, std::abs(u));
  }
  out.identical = std::ranges::equal(x.bytes(), y.bytes());
  out.largest = magnitude > 0 ? difference / magnitude : difference;
  return out;
}

}  // namespace scute
