// Small taps of a collection: the first values of each site, and several taps at once.
#pragma once

#include <algorithm>
#include <vector>

#include "scute/tensor/tap.h"

namespace scute {

/// Keeps the first values of each site of one sample.
class FirstValues : public Tap {
 public:
  FirstValues(std::vector<Site> sites, int64_t most) : sites_(std::move(sites)), most_(most) {
    for (const Site& site : sites_) {
      if (site.index >= static_cast<int>(kept_.size())) {
        kept_.resize(static_cast<size_t>(site.index) + 1);
      }
    }
  }
  bool wants(const Site& site) const override {
    return site.index >= 0 && site.index < static_cast<int>(kept_.size());
  }
  void see(const Site& site, MatView<const float> x) override {
    auto& values = kept_[static_cast<size_t>(site.index)];
    for (int64_t r = 0; r < x.rows; ++r) {
      const int64_t room = most_ - static_cast<int64_t>(values.size());
      values.insert(values.end(), x.row(r), x.row(r) + std::clamp<int64_t>(room, 0, x.cols));
    }
  }
  std::vector<NamedTensor> take() const {
    std::vector<NamedTensor> out;
    for (const Site& site : sites_) {
      const auto& values = kept_[static_cast<size_t>(site.index)];
      out.push_back({site.name, Tensor::of<float>({static_cast<int64_t>(values.size())}, values)});
    }
    return out;
  }

 private:
  std::vector<Site> sites_;
  int64_t most_;
  std::vector<std::vector<float>> kept_;
};

/// Shows every tensor to several taps.
class Tee : public Tap {
 public:
  explicit Tee(std::vector<Tap*> taps) : taps_(std::move(taps)) {}
  bool wants(const Site& site) const override {
    return std::ranges::any_of(taps_, [&](const Tap* tap) { return tap->wants(site); });
  }
  void see(const Site& site, MatView<const float> x) override {
    for (Tap* tap : taps_) {
      if (tap->wants(site)) tap->see(site, x);
    }
  }

 private:
  std::vector<Tap*> taps_;
};

}  // namespace scute
