#include "scute/models/language/block.h"

#include <fmt/format.h>

#include <utility>

#include "scute/kernels/elementwise.h"
#include "scute/tensor/tensor.h"

namespace scute {
namespace {

std::string site_prefix(const BlockConfig& block) { return fmt::format("layer_{}.", block.layer); }

/// The names of a part's input: the site's own, then its aliases.
std::vector<std::string> input_names(const MambaConfig& config, PartKind kind) {
  const bool gated = config.feed_forward.gated();
  std::vector<std::string> out;
  switch (kind) {
    case PartKind::mixer:
      return {"in_proj"};
    case PartKind::attention:
      return {"q_proj", "k_proj", "v_proj"};
    case PartKind::feed_forward:
      break;
    case PartKind::experts:
      out = {"router"};
      if (config.experts.latent > 0) out.insert(out.end(), {"latent_in", "fc1_latent_proj"});
      if (config.experts.shared_inner > 0) out.push_back("shared_experts.up_proj");
      if (config.experts.shared_inner > 0 && gated) out.push_back("shared_experts.gate_proj");
      break;
  }
  if (gated) out.insert(out.begin(), "up_proj");
  out.insert(out.begin(), gated ? "gate_proj" : "up_proj");
  return out;
}

PartSites part_sites(const MambaConfig& config, const BlockConfig& block, PartKind kind,
                     const Scheme& scheme, SiteList& list) {
  const std::string layer = site_prefix(block);
  const auto names = input_names(config, kind);
  const std::string name = layer + names.front() + ":input";
  const auto input = list.add_input(name, config.width, input_of(scheme.rotated_stream));
  for (size_t i = 1; i < names.size(); ++i) list.alias_input(layer + names[i] + ":input", name);
  switch (kind) {
    case PartKind::mixer:
      if (config.mixer == MixerKind::mamba1)
        return {input, Mamba1Sites(config, scheme, layer, list)};
      return {input, Mamba2Sites(config, scheme, layer, list)};
    case PartKind::attention:
      return {input, AttentionSites(config, layer, list)};
    case PartKind::feed_forward:
      return {input,
              FeedForwardSites(config.width, block.inner, scheme.rotated_down_proj, layer, list)};
    case PartKind::experts:
      break;
  }
  return {input, ExpertsSites(config, scheme, layer, list)};
}

RawPart read_part(WeightReader& reader, const std::string& layer, const MambaConfig& config,
                  const BlockConfig& block, PartKind kind) {
  switch (kind) {
    case PartKind::mixer:
      if (config.mixer == MixerKind::mamba1) {
        return Mamba1Mixer::Raw(reader, layer + "mixer.", config);
      }
      return Mamba2Mixer::Raw(reader, layer + "mixer.", config);
    case PartKind::attention:
      return Attention::Raw(reader, layer + "attention.", config, config.width);
    case PartKind::feed_forward:
      return FeedForward::Raw(reader, layer + "mlp.", config.feed_forward, config.width,
                              block.inner);
    case PartKind::experts:
      break;
  }
  return Experts::Raw(reader, layer + "mlp.", config);
}

/// Packs the tensors of a part: one overload a kind.
struct Pack {
  const MambaConfig& config;
  const Scheme& scheme;
  int64_t layer;
  const Execution& execution;
  const PartSites& sites;
  SiteGrids& grids;

  template <class Sites>
  const Sites& inside() const {
    return std::get<Sites>(sites.inside);
  }
  Part operator()(const Mamba1Mixer::Raw& raw) const {
    return Mamba1Mixer(raw, config, scheme, layer, execution, inside<Mamba1Sites>(), grids);
  }
  Part operator()(const Mamba2Mixer::Raw& raw) const {
    return Mamba2Mixer(raw, config, scheme, layer, execution, inside<Mamba2Sites>(), grids);
  }
  Part operator()(const Attention::Raw& raw) const {
    return Attention(raw, config, execution, inside<AttentionSites>());
  }
  Part operator()(const FeedForward::Raw& raw) const {
    return FeedForward(raw, config.feed_forward, execution, inside<FeedForwardSites>());
  }
  Part operator()(const Experts::Raw& raw) const {
    return Experts(raw, config, execution, inside<ExpertsSites>());
  }
};

/// Calls a part, with its state if it has one.
struct Call {
  Run& run;
  MatView<float> u;
  PartState& state;
  const Place& place;
  MatView<float> out;

  template <class Mixer>
  void operator()(const Mixer& mixer) const {
    mixer(run, u, std::get<LayerState>(state), place, out);
  }
  void operator()(const Attention& attention) const {
    attention(run, u, std::get<KeyValueCache>(state), place, out);
  }
  void operator()(const FeedForward& feed_forward) const { feed_forward(run, u, out); }
  void operator()(const Experts& experts) const { experts(run, u, out); }
};

struct NewState {
  CacheForm cache;

  template <class Mixer>
  PartState operator()(const Mixer& mixer) const {
    return mixer.new_state();
  }
  PartState operator()(const Attention& attention) const { return attention.new_cache(cache); }
  PartState operator()(const FeedForward&) const { return std::monostate(); }
  PartState operator()(const Experts&) const { return std::monostate(); }
};

std::pair<float, float> factors_of(const MambaConfig& config, PartKind kind) {
  if (kind == PartKind::mixer) return {config.in_factor, config.out_factor};
  if (kind == PartKind::attention) return {config.attention.in_factor, config.attention.out_factor};
  if (kind == PartKind::feed_forward) return {1, config.feed_forward.out_factor};
  return {1, 1};
}

}  // namespace

BlockSites::BlockSites(const MambaConfig& config, const BlockConfig& block, const Scheme& scheme,
                       SiteList& list) {
  if (block.shared >= 0) shared.emplace(config, scheme, site_prefix(block) + "shared.", list);
  for (const PartKind kind : block.parts) {
    parts.push_back(part_sites(config, block, kind, scheme, list));
  }
}

Block::Raw::Raw(WeightReader& reader, const MambaConfig& config, const BlockConfig& block) {
  const std::string layer = fmt::format("backbone.layers.{}.", block.layer);
  norm = reader.take(layer + (block.second ? "norm2.weight" : "norm.weight"), {config.width});
  if (block.shared >= 0) shared.emplace(reader, config, block.layer);
  for (const PartKind kind : block.parts) {
    parts.push_back(read_part(reader, layer, config, block, kind));
  }
}

Block::Block(const Raw& raw, const MambaConfig& config, const BlockConfig& block,
             const Scheme& scheme, const Execution& execution,
             const std::vector<SharedTransformer::Packed>& shared, const BlockSites& sites,
             SiteGrids& grids)
    : norm_{to_vector(raw.norm), config.norm_eps},
      rotated_stream_(scheme.rotated_stream),
      cache_(scheme.cache),
      residual_factor_(config.residual_factor) {
  if (raw.shared) {
    const auto number = static_cast<size_t>(block.shared % config.shared.count);
    shared_.emplace(shared[number], *raw.shared, execution, *sites.shared);
  }
  parts_.reserve(raw.parts.size());
  for (size_t i = 0; i < raw.parts.size(); ++i) {
    const Pack pack{config, scheme, block.layer, execution, sites.parts[i], grids};
    const auto [in, out] = factors_of(config, block.parts[i]);
    parts_.push_back({std::visit(pack, raw.parts[i]), sites.parts[i].input, in, out});
  }
}

BlockState Block::new_state() const {
  BlockState out;
  const NewState make{cache_};
  for (const Placed& placed : parts_) out.parts.push_back(std::visit(make, placed.part));
  if (shared_) out.parts.push_back(shared_->new_cache(cache_));
  return out;
}

Block Block::with_part(const Block& other, size_t index) const {
  Block out = *this;
  out.parts_[index] = other.parts_[index];
  return out;
}

Block Block::with_shared(const Block& other) const {
  Block out = *this;
  out.shared_ = other.shared_;
  return out;
}

MatView<const float> Block::source(Run& run, MatView<const float> residual,
                                   MatView<const float> origin, BlockState& state,
                                   const Place& place) const {
  if (!shared_) return residual;
  const auto out = run.matrix(residual.rows, residual.cols);
  (*shared_)(run, residual, origin, std::get<KeyValueCache>(state.parts.back()), place, out);
  run.on_rows(add_into, out, residual);
  return out;
}

void Block::operator()(Run& run, MatView<float> residual, MatView<const float> origin,
                       BlockState& state, const Place& place) const {
  const Arena::Scope scope(run.arena());
  const MatView<const float> read = source(run, residual, origin, state, place);
  const auto normed = run.matrix(residual.rows, residual.cols);
  const auto sum = run.matrix(residual.rows, residual.cols);
  const auto added = parts_.size() > 1 ? run.matrix(residual.rows, residual.cols) : sum;
  for (size_t i = 0; i < parts_.size(); ++i) {
    const Placed& placed = parts_[i];
    const auto out = i == 0 ? sum : added;
    norm_.show(run, read, placed.input, rotated_stream_, placed.in_factor, normed);
    std::visit(Call{run, normed, state.parts[i], place, out}, placed.part);
    scale_rows(run, placed.out_factor, out);
    if (i > 0) run.on_rows(add_into, sum, added);
  }
  scale_rows(run, residual_factor_, sum);
  run.on_rows(add_into, residual, sum);
}

void Block::add_size(ModelSize& size) const {
  size.norms += static_cast<int64_t>(norm_.weight.size() * sizeof(float));
  if (shared_) shared_->add_size(size);
  for (const Placed& placed : parts_) {
    std::visit([&](const auto& part) { part.add_size(size); }, placed.part);
  }
}

void Block::add_work(ModelWork& work) const {
  if (shared_) shared_->add_work(work);
  for (const Placed& placed : parts_) {
    std::visit([&](const auto& part) { part.add_work(work); }, placed.part);
  }
}

BlockState new_float_state(const MambaConfig& config, const BlockConfig& block, CacheForm cache) {
  BlockState out;
  for (const PartKind kind : block.parts) {
    if (kind == PartKind::mixer) {
      out.parts.emplace_back(std::in_place_type<LayerState>, config.taps, config.conv_channels(),
                             config.inner, config.state);
    } else if (kind == PartKind::attention) {
      out.parts.emplace_back(new_key_value_cache(config.attention, cache));
    } else {
      out.parts.emplace_back(std::monostate());
    }
  }
  if (block.shared >= 0) out.parts.emplace_back(new_key_value_cache(config.attention, cache));
  return out;
}

}  // namespace scute
