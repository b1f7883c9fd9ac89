#include "scute/experiments/run_record_language.h"

#include "scute/experiments/run_record.h"

namespace scute {

EvaluationFacts language_facts(const ModelDescription& model, const Scores& scores,
                               const ScoreWork& work, const ScoreOptions& options,
                               const Execution& execution) {
  const auto hash_of = [&](const std::string& file) {
    return file.empty() ? std::string() : options.input.files->sha256(file);
  };
  const ScoredFiles files{hash_of(options.perplexity), hash_of(options.last_word),
                          hash_tokenizer(model, options.input.tokenizer)};
  EvaluationFacts out;
  out.config =
      folder_config(model.path, "language", execution.compute == Compute::f32 ? "f32" : "bf16",
                    execution.backend == Backend::integer ? "integer" : "simulate");
  out.hashes["model"] = hash_model(model);
  out.hashes["tokenizer"] = files.tokenizer.empty() ? Json() : Json(files.tokenizer);
  out.results = results_json(scores, options, files);
  out.score = named_score(scores, options, files);
  out.items = items_text(scores, work.items);
  out.key = out.config;
  out.key["model"] = nullptr;  // under another path it is the same experiment
  out.key["hashes"] = out.hashes;
  out.key["perplexity"] = files.perplexity;
  out.key["last_word"] = files.last_word;
  out.key["window"] = options.windows.window;
  out.key["stride"] = options.windows.stride;
  out.key["context"] = options.windows.context;
  out.key["stepwise"] = options.windows.feed == Feed::one_by_one;
  const auto or_null = [](const auto& n) { return n ? Json(*n) : Json(); };
  out.key["max_windows"] = or_null(options.windows.max_windows);
  out.key["max_items"] = or_null(options.max_items);
  out.key["max_context"] = options.max_context;
  if (const std::string flags = options.input.flags(); !flags.empty()) out.key["input"] = flags;
  return out;
}

}  // namespace scute
