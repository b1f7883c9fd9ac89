#include "scute/models/language/layered_model.h"

#include <charconv>
#include <utility>

#include "scute/base/error.h"
#include "scute/kernels/elementwise.h"

namespace scute {
namespace {

/// By layer; of those that belong to none under −1.
std::map<int64_t, std::vector<Tensor>> by_layer(const Weights& weights) {
  constexpr std::string_view kLayers = "backbone.layers.";
  std::map<int64_t, std::vector<Tensor>> out;
  for (const std::string& name : weights.names()) {
    int64_t layer = -1;
    if (name.starts_with(kLayers)) {
      std::from_chars(name.data() + kLayers.size(), name.data() + name.size(), layer);
    }
    out[layer].push_back(weights.at(name));
  }
  return out;
}

void give_back(const std::vector<Tensor>& tensors) {
  for (const Tensor& tensor : tensors) tensor.give_back();
}

}  // namespace

LayeredModel::LayeredModel(const MambaConfig& config, Weights weights, const Execution& execution,
                           const Scheme& scheme)
    : LayeredModel(config, std::move(weights), execution, scheme,
                   LanguageModelSites(config, scheme)) {}

LayeredModel::LayeredModel(const MambaConfig& config, Weights weights, const Execution& execution,
                           const Scheme& scheme, LanguageModelSites sites)
    : config_(checked_config(config, scheme, weights.source())),
      scheme_(scheme),
      sites_(std::move(sites)),
      execution_(execution),
      configs_(config_.all_blocks()),
      of_layers_(by_layer(weights)),
      tensors_(config_, weights),
      shared_(pack_shared(tensors_, config_, execution)),
      frame_(tensors_, config_, scheme_, sites_) {
  give_back(of_layers_[-1]);
}

int LayeredModel::first_site(int64_t block) const {
  if (block < 0) return sites_.embedding_output.index;
  if (block == blocks()) return sites_.head_input.plain.index;
  const BlockSites& sites = sites_.blocks[static_cast<size_t>(block)];
  return sites.shared ? sites.shared->attention_input.plain.index
                      : sites.parts.front().input.plain.index;
}

bool LayeredModel::shows(int64_t block, const Site& site) const {
  return site.index >= first_site(block) &&
         (block == blocks() || site.index < first_site(block + 1));
}

void LayeredModel::rest() {
  block_.reset();
  head_ = Linear();
  grids_ = clips_;
  give_back(of_layers_[-1]);
}

void LayeredModel::set_range(const Site& site, float lo, float hi) {
  clips_.set_clip(site, lo, hi);
  clipped_.push_back(site);
  rest();
}

void LayeredModel::go_to(int64_t block) {
  rest();
  const auto i = static_cast<size_t>(block);
  block_.emplace(tensors_.blocks[i], config_, configs_[i], scheme_, execution_, *shared_,
                 sites_.blocks[i], grids_);
  for (const Site& site : clipped_) {
    if (grids_.find(site) == nullptr) continue;
    fail(site.name, "activations in floats, whose range may be set here",
         "8-bit scales in the checkpoint; change them with `scute scales`");
  }
  give_back(of_layers_[configs_[i].layer]);
}

void LayeredModel::go_to_head(int64_t first, int64_t count) {
  rest();
  const bool all = first == 0 && count == config_.vocabulary;
  head_ = Linear(all ? tensors_.head : tensors_.head.rows(first, count), execution_);
  give_back(of_layers_[-1]);
}

void LayeredModel::enter(Run& run, MatView<const float> prefix, std::span<const int32_t> ids,
                         MatView<float> residual) const {
  run.use(clips_);
  frame_.enter(run, prefix, ids, residual);
}

void LayeredModel::through(Run& run, MatView<float> residual, MatView<const float> origin) const {
  run.use(grids_);
  BlockState state = block_->new_state();
  (*block_)(run, residual, origin, state, Place());
}

void LayeredModel::leave(Run& run, MatView<const float> residual, MatView<float> hidden) const {
  run.use(clips_);
  frame_.leave(run, residual, hidden);
}

void LayeredModel::logits(Run& run, MatView<const float> hidden, MatView<float> logits) const {
  run.use(clips_);
  head_(run, hidden, logits);
  scale_rows(run, config_.logit_factor, logits);
  run.pass(sites_.head_output, logits);
}

}  // namespace scute
