#include "scute/observe/subsample_tap.h"

#include <algorithm>

#include "scute/base/random.h"

namespace scute {
namespace {

/// 64-bit FNV-1a, so that sites are sampled at places of their own.
uint64_t name_hash(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return hash;
}

float value_at(MatView<const float> values, int64_t index) {
  return values.row(index / values.cols)[index % values.cols];
}

/// Of the numbers; {0, 0} when all are NaN.
struct Extremes {
  int64_t smallest = 0, largest = 0;
};

Extremes find_extremes(MatView<const float> values) {
  Extremes out;
  bool first = true;
  float least = 0, most = 0;
  for (int64_t r = 0; r < values.rows; ++r) {
    for (int64_t c = 0; c < values.cols; ++c) {
      const float x = values.row(r)[c];
      if (x != x) continue;
      if (first || x < least) {
        least = x;
        out.smallest = r * values.cols + c;
      }
      if (first || x > most) {
        most = x;
        out.largest = r * values.cols + c;
      }
      first = false;
    }
  }
  return out;
}

}  // namespace

void SubsampleTap::see(const Site& site, MatView<const float> values) {
  const int64_t total = values.size();
  if (total <= most_) return to_.see(site, values);
  const Extremes extremes = find_extremes(values);
  Random random(Random(seed_ ^ name_hash(site.name)).next() + static_cast<uint64_t>(sample_));
  chosen_.clear();
  // total < 2^31 values of a tensor times most < 2^31 stays below 2^62.
  for (int64_t i = 0; i < most_; ++i) {
    const int64_t first = i * total / most_, end = (i + 1) * total / most_;
    const auto within = static_cast<int64_t>(random.below(static_cast<uint64_t>(end - first)));
    const auto here = [&](int64_t index) { return first <= index && index < end; };
    const bool both = here(extremes.smallest) && here(extremes.largest);
    int64_t index = first + within;
    if (here(extremes.largest)) index = extremes.largest;
    if (here(extremes.smallest)) index = extremes.smallest;
    chosen_.push_back(value_at(values, index));
    if (both && extremes.largest != extremes.smallest) {
      chosen_.push_back(value_at(values, extremes.largest));
    }
  }
  to_.see(site, {chosen_.data(), 1, static_cast<int64_t>(chosen_.size())});
}

}  // namespace scute
