// The 8-bit grids and the clips of a model's sites.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "scute/tensor/mat_view.h"
#include "scute/tensor/tap.h"
#include "scute/tensor/tensor.h"

namespace scute {

/// The scales of one site: one for all, one per column, one per row or one per element of what
/// passes there (kernels/round.h).
class SiteScales {
 public:
  SiteScales() = default;
  explicit SiteScales(float scale) : SiteScales(1, 1, {scale}) {}
  SiteScales(int64_t rows, int64_t cols, std::vector<float> values)
      : rows_(rows), cols_(cols), values_(std::move(values)) {}

  bool empty() const { return values_.empty(); }
  std::span<const float> values() const { return values_; }
  MatView<const float> view() const { return {values_.data(), rows_, cols_}; }
  /// Of those rows of what passes there.
  MatView<const float> rows(int64_t first, int64_t count) const {
    return rows_ == 1 ? view() : view().slice_rows(first, count);
  }

 private:
  int64_t rows_ = 0, cols_ = 0;
  std::vector<float> values_;
};

/// The interval that a site's values are kept within.
struct SiteClip {
  float lo = -std::numeric_limits<float>::infinity();
  float hi = std::numeric_limits<float>::infinity();

  bool none() const { return lo == -std::numeric_limits<float>::infinity() && hi == -lo; }
};

/// Which sites of a model have a grid or a clip.
class SiteGrids {
 public:
  void set(const Site& site, SiteScales scales);
  /// Null when the site has none.
  const SiteScales* find(const Site& site) const {
    const auto index = static_cast<size_t>(site.index);
    return index < scales_.size() && !scales_[index].empty() ? &scales_[index] : nullptr;
  }

  /// Grid and clip of that site as `other` has them, none where it has none.
  void copy(const Site& site, const SiteGrids& other);

  /// The last one given counts. Error naming the site unless lo < hi, both finite.
  void set_clip(const Site& site, float lo, float hi);
  /// Null when the site has none.
  const SiteClip* find_clip(const Site& site) const {
    const auto index = static_cast<size_t>(site.index);
    return index < clips_.size() && !clips_[index].none() ? &clips_[index] : nullptr;
  }

 private:
  std::vector<SiteScales> scales_;  ///< by the site's index, as the clips
  std::vector<SiteClip> clips_;
};

/// The elements as floats, each checked to be a positive, finite, normal scale; Error naming `name`
/// otherwise.
std::vector<float> checked_scales(const Tensor& tensor, const std::string& name);
/// The same of 4-bit weights, whose scales may be negative: the code −8 is then the largest weight.
std::vector<float> checked_signed_scales(const Tensor& tensor, const std::string& name);

}  // namespace scute
