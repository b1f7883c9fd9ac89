// scute generate for Cobra: an answer, about a picture when one is given.
#include "scute/cobra/generate.h"

#include <fmt/format.h>

#include <chrono>

#include "cli/cobra/memory.h"
#include "cli/described.h"
#include "cli/form.h"
#include "cli/language/generate.h"
#include "cli/terminal/progress.h"
#include "cli/terminal/words.h"

namespace scute::cli {
namespace {

struct CobraGenerateRequest : GenerateFlags {
  std::string image;

  void declare(Options& options) {
    // Greedy, as its authors run it, until something about draws is said.
    GenerateFlags::declare(options, "0; 1 with --top-k, --top-p or --min-p", [this] {
      const SamplingOptions& sampling = how.sampling;
      return sampling.top_k != 0 || sampling.top_p != 1 || sampling.min_p != 0 ? 1.0 : 0.0;
    });
    job.declare_memory(options);
    options.text("--image", image, "FILE",
                 "a picture that the text is about (JPEG, PNG, WebP, BMP)");
    options.last_reads();
    options.note("The text is what a human says; it is wrapped as the model was trained.");
  }
};

/// The model that answers, and what it saw.
class CobraVoice {
 public:
  /// `image`: a file; empty: the language model alone, the towers are not loaded.
  CobraVoice(const CobraDescription& model, const CobraGenerateRequest& request) {
    const Execution& execution = request.execution;
    const std::string& image = request.image;
    using Senses = CobraSpeaker::Senses;
    if (image.empty()) {
      speaker_.emplace(model, execution, Senses::text);
      return;
    }
    using Steady = std::chrono::steady_clock;
    const auto start = Steady::now();
    const Picture picture = read_picture(image);  // what cannot be read is found out at once
    const auto decoded = Steady::now();
    speaker_.emplace(model, execution, Senses::pictures);
    const auto loaded = Steady::now();
    picture_ = speaker_->look(picture, Threads(request.job.threads).team());
    seconds_ = std::chrono::duration<double>((decoded - start) + (Steady::now() - loaded)).count();
  }

  const LanguageModel& language() const { return speaker_->language(); }
  /// A row for each vector that a picture became; none without one.
  MatView<const float> before() const {
    return picture_.rank() == 2 ? picture_.matrix<float>() : MatView<const float>();
  }
  /// What it took to look at the picture, decoding included.
  double seconds() const { return seconds_; }

 private:
  std::optional<CobraSpeaker> speaker_;
  Tensor picture_;
  double seconds_ = 0;
};

int run(CobraGenerateRequest& request, const Call& call, Output& out) {
  const CobraDescription model = described_cobra(request.model, request.job.quiet);
  backend_only_with(call, model.low_bit);
  const Tokenizer tokenizer = request.read_tokenizer(model.language);
  const CobraPrompt prompt = cobra_prompt(model, tokenizer, request.message());
  if (prompt.cut > 0) {
    warn(fmt::format("the model reads {}; the prompt's last {} are cut off",
                     count_of(model.text_length, "token"), prompt.cut));
  }
  request.job.threads = planned_cobra(
      request.job, model, {.execution = request.execution, .tokens = std::ssize(prompt.ids)});
  const CobraVoice voice(model, request);
  const Beginning begin{.text = prompt.text,
                        .ids = prompt.ids,
                        .picture = voice.before(),
                        .image = request.image,
                        .picture_seconds = voice.seconds()};
  return go_on(request, model.language, voice.language(), tokenizer, begin, out);
}

}  // namespace

Form cobra_generate_form() {
  return form<CobraGenerateRequest>(
      {.kind = ModelKind::cobra,
       .summary = "answer a text, token by token, with --image about a picture",
       .example = "scute generate tests/golden/cobra/model --image "
                  "tests/golden/cobra/pictures/1_wide.png --prompt 'What is it?' --max-tokens 8"});
}

}  // namespace scute::cli
