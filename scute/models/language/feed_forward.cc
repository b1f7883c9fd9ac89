#include "scute/models/language/feed_forward.h"

#include "scute/kernels/attention.h"
#include "scute/kernels/elementwise.h"
#include "scute/kernels/products.h"

namespace scute {

FeedForwardProducts::Raw::Raw(WeightReader& reader, const std::string& prefix,
                              const FeedForwardConfig& config, int64_t width, int64_t inner)
    : up_proj(reader, prefix + "up_proj", inner, width, config.bias),
      down_proj(reader, prefix + "down_proj", width, inner, config.bias) {
  if (config.gated()) {
    gate_proj = LinearTensors(reader, prefix + "gate_proj", inner, width, config.bias);
  }
}

FeedForwardProducts::FeedForwardProducts(const Raw& raw, const FeedForwardConfig& config,
                                         const Execution& execution)
    : config_(config),
      inner_(raw.up_proj.outputs),
      up_proj_(raw.up_proj, execution),
      down_proj_(raw.down_proj, execution) {
  if (config.gated()) gate_proj_.emplace(raw.gate_proj, execution);
}

FeedForwardProducts FeedForwardProducts::adapted(const LinearTensors& down,
                                                 const LinearTensors& gate_up,
                                                 const LinearTensors& up_up,
                                                 const Execution& execution) const {
  FeedForwardProducts out = *this;
  if (gate_proj_) out.gate_proj_ = gate_proj_->adapted(down, gate_up, execution);
  out.up_proj_ = up_proj_.adapted(down, up_up, execution);
  return out;
}

void FeedForwardProducts::set_input_scales(float up, float down) {
  if (gate_proj_) gate_proj_->set_input_scale(up);
  up_proj_.set_input_scale(up);
  down_proj_.set_input_scale(down);
}

void FeedForwardProducts::activated(Run& run, MatView<const float> u, MatView<float> out) const {
  up_proj_(run, u, out);
  if (!gate_proj_) return run.on_rows([](auto rows) { squared_relu(rows); }, out);
  const Arena::Scope scope(run.arena());
  const auto gate = run.matrix(u.rows, inner_);
  (*gate_proj_)(run, u, gate);
  run.on_rows(
      [&](MatView<float> to, MatView<float> gates) {
        if (config_.gate_factor != 1) multiply_by(gates, config_.gate_factor);
        if (config_.form == FeedForwardConfig::Form::silu) return gate_silu(to, gates, to);
        gelu(gates);
        multiply_into(to, gates);
      },
      out, gate);
}

void FeedForwardProducts::add_size(ModelSize& size) const {
  size.linear += up_proj_.bytes() + down_proj_.bytes();
  if (gate_proj_) size.linear += gate_proj_->bytes();
}

void FeedForwardProducts::add_work(ModelWork& work) const {
  up_proj_.add_work(1, work);
  down_proj_.add_work(1, work);
  if (!gate_proj_) return;
  gate_proj_->add_work(1, work);
  work.exps += inner_;
}

FeedForwardSites::FeedForwardSites(int64_t width, int64_t inner, bool rotated,
                                   const std::string& layer, SiteList& sites)
    : down_proj_input(sites.add_input(layer + "down_proj:input", inner, input_of(rotated))),
      down_proj_output(sites.add(layer + "down_proj:output", {width})) {}

void FeedForward::operator()(Run& run, MatView<const float> u, MatView<float> out) const {
  const Arena::Scope scope(run.arena());
  const auto inner = run.matrix(u.rows, products_.inner());
  products_.activated(run, u, inner);
  run.pass_input(sites_.down_proj_input, inner);
  products_.down(run, inner, out);
  run.pass(sites_.down_proj_output, out);
}

}  // namespace scute
