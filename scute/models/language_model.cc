#include "scute/models/language_model.h"

#include <fmt/format.h>

#include <algorithm>

#include "scute/base/error.h"
#include "scute/kernels/elementwise.h"
#include "scute/models/mixer.h"

namespace scute {
namespace {

using RawMixer = std::variant<Mamba1Mixer::Raw, Mamba2Mixer::Raw>;

RawMixer read_mixer(WeightReader& reader, const std::string& prefix, const MambaConfig& config) {
  if (config.mixer == MixerKind::mamba1) return Mamba1Mixer::Raw(reader, prefix, config);
  return Mamba2Mixer::Raw(reader, prefix, config);
}

/// Packs the tensors and lets go of them.
std::variant<Mamba1Mixer, Mamba2Mixer> pack_mixer(
    RawMixer raw, const MambaConfig& config, Compute compute,
    const std::variant<Mamba1Sites, Mamba2Sites>& sites) {
  if (auto* one = std::get_if<Mamba1Mixer::Raw>(&raw)) {
    return Mamba1Mixer(std::move(*one), config, compute, std::get<Mamba1Sites>(sites));
  }
  return Mamba2Mixer(std::move(std::get<Mamba2Mixer::Raw>(raw)), config, compute,
                     std::get<Mamba2Sites>(sites));
}

const MambaConfig& checked(const MambaConfig& config, const std::string& where) {
  config.check(where);
  return config;
}

template <class T>
void widen_row(std::span<const T> table, int64_t row, MatView<float> out, int64_t t) {
  const T* from = table.data() + row * out.cols;
  if constexpr (std::is_same_v<T, float>) {
    std::copy_n(from, out.cols, out.row(t));
  } else {
    std::transform(from, from + out.cols, out.row(t), [](T x) { return to_float(x); });
  }
}

}  // namespace

LanguageModelSites::LanguageModelSites(const MambaConfig& config) {
  embedding_output = list.add("embedding:output", {config.width});
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string layer = fmt::format("layer_{}.", i);
    Site input = list.add(layer + "in_proj:input", {config.width});
    Site rotated = list.add_rotated(layer + "in_proj:input", config.width);
    if (config.mixer == MixerKind::mamba1) {
      blocks.push_back({input, rotated, Mamba1Sites(config, layer, list)});
    } else {
      blocks.push_back({input, rotated, Mamba2Sites(config, layer, list)});
    }
  }
  head_input = list.add("lm_head:input", {config.width});
  head_rotated = list.add_rotated("lm_head:input", config.width);
  head_output = list.add("lm_head:output", {config.vocabulary});
}

LanguageModel::LanguageModel(const MambaConfig& config, Weights weights, Compute compute, Head head)
    : config_(checked(config, weights.source())), sites_(config) {
  WeightReader reader(weights);
  embedding_ = reader.take("backbone.embedding.weight", {config.vocabulary, config.width});

  // First every tensor is found and checked, then layer after layer is packed, which gives the
  // mapped memory of its checkpoint tensors back.
  std::vector<std::pair<std::vector<float>, RawMixer>> raw;
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string prefix = fmt::format("backbone.layers.{}.", i);
    auto norm = to_vector(reader.take(prefix + "norm.weight", {config.width}));
    raw.emplace_back(std::move(norm), read_mixer(reader, prefix + "mixer.", config));
  }
  norm_f_ = to_vector(reader.take("backbone.norm_f.weight", {config.width}));
  Tensor head_table = embedding_;
  if (!config.tied_head) head_table = reader.take("lm_head.weight", embedding_.shape());
  reader.finish();

  if (embedding_.dtype() == DType::f64) embedding_ = embedding_.to_f32();
  blocks_.reserve(raw.size());
  for (size_t i = 0; i < raw.size(); ++i) {
    blocks_.push_back({std::move(raw[i].first), pack_mixer(std::move(raw[i].second), config,
                                                           compute, sites_.blocks[i].mixer)});
  }
  if (head == Head::packed) head_ = Gemm(head_table, compute);
}

State LanguageModel::new_state() const {
  State state;
  for (int64_t i = 0; i < config_.layers; ++i) {
    state.layers.emplace_back(config_.taps, config_.conv_channels(), config_.inner, config_.state);
  }
  return state;
}

void LanguageModel::embed(std::span<const int32_t> ids, MatView<float> out) const {
  for (size_t t = 0; t < ids.size(); ++t) {
    const int64_t id = ids[t];
    if (id < 0 || id >= config_.vocabulary) {
      fail("token ids", fmt::format("ids from 0 to {}", config_.vocabulary - 1),
           fmt::format("{} at position {}", id, t));
    }
    const auto row = static_cast<int64_t>(t);
    switch (embedding_.dtype()) {
      case DType::bf16:
        widen_row(embedding_.values<bf16>(), id, out, row);
        break;
      case DType::f16:
        widen_row(embedding_.values<f16>(), id, out, row);
        break;
      default:
        widen_row(embedding_.values<float>(), id, out, row);
    }
  }
}

void LanguageModel::norm_and_pass(Run& run, MatView<const float> residual,
                                  const std::vector<float>& weight, const Site& site,
                                  const Site& rotated, MatView<float> out) const {
  if (run.wants(rotated)) {
    rms_norm(residual, nullptr, config_.width, config_.norm_eps, out);
    run.rotate_and_pass(rotated, out);
  }
  rms_norm(residual, weight.data(), config_.width, config_.norm_eps, out);
  run.pass(site, out);
}

void LanguageModel::hidden(Run& run, std::span<const int32_t> ids, State& state,
                           MatView<float> out) const {
  const auto L = static_cast<int64_t>(ids.size());
  const Arena::Scope scope(run.arena());
  const auto residual = run.matrix(L, config_.width);
  const auto normed = run.matrix(L, config_.width);
  const auto mixed = run.matrix(L, config_.width);
  embed(ids, residual);
  run.pass(sites_.embedding_output, residual);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const Block& block = blocks_[i];
    const LanguageModelSites::Block& sites = sites_.blocks[i];
    norm_and_pass(run, residual, block.norm, sites.in_proj_input, sites.in_proj_rotated, normed);
    std::visit(
        [&](const auto& mixer) { mixer(run, normed, state.layers[i], state.position, mixed); },
        block.mixer);
    add_into(residual, mixed);
  }
  state.position += L;
  norm_and_pass(run, residual, norm_f_, sites_.head_input, sites_.head_rotated, out);
}

void LanguageModel::logits(Run& run, MatView<const float> hidden, MatView<float> logits) const {
  head_(hidden, logits);
  run.pass(sites_.head_output, logits);
}

int64_t LanguageModel::bytes() const {
  int64_t total = head_.bytes() + static_cast<int64_t>(embedding_.bytes().size());
  for (const Block& block : blocks_) {
    total += std::visit([](const auto& mixer) { return mixer.bytes(); }, block.mixer);
  }
  return total;
}

}  // namespace scute
