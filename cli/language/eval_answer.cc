#include "cli/language/eval_answer.h"

#include <fmt/format.h>

#include <cmath>

#include "cli/terminal/words.h"
#include "scute/evaluate/compare.h"
#include "scute/evaluate/score.h"
#include "scute/io/file.h"

namespace scute::cli {
namespace {

std::string protocol_of(const PerplexityOptions& options, const TextInput& input) {
  std::string out = fmt::format(
      "whole file tokenized at once, {}; windows of {} tokens every {}, tail "
      "dropped; ",
      special_tokens_text(input), options.window, options.stride);
  out += options.context == 1
             ? "each token but a window's first predicted once"
             : fmt::format("the tokens behind a window's first {} predicted", options.context);
  if (options.feed == Feed::one_by_one) out += "; fed one by one from a state, as in generation";
  return out;
}

/// " ± 0.0012", or " ± –" where it is not known.
std::string plus_minus(double error, int digits) {
  return std::isnan(error) ? " ± –" : fmt::format(" ± {:.{}f}", error, digits);
}

std::string number_text(double x, int digits) {
  return std::isfinite(x) ? fmt::format("{:.{}f}", x, digits) : "not finite";
}

/// "0.00 % (at most 0.30 %, 95 % confidence)", "41.20 % ± 1.10 %".
std::string accuracy_text(const LastWordResult& result) {
  const std::string share = fmt::format("{:.2f} %", 100 * result.accuracy);
  if (const auto bound = share_bound(result.accuracy, std::ssize(result.items))) {
    return fmt::format("{} ({} %, 95 % confidence)", share,
                       bound_text(result.accuracy, fixed(100 * *bound, 2)));
  }
  const std::string error = plus_minus(100 * result.accuracy_error, 2);
  return share + error + (std::isnan(result.accuracy_error) ? "" : " %");
}

}  // namespace

void add_perplexity(const PerplexityResult& result, const ScoreOptions& options,
                    const ScoreWork& work, Answer& answer) {
  const PerplexityOptions& cut = options.windows;
  const auto tokens = static_cast<int64_t>(work.stream.size());
  const std::string hash = options.input.files->sha256(options.perplexity),
                    protocol = protocol_of(cut, options.input);
  const auto windows = static_cast<int64_t>(result.windows.size());
  Json& json = answer.json["perplexity"];
  json["value"] = result.perplexity;
  json["standard_error"] = result.perplexity * result.standard_error;
  json["mean_nll"] = result.mean_nll;
  json["standard_error_nll"] = result.standard_error;
  json["windows"] = windows;
  json["predictions"] = result.predictions;
  json["tokens_in_file"] = tokens;
  json["window"] = cut.window;
  json["stride"] = cut.stride;
  json["context"] = cut.context;
  json["stepwise"] = cut.feed == Feed::one_by_one;
  json["file"] = options.perplexity;
  json["sha256"] = hash;
  json["protocol"] = protocol;
  answer.text += fmt::format(
      "perplexity  {}{}  (mean nll {}{})\n"
      "  items     {} of {} that fit, {} predictions\n"
      "  file      {}, SHA-256 {}, {} tokens\n  protocol  {}\n",
      number_text(result.perplexity, 4), plus_minus(result.perplexity * result.standard_error, 4),
      number_text(result.mean_nll, 6), plus_minus(result.standard_error, 6),
      count_of(windows, "window"), grouped((tokens - cut.window) / cut.stride + 1),
      grouped(result.predictions), options.perplexity, short_hash(hash), grouped(tokens), protocol);
}

void add_last_word(const LastWordResult& result, const ScoreOptions& options, Answer& answer) {
  const std::string hash = options.input.files->sha256(options.last_word);
  const auto total = static_cast<int64_t>(result.items.size());
  const std::string protocol = fmt::format(
      "context = text up to its last space, target = the rest, space included; a hit needs every "
      "target token to be the argmax; perplexity per word; context cut to {} tokens; {}",
      options.max_context,
      options.input.special_tokens ? "the tokenizer's special tokens before the text"
                                   : special_tokens_text(options.input));
  Json& json = answer.json["last_word"];
  json["accuracy"] = result.accuracy;
  json["standard_error"] = result.accuracy_error;
  if (const auto bound = share_bound(result.accuracy, total)) json["bound"] = *bound;
  json["hits"] = result.hits;
  json["items"] = total;
  json["perplexity_per_word"] = result.perplexity;
  json["standard_error_perplexity"] = result.perplexity_error;
  json["file"] = options.last_word;
  json["sha256"] = hash;
  json["protocol"] = protocol;
  answer.text += fmt::format(
      "last word   {}  ({} hits), perplexity per word {}{}\n"
      "  items     {}\n  file      {}, SHA-256 {}\n  protocol  {}\n",
      accuracy_text(result), grouped(result.hits), number_text(result.perplexity, 2),
      plus_minus(result.perplexity_error, 2), count_of(total, "passage"), options.last_word,
      short_hash(hash), protocol);
}

void add_comparison(const Scores& scores, const Scores& reference, const std::string& name,
                    Answer& answer) {
  Json& json = answer.json["against"];
  json["model"] = name;
  answer.text += fmt::format("against     {}\n", name);
  if (scores.perplexity) {
    const PerplexityRatio paired = compare(*scores.perplexity, *reference.perplexity);
    json["perplexity"] = reference.perplexity->perplexity;
    json["ratio"] = paired.ratio;
    json["standard_error_ratio"] = paired.standard_error;
    answer.text +=
        fmt::format("  perplexity {}; ratio {}{}, paired over {}\n",
                    number_text(reference.perplexity->perplexity, 4), number_text(paired.ratio, 5),
                    plus_minus(paired.standard_error, 5),
                    count_of(static_cast<int64_t>(scores.perplexity->windows.size()), "window"));
  }
  if (scores.last_word) {
    const HitComparison paired = compare(*scores.last_word, *reference.last_word);
    json["accuracy"] = reference.last_word->accuracy;
    json["gained"] = paired.gained;
    json["lost"] = paired.lost;
    json["difference"] = paired.difference;
    json["standard_error_difference"] = paired.standard_error;
    json["p"] = paired.p;
    answer.text += fmt::format(
        "  last word {:.2f} %; difference {:+.2f}{} points: {} gained, {} lost, McNemar "
        "p = {:.3f}{}\n",
        100 * reference.last_word->accuracy, 100 * paired.difference,
        plus_minus(100 * paired.standard_error, 2), paired.gained, paired.lost, paired.p,
        paired.p > 0.05 ? " (no more than noise)" : "");
  }
}

}  // namespace scute::cli
