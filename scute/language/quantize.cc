#include "scute/language/quantize.h"

#include <algorithm>

#include "scute/base/error.h"
#include "scute/base/random.h"
#include "scute/language/layer_pass.h"
#include "scute/language/quantize_job.h"

namespace scute {
namespace {

constexpr int64_t kTokens = 64;  // of a probe

std::vector<int32_t> probe_ids(int64_t vocabulary, uint64_t seed) {
  Random random(seed);
  std::vector<int32_t> out;
  for (int64_t t = 0; t < kTokens; ++t) {
    out.push_back(static_cast<int32_t>(random.below(static_cast<uint64_t>(vocabulary))));
  }
  return out;
}

}  // namespace

LowBitModel quantize(const ModelDescription& model, const Plan& plan,
                     const StatisticsSet* statistics, const Hessians* hessians,
                     const QuantizeOptions& options, int threads, const QuantizeProgress& progress,
                     const QuantizeMemory& memory, const std::optional<WorkKeeping>& keeping) {
  if (model.low_bit) fail(model.path, "a float model", "a low-bit one");
  const QuantizeRun how{threads, progress, memory, keeping};
  if (!options.gptq || !memory.hessians_by_layers) {
    return QuantizeJob(model, plan, statistics, hessians, options, how).run();
  }
  LayeredHessians layered(model, options.calibration, threads, memory.streams_in);
  const Hessians none{{}, layered.meta()};
  return QuantizeJob(model, plan, statistics, &none, options, how, &layered).run();
}

Weights tensors_of(const LowBitModel& model) {
  Weights weights(model.description.path);
  for (const NamedTensor& item : model.tensors) weights.add(item.name, item.tensor);
  use_plain_names(weights);
  return weights;
}

LanguageModel build_model(const LowBitModel& model, const Execution& execution,
                          LanguageModel::Head head) {
  return {model.description.config, tensors_of(model), execution, head, model.description.scheme};
}

std::vector<NamedTensor> probe_language(const LanguageModel& model, uint64_t seed) {
  const int64_t V = model.config().vocabulary;
  const std::vector<int32_t> ids = probe_ids(V, seed);
  Run run;
  State state = model.new_state();
  const auto hidden = run.matrix(kTokens, model.config().width);
  model.hidden(run, ids, state, hidden);
  Tensor logits(DType::f32, {kTokens, V});
  model.logits(run, hidden, logits.mutable_matrix<float>());
  return {{"logits", std::move(logits)}};
}

int64_t head_rows_at_once(int64_t width) {
  constexpr int64_t kWeights = int64_t{1} << 24, kTile = GemmInt8::kOutputTile;
  return std::max(kTile, kWeights / std::max<int64_t>(width, 1) / kTile * kTile);
}

std::vector<NamedTensor> probe_language(LayeredModel& model, uint64_t seed, int64_t head_rows) {
  const std::vector<int32_t> ids = probe_ids(model.config().vocabulary, seed);
  const auto enter = [&](int64_t, Run& run, MatView<float> stream) {
    model.enter(run, {}, ids, stream);
  };
  return {{"logits", logits_by_layers(model, kTokens, enter, head_rows)}};
}

ProbeComparison compare_logits(const LanguageModel& a, const LanguageModel& b, uint64_t seed) {
  return compare_probes(probe_language(a, seed), probe_language(b, seed));
}

}  // namespace scute
