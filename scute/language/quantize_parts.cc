// The parts of a quantization beside the mixers: attention, feed-forwards, experts, shared blocks.
#include <fmt/format.h>

#include "scute/base/error.h"
#include "scute/language/quantize_job.h"
#include "scute/tensor/tensor.h"

namespace scute {
namespace {

std::string layer_name(int64_t layer) { return fmt::format("backbone.layers.{}.", layer); }

std::string own_site(int64_t layer, int64_t expert) {
  return fmt::format("layer_{}.experts.{}.down_proj:input", layer, expert);
}

/// What a feed-forward's first matrices read.
const char* first_input(const MambaConfig& config) {
  return config.feed_forward.gated() ? "gate_proj:input" : "up_proj:input";
}

}  // namespace

void QuantizeJob::block(const BlockConfig& block) {
  const std::string name =
      layer_name(block.layer) + (block.second ? "norm2.weight" : "norm.weight");
  const Tensor norm = take(name);
  keep_norm(name, norm, folded_);
  if (block.shared >= 0) shared_use(block);
  for (const PartKind kind : block.parts) part(block, kind, to_vector(norm));
}

void QuantizeJob::part(const BlockConfig& block, PartKind kind, const std::vector<float>& norm) {
  const int64_t i = block.layer;
  const LayerFormats formats = options_.of_layer(i);
  const LayerFormat& format = formats.of(kind);
  const std::string sites = fmt::format("layer_{}.", i);
  switch (kind) {
    case PartKind::mixer:
      return config_.mixer == MixerKind::mamba1 ? mamba1(i, format, norm) : mamba2(i, format, norm);
    case PartKind::attention:
      return attention(layer_name(i) + "attention.", sites, format, norm);
    case PartKind::feed_forward:
      return feed_forward(layer_name(i) + "mlp.", sites, format, norm);
    case PartKind::experts:
      return experts(i, layer_name(i) + "mlp.", format, norm);
  }
}

void QuantizeJob::reader(const std::string& name, const std::string& site,
                         const LayerFormat& format, const std::vector<float>& norm, bool rotated) {
  MatrixJob job(name, take(name + ".weight"), format, input_site(site, scheme_.rotated_stream));
  job.hessian_sites = {site};
  input_matrix(job, norm);
  job.rotate_outputs = rotated;
  matrix(std::move(job));
  keep_bias(name, rotated);
}

void QuantizeJob::writer(const std::string& name, const std::string& site,
                         const LayerFormat& format, bool rotated) {
  MatrixJob job(name, take(name + ".weight"), format, input_site(site, rotated));
  job.hessian_sites = {site};
  job.rotate_inputs = rotated;
  job.rotate_outputs = scheme_.rotated_stream;
  matrix(std::move(job));
  keep_bias(name, scheme_.rotated_stream);
}

void QuantizeJob::keep_bias(const std::string& name, bool rotated) {
  if (!weights_.contains(name + ".bias")) return;
  const Tensor bias = take(name + ".bias");
  if (!rotated) return keep(name + ".bias", bias);
  MatrixEdit edit(bias.reshaped({bias.size(), 1}));
  edit.rotate_outputs();
  keep(name + ".bias", edit.tensor().reshaped({bias.size()}));
}

void QuantizeJob::attention(const std::string& name, const std::string& sites,
                            const LayerFormat& format, const std::vector<float>& norm) {
  for (const char* matrix : {"q_proj", "k_proj", "v_proj"}) {
    reader(name + matrix, sites + "q_proj:input", format, norm);
  }
  for (const char* kept : {"conv1d.weight", "conv1d.bias"}) {
    if (weights_.contains(name + kept)) keep(name + kept, take(name + kept));
  }
  writer(name + "o_proj", sites + "o_proj:input", format);
}

void QuantizeJob::feed_forward(const std::string& name, const std::string& sites,
                               const LayerFormat& format, const std::vector<float>& norm) {
  const bool gated = config_.feed_forward.gated();
  const std::string input = sites + first_input(config_);
  if (gated) reader(name + "gate_proj", input, format, norm);
  reader(name + "up_proj", input, format, norm);
  writer(name + "down_proj", sites + "down_proj:input", format, scheme_.rotated_down_proj);
}

std::string QuantizeJob::expert_site(int64_t layer, int64_t expert) {
  const bool rotated = scheme_.rotated_experts;
  std::string own = input_site(own_site(layer, expert), rotated);
  if (scales_.planned(own) != nullptr) return own;
  return input_site(fmt::format("layer_{}.experts.down_proj:input", layer), rotated);
}

void QuantizeJob::router(const std::string& name, const std::vector<float>& norm) {
  // In floats always, and f32: near ties would change experts.
  MatrixJob job(name + "router", take(name + "router.weight").to_f32(), kFloatFormat, "");
  input_matrix(job, norm);
  matrix(std::move(job));
  const std::string correction = name + "router.correction_bias";
  if (weights_.contains(correction)) keep(correction, take(correction));
}

void QuantizeJob::expert(int64_t layer, const std::string& name, int64_t number,
                         const LayerFormat& format, const std::vector<float>& norm) {
  const bool gated = config_.feed_forward.gated(), latent = config_.experts.latent > 0;
  const std::string sites = fmt::format("layer_{}.", layer);
  const std::string input = sites + (latent ? "experts.up_proj:input" : first_input(config_));
  for (const char* of : {"gate_proj", "up_proj"}) {
    if (!gated && std::string_view(of) == "gate_proj") continue;
    if (!latent) {
      reader(name + of, input, format, norm);
      continue;
    }
    MatrixJob job(name + of, take(name + of + ".weight"), format,
                  input_site(input, scheme_.rotated_latent));
    job.hessian_sites = {input};
    job.rotate_inputs = scheme_.rotated_latent;
    matrix(std::move(job));
  }
  MatrixJob down(name + "down_proj", take(name + "down_proj.weight"), format,
                 expert_site(layer, number));
  down.rotate_inputs = scheme_.rotated_experts;
  down.rotate_outputs = latent ? scheme_.rotated_latent : scheme_.rotated_stream;
  down.few_tokens = true;
  down.hessian_sites = {own_site(layer, number)};
  matrix(std::move(down));
}

bool QuantizeJob::reached(const std::string& site) const {
  const auto found = hessians_->sites.find(site);
  if (found == hessians_->sites.end()) fail("Hessians", "one of " + site, "none");
  const TriangleView<const double> all = found->second.triangle();
  for (int64_t i = 0; i < all.size; ++i) {
    if (all.row(i)[i] > 0) return true;
  }
  return false;
}

void QuantizeJob::remark_on_experts(int64_t layer, const LayerFormat& format) {
  if (format.is_float()) return;
  int64_t unplanned = 0;
  for (int64_t e = 0; e < config_.experts.count; ++e) {
    const std::string own = input_site(own_site(layer, e), scheme_.rotated_experts);
    unplanned += scales_.planned(own) == nullptr ? 1 : 0;
  }
  if (unplanned > 0 && format.eight_bit_activations()) {
    remark(
        fmt::format("layer {}: {} of {} experts have no range of their own in the plan: they "
                    "take that of all experts' values together",
                    layer, unplanned, config_.experts.count));
  }
}

void QuantizeJob::remark_on_silent_experts() {
  // From the last one on, so that the places of the others stay.
  for (auto at = experts_remarks_.rbegin(); at != experts_remarks_.rend(); ++at) {
    if (at->silent == 0) continue;
    out_.remarks.insert(
        out_.remarks.begin() + static_cast<std::ptrdiff_t>(at->place),
        fmt::format("layer {}: {} of {} experts saw no token: their down_proj is rounded to "
                    "nearest",
                    at->layer, at->silent, config_.experts.count));
  }
}

void QuantizeJob::experts(int64_t layer, const std::string& name, const LayerFormat& format,
                          const std::vector<float>& norm) {
  const bool gated = config_.feed_forward.gated(), latent = config_.experts.latent > 0;
  const std::string sites = fmt::format("layer_{}.", layer);
  const std::string input = sites + first_input(config_);
  router(name, norm);
  if (latent) reader(name + "latent_in", input, format, norm, scheme_.rotated_latent);
  const size_t first = pending_.size();
  for (int64_t e = 0; e < config_.experts.count; ++e) {
    expert(layer, fmt::format("{}experts.{}.", name, e), e, format, norm);
  }
  remark_on_experts(layer, format);
  if (options_.gptq && !format.is_float()) {
    experts_remarks_.push_back({layer, out_.remarks.size(), first, pending_.size()});
  }
  if (latent) {
    writer(name + "latent_out", sites + "latent_out:input", format, scheme_.rotated_latent);
  }
  if (config_.experts.shared_inner == 0) return;
  if (gated) reader(name + "shared.gate_proj", input, format, norm);
  reader(name + "shared.up_proj", input, format, norm);
  writer(name + "shared.down_proj", sites + "shared_experts.down_proj:input", format,
         scheme_.rotated_down_proj);
}

LayerFormats QuantizeJob::shared_formats(int64_t number) const {
  const std::vector<int64_t> users = config_.shared_users(number);
  return options_.of_layer(users.empty() ? 0 : users.front());
}

void QuantizeJob::shared_matrix(int64_t number, const std::string& name, const char* op,
                                const LayerFormat& format) {
  // The grids of inputs come with each layer: shared_use().
  MatrixJob job(name, take(name + ".weight"), format, "");
  for (const int64_t layer : config_.shared_users(number)) {
    job.hessian_sites.push_back(fmt::format("layer_{}.shared.{}:input", layer, op));
  }
  job.rotate_inputs = scheme_.rotated_down_proj && std::string_view(op) == "down_proj";
  matrix(std::move(job));
  keep_bias(name, false);
}

void QuantizeJob::shared_block(int64_t number) {
  const std::string name = fmt::format("backbone.shared.{}.", number);
  for (const char* norm : {"norm.weight", "norm2.weight"}) keep(name + norm, take(name + norm));
  const LayerFormats formats = shared_formats(number);
  for (const char* op : {"q_proj", "k_proj", "v_proj"}) {
    shared_matrix(number, name + "attention." + op, "q_proj", formats.attention);
  }
  shared_matrix(number, name + "attention.o_proj", "o_proj", formats.attention);
  for (const char* op : {"gate_proj", "up_proj"}) {
    shared_matrix(number, name + "mlp." + op, "gate_proj", formats.feed_forward);
  }
  shared_matrix(number, name + "mlp.down_proj", "down_proj", formats.feed_forward);
}

void QuantizeJob::shared_use(const BlockConfig& block) {
  const std::string name = layer_name(block.layer);
  const LayerFormats formats = shared_formats(block.shared % config_.shared.count);
  for (const char* op : {"q_proj", "o_proj", "gate_proj", "down_proj"}) {
    const bool attends = op[0] == 'q' || op[0] == 'o';
    const LayerFormat& format = attends ? formats.attention : formats.feed_forward;
    if (format.is_float() || !format.eight_bit_activations()) continue;
    const bool rotated = scheme_.rotated_down_proj && op[0] == 'd';
    scale(fmt::format("{}shared.{}.input_scale", name, op),
          scales_.scale(
              input_site(fmt::format("layer_{}.shared.{}:input", block.layer, op), rotated)));
  }
  MatrixJob linear(name + "linear", take(name + "linear.weight"),
                   options_.of_layer(block.layer).feed_forward,
                   fmt::format("layer_{}.shared.linear:input", block.layer));
  linear.hessian_sites = {linear.site};
  matrix(std::move(linear));
  for (const std::string& tensor : weights_.names()) {
    if (tensor.starts_with(name + "adapter.")) keep(tensor, take(tensor));
  }
}

}  // namespace scute
