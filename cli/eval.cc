// scute eval: perplexity and last-word accuracy, with protocol and standard error.
#include <fmt/format.h>

#include <chrono>
#include <cmath>

#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/words.h"
#include "scute/base/error.h"
#include "scute/data/documents.h"
#include "scute/evaluate/perplexity.h"
#include "scute/io/file.h"
#include "scute/recipe/last_word_items.h"
#include "scute/recipe/model_folder.h"

namespace scute::cli {
namespace {

struct Request {
  std::string model, perplexity, last_word, tokenizer, items_out;
  int64_t window = 2048;
  std::optional<int64_t> stride, max_windows, max_items;
  Compute compute = Compute::f32;
  int threads = 0;
  bool quiet = false, json = false;
};

bool parse(const Arguments& arguments, Output& out, Request& request) {
  Options options("eval");
  options.model(request.model);
  options.text("--perplexity", request.perplexity, "FILE",
               ".txt, .jsonl or .npy, read as one stream of tokens");
  options.text("--last-word", request.last_word, "FILE",
               ".jsonl of passages, \"text\" or \"ids\" and \"target\"");
  options.integer("--window", request.window, {.least = 2}, "tokens the model sees at a time");
  options.integer("--stride", request.stride, {.least = 1}, "window",
                  "tokens from one window to the next");
  options.integer("--max-windows", request.max_windows, {.least = 1}, "all", "windows scored");
  options.integer("--max-items", request.max_items, {.least = 1}, "all", "passages scored");
  options.text("--items-out", request.items_out, "FILE",
               "score of each window and passage, one JSON object a line, for paired comparison");
  options.compute(request.compute);
  options.tokenizer(request.tokenizer);
  options.machine(request.threads);
  options.quiet(request.quiet);
  options.json(request.json);
  if (!options.parse(arguments, out)) return false;
  if (request.perplexity.empty() && request.last_word.empty()) {
    throw UsageError("expected --perplexity FILE or --last-word FILE (see scute eval --help)");
  }
  if (request.stride && *request.stride > request.window) {
    throw UsageError(fmt::format("--stride: expected at most the window, {}, found \"{}\"",
                                 request.window, *request.stride));
  }
  return true;
}

/// What there is to score, read and checked before the model is loaded.
struct Work {
  std::vector<int32_t> stream;
  std::vector<LastWordItem> items;
};

Work read_work(const Request& request, const ModelDescription& model) {
  const auto tokenizer = load_tokenizer(model, request.tokenizer);
  const Tokenizer* known = tokenizer ? &*tokenizer : nullptr;
  Work work;
  if (!request.perplexity.empty()) {
    work.stream = read_stream(request.perplexity, known);
    const auto tokens = static_cast<int64_t>(work.stream.size());
    if (tokens < request.window) {
      fail(request.perplexity,
           fmt::format("text for at least one window of {} tokens", request.window),
           tokens < 2 ? count_of(tokens, "token")
                      : fmt::format("{} tokens; --window {} would fit", tokens, tokens));
    }
  }
  if (!request.last_word.empty()) {
    work.items =
        read_last_word_items(request.last_word, known, model.config.vocabulary, request.max_items);
  }
  return work;
}

struct Answer {
  Json json;
  std::string text, items;
};

void score_perplexity(const Request& request, const LanguageModel& model,
                      const std::vector<int32_t>& stream, Answer& answer) {
  const PerplexityOptions options{request.window, request.stride.value_or(request.window),
                                  request.max_windows};
  const int64_t fitting =
      (static_cast<int64_t>(stream.size()) - options.window) / options.stride + 1;
  const int64_t total = std::min(fitting, options.max_windows.value_or(fitting));
  Progress progress("perplexity", "windows", request.quiet);
  const auto result = perplexity(model, stream, options, Threads(request.threads),
                                 [&](int64_t done) { progress.update(done, total); });
  const std::string hash = hash_file(request.perplexity);
  const auto windows = static_cast<int64_t>(result.windows.size());
  const std::string protocol = fmt::format(
      "whole file tokenized at once, no added tokens; windows of {} tokens every {}, tail dropped; "
      "each token but a window's first predicted once",
      options.window, options.stride);
  Json& json = answer.json["perplexity"];
  json["value"] = result.perplexity;
  json["standard_error"] = result.perplexity * result.standard_error;
  json["mean_nll"] = result.mean_nll;
  json["standard_error_nll"] = result.standard_error;
  json["windows"] = windows;
  json["predictions"] = result.predictions;
  json["tokens_in_file"] = static_cast<int64_t>(stream.size());
  json["window"] = options.window;
  json["stride"] = options.stride;
  json["file"] = request.perplexity;
  json["sha256"] = hash;
  json["protocol"] = protocol;
  answer.text += fmt::format(
      "perplexity  {:.4f} ± {:.4f}  (mean nll {:.6f} ± {:.6f})\n"
      "  items     {} of {} that fit, {} predictions\n"
      "  file      {}, SHA-256 {}, {} tokens\n  protocol  {}\n",
      result.perplexity, result.perplexity * result.standard_error, result.mean_nll,
      result.standard_error, count_of(windows, "window"), grouped(fitting),
      grouped(result.predictions), request.perplexity, short_hash(hash),
      grouped(static_cast<int64_t>(stream.size())), protocol);
  for (size_t i = 0; i < result.windows.size(); ++i) {
    const WindowScore& window = result.windows[i];
    Json item;
    item["kind"] = "window";
    item["index"] = static_cast<int64_t>(i);
    item["start"] = window.start;
    item["predictions"] = window.predictions;
    item["nll"] = window.nll;
    answer.items += item.dump() + "\n";
  }
}

void score_last_word(const Request& request, const LanguageModel& model,
                     const std::vector<LastWordItem>& items, Answer& answer) {
  constexpr int64_t kMaxContext = 2048;
  const auto total = static_cast<int64_t>(items.size());
  Progress progress("last word", "passages", request.quiet);
  const auto result = last_word(model, items, Threads(request.threads), kMaxContext,
                                [&](int64_t done) { progress.update(done, total); });
  const std::string hash = hash_file(request.last_word);
  const std::string protocol = fmt::format(
      "context = text up to its last space, target = the rest, space included; a hit needs every "
      "target token to be the argmax; perplexity per word; context cut to {} tokens",
      kMaxContext);
  Json& json = answer.json["last_word"];
  json["accuracy"] = result.accuracy;
  json["standard_error"] = result.accuracy_error;
  json["hits"] = result.hits;
  json["items"] = total;
  json["perplexity_per_word"] = result.perplexity;
  json["standard_error_perplexity"] = result.perplexity_error;
  json["file"] = request.last_word;
  json["sha256"] = hash;
  json["protocol"] = protocol;
  answer.text += fmt::format(
      "last word   {:.2f} % ± {:.2f} %  ({} hits), perplexity per word {:.2f} ± {:.2f}\n"
      "  items     {}\n  file      {}, SHA-256 {}\n  protocol  {}\n",
      100 * result.accuracy, 100 * result.accuracy_error, grouped(result.hits), result.perplexity,
      result.perplexity_error, count_of(total, "passage"), request.last_word, short_hash(hash),
      protocol);
  for (size_t i = 0; i < result.items.size(); ++i) {
    Json item;
    item["kind"] = "last_word";
    item["index"] = static_cast<int64_t>(i);
    item["predictions"] = items[i].target;
    item["nll"] = result.items[i].nll;
    item["hit"] = result.items[i].hit;
    answer.items += item.dump() + "\n";
  }
}

}  // namespace

int run_eval(const Arguments& arguments, Output& out) {
  Request request;
  if (!parse(arguments, out, request)) return kDone;
  const ModelDescription description = describe_model(request.model);
  if (!request.items_out.empty()) const AtomicFile probe(request.items_out);
  const Work work = read_work(request, description);

  const auto start = std::chrono::steady_clock::now();
  const LanguageModel model = load_model(description, request.compute, LanguageModel::Head::packed);
  Answer answer;
  answer.json["model"] = description.name;
  answer.json["model_sha256"] = hash_model(description);
  answer.json["tokenizer_sha256"] = hash_tokenizer(description, request.tokenizer);
  answer.json["compute"] = request.compute == Compute::f32 ? "f32" : "bf16";
  if (!work.stream.empty()) score_perplexity(request, model, work.stream, answer);
  if (!work.items.empty()) score_last_word(request, model, work.items, answer);
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  answer.json["seconds"] = time.count();

  if (!request.items_out.empty()) {
    const HoldInterrupts hold;
    write_file(request.items_out, answer.items);
    answer.text += fmt::format("wrote {}\n", request.items_out);
  }
  if (request.json) {
    out.write_json(answer.json);
  } else {
    out.write(answer.text + fmt::format("model       {}, {}, {}\n", description.name,
                                        request.compute == Compute::f32 ? "f32" : "bf16",
                                        duration_text(time.count())));
  }
  return kDone;
}

}  // namespace scute::cli
