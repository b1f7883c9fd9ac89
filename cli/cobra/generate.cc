#include "cli/cobra/generate.h"

#include <chrono>

namespace scute::cli {

Voice::Voice(const ModelDescription& model, const Execution& execution)
    : plain_(load_model(model, execution, LanguageModel::Head::packed)) {}

Voice::Voice(const CobraDescription& model, const Execution& execution, const std::string& image) {
  using Senses = CobraSpeaker::Senses;
  if (image.empty()) {
    cobra_.emplace(model, execution, Senses::text);
    return;
  }
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  const Picture picture = read_picture(image);  // what cannot be read is found out at once
  const auto decoded = Clock::now();
  cobra_.emplace(model, execution, Senses::pictures);
  const auto loaded = Clock::now();
  picture_ = cobra_->look(picture);
  seconds_ = std::chrono::duration<double>((decoded - start) + (Clock::now() - loaded)).count();
}

const LanguageModel& Voice::language() const { return cobra_ ? cobra_->language() : *plain_; }

MatView<const float> Voice::before() const {
  return picture_.rank() == 2 ? picture_.matrix<float>() : MatView<const float>();
}

}  // namespace scute::cli
