#include "scute/models/language/language_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "scute/base/error.h"
#include "scute/kernels/elementwise.h"
#include "scute/models/language/language_tensors.h"
#include "scute/tensor/tensor.h"

namespace scute {
namespace {

constexpr const char* kEmbeddingSite = "embedding:output";

/// "layer_{i}." for each layer with scales of its activations.
std::set<std::string> eight_bit_layers(const Weights& weights) {
  constexpr std::string_view kLayers = "backbone.layers.";
  std::set<std::string> out;
  for (const std::string& name : weights.names()) {
    const bool scale = name.ends_with(".input_scale") || name.ends_with(".conv1d.output_scale") ||
                       name.find(".selective_scan.") != std::string::npos;
    if (!scale || !name.starts_with(kLayers)) continue;
    const size_t end = name.find('.', kLayers.size());
    out.insert("layer_" + name.substr(kLayers.size(), end + 1 - kLayers.size()));
  }
  return out;
}

/// Layers with a tensor that no float checkpoint has: their scales are checked with the others.
std::set<int64_t> low_bit_layers(const Weights& weights) {
  constexpr std::string_view kLayers = "backbone.layers.";
  std::set<int64_t> out;
  for (const std::string& name : weights.names()) {
    const auto ends = [&](const char* ending) { return name.ends_with(ending); };
    const bool plain = ends(".weight") || ends("bias") || ends(".A_log") || ends(".D");
    if (plain || !name.starts_with(kLayers)) continue;
    int64_t layer = -1;
    std::from_chars(name.data() + kLayers.size(), name.data() + name.size(), layer);
    out.insert(layer);
  }
  return out;
}

/// Whether the site shows a rotated copy of what passes another one.
bool is_twin(const Site& site, const SiteList& list) {
  constexpr std::string_view kSuffix = "@rotated";
  const std::string_view name = site.name;
  return name.ends_with(kSuffix) &&
         list.find(name.substr(0, name.size() - kSuffix.size())) != nullptr;
}

}  // namespace

LanguageModelSites::LanguageModelSites() = default;
LanguageModelSites::LanguageModelSites(const LanguageModelSites&) = default;
LanguageModelSites::LanguageModelSites(LanguageModelSites&&) noexcept = default;
LanguageModelSites& LanguageModelSites::operator=(const LanguageModelSites&) = default;
LanguageModelSites& LanguageModelSites::operator=(LanguageModelSites&&) noexcept = default;
LanguageModelSites::~LanguageModelSites() = default;

LanguageModelSites::LanguageModelSites(const MambaConfig& config, const Scheme& scheme,
                                       SiteList before, const std::string& embedding)
    : list(std::move(before)) {
  embedding_output = list.add(embedding, {config.width});
  if (embedding != kEmbeddingSite) list.alias(kEmbeddingSite, embedding);
  for (const BlockConfig& block : config.all_blocks()) {
    blocks.emplace_back(config, block, scheme, list);
  }
  head_input = list.add_input("lm_head:input", config.width, input_of(scheme.folded_head));
  head_output = list.add("lm_head:output", {config.vocabulary});
}

LanguageModel::LanguageModel() = default;
LanguageModel::LanguageModel(const LanguageModel&) = default;
LanguageModel::LanguageModel(LanguageModel&&) noexcept = default;
LanguageModel& LanguageModel::operator=(const LanguageModel&) = default;
LanguageModel& LanguageModel::operator=(LanguageModel&&) noexcept = default;
LanguageModel::~LanguageModel() = default;

LanguageModel::LanguageModel(const MambaConfig& config, Weights weights, const Execution& execution,
                             Head head, const Scheme& scheme)
    : config_(checked_config(config, scheme, weights.source())),
      scheme_(scheme),
      sites_(config, scheme) {
  build(std::move(weights), execution, head);
}

LanguageModel::LanguageModel(const MambaConfig& config, Weights weights, const Execution& execution,
                             Head head, const Scheme& scheme, LanguageModelSites sites)
    : config_(checked_config(config, scheme, weights.source())),
      scheme_(scheme),
      sites_(std::move(sites)) {
  build(std::move(weights), execution, head);
}

void LanguageModel::build(Weights weights, const Execution& how, Head head) {
  Execution execution = how;
  if (execution.memory == nullptr) execution.memory = std::make_shared<PackedMemory>();
  eight_bit_ = eight_bit_layers(weights);
  const std::set<int64_t> low_bit = low_bit_layers(weights);
  // First every tensor is found and checked, then layer after layer is packed, which gives the
  // mapped memory of its checkpoint tensors back.
  LanguageTensors tensors(config_, weights);
  frame_ = ModelFrame(tensors, config_, scheme_, sites_);
  if (head == Head::packed) {
    // First, while no layer takes memory beside its stored form; of a tied one that stays mapped.
    head_ = Linear(tensors.head, execution);
    tensors.head.weight.give_back();
  }
  const std::vector<BlockConfig> blocks = config_.all_blocks();
  const std::shared_ptr<SharedBlocks> shared = pack_shared(tensors, config_, execution);
  for (const SharedTransformer::Packed& packed : *shared) {
    packed.attention.add_size(shared_size_);
    packed.feed_forward.add_size(shared_size_);
  }
  for (size_t i = 0; i < blocks.size(); ++i) {
    // Its tensors are given back with it.
    const auto pack = [raw = std::move(tensors.blocks[i]), config = config_, block = blocks[i],
                       scheme = scheme_, execution, shared,
                       sites = sites_.blocks[i]](SiteGrids& grids) {
      return Block(raw, config, block, scheme, execution, *shared, sites, grids);
    };
    if (low_bit.contains(blocks[i].layer)) {
      blocks_.add(pack(grids_));
      continue;
    }
    blocks_.add([pack] {
      SiteGrids none;
      return pack(none);
    });
  }
}

LanguageModel LanguageModel::with_part(const LanguageModel& other, int64_t layer,
                                       PartKind kind) const {
  const std::string prefix = fmt::format("layer_{}.", layer);
  if (config_ != other.config_ || scheme_ != other.scheme_) {
    fail(prefix, "a part of a model of the same config and scheme", "another");
  }
  LanguageModel out = *this;
  const std::vector<BlockConfig> blocks = config_.all_blocks();
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (blocks[i].layer != layer) continue;
    const auto at = static_cast<int64_t>(i);
    const bool shared = blocks[i].shared >= 0;
    if (shared && (kind == PartKind::attention || kind == PartKind::feed_forward)) {
      out.blocks_.put(at, out.blocks_.at(at).with_shared(other.blocks_.at(at)));
    }
    const auto part = std::ranges::find(blocks[i].parts, kind);
    if (part == blocks[i].parts.end()) continue;
    if (!shared && blocks[i].parts.size() == 1) {
      out.blocks_.share(at, other.blocks_);
      continue;
    }
    const auto index = static_cast<size_t>(part - blocks[i].parts.begin());
    out.blocks_.put(at, out.blocks_.at(at).with_part(other.blocks_.at(at), index));
  }
  // Of the parts that round their inputs, mixers alone have grids; the others' are in the products.
  if (kind == PartKind::mixer) {
    for (const Site& site : sites_.list.sites()) {
      if (site.name.starts_with(prefix)) out.grids_.copy(site, other.grids_);
    }
  }
  if (config_.kinds_of_layer(layer).size() == 1) out.eight_bit_.erase(prefix);
  if (other.eight_bit_.contains(prefix)) out.eight_bit_.insert(prefix);
  return out;
}

State LanguageModel::new_state(int64_t sequence) const {
  State state;
  state.place.sequence = sequence;
  const std::vector<BlockConfig> configs = config_.all_blocks();
  for (int64_t i = 0; i < blocks_.size(); ++i) {
    const Block* block = blocks_.peek(i);
    // What is packed later is float.
    state.blocks.push_back(
        block == nullptr ? new_float_state(config_, configs[static_cast<size_t>(i)], scheme_.cache)
                         : block->new_state());
  }
  return state;
}

int64_t LanguageModel::cache_bytes_per_token() const {
  const AttentionConfig& a = config_.attention;
  int64_t layers = 0;
  for (const BlockConfig& block : config_.all_blocks()) {
    layers += std::ranges::count(block.parts, PartKind::attention) + (block.shared >= 0 ? 1 : 0);
  }
  // Codes have a scale for each head, of keys and of values.
  const int64_t of_head = scheme_.cache == CacheForm::f32    ? 4 * a.head_width
                          : scheme_.cache == CacheForm::bf16 ? 2 * a.head_width
                                                             : a.head_width + 4;
  return layers * 2 * a.key_heads * of_head;
}

void LanguageModel::hidden(Run& run, std::span<const int32_t> ids, State& state,
                           MatView<float> out) const {
  hidden(run, {}, ids, state, out);
}

void LanguageModel::hidden(Run& run, MatView<const float> prefix, std::span<const int32_t> ids,
                           State& state, MatView<float> out) const {
  const int64_t L = prefix.rows + static_cast<int64_t>(ids.size());
  const Arena::Scope scope(run.arena());
  run.use(grids_);
  const auto residual = run.matrix(L, config_.width);
  frame_.enter(run, prefix, ids, residual);
  const auto origin = config_.shared.count > 0 ? run.matrix(L, config_.width) : residual;
  if (config_.shared.count > 0) run.on_rows(copy_rows, residual, origin);
  for (int64_t i = 0; i < blocks_.size(); ++i) {
    blocks_.at(i, run)(run, residual, origin, state.blocks[static_cast<size_t>(i)], state.place);
  }
  state.place.position += L;
  frame_.leave(run, residual, out);
}

void LanguageModel::logits(Run& run, MatView<const float> hidden, MatView<float> logits) const {
  run.use(grids_);
  head_(run, hidden, logits);
  scale_rows(run, config_.logit_factor, logits);
  run.pass(sites_.head_output, logits);
}

bool LanguageModel::has_scales_at(const Site& site) const {
  if (grids_.find(site) != nullptr) return true;
  if (site.name.starts_with("lm_head:input")) return head_.input_scale() > 0;
  return eight_bit_.contains(site.name.substr(0, site.name.find('.') + 1));
}

void LanguageModel::set_range(const Site& site, float lo, float hi) {
  if (has_scales_at(site)) {
    fail(site.name, "activations in floats, whose range may be set here",
         "8-bit scales in the checkpoint; change them with `scute scales`");
  }
  const bool head_twin = site.index == sites_.head_input.rotated.index && !scheme_.rotated_stream;
  const bool twin = site.index != sites_.head_input.rotated.index && is_twin(site, sites_.list);
  if (head_twin || twin || site.extent == Site::Extent::per_step) {
    fail(site.name, "a site whose values are used",
         "one that this model only shows; set the range of the same site without @rotated or "
         ":steps");
  }
  grids_.set_clip(site, lo, hi);
}

ModelSize LanguageModel::size() const {
  ModelSize out = shared_size_;
  out.embedding = frame_.table_bytes();
  out.head = head_.bytes();
  out.norms = frame_.norm_bytes();
  for (int64_t i = 0; i < blocks_.size(); ++i) blocks_.at(i).add_size(out);
  return out;
}

ModelWork LanguageModel::work_of_blocks() const {
  ModelWork out;
  for (int64_t i = 0; i < blocks_.size(); ++i) blocks_.at(i).add_work(out);
  return out;
}

ModelWork LanguageModel::work_of_head() const {
  ModelWork out;
  head_.add_work(1, out);
  return out;
}

void forward(const LanguageModel& model, Run& run, std::span<const int32_t> ids) {
  const Arena::Scope scope(run.arena());
  const auto hidden = run.matrix(static_cast<int64_t>(ids.size()), model.config().width);
  State state = model.new_state();
  model.hidden(run, ids, state, hidden);
}

}  // namespace scute
