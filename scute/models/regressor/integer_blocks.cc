#include "scute/models/regressor/integer_blocks.h"

namespace scute {

IntegerSlimBlock::IntegerSlimBlock(const SlimBlockTensors& tensors, const RegressorConfig& config,
                                   const RegressorFormats& formats, const std::string& block,
                                   SiteList& sites)
    : inputs_(tensors, config, formats, block, sites) {
  const int64_t I = config.inner();
  const std::string dt = block + "ssm.dt_proj", out = block + "out_proj";
  dt_site_ = input_site(formats, dt, I, sites);
  leak_ = value_site(formats, dt + ":output", I, sites);
  leak_fraction_ = fraction_of(leak_.grid, leak_.site.name);
  scan_ = {sites.add(block + "ssm:output", {I}), inputs_.u().value.grid};
  out_site_ = input_site(formats, out, I, sites);
  dt_proj_ = IntegerProduct(tensors.dt_proj.weight, tensors.dt_proj.bias, formats.layer(dt),
                            {leak_.grid}, dt);
  out_proj_ = IntegerProduct(tensors.out_proj.weight, {}, formats.layer(out),
                             {inputs_.residual().grid}, out);
  const double u = scan_.scale(), z = inputs_.gate() ? inputs_.z().value.scale() : 1;
  dt_factor_ = u / dt_site_.scale();
  out_factor_ = u * z / out_site_.scale();
}

void IntegerSlimBlock::operator()(Run& run, MatView<int16_t> x, int64_t length) const {
  const int64_t rows = x.rows, I = dt_proj_.matrix().outputs();
  const Arena::Scope scope(run.arena());
  const auto uz = run.codes<int16_t>(rows, 2 * I), u = run.codes<int16_t>(rows, I);
  inputs_(run, x, length, uz, u);

  const auto leak = run.codes<int16_t>(rows, I), y = uz.columns(0, I), z = uz.columns(I, I);
  fixed_rescale(u, dt_factor_, dt_site_.bits(), y);
  dt_site_.show(run, y);
  dt_proj_(run, y, leak);
  leak_.show(run, leak);
  fixed_window_mean_scan(u, leak, leak_fraction_, length, u);  // λ = σ(leak)
  scan_.show(run, u);

  if (inputs_.gate()) {
    fixed_gate(u, z, out_factor_, out_site_.bits(), y);
  } else {
    fixed_rescale(u, out_factor_, out_site_.bits(), y);
  }
  out_site_.show(run, y);
  const auto more = run.codes<int16_t>(rows, x.cols);
  out_proj_(run, y, more);
  fixed_add(x, more);
}

int64_t IntegerSlimBlock::bytes() const {
  return inputs_.bytes() + dt_proj_.bytes() + out_proj_.bytes();
}

}  // namespace scute
