// scute generate: continues a text, token by token.
#include "scute/evaluate/generate.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>

#include "cli/cobra.h"
#include "cli/cobra/generate.h"
#include "cli/terminal/character_stream.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/options.h"
#include "cli/terminal/progress.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/io/file.h"
#include "scute/language/model_folder.h"
#include "scute/text/utf8.h"

namespace scute::cli {
namespace {

constexpr const char* kEndOfText = "<|endoftext|>";

struct GenerateRequest {
  std::string model, prompt_file, image, tokenizer;
  std::optional<std::string> prompt;
  std::optional<double> temperature;
  GenerateOptions options;
  int64_t seed = 0;
  Execution execution;
  int threads = 0;
  bool greedy = false, ignore_eos = false, quiet = false, json = false;
};

void add_sampling(Options& options, GenerateRequest& request) {
  SamplingOptions& sampling = request.options.sampling;
  options.number("--temperature", request.temperature, 0, 1000,
                 "logits are divided by it; 0: always the likeliest token; without it 1, but 0 for "
                 "Cobra unless --top-k, --top-p or --min-p is given");
  options.integer("--top-k,--topk", sampling.top_k, {.least = 0},
                  "draw among the N likeliest tokens; 0: all");
  options.number("--top-p,--topp", sampling.top_p, 0, 1,
                 "draw among the fewest tokens whose probabilities reach X");
  options.number("--min-p,--minp", sampling.min_p, 0, 1,
                 "draw among tokens with at least X times the largest probability");
  options.number("--repetition-penalty", sampling.repetition_penalty, 0, 1000,
                 "logits of tokens seen are divided by it, negative ones multiplied; 1: none");
  options.integer("--seed", request.seed, {.least = 0}, "of the draws");
  options.flag("--greedy", request.greedy, "the same as --temperature 0");
}

/// Cobra is greedy, as its authors run it, until something about draws is said.
double temperature_of(const GenerateRequest& request) {
  const SamplingOptions& sampling = request.options.sampling;
  if (request.greedy) return 0;
  if (request.temperature) return *request.temperature;
  const bool draws = sampling.top_k != 0 || sampling.top_p != 1 || sampling.min_p != 0;
  return is_cobra(request.model) && !draws ? 0 : 1;
}

void check(GenerateRequest& request) {
  if (request.prompt && !request.prompt_file.empty()) {
    throw UsageError("expected either --prompt TEXT or --prompt-file FILE, found both");
  }
  if (!request.prompt && request.prompt_file.empty()) {
    throw UsageError("expected --prompt TEXT or --prompt-file FILE (see scute generate --help)");
  }
  if (request.prompt && request.prompt->empty()) {
    throw UsageError(fmt::format(
        "--prompt: expected at least one character to continue, found none; --prompt '{}' begins a "
        "new text where the tokenizer has that token",
        kEndOfText));
  }
  if (!request.image.empty() && !is_cobra(request.model)) {
    throw UsageError(fmt::format("--image: expected Cobra, a model that sees pictures, found {}",
                                 request.model));
  }
  SamplingOptions& sampling = request.options.sampling;
  sampling.seed = static_cast<uint64_t>(request.seed);
  sampling.temperature = temperature_of(request);
  try {
    sampling.check();
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
}

bool parse(const Arguments& arguments, Output& out, GenerateRequest& request) {
  Options options("generate");
  options.model(request.model);
  options.custom("--prompt", "TEXT", "", "text to continue",
                 [&](const std::string& given) { request.prompt = given; });
  options.text("--prompt-file", request.prompt_file, "FILE", "file with the text to continue");
  options.text("--image", request.image, "FILE",
               "Cobra: a picture that the text is about (JPEG, PNG, WebP, BMP)");
  options.integer("--max-tokens,--genlen", request.options.max_tokens, {.least = 1},
                  "tokens at most");
  add_sampling(options, request);
  options.flag("--ignore-eos", request.ignore_eos,
               fmt::format("go on after {}, which otherwise ends the text", kEndOfText));
  options.compute(request.execution.compute);
  options.backend(request.execution.backend);
  options.tokenizer(request.tokenizer);
  options.machine(request.threads);
  options.quiet(request.quiet);
  options.json(request.json);
  options.note(
      "To Cobra the text is what a human says, wrapped as it was trained: scute generate MODEL "
      "--image FILE --prompt 'What is this?'");
  if (!options.parse(arguments, out)) return false;
  check(request);
  return true;
}

std::string message_of(const GenerateRequest& request) {
  return request.prompt ? *request.prompt : read_text(request.prompt_file);
}

/// Words to continue, and their ids.
struct Prompt {
  std::string text;
  std::vector<int32_t> ids;
};

Prompt read_prompt(const GenerateRequest& request, const Tokenizer& tokenizer) {
  Prompt prompt;
  prompt.text = message_of(request);
  prompt.ids = tokenizer.encode(prompt.text);
  if (prompt.ids.empty()) {
    fail(request.prompt ? "--prompt" : request.prompt_file,
         "text of at least one token to continue",
         fmt::format("none; the text {} would begin a new one", kEndOfText));
  }
  return prompt;
}

/// What is said to Cobra.
Prompt read_prompt(const GenerateRequest& request, const Tokenizer& tokenizer,
                   const CobraDescription& model) {
  const CobraPrompt prompt = cobra_prompt(model, tokenizer, message_of(request));
  if (prompt.cut > 0) {
    note(false, fmt::format("scute: warning: the model reads {}; the prompt's last {} are cut off",
                            count_of(model.text_length, "token"), prompt.cut));
  }
  return {prompt.text, prompt.ids};
}

/// The id that ends a text, when the tokenizer has it.
std::vector<int32_t> stop_ids(const GenerateRequest& request, const Tokenizer& tokenizer) {
  const auto ids = tokenizer.encode(kEndOfText);
  const bool known = ids.size() == 1 && tokenizer.decode(ids) == kEndOfText;
  return known && !request.ignore_eos ? ids : std::vector<int32_t>{};
}

/// A generation as it goes on: text out, times noted.
class Stream {
 public:
  /// `out` may be null: then the text is only kept.
  Stream(const Tokenizer& tokenizer, Output* out) : tokenizer_(tokenizer), out_(out) {}

  /// False when nobody reads any more.
  bool add(int32_t id) {
    const double now = seconds();
    if (tokens_++ == 0) first_ = now;
    last_ = end_ = now;
    return show(characters_.add(tokenizer_.decode({id})));
  }
  void finish() {
    end_ = seconds();
    show(characters_.finish() + "\n");
    text_.pop_back();
  }

  const std::string& text() const { return text_; }
  double seconds_to_first() const { return first_; }
  double seconds_in_all() const { return end_; }
  /// After the first, which takes the prompt's time; 0 when there was no second.
  double tokens_per_second() const {
    return tokens_ < 2 ? 0 : static_cast<double>(tokens_ - 1) / (last_ - first_);
  }

 private:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }
  bool show(const std::string& text) {
    text_ += text;
    if (out_ == nullptr) return true;
    out_->write(text);
    out_->finish();                   // an Error when the disk is full, nothing for a closed pipe
    return std::ferror(stdout) == 0;  // which is no reason to fail, but to stop
  }

  const Tokenizer& tokenizer_;
  Output* out_;
  CharacterStream characters_;
  std::string text_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  double first_ = 0, last_ = 0, end_ = 0;
  int64_t tokens_ = 0;
};

Json as_json(const GenerateRequest& request, const Prompt& prompt, const Voice& voice,
             const Generation& generation, const Stream& stream, const char* stopped) {
  Json out;
  std::string storage;
  if (!request.image.empty()) {
    out["image"] = with_valid_utf8(request.image, storage);
    out["image_tokens"] = voice.before().rows;
    out["image_seconds"] = voice.seconds();
  }
  out["prompt"] = with_valid_utf8(prompt.text, storage);
  out["prompt_tokens"] = static_cast<int64_t>(prompt.ids.size());
  out["text"] = stream.text();
  out["ids"] = Json::array();
  for (const int32_t id : generation.ids) out["ids"].push_back(int64_t{id});
  out["stopped"] = stopped;
  out["seconds_to_first_token"] = stream.seconds_to_first();
  out["seconds"] = stream.seconds_in_all();
  out["tokens_per_second"] = stream.tokens_per_second();
  Json& options = out["options"];
  const SamplingOptions& sampling = request.options.sampling;
  options["model"] = request.model;
  options["max_tokens"] = request.options.max_tokens;
  options["temperature"] = sampling.temperature;
  options["top_k"] = sampling.top_k;
  options["top_p"] = sampling.top_p;
  options["min_p"] = sampling.min_p;
  options["repetition_penalty"] = sampling.repetition_penalty;
  options["seed"] = request.seed;
  options["ignore_eos"] = request.ignore_eos;
  options["compute"] = compute_name(request.execution);
  return out;
}

void say_how_it_went(const GenerateRequest& request, const Prompt& prompt, const Voice& voice,
                     const Generation& generation, const Stream& stream, const char* stopped) {
  const auto tokens = static_cast<int64_t>(generation.ids.size());
  if (!request.image.empty()) {
    note(request.quiet,
         fmt::format("{} seen in {}: {} before the prompt", request.image,
                     duration_text(voice.seconds()), count_of(voice.before().rows, "vector")));
  }
  std::string line =
      fmt::format("{} after a prompt of {}, ended by {}; ", count_of(tokens, "token"),
                  static_cast<int64_t>(prompt.ids.size()), stopped);
  if (tokens > 0) line += fmt::format("first after {}", duration_text(stream.seconds_to_first()));
  if (tokens > 1) {
    line += fmt::format(", then {} tokens a second", fixed(stream.tokens_per_second(), 1));
  }
  note(request.quiet, line);
}

}  // namespace

int run_generate(const Arguments& arguments, Output& out) {
  GenerateRequest request;
  if (!parse(arguments, out, request)) return kDone;
  std::optional<CobraDescription> cobra;
  if (is_cobra(request.model)) cobra = describe_cobra(request.model);
  const ModelDescription description = cobra ? cobra->language : describe_model(request.model);
  const auto tokenizer = load_tokenizer(description, request.tokenizer);
  if (!tokenizer) fail(description.path, "a tokenizer.json (or --tokenizer FILE)", "none");
  const Prompt prompt =
      cobra ? read_prompt(request, *tokenizer, *cobra) : read_prompt(request, *tokenizer);
  request.options.stop = stop_ids(request, *tokenizer);
  request.options.limit = std::min(tokenizer->size(), description.config.vocabulary);
  if (request.threads > 1) {
    note(request.quiet, "one text is computed by one thread: --threads changes nothing");
  }
  const Voice voice = cobra ? Voice(*cobra, request.execution, request.image)
                            : Voice(description, request.execution);

  const Interrupt interrupt;
  Stream stream(*tokenizer, request.json ? nullptr : &out);
  bool read = true;
  const auto each = [&](int32_t id) {
    read = stream.add(id);
    return read && !interrupt.flag();
  };
  const Generation generation =
      generate(voice.language(), voice.before(), prompt.ids, request.options, each);
  stream.finish();
  const char* stopped = generation.stopped           ? "end-of-text"
                        : interrupt.exit_code() != 0 ? "interruption"
                        : !read                      ? "closed-output"
                                                     : "max-tokens";
  if (request.json) out.write_json(as_json(request, prompt, voice, generation, stream, stopped));
  say_how_it_went(request, prompt, voice, generation, stream, stopped);
  return interrupt.exit_code();
}

}  // namespace scute::cli
