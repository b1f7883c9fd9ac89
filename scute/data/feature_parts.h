// The parts of a feature folder, from untrusted bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "scute/data/features.h"
#include "scute/tensor/tensor.h"

namespace scute {

/// What a json file says of its sequence. Keys other than these are not read.
struct FeatureIndex {
  std::string role;  ///< "" when not stored
  /// The lists `indices`, `indices_train`, `indices_eval` and `indices_test`, empty when absent, of
  /// integers of any size.
  std::vector<int64_t> any, train, eval, test;

  /// The windows of that role: the sequence's own role must be it; test falls back to `any`;
  /// automatic is `any`.
  const std::vector<int64_t>& listed(FeatureRole wanted) const;
};

/// Error naming `where` when the text is no JSON object, the role no string or a list no array of
/// integers.
FeatureIndex parse_feature_index(std::string_view text, std::string_view where);

/// Which of `listed` are windows of a sequence of `frames` frames: all, or an Error naming the
/// first t outside window ≤ t < frames.
void check_window_ends(const std::vector<int64_t>& listed, int64_t window, int64_t frames,
                       std::string_view where);

/// From feat_mean and feat_std (`features` floats each, finite; deviations of at least 0),
/// std_floor (optional, above 0, else 1e-3) and Din (optional, `features`). Error naming `path`.
FeatureNormalization parse_feature_statistics(const std::vector<NamedTensor>& arrays,
                                              int64_t features, const std::string& path);

/// Positions of metres, T × 2 f32, whose values at `ends` are finite; f64 is rounded. Error naming
/// `path`.
Tensor checked_positions(const Tensor& stored, int64_t frames, const std::vector<int64_t>& ends,
                         const std::string& path);
/// Frames, T × features, f16 or f32; f64 and integers become f32. Error naming `path`.
Tensor checked_frames(const Tensor& stored, int64_t features, const std::string& path);
/// Times, T, f64; f32 is widened. Error naming `path`.
Tensor checked_times(const Tensor& stored, int64_t frames, const std::string& path);

}  // namespace scute
