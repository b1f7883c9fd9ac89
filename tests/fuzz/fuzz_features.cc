// Either a sequence's json text, or the .npy files of its frames, positions, times and statistics,
// each with two bytes of length before it: windows and finite frames that fit, or an Error.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <numeric>
#include <span>
#include <string_view>

#include "scute/base/error.h"
#include "scute/data/feature_parts.h"
#include "scute/io/npy.h"

namespace scute::fuzz_features {
namespace {

using scute::Tensor;

constexpr int64_t kFeatures = 2, kWindow = 3;

void read_index(std::span<const uint8_t> text) {
  using scute::FeatureRole;
  constexpr int64_t kFrames = 50;
  const auto index =
      scute::parse_feature_index({reinterpret_cast<const char*>(text.data()), text.size()}, "fuzz");
  for (const FeatureRole role :
       {FeatureRole::train, FeatureRole::eval, FeatureRole::test, FeatureRole::automatic}) {
    const auto& ends = index.listed(role);
    scute::check_window_ends(ends, kWindow, kFrames, "fuzz");
    for (const int64_t t : ends) {
      if (t < kWindow || t >= kFrames) std::abort();
    }
  }
}

/// The next array; Error when the bytes are none.
Tensor next_array(std::span<const uint8_t>& left) {
  size_t length = left.size();
  if (length >= 2) {
    length = std::min<size_t>(left[0] + size_t{256} * left[1], left.size() - 2);
    left = left.subspan(2);
  }
  const Tensor out = scute::parse_npy(std::as_bytes(left.first(length)), "fuzz");
  left = left.subspan(length);
  return out;
}

void read_arrays(std::span<const uint8_t> left) {
  scute::FeatureSequence sequence;
  sequence.frames = scute::checked_frames(next_array(left), kFeatures, "fuzz");
  const int64_t frames = sequence.frames.dim(0);
  if (frames > kWindow) {
    sequence.ends.resize(static_cast<size_t>(frames - kWindow));
    std::iota(sequence.ends.begin(), sequence.ends.end(), kWindow);
  }
  sequence.positions = scute::checked_positions(next_array(left), frames, sequence.ends, "fuzz");
  sequence.times = scute::checked_times(next_array(left), frames, "fuzz");
  std::vector<scute::NamedTensor> statistics;
  for (const char* name : {"feat_mean", "feat_std", "std_floor", "Din"}) {
    if (!left.empty()) statistics.push_back({name, next_array(left)});
  }
  const auto by = scute::parse_feature_statistics(statistics, kFeatures, "fuzz");
  scute::NonFinite found;
  const Tensor normalized = scute::normalized_frames(sequence, by, found);
  for (const float x : normalized.values<float>()) {
    if (!std::isfinite(x)) std::abort();
  }
  if (found.nans + found.infinities > normalized.size()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::span<const uint8_t> rest(data + 1, size - 1);
  try {
    if (data[0] % 2 == 0) {
      read_index(rest);
    } else {
      read_arrays(rest);
    }
  } catch (const scute::Error&) {
  }
  return 0;
}

}  // namespace scute::fuzz_features
