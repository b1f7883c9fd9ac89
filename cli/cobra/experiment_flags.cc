#include "cli/cobra/experiment_flags.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/experiments/experiment_flags.h"

namespace scute::cli {

void CobraExperimentFlags::declare(Options& options, QuantizeFlags::Bits bits) {
  CobraCollectOptions& collect = shared.collect;
  options.images(collect.images);
  options.prompts(collect.text.prompts, no_random_text_, collect.text.length);
  options.integer("--seed", seed_, {.least = 0}, kSeedHelp);
  options.integer("--batches", collect.batches, {.least = 1}, "batches measured at most");
  options.integer("--batch-size", collect.batch_size, {.least = 1}, "pictures of a batch");
  options.integer("--max-pictures", shared.max_pictures, {.least = 1}, "all",
                  "pictures on which it is compared with the float model");
  options.sites(collect.sites, "the buckets and those inside; llm stays in floats");
  options.fine(collect.fine);
  options.state_every(collect.state_every);
  declare_bits(options, bits, w_bits_, a_bits_);
  declare_group_size(options, group_);
  declare_hadamard(options, hadamard_);
  declare_log(options, shared.log, logged_);
  log_failure.declare(options);
  options.compute(collect.compute);
  options.backend(backend_);
  options.text_input(collect.text.input);
  job.declare_memory(options);
  job.declare(options);
  options.only_with({"--hadamard"}, "--sites of llm, which stays in floats else,", [this] {
    const bool unmeasured = std::ranges::none_of(formats(), &LayerFormat::eight_bit_activations);
    return unmeasured || !shared.collect.sites.empty();
  });
  options.only_with({"--fine", "--sites", "--state-every"}, "--a-bits 8", [this] {
    return std::ranges::any_of(formats(), &LayerFormat::eight_bit_activations);
  });
}

void CobraExperimentFlags::check() const {
  if (shared.collect.images.empty()) {
    throw UsageError(
        "--images: expected a folder with pictures, to measure and to compare on, found none "
        "given");
  }
  const std::vector<LayerFormat> all = formats();
  if (std::ranges::any_of(all, &LayerFormat::is_float)) {
    throw UsageError(
        "--w-bits: expected 8 or 4, found 16: the float model is what a Cobra is compared with");
  }
  const auto four = [](const LayerFormat& format) { return format.weight_bits == 4; };
  if (group_ && std::ranges::none_of(all, four)) {
    throw UsageError(fmt::format("--group-size: expected --w-bits 4, found {}", w_bits_));
  }
}

CobraSubjectOptions CobraExperimentFlags::subject(const std::string& model) const {
  CobraSubjectOptions out = shared;
  out.model = model;
  out.collect.text.seed = static_cast<uint64_t>(seed_);
  out.collect.text.random = !no_random_text_;
  return out;
}

Setting CobraExperimentFlags::setting(const std::string& command) const {
  Setting out;
  out.quantize.format = formats().front();
  out.quantize.group = group_.value_or(out.quantize.group);
  out.quantize.hadamard = out.quantize.fold = hadamard_ == "on";
  out.execution = Execution(shared.collect.compute, backend_);
  out.logged = logged_;
  out.command = command;
  return out;
}

}  // namespace scute::cli
