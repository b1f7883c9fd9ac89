#include "scute/models/language/language_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "scute/base/error.h"
#include "scute/kernels/elementwise.h"
#include "scute/kernels/hadamard.h"
#include "scute/models/language/check_weights.h"
#include "scute/tensor/tensor.h"

namespace scute {
namespace {

constexpr const char* kEmbeddingSite = "embedding:output";

using RawMixer = std::variant<Mamba1Mixer::Raw, Mamba2Mixer::Raw>;
template <class Raw>
using MixerOf = std::conditional_t<std::is_same_v<Raw, Mamba1Mixer::Raw>, Mamba1Mixer, Mamba2Mixer>;
template <class Raw>
using SitesOf = std::conditional_t<std::is_same_v<Raw, Mamba1Mixer::Raw>, Mamba1Sites, Mamba2Sites>;

RawMixer read_mixer(WeightReader& reader, const std::string& prefix, const MambaConfig& config) {
  if (config.mixer == MixerKind::mamba1) return Mamba1Mixer::Raw(reader, prefix, config);
  return Mamba2Mixer::Raw(reader, prefix, config);
}

/// Every tensor of a model, found and of its shape.
struct LanguageTensors {
  LinearTensors table;
  std::vector<Tensor> norms;
  std::vector<RawMixer> mixers;
  Tensor norm_f;
  LinearTensors head;
};

LanguageTensors read_tensors(const MambaConfig& config, Weights& weights) {
  WeightReader reader(weights);
  LanguageTensors out;
  out.table = LinearTensors(reader, "backbone.embedding", config.vocabulary, config.width);
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string prefix = fmt::format("backbone.layers.{}.", i);
    out.norms.push_back(reader.take(prefix + "norm.weight", {config.width}));
    out.mixers.push_back(read_mixer(reader, prefix + "mixer.", config));
  }
  out.norm_f = reader.take("backbone.norm_f.weight", {config.width});
  out.head = out.table;
  if (!config.tied_head) {
    out.head = LinearTensors(reader, "lm_head", config.vocabulary, config.width);
  } else if (reader.contains("lm_head.input_scale")) {
    out.head.name = "lm_head";  // whose scale an error is to name
    out.head.input_scale = reader.take("lm_head.input_scale", {1});
  }
  reader.finish();
  return out;
}

const MambaConfig& checked(const MambaConfig& config, const Scheme& scheme,
                           const std::string& where) {
  config.check(where);
  if (scheme.rotated_stream && !hadamard_factor(config.width)) {
    fail(where, "a width that has a Hadamard transform", fmt::format("{}", config.width));
  }
  if (scheme.rotated_out_proj && !hadamard_factor(config.inner)) {
    fail(where, "an inner width that has a Hadamard transform", fmt::format("{}", config.inner));
  }
  if (scheme.folded_head && (!scheme.rotated_stream || config.tied_head)) {
    fail(where, "a folded head only where it is not tied and the stream is rotated", "another");
  }
  return config;
}

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
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string layer = fmt::format("layer_{}.", i);
    const auto input =
        list.add_input(layer + "in_proj:input", config.width, input_of(scheme.rotated_stream));
    if (config.mixer == MixerKind::mamba1) {
      blocks.push_back({input, Mamba1Sites(config, scheme, layer, list)});
    } else {
      blocks.push_back({input, Mamba2Sites(config, scheme, layer, list)});
    }
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
    : config_(checked(config, scheme, weights.source())), scheme_(scheme), sites_(config, scheme) {
  build(std::move(weights), execution, head);
}

LanguageModel::LanguageModel(const MambaConfig& config, Weights weights, const Execution& execution,
                             Head head, const Scheme& scheme, LanguageModelSites sites)
    : config_(checked(config, scheme, weights.source())),
      scheme_(scheme),
      sites_(std::move(sites)) {
  build(std::move(weights), execution, head);
}

template <class Raw>
void LanguageModel::add_block(int64_t layer, const Tensor& norm, const Raw& raw,
                              const Execution& execution, bool low_bit) {
  const auto& sites = std::get<SitesOf<Raw>>(sites_.blocks[static_cast<size_t>(layer)].mixer);
  const auto pack = [=, config = config_, scheme = scheme_](SiteGrids& grids) {
    return LanguageBlock{to_vector(norm),
                         MixerOf<Raw>(raw, config, scheme, layer, execution, sites, grids)};
  };
  if (low_bit) return blocks_.add(pack(grids_));
  blocks_.add([pack] {
    SiteGrids none;
    return pack(none);
  });
}

void LanguageModel::build(Weights weights, const Execution& execution, Head head) {
  eight_bit_ = eight_bit_layers(weights);
  const std::set<int64_t> low_bit = low_bit_layers(weights);
  // First every tensor is found and checked, then layer after layer is packed, which gives the
  // mapped memory of its checkpoint tensors back.
  LanguageTensors tensors = read_tensors(config_, weights);
  if (tensors.table.eight_bit_input()) {
    fail("backbone.embedding.input_scale", "no such tensor: ids are not rounded", "one");
  }
  embedding_ = Embedding(tensors.table);
  norm_f_ = to_vector(tensors.norm_f);
  for (int64_t i = 0; i < config_.layers; ++i) {
    const auto at = static_cast<size_t>(i);
    const auto add = [&](auto raw) {
      add_block(i, tensors.norms[at], raw, execution, low_bit.contains(i));
    };
    std::visit(add, std::move(tensors.mixers[at]));
  }
  if (head == Head::packed) head_ = Linear(tensors.head, execution);
}

LanguageModel LanguageModel::with_layer(const LanguageModel& other, int64_t layer) const {
  const std::string prefix = fmt::format("layer_{}.", layer);
  if (config_ != other.config_ || scheme_ != other.scheme_) {
    fail(prefix, "a layer of a model of the same config and scheme", "another");
  }
  LanguageModel out = *this;
  out.blocks_.share(layer, other.blocks_);
  for (const Site& site : sites_.list.sites()) {
    if (site.name.starts_with(prefix)) out.grids_.copy(site, other.grids_);
  }
  out.eight_bit_.erase(prefix);
  if (other.eight_bit_.contains(prefix)) out.eight_bit_.insert(prefix);
  return out;
}

void check_language_weights(const MambaConfig& config, Weights weights) {
  read_tensors(config, weights);
}

State LanguageModel::new_state(int64_t sequence) const {
  State state;
  state.place.sequence = sequence;
  for (int64_t i = 0; i < blocks_.size(); ++i) {
    const LanguageBlock* block = blocks_.peek(i);
    // What is packed later is float.
    state.layers.push_back(
        block == nullptr
            ? LayerState{config_.taps, config_.conv_channels(), config_.inner, config_.state,
                         LayerState::Form::floats}
            : std::visit([](const auto& mixer) { return mixer.new_state(); }, block->mixer));
  }
  return state;
}

void LanguageModel::norm(Run& run, MatView<const float> residual, const float* weight,
                         MatView<float> out) const {
  run.on_rows([&](auto in, auto to) { rms_norm(in, weight, config_.width, config_.norm_eps, to); },
              residual, out);
}

void LanguageModel::norm_and_pass(Run& run, MatView<const float> residual,
                                  const std::vector<float>& weight,
                                  const SiteList::InputSites& sites, MatView<float> out) const {
  if (scheme_.rotated_stream) {
    norm(run, residual, weight.data(), out);
    return run.pass(sites.rotated, out);
  }
  if (run.wants(sites.rotated)) {
    norm(run, residual, nullptr, out);
    run.rotate_and_pass(sites.rotated, out);
  }
  norm(run, residual, weight.data(), out);
  run.pass(sites.plain, out);
}

void LanguageModel::norm_for_head(Run& run, MatView<const float> residual,
                                  MatView<float> out) const {
  if (scheme_.rotated_stream == scheme_.folded_head) {
    return norm_and_pass(run, residual, norm_f_, sites_.head_input, out);
  }
  norm(run, residual, nullptr, out);
  run.pass(sites_.head_input.rotated, out);
  run.on_rows(
      [&](auto rows) {
        inverse_hadamard_rows(rows);
        multiply_columns(rows, norm_f_.data());
      },
      out);
  run.pass(sites_.head_input.plain, out);
}

void LanguageModel::enter(Run& run, MatView<const float> prefix, std::span<const int32_t> ids,
                          MatView<float> residual) const {
  if (prefix.rows > 0) {
    if (prefix.cols != config_.width) {
      fail("the vectors before the tokens", fmt::format("a width of {}", config_.width),
           fmt::format("{}", prefix.cols));
    }
    copy_rows(prefix, residual.slice_rows(0, prefix.rows));
  }
  if (!ids.empty()) {
    const auto embedded = residual.slice_rows(prefix.rows, residual.rows - prefix.rows);
    embedding_(ids, embedded);
    run.pass(sites_.embedding_output, embedded);
  }
  if (scheme_.rotated_stream) hadamard_rows(residual);
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
  const auto normed = run.matrix(L, config_.width);
  const auto mixed = run.matrix(L, config_.width);
  enter(run, prefix, ids, residual);
  for (size_t i = 0; i < state.layers.size(); ++i) {
    const LanguageBlock& block = blocks_.at(static_cast<int64_t>(i), run);
    norm_and_pass(run, residual, block.norm, sites_.blocks[i].in_proj_input, normed);
    std::visit([&](const auto& mixer) { mixer(run, normed, state.layers[i], state.place, mixed); },
               block.mixer);
    run.on_rows(add_into, residual, mixed);
  }
  state.place.position += L;
  norm_for_head(run, residual, out);
}

void LanguageModel::logits(Run& run, MatView<const float> hidden, MatView<float> logits) const {
  run.use(grids_);
  head_(run, hidden, logits);
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
  ModelSize out;
  out.embedding = embedding_.bytes();
  out.head = head_.bytes();
  size_t norms = norm_f_.size();
  for (int64_t i = 0; i < blocks_.size(); ++i) {
    const LanguageBlock& block = blocks_.at(i);
    norms += block.norm.size();
    std::visit([&](const auto& mixer) { mixer.add_size(out); }, block.mixer);
  }
  out.norms += static_cast<int64_t>(norms * sizeof(float));
  return out;
}

ModelWork LanguageModel::work_of_blocks() const {
  ModelWork out;
  for (int64_t i = 0; i < blocks_.size(); ++i) {
    std::visit([&](const auto& mixer) { mixer.add_work(out); }, blocks_.at(i).mixer);
  }
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
