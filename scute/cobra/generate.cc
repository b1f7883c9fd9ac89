#include "scute/cobra/generate.h"

#include <fmt/format.h>

#include "scute/base/error.h"
#include "scute/text/prompt.h"

namespace scute {
namespace {

/// The language model by itself, clipped where Cobra clips it.
LanguageModel load_language(const CobraDescription& model, const Execution& execution) {
  LanguageModel out = load_model(cobra_language(model), execution, LanguageModel::Head::packed);
  for (const auto& [name, range] : model.ranges) {
    const Site* site = out.sites().find(name == "llm" ? "embedding:output" : name);
    if (site != nullptr) out.set_range(*site, range.first, range.second);
  }
  return out;
}

std::variant<LanguageModel, CobraModel> load(const CobraDescription& model,
                                             const Execution& execution,
                                             CobraSpeaker::Senses senses) {
  if (senses == CobraSpeaker::Senses::text) return load_language(model, execution);
  return load_cobra(model, execution, CobraModel::Parts::all);
}

}  // namespace

CobraPrompt cobra_prompt(const CobraDescription& model, const Tokenizer& tokenizer,
                         std::string_view message) {
  CobraPrompt out;
  out.text = first_prompt(prompt_style(model.language_id), message);
  out.ids = tokenizer.encode(out.text);
  if (out.ids.empty()) fail("prompt", "at least one token", "none");
  out.cut = std::max<int64_t>(0, std::ssize(out.ids) - model.text_length);
  out.ids.resize(out.ids.size() - static_cast<size_t>(out.cut));
  return out;
}

CobraSpeaker::CobraSpeaker(const CobraDescription& model, const Execution& execution, Senses senses)
    : description_(model), model_(load(model, execution, senses)) {}

const LanguageModel& CobraSpeaker::language() const {
  const auto* whole = std::get_if<CobraModel>(&model_);
  return whole != nullptr ? whole->language() : std::get<LanguageModel>(model_);
}

Tensor CobraSpeaker::look(const Picture& picture, const Team& team) const {
  const auto* model = std::get_if<CobraModel>(&model_);
  if (model == nullptr) fail("picture", "a model loaded with its towers", "one for text alone");
  const std::vector<Tensor> pixels = tower_pixels(description_, picture);
  Tensor out(DType::f32, {model->picture_tokens(), model->width()});
  Run run;
  run.use(team);
  model->picture(run, pixel_views(pixels), out.mutable_matrix<float>());
  return out;
}

}  // namespace scute
