// How a language model goes on with a text, whatever came before it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/terminal/job.h"
#include "cli/terminal/options.h"
#include "scute/evaluate/generate.h"
#include "scute/language/model_folder.h"

namespace scute::cli {

/// The flags of `generate` that every kind has.
struct GenerateFlags {
  std::string model, prompt_file, tokenizer;
  std::optional<std::string> prompt;
  std::optional<double> temperature;
  GenerateOptions how;
  int64_t seed = 0;
  Execution execution;
  bool greedy = false, ignore_eos = false;
  bool special_tokens = false;  ///< those that begin a text; a Cobra's prompt has its own
  Job job;

  /// `temperature_otherwise`: the temperature when none was given, asked after parsing;
  /// `temperature_words`: as the help shows it.
  void declare(Options& options, const std::string& temperature_words,
               std::function<double()> temperature_otherwise);
  /// After parsing. UsageError on flags that do not go together.
  void check();
  /// What is to be continued; read once, it may come from standard input.
  std::string message() const;
  /// Error when the model has none.
  Tokenizer read_tokenizer(const ModelDescription& description) const;

 private:
  void declare_sampling(Options& options, const std::string& otherwise);
  double chosen_temperature() const;

  std::function<double()> otherwise_;
};

/// What a model is shown before it goes on.
struct Beginning {
  std::string text;  ///< its words
  std::vector<int32_t> ids;
  MatView<const float> picture = {};  ///< a row for each vector before the text; may have none
  std::string image = {};             ///< the picture's file; empty without one
  double picture_seconds = 0;         ///< what it took to look at it, decoding included
};

/// Writes the text token by token, or one JSON object, until the end that the model's files know,
/// Ctrl-C or a closed output.
int go_on(const GenerateFlags& flags, const ModelDescription& description,
          const LanguageModel& model, const Tokenizer& tokenizer, const Beginning& begin,
          Output& out);

}  // namespace scute::cli
