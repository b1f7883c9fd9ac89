// Shows another tap only a seeded part of what passes.
#pragma once

#include <cstdint>
#include <vector>

#include "scute/tensor/tap.h"

namespace scute {

/// Of each tensor with more than `most` values one from each of `most` consecutive pieces of equal
/// length, without repetition, the smallest and the largest value always among them; smaller
/// tensors whole. Which ones is a function of (seed, the site's name, the sample's number) alone.
/// What goes on is one row.
class SubsampleTap : public Tap {
 public:
  /// most ≥ 1. `to` must live as long as this.
  SubsampleTap(Tap& to, int64_t most, uint64_t seed) : to_(to), most_(most), seed_(seed) {}

  /// What is shown from now on belongs to this sample.
  void begin(int64_t sample) { sample_ = sample; }
  bool wants(const Site& site) const override { return to_.wants(site); }
  void see(const Site& site, MatView<const float> values) override;

 private:
  Tap& to_;
  int64_t most_;
  uint64_t seed_;
  int64_t sample_ = 0;
  std::vector<float> chosen_;
};

}  // namespace scute
