#include "scute/language/scoring.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "scute/base/error.h"
#include "scute/data/documents.h"
#include "scute/io/file.h"
#include "scute/language/last_word_items.h"

namespace scute {
namespace {

std::vector<int32_t> read_text_stream(const ScoreOptions& options, const Tokenizer* tokenizer) {
  std::vector<int32_t> stream = read_stream(options.perplexity, tokenizer);
  const auto tokens = static_cast<int64_t>(stream.size());
  const int64_t window = options.windows.window;
  if (tokens < window) {
    fail(options.perplexity, fmt::format("text for at least one window of {} tokens", window),
         tokens < 2 ? fmt::format("{} token{}", tokens, tokens == 1 ? "" : "s")
                    : fmt::format("{} tokens; --window {} would fit", tokens, tokens));
  }
  return stream;
}

double finite_at(const Json& item, const char* key, const std::string& where) {
  const double value = item.at(key, where).as_double(where);
  if (!std::isfinite(value)) fail(where, fmt::format("a finite {}", key), "another number");
  return value;
}

}  // namespace

int64_t ScoreWork::windows(const PerplexityOptions& options) const {
  const int64_t fitting =
      (static_cast<int64_t>(stream.size()) - options.window) / options.stride + 1;
  return std::min(fitting, options.max_windows.value_or(fitting));
}

ScoreWork read_score_work(const ModelDescription& model, const ScoreOptions& options) {
  const auto tokenizer = load_tokenizer(model, options.tokenizer);
  const Tokenizer* known = tokenizer ? &*tokenizer : nullptr;
  ScoreWork out;
  if (!options.perplexity.empty()) out.stream = read_text_stream(options, known);
  if (!options.last_word.empty()) {
    out.items =
        read_last_word_items(options.last_word, known, model.config.vocabulary, options.max_items);
  }
  return out;
}

Scores score(const LanguageModel& model, const ScoreWork& work, const ScoreOptions& options,
             const Threads& threads, const ScoreProgress& progress) {
  const auto counting = [&progress](ScoreTask task, int64_t total) {
    if (progress) progress(task, 0, total);
    return [&progress, task, total](int64_t done) {
      if (progress) progress(task, done, total);
    };
  };
  Scores out;
  if (!work.stream.empty()) {
    out.perplexity = perplexity(model, work.stream, options.windows, threads,
                                counting(ScoreTask::perplexity, work.windows(options.windows)));
  }
  if (!work.items.empty()) {
    out.last_word =
        last_word(model, work.items, threads, options.max_context,
                  counting(ScoreTask::last_word, static_cast<int64_t>(work.items.size())));
  }
  return out;
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

Scores read_items(const std::string& path) {
  constexpr int64_t kLimit = int64_t{1} << 28;  // a million items of 100 bytes, and more
  const std::string text = read_text(path, kLimit);
  std::vector<WindowScore> windows;
  std::vector<LastWordScore> words;
  int64_t line = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string where = fmt::format("{}:{}", path, ++line);
    const Json item = Json::parse(std::string_view(text).substr(begin, end - begin), where);
    begin = end + 1;
    const std::string& kind = item.at("kind", where).as_string(where);
    const double nll = finite_at(item, "nll", where);
    if (kind == "window") {
      const int64_t predictions = item.at("predictions", where).as_int(where);
      if (predictions < 1) {
        fail(where, "at least one prediction", fmt::to_string(predictions));
      }
      windows.push_back({item.at("start", where).as_int(where), predictions, nll});
    } else if (kind == "last_word") {
      words.push_back({item.at("hit", where).as_bool(where), nll});
    } else {
      fail(where, "kind \"window\" or \"last_word\"", fmt::format("\"{}\"", kind));
    }
  }
  Scores out;
  if (!windows.empty()) out.perplexity = summarize(std::move(windows));
  if (!words.empty()) out.last_word = summarize(std::move(words));
  return out;
}

}  // namespace scute
