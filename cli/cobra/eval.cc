// scute eval for Cobra: how far its values are from those of another.

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "cli/cobra/memory.h"
#include "cli/described.h"
#include "cli/eval_parts.h"
#include "cli/experiments/eval_log.h"
#include "cli/form.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/job.h"
#include "cli/terminal/options.h"
#include "cli/terminal/outputs.h"
#include "cli/terminal/progress.h"
#include "cli/terminal/table.h"
#include "cli/terminal/words.h"
#include "scute/cobra/compare.h"
#include "scute/evaluate/score.h"
#include "scute/experiments/run_record_cobra.h"
#include "scute/io/file.h"
#include "scute/text/utf8.h"

namespace scute::cli {
namespace {

struct CobraEvalRequest {
  std::string model, against, items_out;
  CobraCompareOptions compare;
  int64_t seed = 42;
  Execution execution;
  EvalLog log;
  EvalPartFlags parts;
  bool no_random_text = false, force = false;
  Job job;

  void declare(Options& options);
  void check();
  std::string part() const { return part_name(parts.launched); }
};

void CobraEvalRequest::declare(Options& options) {
  options.model(model);
  options.images(compare.images);
  options.against(against);
  options.integer("--max-pictures", compare.max_pictures, {.least = 1}, "all", "pictures compared");
  options.prompts(compare.text.prompts, no_random_text, compare.text.length);
  options.integer("--seed", seed, {.least = 0}, "of random ids");
  options.items_out(items_out);
  options.force(force);
  parts.declare(options);
  log.declare(options);
  options.compute(execution.compute);
  options.backend(execution.backend);
  options.text_input(compare.text.input);
  job.declare_memory(options);
  job.declare(options);
  options.not_with({"--seed"}, "--prompts FILE or --no-random-text",
                   [this] { return !compare.text.prompts.empty() || no_random_text; });
}

void CobraEvalRequest::check() {
  check_ending("--items-out", items_out, {".jsonl"});
  check_force(force, {items_out});
  parts.check_whole({{"--items-out", !items_out.empty()}, {"--log", !log.path.empty()}});
  if (compare.images.empty()) {
    throw UsageError(
        fmt::format("expected --images DIR, the pictures that {} and the model of --against are "
                    "compared on (see scute eval {} --help)",
                    model, model));
  }
  if (against.empty()) {
    throw UsageError(
        fmt::format("expected --against MODEL, what the values of {} are compared with, e.g. the "
                    "float model that it was made from",
                    model));
  }
  compare.text.seed = static_cast<uint64_t>(seed);
  compare.text.random = !no_random_text;
  compare.threads = job.threads;
}

/// "8 pictures of images, 1 could not be read; 16 random ids each, seed 42".
std::string protocol_text(const CobraEvalRequest& request, const PictureComparison& comparison) {
  const TextOptions& text = request.compare.text;
  std::string out =
      fmt::format("{} of {} (sha256 {})", count_of(std::ssize(comparison.items), "picture"),
                  request.compare.images, short_hash(comparison.pictures_sha256));
  if (comparison.unused > 0) out += fmt::format(", {} more not used", comparison.unused);
  if (!comparison.corrupt.empty()) {
    out += fmt::format(", {} could not be read", std::ssize(comparison.corrupt));
  }
  if (!text.prompts.empty()) {
    return out + fmt::format("; text of {}, {}", text.prompts, special_tokens_text(text.input));
  }
  if (!text.random) return out + "; no text";
  return out + fmt::format("; {} each, seed {}", count_of(text.length, "random id"), text.seed);
}

std::string table_text(const PictureComparison& comparison) {
  Table table({{"stage", Table::Align::left},
               {"relative error"},
               {"SE"},
               {"worst"},
               {.title = "worst picture", .align = Table::Align::left, .least = 16},
               {"cosine"},
               {"SE"}});
  const auto shown = [](double error) {
    return std::isnan(error) ? std::string("–") : significant(error, 2);
  };
  for (size_t s = 0; s < comparison.stages.size(); ++s) {
    const std::vector<VectorError> errors = comparison.of_stage(s);
    const ErrorSummary sum = summarize_errors(errors);
    table.add({comparison.stages[s], significant(sum.relative.mean),
               shown(sum.relative.standard_error), significant(errors[sum.worst].relative),
               comparison.items[sum.worst].picture, fixed(sum.cosine.mean, 7),
               shown(sum.cosine.standard_error)});
  }
  return table.text();
}

std::string as_text(const CobraEvalRequest& request, const CobraDescription& model,
                    const CobraDescription& against, const PictureComparison& comparison,
                    double seconds) {
  const MeanAndError same = comparison.same_argmax(), divergence = comparison.divergence();
  const int64_t pictures = std::ssize(comparison.items);
  const auto plus_minus = [&](double standard_error) {
    if (pictures == 1) return std::string("(one picture: no standard error)");
    return std::isnan(standard_error) ? "± –" : "± " + significant(standard_error, 2);
  };
  const auto bound = share_bound(same.mean, pictures);
  std::string out = fmt::format("model       {} against {}, {}\n", model.name, against.name,
                                compute_name(request.execution));
  out += fmt::format("protocol    {}\n\n{}\n", protocol_text(request, comparison),
                     table_text(comparison));
  out += fmt::format("next token  the same for {:.1f} {}% of the pictures{}\n", 100 * same.mean,
                     bound ? "" : plus_minus(100 * same.standard_error) + " ",
                     !bound ? ""
                            : fmt::format(" ({} %, 95 % confidence)",
                                          bound_text(same.mean, fixed(100 * *bound, 1))));
  out += fmt::format("divergence  {} {} nats of the next token's distribution\n",
                     significant(divergence.mean), plus_minus(divergence.standard_error));
  out += fmt::format("time        {}\n", duration_text(seconds));
  return out;
}

Json as_json(const MeanAndError& value) {
  Json out;
  out["mean"] = value.mean;
  out["standard_error"] = value.standard_error;
  return out;
}

Json stage_json(const PictureComparison& comparison, size_t stage) {
  const std::vector<VectorError> errors = comparison.of_stage(stage);
  const ErrorSummary sum = summarize_errors(errors);
  std::string storage;
  Json out;
  out["relative_error"] = as_json(sum.relative);
  out["cosine"] = as_json(sum.cosine);
  out["worst"]["picture"] = with_valid_utf8(comparison.items[sum.worst].picture, storage);
  out["worst"]["relative_error"] = errors[sum.worst].relative;
  out["worst"]["cosine"] = errors[sum.worst].cosine;
  return out;
}

Json as_json(const CobraEvalRequest& request, const CobraDescription& model,
             const CobraDescription& against, const PictureComparison& comparison, double seconds) {
  Json out;
  out["model"] = model.name;
  out["model_sha256"] = hash_cobra(model);
  out["against"] = against.name;
  out["against_sha256"] = hash_cobra(against);
  out["tokenizer_sha256"] = hash_tokenizer(model.language, request.compare.text.input.tokenizer);
  out["compute"] = request.execution.compute == Compute::f32 ? "f32" : "bf16";
  out["backend"] = request.execution.backend == Backend::integer ? "integer" : "simulate";
  Json& data = out["pictures"];
  std::string storage;
  data["folder"] = with_valid_utf8(request.compare.images, storage);
  data["sha256"] = comparison.pictures_sha256;
  data["used"] = std::ssize(comparison.items);
  data["listed"] = comparison.listed;
  data["unused"] = comparison.unused;
  data["corrupt"] = Json::array();
  for (const std::string& problem : comparison.corrupt) {
    data["corrupt"].push_back(with_valid_utf8(problem, storage));
  }
  out["text"] = comparison.text;
  for (size_t s = 0; s < comparison.stages.size(); ++s) {
    out["stages"][comparison.stages[s]] = stage_json(comparison, s);
  }
  out["same_argmax"] = as_json(comparison.same_argmax());
  const auto bound = share_bound(comparison.same_argmax().mean, std::ssize(comparison.items));
  if (bound) out["same_argmax"]["bound"] = *bound;
  out["divergence"] = as_json(comparison.divergence());
  out["seconds"] = seconds;
  return out;
}

PictureComparison compared(CobraEvalRequest& request, const CobraDescription& model,
                           const CobraDescription& against) {
  const Execution& execution = request.execution;
  // What is put on disk lies beside a file of this evaluation's, or in the working directory.
  const std::string& beside =
      request.parts.folder.empty() ? request.items_out : request.parts.folder;
  const MemoryPlan plan = planned_cobra_comparison(
      request.job, model, against,
      {.execution = execution,
       .pictures = request.compare.max_pictures.value_or(std::numeric_limits<int64_t>::max()),
       .tokens = request.compare.text.length},
      beside);
  request.compare.threads = plan.threads;
  if (plan.by_layers) {
    LayeredCobra ours = load_layered_cobra(model, execution, plan.by_layers->folder);
    LayeredCobra theirs = load_layered_cobra(against, execution, plan.by_layers->folder);
    return compare_cobra(model, ours, against, theirs, plan.by_layers->samples, request.compare);
  }
  constexpr auto kAll = CobraModel::Parts::all;
  return compare_cobra(model, load_cobra(model, execution, kAll), against,
                       load_cobra(against, execution, kAll), request.compare);
}

int run(CobraEvalRequest& request, const Call& call, Output& out) {
  const std::vector<std::string> inputs{request.model, request.against, request.compare.images,
                                        request.compare.text.prompts};
  const InputStamps stamps(inputs);
  const CobraDescription model = described_cobra(request.model, request.job.quiet);
  const CobraDescription against = described_cobra(request.against, request.job.quiet);
  backend_only_with(call, model.low_bit || against.low_bit);
  request.log.check();
  std::optional<ClaimedFile> items;
  claim_if_named(items, request.items_out, request.force, inputs);

  request.job.begin();
  StepProgress progress(request.job.quiet);
  request.compare.progress = [&](int64_t done, int64_t total) {
    progress.update("eval", "pictures", done, total);
  };
  EvalParts parts(
      request.parts,
      [&] { return comparison_key(model, against, request.compare, request.execution); }, call);
  request.compare.kept = parts.items();
  const PictureComparison comparison = compared(request, model, against);
  progress.finish();
  for (const std::string& problem : comparison.corrupt) {
    warn("passed over " + problem);
  }
  stamps.check();
  const double seconds = request.job.seconds();
  if (parts.finish(out, request.job.json, seconds)) return kDone;
  if (items) {
    const HoldInterrupts hold;
    items->publish(items_text(comparison));
  }
  request.job.answer(
      out, [&] { return as_json(request, model, against, comparison, seconds); },
      [&] {
        return as_text(request, model, against, comparison, seconds) +
               (request.items_out.empty() ? "" : fmt::format("wrote {}\n", request.items_out));
      });
  const int code = request.log.add(
      [&] { return cobra_facts(model, against, comparison, request.compare, request.execution); },
      call, request.job, seconds);
  require_numbers(comparison, model.path);  // whatever else the table says
  return code;
}

}  // namespace

Form cobra_eval_form() {
  return form<CobraEvalRequest>(
      {.kind = ModelKind::cobra,
       .summary = "how far a Cobra's values are from another's, stage by stage",
       .example = "scute eval tests/golden/cobra/model --images tests/golden/cobra/pictures "
                  "--against tests/golden/cobra/model"});
}

}  // namespace scute::cli
