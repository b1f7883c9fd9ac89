#include "scute/experiments/old_results.h"

#include <limits>

#include "scute/evaluate/metrics.h"
#include "scute/experiments/fields.h"

namespace scute {
namespace {

struct OldResult {
  Metric metric;
  std::string_view task, value, error;     ///< members of results.tasks
  std::string_view on_top;                 ///< member of results, where there is no such task
  std::vector<std::string_view> protocol;  ///< members of the task
};

constexpr const char* kTokenizers = "other tokenizers: a perplexity is per token";

std::vector<ProtocolFact> protocol_of(const Json& task, const Json& hashes,
                                      const OldResult& result) {
  std::vector<ProtocolFact> out;
  const auto add = [&](std::string_view key) {
    const Json* value = task.find(key);
    if (value != nullptr) out.push_back({std::string(key), *value, ""});
  };
  add("file");
  add("sha256");
  for (const std::string_view key : result.protocol) add(key);
  add("n");
  const Json* predictions = task.find("predictions");
  if (predictions == nullptr) return out;
  const std::string tokenizer = text_field(hashes, {"tokenizer"});
  out.push_back({"tokenizer", tokenizer.empty() ? Json() : Json(tokenizer), kTokenizers});
  out.push_back({"predictions", *predictions, kTokenizers});
  return out;
}

void add_result(const Json& results, const Json& hashes, const OldResult& result, Score& score) {
  const Json* task = field(results, {"tasks", result.task});
  auto value = number_field(results, {"tasks", result.task, result.value});
  if (!value && !result.on_top.empty()) value = number_field(results, {result.on_top});
  if (!value) return;
  MetricScore one;
  one.metric = result.metric;
  one.mean = *value;
  one.standard_error = number_field(results, {"tasks", result.task, result.error})
                           .value_or(std::numeric_limits<double>::quiet_NaN());
  const double count = number_field(results, {"tasks", result.task, "n"}).value_or(0);
  one.count = count >= 1 && count <= 0x1p53 ? static_cast<int64_t>(count) : 0;
  forget_false_error(one);
  if (task != nullptr) one.protocol = protocol_of(*task, hashes, result);
  score.push_back(std::move(one));
}

}  // namespace

Score old_score(const Json& results, const Json& hashes) {
  Metric positions = position_error();
  positions.place = {};  // their items were not kept
  Score out;
  for (const OldResult& result :
       std::vector<OldResult>{{text_perplexity(),
                               "perplexity",
                               "perplexity",
                               "perplexity_stderr",
                               "",
                               {"window", "stride", "context"}},
                              {last_word_accuracy(),
                               "last_word",
                               "accuracy",
                               "accuracy_stderr",
                               "accuracy",
                               {"max_context"}},
                              {last_word_perplexity(),
                               "last_word",
                               "perplexity",
                               "perplexity_stderr",
                               "perplexity",
                               {"max_context"}},
                              {std::move(positions), "positions", "mean", "mean_stderr", "", {}}}) {
    add_result(results, hashes, result, out);
  }
  return out;
}

}  // namespace scute
