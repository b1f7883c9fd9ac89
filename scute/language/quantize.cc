#include "scute/language/quantize.h"

#include "scute/base/error.h"
#include "scute/base/random.h"
#include "scute/language/quantize_job.h"

namespace scute {

LowBitModel quantize(const ModelDescription& model, const Plan& plan,
                     const StatisticsSet* statistics, const Hessians* hessians,
                     const QuantizeOptions& options, int threads,
                     const QuantizeProgress& progress) {
  if (model.low_bit) fail(model.path, "a float model", "a low-bit one");
  return QuantizeJob(model, plan, statistics, hessians, options, threads, progress).run();
}

LanguageModel build_model(const LowBitModel& model, const Execution& execution,
                          LanguageModel::Head head) {
  Weights weights(model.description.path);
  for (const NamedTensor& item : model.tensors) weights.add(item.name, item.tensor);
  use_plain_names(weights);
  return {model.description.config, std::move(weights), execution, head, model.description.scheme};
}

std::vector<NamedTensor> probe_language(const LanguageModel& model, uint64_t seed) {
  constexpr int64_t kTokens = 64;
  const int64_t V = model.config().vocabulary;
  Random random(seed);
  std::vector<int32_t> ids;
  for (int64_t t = 0; t < kTokens; ++t) {
    ids.push_back(static_cast<int32_t>(random.below(static_cast<uint64_t>(V))));
  }
  Run run;
  State state = model.new_state();
  const auto hidden = run.matrix(kTokens, model.config().width);
  model.hidden(run, ids, state, hidden);
  Tensor logits(DType::f32, {kTokens, V});
  model.logits(run, hidden, logits.mutable_matrix<float>());
  return {{"logits", std::move(logits)}};
}

ProbeComparison compare_logits(const LanguageModel& a, const LanguageModel& b, uint64_t seed) {
  return compare_probes(probe_language(a, seed), probe_language(b, seed));
}

}  // namespace scute
