#include "scute/models/regressor/layer.h"

#include "scute/kernels/elementwise.h"
#include "scute/tensor/tensor.h"

namespace scute {
namespace {

void add_to_rows(const std::vector<float>& bias, MatView<float> y) {
  for (int64_t r = 0; r < y.rows; ++r) {
    float* row = y.row(r);
    for (size_t c = 0; c < bias.size(); ++c) row[c] += bias[c];
  }
}

}  // namespace

RegressorLayer::RegressorLayer() = default;
RegressorLayer::RegressorLayer(const RegressorLayer&) = default;
RegressorLayer::RegressorLayer(RegressorLayer&&) noexcept = default;
RegressorLayer& RegressorLayer::operator=(const RegressorLayer&) = default;
RegressorLayer& RegressorLayer::operator=(RegressorLayer&&) noexcept = default;
RegressorLayer::~RegressorLayer() = default;

RegressorLayer::RegressorLayer(Site input, const Tensor& weight, const Tensor& bias,
                               const RegressorArithmetic& arithmetic)
    : input_(std::move(input)), outputs_(weight.dim(0)), bias_(to_vector(bias)) {
  const std::string name = input_.name.substr(0, input_.name.rfind(':'));
  const auto rounding = arithmetic.rounding.find(name);
  if (rounding == arithmetic.rounding.end()) {
    product_ = FloatProduct(weight, arithmetic.compute);
  } else if (rounding->second.backend == RegressorBackend::integer) {
    product_ = CodeProduct(weight, rounding->second, name);
  } else {
    product_ = RoundedProduct(weight, rounding->second, arithmetic.compute, name);
  }
}

void RegressorLayer::operator()(Run& run, MatView<const float> x, MatView<float> y) const {
  show(run, x);
  multiply(run, x, y);
}

void RegressorLayer::show(Run& run, MatView<const float> x) const { show_copy(run, input_, x); }

void RegressorLayer::multiply(Run& run, MatView<const float> x, MatView<float> y) const {
  std::visit([&](const auto& product) { product(run, x, y); }, product_);
  add_to_rows(bias_, y);
}

int64_t RegressorLayer::bytes() const {
  return static_cast<int64_t>(bias_.size() * sizeof(float)) +
         std::visit([](const auto& product) { return product.bytes(); }, product_);
}

void show_copy(Run& run, const Site& site, MatView<const float> x) {
  if (!run.wants(site)) return;
  const Arena::Scope scope(run.arena());
  const auto shown = run.matrix(x.rows, x.cols);
  copy_rows(x, shown);
  run.pass(site, shown);
}

}  // namespace scute
