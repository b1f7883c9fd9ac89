#include "scute/models/grids.h"

#include <fmt/format.h>

#include <cmath>
#include <type_traits>

#include "scute/base/error.h"
#include "scute/tensor/tensor.h"

namespace scute {

void SiteGrids::set(const Site& site, SiteScales scales) {
  const auto index = static_cast<size_t>(site.index);
  if (index >= scales_.size()) scales_.resize(index + 1);
  scales_[index] = std::move(scales);
}

void SiteGrids::copy(const Site& site, const SiteGrids& other) {
  const auto index = static_cast<size_t>(site.index);
  const auto copy_one = [index](auto& to, const auto& from) {
    if (index >= from.size() && index >= to.size()) return;
    if (index >= to.size()) to.resize(index + 1);
    to[index] = index < from.size() ? from[index] : std::decay_t<decltype(to[index])>{};
  };
  copy_one(scales_, other.scales_);
  copy_one(clips_, other.clips_);
}

void SiteGrids::set_clip(const Site& site, float lo, float hi) {
  if (!(std::isfinite(lo) && std::isfinite(hi) && lo < hi)) {
    fail(site.name, "a range lo..hi of finite numbers with lo < hi", fmt::format("{}..{}", lo, hi));
  }
  const auto index = static_cast<size_t>(site.index);
  if (index >= clips_.size()) clips_.resize(index + 1);
  clips_[index] = {lo, hi};
}

std::vector<float> checked_signed_scales(const Tensor& tensor, const std::string& name) {
  std::vector<float> scales = to_vector(tensor);
  for (const float scale : scales) {
    if (!std::isnormal(scale)) {
      fail(name, "finite scales other than 0", fmt::format("{}", scale));
    }
  }
  return scales;
}

std::vector<float> checked_scales(const Tensor& tensor, const std::string& name) {
  std::vector<float> scales = checked_signed_scales(tensor, name);
  for (const float scale : scales) {
    if (scale < 0) fail(name, "positive scales", fmt::format("{}", scale));
  }
  return scales;
}

}  // namespace scute
