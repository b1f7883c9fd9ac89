// scute generate: continues a text, token by token.
#include "cli/language/generate.h"
#include "cli/described.h"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <cstdio>

#include "cli/form.h"
#include "cli/language/memory.h"
#include "cli/terminal/character_stream.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/machine.h"
#include "cli/terminal/options.h"
#include "cli/terminal/progress.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/io/file.h"
#include "scute/language/model_folder.h"
#include "scute/language/tokenizer_files.h"
#include "scute/recipe/memory_limit.h"
#include "scute/text/utf8.h"

namespace scute::cli {
namespace {

constexpr size_t kInputLimit = size_t{64} << 20;

/// All of standard input.
std::string read_input() {
  std::string out;
  std::array<char, 4096> buffer{};
  while (const size_t count = std::fread(buffer.data(), 1, buffer.size(), stdin)) {
    out.append(buffer.data(), count);
    if (out.size() > kInputLimit) fail("--prompt -", "at most 64 MB of text", "more");
  }
  if (std::ferror(stdin) != 0) fail("--prompt -", "text on standard input", "an error reading it");
  return out;
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
    return show(characters_.add(tokenizer_.decode({id}, true)));
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
    out_->write_verbatim(text);
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

Json as_json(const GenerateFlags& request, const Beginning& begin, const Generation& generation,
             const Stream& stream, const char* stopped) {
  Json out;
  std::string storage;
  if (!begin.image.empty()) {
    out["image"] = with_valid_utf8(begin.image, storage);
    out["image_tokens"] = begin.picture.rows;
    out["image_seconds"] = begin.picture_seconds;
  }
  out["prompt"] = with_valid_utf8(begin.text, storage);
  out["prompt_tokens"] = static_cast<int64_t>(begin.ids.size());
  out["text"] = stream.text();
  out["ids"] = Json::array();
  for (const int32_t id : generation.ids) out["ids"].push_back(int64_t{id});
  out["stopped"] = stopped;
  out["seconds_to_first_token"] = stream.seconds_to_first();
  out["seconds"] = stream.seconds_in_all();
  out["tokens_per_second"] = stream.tokens_per_second();
  Json& options = out["options"];
  const SamplingOptions& sampling = request.how.sampling;
  options["model"] = request.model;
  options["max_tokens"] = request.how.max_tokens;
  options["temperature"] = sampling.temperature;
  options["top_k"] = sampling.top_k;
  options["top_p"] = sampling.top_p;
  options["min_p"] = sampling.min_p;
  options["repetition_penalty"] = sampling.repetition_penalty;
  options["seed"] = request.seed;
  options["ignore_eos"] = request.ignore_eos;
  if (request.special_tokens) options["special_tokens"] = true;
  options["compute"] = compute_name(request.execution);
  return out;
}

void say_how_it_went(const GenerateFlags& request, const Beginning& begin,
                     const Generation& generation, const Stream& stream, const char* stopped) {
  const auto tokens = static_cast<int64_t>(generation.ids.size());
  if (!begin.image.empty()) {
    note(request.job.quiet,
         fmt::format("{} seen in {}: {} before the prompt", begin.image,
                     duration_text(begin.picture_seconds), count_of(begin.picture.rows, "vector")));
  }
  std::string line =
      fmt::format("{} after a prompt of {}, ended by {}; ", count_of(tokens, "token"),
                  static_cast<int64_t>(begin.ids.size()), stopped);
  if (tokens > 0) line += fmt::format("first after {}", duration_text(stream.seconds_to_first()));
  if (tokens > 1) {
    line += fmt::format(", then {} tokens a second", fixed(stream.tokens_per_second(), 1));
  }
  if (request.job.memory) line += fmt::format("; memory {} at most", memory_text(peak_memory()));
  note(request.job.quiet, line);
}

/// The text to continue, as it is.
Beginning read_beginning(const GenerateFlags& request, const Tokenizer& tokenizer) {
  Beginning out;
  out.text = request.message();
  out.ids = tokenizer.encode_beginning(out.text);
  if (out.ids.empty()) {
    fail(request.prompt ? "--prompt" : request.prompt_file,
         "text of at least one token to continue",
         fmt::format("none; the text {} would begin a new one", kEndOfText));
  }
  return out;
}

struct GenerateRequest : GenerateFlags {
  bool chat = false;

  void declare(Options& options) {
    GenerateFlags::declare(options, "1", [] { return 1.0; });
    job.declare_memory(options);
    options.special_tokens(special_tokens, "that begin a text before the prompt");
    options.flag("--chat", chat, "refused: write the turns of a chat into the prompt");
  }
  void check() {
    GenerateFlags::check();
    if (!chat) return;
    throw UsageError(
        "--chat: expected a prompt as the model reads it: a chat template (chat_template of "
        "tokenizer_config.json) is a program, and scute runs none. Write the turns with their "
        "tokens as the template would, into --prompt or --prompt-file");
  }
};

int run(GenerateRequest& request, const Call& call, Output& out) {
  const ModelDescription description = described(request.model, request.job.quiet);
  backend_only_with(call, description.low_bit);
  const Tokenizer tokenizer = request.read_tokenizer(description);
  const Beginning begin = read_beginning(request, tokenizer);
  const int64_t prompt = std::ssize(begin.ids), together = std::min(prompt, kPrefillRows);
  request.job.threads = planned_whole(request.job, description, request.execution,
                                      {.tokens = together,
                                       .kept_tokens = prompt - together + request.how.max_tokens,
                                       .sequences = 1});
  const LanguageModel model =
      load_model(description, request.execution, LanguageModel::Head::packed);
  return go_on(request, description, model, tokenizer, begin, out);
}

}  // namespace

void GenerateFlags::declare(Options& options, const std::string& temperature_words,
                            std::function<double()> temperature_otherwise) {
  otherwise_ = std::move(temperature_otherwise);
  options.model(model);
  options.custom("--prompt", "TEXT", "", "text to continue; -: what standard input holds",
                 [this](const std::string& given) { prompt = given; });
  options.text("--prompt-file", prompt_file, "FILE", "file with the text to continue");
  options.last_reads();
  options.integer("--max-tokens,--genlen", how.max_tokens, {.least = 1}, "tokens at most");
  declare_sampling(options, temperature_words);
  options.flag("--ignore-eos", ignore_eos,
               "go on after the tokens that end a text (eos_token_id of the model's files, else "
               "<|endoftext|>)");
  options.compute(execution.compute);
  options.backend(execution.backend);
  options.tokenizer(tokenizer);
  job.declare(options);
  options.not_with({"--greedy"}, "--temperature X");
  options.not_with({"--top-k", "--top-p", "--min-p"}, "--greedy or --temperature 0",
                   [this] { return greedy || temperature == 0; });
}

double GenerateFlags::chosen_temperature() const {
  return greedy ? 0 : temperature ? *temperature : otherwise_();
}

void GenerateFlags::declare_sampling(Options& options, const std::string& otherwise) {
  SamplingOptions& sampling = how.sampling;
  options.custom("--temperature", "X", otherwise,
                 "logits are divided by it; 0: always the likeliest token",
                 [this](const std::string& given) {
                   temperature = parse_number("--temperature", given, 0, 1000);
                 });
  options.integer("--top-k,--topk", sampling.top_k, {.least = 0},
                  "draw among the N likeliest tokens; 0: all");
  options.number("--top-p,--topp", sampling.top_p, 0, 1,
                 "draw among the fewest tokens whose probabilities reach X");
  options.number("--min-p,--minp", sampling.min_p, 0, 1,
                 "draw among tokens with at least X times the largest probability");
  options.number("--repetition-penalty", sampling.repetition_penalty, 0, 1000,
                 "logits of tokens seen are divided by it, negative ones multiplied; 1: none");
  options.integer("--seed", seed, {.least = 0}, "of the draws");
  options.flag("--greedy", greedy, "the same as --temperature 0");
}

void GenerateFlags::check() {
  if (prompt && !prompt_file.empty()) {
    throw UsageError("expected either --prompt TEXT or --prompt-file FILE, found both");
  }
  if (!prompt && prompt_file.empty()) {
    throw UsageError("expected --prompt TEXT or --prompt-file FILE (see scute generate --help)");
  }
  if (prompt && prompt->empty()) {
    throw UsageError(fmt::format(
        "--prompt: expected at least one character to continue, found none; --prompt '{}' begins a "
        "new text where the tokenizer has that token",
        kEndOfText));
  }
  SamplingOptions& sampling = how.sampling;
  sampling.seed = static_cast<uint64_t>(seed);
  sampling.temperature = chosen_temperature();
  try {
    sampling.check();
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
}

std::string GenerateFlags::message() const {
  if (!prompt) return InputFiles().text(prompt_file);
  return *prompt == "-" ? read_input() : *prompt;
}

Tokenizer GenerateFlags::read_tokenizer(const ModelDescription& description) const {
  const TextInput input{.tokenizer = tokenizer, .special_tokens = special_tokens};
  auto out = load_tokenizer(description, input);
  if (!out) fail(description.path, "a tokenizer.json (or --tokenizer FILE)", "none");
  return std::move(*out);
}

int go_on(const GenerateFlags& flags, const ModelDescription& description,
          const LanguageModel& model, const Tokenizer& tokenizer, const Beginning& begin,
          Output& out) {
  GenerateOptions options = flags.how;
  if (!flags.ignore_eos) options.stop = stop_tokens(description, tokenizer);
  options.limit = std::min(tokenizer.size(), model.config().vocabulary);
  const Threads threads(flags.job.threads);
  options.team = threads.team();
  const Interrupt interrupt;
  Stream stream(tokenizer, flags.job.json ? nullptr : &out);
  bool read = true;
  const auto each = [&](int32_t id) {
    read = stream.add(id);
    return read && !interrupt.flag();
  };
  const Generation generation = generate(model, begin.picture, begin.ids, options, each);
  stream.finish();
  const char* stopped = generation.stopped           ? "end-of-text"
                        : interrupt.exit_code() != 0 ? "interruption"
                        : !read                      ? "closed-output"
                                                     : "max-tokens";
  if (flags.job.json) {
    out.write_json(flags.job.with_peak(as_json(flags, begin, generation, stream, stopped)));
  }
  say_how_it_went(flags, begin, generation, stream, stopped);
  return interrupt.exit_code();
}

Form language_generate_form() {
  return form<GenerateRequest>(
      {.kind = ModelKind::language,
       .example =
           "scute generate examples/tiny-mamba1 --prompt 'The sea was calm' --max-tokens 40"});
}

}  // namespace scute::cli
