// scute eval: perplexity and last-word accuracy, with protocol and standard error.
#include <fmt/format.h>

#include "cli/described.h"
#include "cli/eval_parts.h"
#include "cli/experiments/eval_log.h"
#include "cli/form.h"
#include "cli/language/eval_answer.h"
#include "cli/language/memory.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/job.h"
#include "cli/terminal/options.h"
#include "cli/terminal/outputs.h"
#include "cli/terminal/progress.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/experiments/run_record_language.h"
#include "scute/io/file.h"
#include "scute/language/calibration.h"
#include "scute/language/scoring.h"

namespace scute::cli {
namespace {

struct EvalRequest {
  std::string model, against, perplexity, last_word, items_out;
  TextInput input;
  int64_t window = 2048, context = 1;
  std::optional<int64_t> stride, max_windows, max_items;
  Compute compute = Compute::f32;
  Backend backend = Backend::integer;
  EvalLog log;
  EvalPartFlags parts;
  bool stepwise = false, force = false;
  Job job;

  void declare(Options& options);
  void check() const;
  std::string part() const { return part_name(parts.launched); }
  /// What --memory puts on disk lies beside this; "": in the working directory.
  const std::string& beside() const { return parts.folder.empty() ? items_out : parts.folder; }
};

void EvalRequest::declare(Options& options) {
  options.model(model);
  options.text("--perplexity", perplexity, "FILE",
               ".txt, .jsonl or .npy, read as one stream of tokens");
  options.last_reads();
  options.text("--last-word", last_word, "FILE",
               ".jsonl of passages, \"text\" or \"ids\" and \"target\"");
  options.last_reads();
  options.integer("--window", window, {.least = 2}, "tokens the model sees at a time");
  options.integer("--stride", stride, {.least = 1}, "window", "tokens from one window to the next");
  options.integer("--max-windows", max_windows, {.least = 1}, "all", "windows scored");
  options.integer("--max-items", max_items, {.least = 1}, "all", "passages scored");
  options.integer("--context", context, {.least = 1},
                  "tokens at a window's start that are read but not scored");
  options.flag("--stepwise", stepwise, "feed tokens one by one from a state, as in generation");
  options.against(against);
  options.items_out(items_out);
  options.force(force);
  parts.declare(options);
  log.declare(options);
  options.compute(compute);
  options.backend(backend);
  options.text_input(input);
  job.declare_memory(options);
  job.declare(options);
  options.only_with({"--window", "--stride", "--max-windows", "--context", "--stepwise"},
                    "--perplexity FILE");
  options.only_with({"--max-items"}, "--last-word FILE");
}

void EvalRequest::check() const {
  check_ending("--items-out", items_out, {".jsonl"});
  check_force(force, {items_out});
  parts.check_whole({{"--items-out", !items_out.empty()}, {"--log", !log.path.empty()}});
  if (perplexity.empty() && last_word.empty()) {
    throw UsageError("expected --perplexity FILE or --last-word FILE (see scute eval --help)");
  }
  if (context >= window) {
    throw UsageError(
        fmt::format("--context: expected less than the window, {}, found \"{}\"", window, context));
  }
  if (stride && *stride > window) {
    throw UsageError(
        fmt::format("--stride: expected at most the window, {}, found \"{}\"", window, *stride));
  }
}

ScoreOptions score_options(const EvalRequest& request) {
  return {.perplexity = request.perplexity,
          .last_word = request.last_word,
          .windows = {.window = request.window,
                      .stride = request.stride.value_or(request.window),
                      .max_windows = request.max_windows,
                      .context = request.context,
                      .feed = request.stepwise ? Feed::one_by_one : Feed::whole},
          .max_items = request.max_items,
          .input = request.input};
}

/// What there is to score, for a plan.
ScoringWork scoring_work(const EvalRequest& request, const ScoreWork& work) {
  ScoringWork out{.by_layers = !request.stepwise, .texts = {request.perplexity, request.last_word}};
  const ScoreOptions options = score_options(request);
  if (!work.stream.empty()) {
    out.tokens = request.window;
    out.sequences = work.windows(options.windows);
  }
  for (const LastWordItem& item : work.items) {
    out.tokens = std::max(out.tokens, std::ssize(scored_ids(item, options.max_context)));
  }
  out.sequences = std::max(out.sequences, std::ssize(work.items));
  return out;
}

Scores score(const EvalRequest& request, const ScoreWork& work, const ModelDescription& description,
             const Execution& execution, const KeptItems& kept, const std::string& whose) {
  const MemoryPlan plan = planned_scoring(request.job, description, execution,
                                          scoring_work(request, work), request.beside());
  const Threads threads(plan.threads);
  StepProgress progress(request.job.quiet);
  const ScoreProgress show = [&](ScoreTask task, int64_t done, int64_t total) {
    const bool words = task == ScoreTask::perplexity;
    progress.update(words ? "perplexity" : "last word", words ? "windows" : "passages", done,
                    total);
  };
  const ScoreOptions options = score_options(request);
  if (plan.by_layers) {
    LayeredModel model(description.config, read_weights(description), execution,
                       description.scheme);
    return score_by_layers(model, work, options, threads, *plan.by_layers, show, kept, whose);
  }
  const LanguageModel model = load_model(description, execution, LanguageModel::Head::packed);
  return score(model, work, options, threads, show, kept, whose);
}

/// Of both models, with --against.
Json evaluation_key(const EvalRequest& request, const ModelDescription& model,
                    const Execution& execution) {
  const ScoreOptions options = score_options(request);
  Json key = scoring_key(model, options, execution);
  if (!request.against.empty()) {
    key["against"] = hash_model(describe_model(request.against));
  }
  return key;
}

/// Says so when a low-bit model was calibrated on the very file it is scored on.
void warn_of_calibration(const EvalRequest& request, const ModelDescription& model) {
  for (const std::string& file : {request.perplexity, request.last_word}) {
    if (!file.empty() && calibrated_on(model, request.input.files->sha256(file))) {
      warn(fmt::format("{} was calibrated on {}: its scores there flatter it", model.name, file));
    }
  }
}

/// After everything was shown and recorded: what was found is still worth looking at.
void require_finite(const std::string& model, const std::string& not_finite) {
  if (!not_finite.empty()) fail(model, "finite scores", not_finite);
}

int run(EvalRequest& request, const Call& call, Output& out) {
  const std::vector<std::string> inputs{request.model, request.against, request.perplexity,
                                        request.last_word, request.input.tokenizer};
  const InputStamps stamps(inputs);
  const ModelDescription description = described(request.model, request.job.quiet);
  backend_only_with(call, description.low_bit || (!request.against.empty() &&
                                                  describe_model(request.against).low_bit));
  request.log.check();
  std::optional<ClaimedFile> items;
  claim_if_named(items, request.items_out, request.force, inputs);
  const ScoreOptions options = score_options(request);
  const ScoreWork work = read_score_work(description, options);

  warn_of(work.bad_lines);
  request.job.begin();
  const Execution execution(request.compute, request.backend);
  warn_of_calibration(request, description);
  Answer answer;
  answer.json["model"] = description.name;
  answer.json["model_sha256"] = hash_model(description);
  answer.json["tokenizer_sha256"] = hash_tokenizer(description, request.input.tokenizer);
  answer.json["compute"] = request.compute == Compute::f32 ? "f32" : "bf16";
  if (description.low_bit) {
    answer.json["backend"] = request.backend == Backend::integer ? "integer" : "simulate";
  }
  answer.json["special_tokens"] = request.input.special_tokens;
  answer.json["bad_lines"] = work.bad_lines.count;
  EvalParts parts(
      request.parts, [&] { return evaluation_key(request, description, execution); }, call);
  const Scores scores = score(request, work, description, execution, parts.items(), "");
  if (scores.perplexity) add_perplexity(*scores.perplexity, options, work, answer);
  if (scores.last_word) add_last_word(*scores.last_word, options, answer);
  answer.items = items_text(scores, work.items);
  std::string against_not_finite;
  if (!request.against.empty()) {
    const ModelDescription other = described(request.against, request.job.quiet);
    if (other.config.vocabulary != description.config.vocabulary) {
      fail(request.against, fmt::format("a vocabulary of {}", description.config.vocabulary),
           fmt::format("{}", other.config.vocabulary));
    }
    const Scores theirs = score(request, work, other, execution, parts.items(), "against ");
    if (!request.parts.launched) add_comparison(scores, theirs, other.name, answer);
    against_not_finite = theirs.not_finite;
  }
  stamps.check();
  if (parts.finish(out, request.job.json, request.job.seconds())) return kDone;
  const double seconds = request.job.seconds();
  answer.json["seconds"] = seconds;

  if (items) {
    const HoldInterrupts hold;
    items->publish(answer.items);
    answer.text += fmt::format("wrote {}\n", request.items_out);
  }
  request.job.answer(
      out, [&] { return answer.json; },
      [&] {
        return answer.text +
               fmt::format("model       {}, {}, {}\n", description.name,
                           compute_name(description.low_bit ? execution : request.compute),
                           duration_text(seconds));
      });
  const int code =
      request.log.add([&] { return language_facts(description, scores, work, options, execution); },
                      call, request.job, seconds);
  require_finite(description.name, scores.not_finite);
  require_finite(request.against, against_not_finite);
  return code;
}

}  // namespace

Form language_eval_form() {
  return form<EvalRequest>(
      {.kind = ModelKind::language,
       .summary = "perplexity and last-word accuracy, alone or paired with another model's",
       .example = "scute eval examples/tiny-mamba1 --perplexity examples/text/heldout.txt --window "
                  "512 --max-windows 8"});
}

}  // namespace scute::cli
