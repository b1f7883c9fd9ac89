#include "scute/language/scoring.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "scute/base/error.h"
#include "scute/data/documents.h"
#include "scute/evaluate/metrics.h"
#include "scute/evaluate/not_finite.h"
#include "scute/language/last_word_items.h"
#include "scute/language/layer_pass.h"

namespace scute {
namespace {

std::vector<int32_t> read_text_stream(const ScoreOptions& options, const Tokenizer* tokenizer,
                                      BadLines& bad) {
  std::vector<int32_t> stream = read_stream(options.perplexity, tokenizer, options.input, &bad);
  const auto tokens = static_cast<int64_t>(stream.size());
  const int64_t window = options.windows.window;
  if (tokens < window) {
    fail(options.perplexity, fmt::format("text for at least one window of {} tokens", window),
         tokens < 2 ? fmt::format("{} token{}", tokens, tokens == 1 ? "" : "s")
                    : fmt::format("{} tokens; --window {} would fit", tokens, tokens));
  }
  return stream;
}

std::vector<ProtocolFact> file_facts(const std::string& file, const std::string& sha256,
                                     const ScoreOptions& options) {
  std::vector<ProtocolFact> out{{"file", file, ""}, {"sha256", sha256, ""}};
  if (options.input.special_tokens) out.push_back({"special_tokens", true, ""});
  return out;
}

/// Whether a text was read at once or token by token does not change the items.
MetricScore perplexity_score(const PerplexityResult& result, const ScoreOptions& options,
                             const ScoredFiles& sha256) {
  constexpr const char* kTokenizers = "other tokenizers: a perplexity is per token";
  std::vector<ScoredItem> items;
  for (const WindowScore& window : result.windows) {
    items.push_back(
        {fmt::to_string(window.start), window.nll, static_cast<double>(window.predictions)});
  }
  auto protocol = file_facts(options.perplexity, sha256.perplexity, options);
  protocol.push_back({"window", options.windows.window, ""});
  protocol.push_back({"stride", options.windows.stride, ""});
  protocol.push_back({"context", options.windows.context, ""});
  protocol.push_back({"n", static_cast<int64_t>(items.size()), ""});
  const Json tokenizer = sha256.tokenizer.empty() ? Json() : Json(sha256.tokenizer);
  protocol.push_back({"tokenizer", tokenizer, kTokenizers});
  protocol.push_back({"predictions", result.predictions, kTokenizers});
  return score_of_items(text_perplexity(), std::move(items), std::move(protocol));
}

/// How a model's sequences are scored.
struct Scoring {
  ScoreSequences all;
  ScoreShown one;  ///< one of them, whose sites are seen
};

Scoring scoring_by(const LanguageModel& model, const Threads& threads, Feed feed) {
  return {.all = score_by(model, threads, feed),
          .one = [&model, feed](Run& run, const ScoredSequence& one) {
            score_continuation(model, run, one.ids, one.first, feed, one.number);
          }};
}

/// Sequences that go through the layers together, each step on the worker's run.
void score_some(LayeredModel& model, std::span<const ScoredSequence> some,
                const std::string& folder,
                const std::function<void(int64_t, const Continuation&)>& scored,
                const std::function<void(LayerPass& pass, int64_t step)>& show_all) {
  std::vector<std::span<const int32_t>> ids;
  for (const ScoredSequence& one : some) ids.push_back(one.ids);
  const auto leave = [&](int64_t index, Run& run, MatView<const float> hidden) {
    const ScoredSequence& one = some[static_cast<size_t>(index)];
    scored(index, score_hidden(run, one.ids, one.first, hidden, model.config().vocabulary,
                               [&](MatView<const float> rows, MatView<float> logits) {
                                 model.logits(run, rows, logits);
                               }));
  };
  LayerPass pass(model, std::move(ids), LayerPass::End::norm_beside_head, folder, leave);
  for (int64_t step = 0; step < pass.steps(); ++step) {
    pass.begin(step);
    show_all(pass, step);
  }
  model.rest();
}

Scoring scoring_by_layers(LayeredModel& model, const Threads& threads, const ByLayers& how) {
  const auto all = [&model, &threads, how](std::span<const ScoredSequence> sequences,
                                           const auto& scored) {
    std::vector<Run> runs = Run::of_workers(threads);
    const int64_t most = how.samples > 0 ? how.samples : std::ssize(sequences);
    for (int64_t first = 0; first < std::ssize(sequences); first += most) {
      const int64_t count = std::min(most, std::ssize(sequences) - first);
      score_some(
          model, sequences.subspan(static_cast<size_t>(first), static_cast<size_t>(count)),
          how.folder, [&](int64_t index, const Continuation& one) { scored(first + index, one); },
          [&](LayerPass& pass, int64_t step) {
            threads.for_each(count, [&](int64_t i, int worker) {
              pass.show(step, i, runs[static_cast<size_t>(worker)]);
            });
          });
    }
  };
  const auto one = [&model](Run& run, const ScoredSequence& sequence) {
    score_some(
        model, {&sequence, 1}, "", [](int64_t, const Continuation&) {},
        [&](LayerPass& pass, int64_t step) { pass.show(step, 0, run); });
  };
  return {.all = all, .one = one};
}

/// See Scores::not_finite. The model reads that item once more.
std::string not_finite_text(const Scoring& windows, const Scoring& passages, const ScoreWork& work,
                            const ScoreOptions& options, const Scores& scores) {
  const auto text = [](const char* item, size_t index, const std::string& found) {
    return fmt::format("{} in {} {}", found.empty() ? "a score that is not" : found, item, index);
  };
  for (size_t i = 0; scores.perplexity && i < scores.perplexity->windows.size(); ++i) {
    const WindowScore& window = scores.perplexity->windows[i];
    if (std::isfinite(window.nll)) continue;
    const auto ids = std::span(work.stream)
                         .subspan(static_cast<size_t>(window.start),
                                  static_cast<size_t>(options.windows.window));
    return text("window", i,
                find_not_finite(windows.one, {.ids = ids, .number = static_cast<int64_t>(i)}));
  }
  for (size_t i = 0; scores.last_word && i < scores.last_word->items.size(); ++i) {
    if (std::isfinite(scores.last_word->items[i].nll)) continue;
    const auto ids = scored_ids(work.items[i], options.max_context);
    return text("passage", i, find_not_finite(passages.one, {.ids = ids}));
  }
  return "";
}

/// `windows`: how those of the text are scored; `passages`: the same of passages, read at once.
Scores score_with(const Scoring& windows, const Scoring& passages, const ScoreWork& work,
                  const ScoreOptions& options, const ScoreProgress& progress, const KeptItems& kept,
                  const std::string& whose) {
  const auto counting = [&progress](ScoreTask task, int64_t total) {
    if (progress) progress(task, 0, total);
    return [&progress, task, total](int64_t done) {
      if (progress) progress(task, done, total);
    };
  };
  Scores out;
  if (!work.stream.empty()) {
    out.perplexity = perplexity(windows.all, work.stream, options.windows,
                                counting(ScoreTask::perplexity, work.windows(options.windows)),
                                kept, whose + "perplexity");
  }
  if (!work.items.empty()) {
    out.last_word =
        last_word(passages.all, work.items, options.max_context,
                  counting(ScoreTask::last_word, static_cast<int64_t>(work.items.size())), kept,
                  whose + "last_word");
  }
  out.not_finite = not_finite_text(windows, passages, work, options, out);
  return out;
}

}  // namespace

int64_t ScoreWork::windows(const PerplexityOptions& options) const {
  const int64_t fitting =
      (static_cast<int64_t>(stream.size()) - options.window) / options.stride + 1;
  return std::min(fitting, options.max_windows.value_or(fitting));
}

ScoreWork read_score_work(const ModelDescription& model, const ScoreOptions& options) {
  const auto tokenizer = load_tokenizer(model, options.input);
  const Tokenizer* known = tokenizer ? &*tokenizer : nullptr;
  ScoreWork out;
  if (!options.perplexity.empty()) out.stream = read_text_stream(options, known, out.bad_lines);
  if (!options.last_word.empty()) {
    out.items = read_last_word_items(options.last_word, known, model.config.vocabulary,
                                     options.max_items, options.input, &out.bad_lines);
  }
  return out;
}

Scores score(const LanguageModel& model, const ScoreWork& work, const ScoreOptions& options,
             const Threads& threads, const ScoreProgress& progress, const KeptItems& kept,
             const std::string& whose) {
  return score_with(scoring_by(model, threads, options.windows.feed),
                    scoring_by(model, threads, Feed::whole), work, options, progress, kept, whose);
}

Scores score_by_layers(LayeredModel& model, const ScoreWork& work, const ScoreOptions& options,
                       const Threads& threads, const ByLayers& how, const ScoreProgress& progress,
                       const KeptItems& kept, const std::string& whose) {
  if (!work.stream.empty() && options.windows.feed == Feed::one_by_one) {
    fail("scoring layer by layer", "windows that are read at once", "token by token");
  }
  const Scoring scoring = scoring_by_layers(model, threads, how);
  return score_with(scoring, scoring, work, options, progress, kept, whose);
}

Json scoring_key(const ModelDescription& model, const ScoreOptions& options,
                 const Execution& execution) {
  const auto file = [&](const std::string& path) {
    return path.empty() ? Json() : Json(options.input.files->sha256(path));
  };
  const auto or_null = [](const std::optional<int64_t>& value) {
    return value ? Json(*value) : Json();
  };
  const PerplexityOptions& windows = options.windows;
  Json key;
  key["tool"] = "scute " SCUTE_VERSION;
  key["model"] = hash_model(model);
  key["tokenizer"] = hash_tokenizer(model, options.input.tokenizer);
  key["perplexity"] = file(options.perplexity);
  key["last_word"] = file(options.last_word);
  key["windows"] = Json::Array{windows.window, windows.stride, or_null(windows.max_windows),
                               windows.context, windows.feed == Feed::whole};
  key["passages"] = Json::Array{or_null(options.max_items), options.max_context};
  key["input"] = options.input.flags();
  key["compute"] = execution.compute == Compute::f32 ? "f32" : "bf16";
  key["backend"] = execution.backend == Backend::integer ? "integer" : "simulate";
  key["instruction_set"] = instruction_set(execution.compute);
  return key;
}

std::string items_text(const Scores& scores, const std::vector<LastWordItem>& items) {
  std::string out;
  const auto begin = [](const char* kind, size_t index) {
    Json item;
    item["kind"] = kind;
    item["index"] = static_cast<int64_t>(index);
    return item;
  };
  for (size_t i = 0; scores.perplexity && i < scores.perplexity->windows.size(); ++i) {
    const WindowScore& window = scores.perplexity->windows[i];
    Json item = begin("window", i);
    item["start"] = window.start;
    item["predictions"] = window.predictions;
    item["nll"] = window.nll;
    out += item.dump() + "\n";
  }
  for (size_t i = 0; scores.last_word && i < scores.last_word->items.size(); ++i) {
    Json item = begin("last_word", i);
    item["predictions"] = items.at(i).target;
    item["nll"] = scores.last_word->items[i].nll;
    item["hit"] = scores.last_word->items[i].hit;
    out += item.dump() + "\n";
  }
  return out;
}

Score named_score(const Scores& scores, const ScoreOptions& options, const ScoredFiles& sha256) {
  Score out;
  if (scores.perplexity) out.push_back(perplexity_score(*scores.perplexity, options, sha256));
  if (!scores.last_word) return out;
  const LastWordResult& words = *scores.last_word;
  std::vector<ScoredItem> hits, nlls;
  for (size_t i = 0; i < words.items.size(); ++i) {
    hits.push_back({fmt::to_string(i), words.items[i].hit ? 1.0 : 0.0});
    nlls.push_back({fmt::to_string(i), words.items[i].nll});
  }
  auto protocol = file_facts(options.last_word, sha256.last_word, options);
  protocol.push_back({"max_context", options.max_context, ""});
  protocol.push_back({"n", static_cast<int64_t>(hits.size()), ""});
  out.push_back(score_of_items(last_word_accuracy(), std::move(hits), protocol));
  out.push_back(score_of_items(last_word_perplexity(), std::move(nlls), protocol));
  return out;
}

}  // namespace scute
