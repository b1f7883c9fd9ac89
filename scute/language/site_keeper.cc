#include "scute/language/site_keeper.h"

#include <fmt/format.h>

#include <algorithm>

#include "scute/base/error.h"

namespace scute {
namespace {

Tensor kept_tensor(const Site& site, int64_t batch, int64_t rows) {
  Shape shape{batch};
  if (site.extent == Site::Extent::per_token) shape.push_back(rows);
  shape.insert(shape.end(), site.shape.begin(), site.shape.end());
  return {DType::f32, shape};
}

}  // namespace

void KeptSites::add(const Site& site, int64_t rows) {
  if (!kept_.emplace(site.index, rows > 0 ? kept_tensor(site, batch_, rows) : Tensor()).second) {
    return;
  }
  sites_.push_back(site);
}

void KeptSites::keep(const Site& site, int64_t sequence, int64_t first, MatView<const float> x) {
  Tensor& all = kept_.at(site.index);
  float* to = nullptr;
  int64_t per_sequence = 0;
  {
    const std::lock_guard lock(first_sight_);
    if (all.size() == 0) all = kept_tensor(site, batch_, x.rows);
    per_sequence = all.size() / batch_;
    to = all.mutable_values<float>().data() + sequence * per_sequence + first * x.cols;
  }
  if ((first + x.rows) * x.cols > per_sequence) {
    fail(site.name, fmt::format("{} values a sequence, as many as in the others", per_sequence),
         fmt::format("{}", (first + x.rows) * x.cols));
  }
  for (int64_t r = 0; r < x.rows; ++r) std::copy_n(x.row(r), x.cols, to + r * x.cols);
}

std::vector<NamedTensor> KeptSites::take() {
  std::vector<NamedTensor> out;
  for (const Site& site : sites_) {
    Tensor& tensor = kept_.at(site.index);
    if (tensor.size() > 0) out.push_back({"site/" + site.name, std::move(tensor)});
  }
  return out;
}

}  // namespace scute
