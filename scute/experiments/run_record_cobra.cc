#include "scute/experiments/run_record_cobra.h"

#include "scute/cobra/picture_score.h"
#include "scute/experiments/run_record.h"

namespace scute {

void add_pictures(const PictureComparison& comparison, const std::string& images,
                  const std::string& against_sha256, EvaluationFacts& facts) {
  facts.score = picture_score(comparison, images, against_sha256);
  Json& task = facts.results["tasks"]["pictures"];
  task["file"] = facts.score.front().protocol.front().value;
  task["sha256"] = comparison.pictures_sha256;
  task["n"] = std::ssize(comparison.items);
  task["listed"] = comparison.listed;
  task["unused"] = comparison.unused;
  task["corrupt"] = std::ssize(comparison.corrupt);
  task["text"] = comparison.text;
  facts.items = items_text(comparison);
  const std::string not_finite = comparison.not_finite();
  if (!not_finite.empty()) facts.results["not_finite"] = not_finite;
}

EvaluationFacts cobra_facts(const CobraDescription& model, const CobraDescription& against,
                            const PictureComparison& comparison, const CobraCompareOptions& options,
                            const Execution& execution) {
  EvaluationFacts out;
  out.config =
      folder_config(model.path, "cobra", execution.compute == Compute::f32 ? "f32" : "bf16",
                    execution.backend == Backend::integer ? "integer" : "simulate");
  out.config["against"] = against.path;
  out.hashes["model"] = hash_cobra(model);
  out.hashes["against"] = hash_cobra(against);
  out.hashes["tokenizer"] = hash_tokenizer(model.language, options.text.input.tokenizer);
  out.hashes["pictures"] = comparison.pictures_sha256;
  out.key = out.config;
  out.key["model"] = nullptr;  // under another path it is the same experiment
  out.key["against"] = nullptr;
  out.key["hashes"] = out.hashes;
  out.key["text"] = comparison.text;
  add_pictures(comparison, options.images, out.hashes["against"].as_string(""), out);
  return out;
}

}  // namespace scute
