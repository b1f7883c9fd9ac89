#include "scute/models/language/stream_norm.h"

#include "scute/kernels/elementwise.h"
#include "scute/kernels/products.h"

namespace scute {
namespace {

void norm_rows(Run& run, MatView<const float> x, const float* weight, float eps,
               MatView<float> out) {
  run.on_rows([&](auto in, auto to) { rms_norm(in, weight, in.cols, eps, to); }, x, out);
}

}  // namespace

void scale_rows(Run& run, float factor, MatView<float> x) {
  if (factor != 1) run.on_rows([&](auto rows) { multiply_by(rows, factor); }, x);
}

void StreamNorm::unweighted(Run& run, MatView<const float> x, MatView<float> out) const {
  norm_rows(run, x, nullptr, eps, out);
}

void StreamNorm::show(Run& run, MatView<const float> x, const SiteList::InputSites& sites,
                      bool rotated, float factor, MatView<float> out) const {
  if (!rotated && run.wants(sites.rotated)) {
    unweighted(run, x, out);
    scale_rows(run, factor, out);
    run.rotate_and_pass(sites.rotated, out);
  }
  norm_rows(run, x, weight.data(), eps, out);
  scale_rows(run, factor, out);
  run.pass(rotated ? sites.rotated : sites.plain, out);
}

}  // namespace scute
