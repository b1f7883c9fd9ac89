#include "scute/models/language_model.h"

#include <fmt/format.h>

#include <algorithm>

#include "scute/base/error.h"
#include "scute/kernels/elementwise.h"
#include "scute/kernels/hadamard.h"
#include "scute/models/mixer.h"

namespace scute {
namespace {

using RawMixer = std::variant<Mamba1Mixer::Raw, Mamba2Mixer::Raw>;
template <class Raw>
using MixerOf = std::conditional_t<std::is_same_v<Raw, Mamba1Mixer::Raw>, Mamba1Mixer, Mamba2Mixer>;
template <class Raw>
using SitesOf = std::conditional_t<std::is_same_v<Raw, Mamba1Mixer::Raw>, Mamba1Sites, Mamba2Sites>;

RawMixer read_mixer(WeightReader& reader, const std::string& prefix, const MambaConfig& config) {
  if (config.mixer == MixerKind::mamba1) return Mamba1Mixer::Raw(reader, prefix, config);
  return Mamba2Mixer::Raw(reader, prefix, config);
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

}  // namespace

LanguageModelSites::LanguageModelSites(const MambaConfig& config, const Scheme& scheme) {
  embedding_output = list.add("embedding:output", {config.width});
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

LanguageModel::LanguageModel(const MambaConfig& config, Weights weights, const Execution& execution,
                             Head head, const Scheme& scheme)
    : config_(checked(config, scheme, weights.source())), scheme_(scheme), sites_(config, scheme) {
  WeightReader reader(weights);
  LinearTensors table(reader, "backbone.embedding", config.vocabulary, config.width);

  // First every tensor is found and checked, then layer after layer is packed, which gives the
  // mapped memory of its checkpoint tensors back.
  std::vector<Tensor> norms;
  std::vector<RawMixer> raw;
  for (int64_t i = 0; i < config.layers; ++i) {
    const std::string prefix = fmt::format("backbone.layers.{}.", i);
    norms.push_back(reader.take(prefix + "norm.weight", {config.width}));
    raw.push_back(read_mixer(reader, prefix + "mixer.", config));
  }
  const Tensor norm_f = reader.take("backbone.norm_f.weight", {config.width});
  LinearTensors head_tensors = table;
  if (!config.tied_head) {
    head_tensors = LinearTensors(reader, "lm_head", config.vocabulary, config.width);
  } else if (reader.contains("lm_head.input_scale")) {
    head_tensors.name = "lm_head";  // whose scale an error is to name
    head_tensors.input_scale = reader.take("lm_head.input_scale", {1});
  }
  reader.finish();

  if (table.eight_bit_input()) {
    fail("backbone.embedding.input_scale", "no such tensor: ids are not rounded", "one");
  }
  embedding_ = Embedding(table);
  norm_f_ = to_vector(norm_f);
  blocks_.reserve(raw.size());
  for (size_t i = 0; i < raw.size(); ++i) {
    const auto pack = [&](auto tensors) -> std::variant<Mamba1Mixer, Mamba2Mixer> {
      using Mixer = MixerOf<decltype(tensors)>;
      return Mixer(tensors, config, scheme, static_cast<int64_t>(i), execution,
                   std::get<SitesOf<decltype(tensors)>>(sites_.blocks[i].mixer), grids_);
    };
    blocks_.push_back({to_vector(norms[i]), std::visit(pack, std::move(raw[i]))});
  }
  if (head == Head::packed) head_ = Linear(head_tensors, execution);
}

State LanguageModel::new_state(int64_t sequence) const {
  State state;
  state.place.sequence = sequence;
  for (const Block& block : blocks_) {
    state.layers.push_back(
        std::visit([](const auto& mixer) { return mixer.new_state(); }, block.mixer));
  }
  return state;
}

void LanguageModel::norm_and_pass(Run& run, MatView<const float> residual,
                                  const std::vector<float>& weight,
                                  const SiteList::InputSites& sites, MatView<float> out) const {
  if (scheme_.rotated_stream) {
    rms_norm(residual, weight.data(), config_.width, config_.norm_eps, out);
    return run.pass(sites.rotated, out);
  }
  if (run.wants(sites.rotated)) {
    rms_norm(residual, nullptr, config_.width, config_.norm_eps, out);
    run.rotate_and_pass(sites.rotated, out);
  }
  rms_norm(residual, weight.data(), config_.width, config_.norm_eps, out);
  run.pass(sites.plain, out);
}

void LanguageModel::norm_for_head(Run& run, MatView<const float> residual,
                                  MatView<float> out) const {
  if (scheme_.rotated_stream == scheme_.folded_head) {
    return norm_and_pass(run, residual, norm_f_, sites_.head_input, out);
  }
  rms_norm(residual, nullptr, config_.width, config_.norm_eps, out);
  run.pass(sites_.head_input.rotated, out);
  inverse_hadamard_rows(out);
  multiply_columns(out, norm_f_.data());
  run.pass(sites_.head_input.plain, out);
}

void LanguageModel::hidden(Run& run, std::span<const int32_t> ids, State& state,
                           MatView<float> out) const {
  const auto L = static_cast<int64_t>(ids.size());
  const Arena::Scope scope(run.arena());
  run.use(grids_);
  const auto residual = run.matrix(L, config_.width);
  const auto normed = run.matrix(L, config_.width);
  const auto mixed = run.matrix(L, config_.width);
  embedding_(ids, residual);
  run.pass(sites_.embedding_output, residual);
  if (scheme_.rotated_stream) hadamard_rows(residual);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const Block& block = blocks_[i];
    norm_and_pass(run, residual, block.norm, sites_.blocks[i].in_proj_input, normed);
    std::visit([&](const auto& mixer) { mixer(run, normed, state.layers[i], state.place, mixed); },
               block.mixer);
    add_into(residual, mixed);
  }
  state.place.position += L;
  norm_for_head(run, residual, out);
}

void LanguageModel::logits(Run& run, MatView<const float> hidden, MatView<float> logits) const {
  run.use(grids_);
  head_(run, hidden, logits);
  run.pass(sites_.head_output, logits);
}

ModelSize LanguageModel::size() const {
  ModelSize out;
  out.embedding = embedding_.bytes();
  out.head = head_.bytes();
  size_t norms = norm_f_.size();
  for (const Block& block : blocks_) {
    norms += block.norm.size();
    std::visit([&](const auto& mixer) { mixer.add_size(out); }, block.mixer);
  }
  out.norms += static_cast<int64_t>(norms * sizeof(float));
  return out;
}

void forward(const LanguageModel& model, Run& run, std::span<const int32_t> ids) {
  const Arena::Scope scope(run.arena());
  const auto hidden = run.matrix(static_cast<int64_t>(ids.size()), model.config().width);
  State state = model.new_state();
  model.hidden(run, ids, state, hidden);
}

}  // namespace scute
