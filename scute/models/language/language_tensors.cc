#include "scute/models/language/language_tensors.h"

#include <fmt/format.h>

#include "scute/base/error.h"
#include "scute/kernels/hadamard.h"
#include "scute/models/language/check_weights.h"

namespace scute {

LanguageTensors::LanguageTensors(const MambaConfig& config, Weights& weights) {
  WeightReader reader(weights);
  table = LinearTensors(reader, "backbone.embedding", config.vocabulary, config.width);
  for (int64_t i = 0; i < config.shared.count; ++i) shared.emplace_back(reader, config, i);
  for (const BlockConfig& block : config.all_blocks()) blocks.emplace_back(reader, config, block);
  norm_f = reader.take("backbone.norm_f.weight", {config.width});
  head = table;
  if (!config.tied_head) {
    head = LinearTensors(reader, "lm_head", config.vocabulary, config.width);
  } else if (reader.contains("lm_head.input_scale")) {
    head.name = "lm_head";  // whose scale an error is to name
    head.input_scale = reader.take("lm_head.input_scale", {1});
  }
  reader.finish();
}

const MambaConfig& checked_config(const MambaConfig& config, const Scheme& scheme,
                                  const std::string& where) {
  config.check(where);
  if (scheme.rotated_stream && !hadamard_factor(config.width)) {
    fail(where, "a width that has a Hadamard transform", fmt::format("{}", config.width));
  }
  if (scheme.rotated_out_proj && !hadamard_factor(config.inner)) {
    fail(where, "an inner width that has a Hadamard transform", fmt::format("{}", config.inner));
  }
  for (const int64_t inner : config.feed_forward_widths()) {
    if (!scheme.rotated_down_proj || hadamard_factor(inner)) continue;
    fail(where, "feed-forwards of a width that has a Hadamard transform", fmt::format("{}", inner));
  }
  if (scheme.rotated_experts && !hadamard_factor(config.experts.inner)) {
    fail(where, "experts of a width that has a Hadamard transform",
         fmt::format("{}", config.experts.inner));
  }
  if (scheme.rotated_latent &&
      (config.experts.latent == 0 || !hadamard_factor(config.experts.latent))) {
    fail(where, "experts in a latent width that has a Hadamard transform",
         fmt::format("{}", config.experts.latent));
  }
  if (scheme.folded_head && (!scheme.rotated_stream || config.tied_head)) {
    fail(where, "a folded head only where it is not tied and the stream is rotated", "another");
  }
  return config;
}

std::shared_ptr<SharedBlocks> pack_shared(LanguageTensors& tensors, const MambaConfig& config,
                                          const Execution& execution) {
  const std::vector<BlockConfig> blocks = config.all_blocks();
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (!tensors.blocks[i].shared) continue;
    const auto number = static_cast<size_t>(blocks[i].shared % config.shared.count);
    tensors.shared[number].take_input_form(*tensors.blocks[i].shared);
  }
  auto out = std::make_shared<SharedBlocks>();
  for (const auto& raw : tensors.shared) out->emplace_back(raw, config, execution);
  return out;
}

void check_language_weights(const MambaConfig& config, Weights weights) {
  LanguageTensors(config, weights);
}

}  // namespace scute
