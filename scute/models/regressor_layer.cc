#include "scute/models/regressor_layer.h"

#include <algorithm>

#include "scute/kernels/elementwise.h"
#include "scute/models/mixer.h"

namespace scute {
namespace {

/// The largest number of products summed in one go.
constexpr int64_t kColumns = 256;

/// W in pieces of up to kColumns columns, all but the last equally wide.
std::vector<Gemm> split(const Tensor& weight, Compute compute) {
  const int64_t inputs = weight.dim(1);
  const int64_t count = std::max<int64_t>(1, (inputs + kColumns - 1) / kColumns);
  if (count == 1) return {Gemm(weight, compute)};
  const int64_t wide = (inputs + count - 1) / count;
  const Tensor floats = weight.to_f32();
  std::vector<Gemm> out;
  for (int64_t first = 0; first < inputs; first += wide) {
    const int64_t columns = std::min(wide, inputs - first);
    Tensor part(DType::f32, {weight.dim(0), columns});
    copy_rows(floats.matrix<float>().columns(first, columns), part.mutable_matrix<float>());
    out.emplace_back(part, compute);
  }
  return out;
}

void add_to_rows(const std::vector<float>& bias, MatView<float> y) {
  for (int64_t r = 0; r < y.rows; ++r) {
    float* row = y.row(r);
    for (size_t c = 0; c < bias.size(); ++c) row[c] += bias[c];
  }
}

}  // namespace

RegressorLayer::RegressorLayer(Site input, const Tensor& weight, const Tensor& bias,
                               Compute compute)
    : input_(std::move(input)), parts_(split(weight, compute)), bias_(to_vector(bias)) {}

void RegressorLayer::operator()(Run& run, MatView<const float> x, MatView<float> y) const {
  show(run, x);
  multiply(run, x, y);
}

void RegressorLayer::show(Run& run, MatView<const float> x) const {
  if (!run.wants(input_)) return;
  // x may be the caller's data; a run is shown what it may change.
  const Arena::Scope scope(run.arena());
  const auto shown = run.matrix(x.rows, x.cols);
  copy_rows(x, shown);
  run.pass(input_, shown);
}

void RegressorLayer::multiply(Run& run, MatView<const float> x, MatView<float> y) const {
  int64_t first = 0;
  for (const Gemm& part : parts_) {
    const auto own = x.columns(first, part.inputs());
    if (first == 0) {
      part(own, y);
    } else {
      const Arena::Scope scope(run.arena());
      const auto more = run.matrix(y.rows, y.cols);
      part(own, more);
      add_into(y, more);
    }
    first += part.inputs();
  }
  add_to_rows(bias_, y);
}

int64_t RegressorLayer::bytes() const {
  auto out = static_cast<int64_t>(bias_.size() * sizeof(float));
  for (const Gemm& part : parts_) out += part.bytes();
  return out;
}

}  // namespace scute
