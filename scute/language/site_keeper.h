// What passes chosen sites, copied into tensors that hold several sequences.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "scute/tensor/tap.h"
#include "scute/tensor/tensor.h"

namespace scute {

class KeptSites {
 public:
  explicit KeptSites(int64_t batch) : batch_(batch) {}

  /// `rows`: that the site passes in a whole sequence where it is per token; 0: as many as it shows
  /// first, and the site is left out when it shows nothing.
  void add(const Site& site, int64_t rows);
  bool has(const Site& site) const { return kept_.contains(site.index); }
  /// From row `first` of a sequence; from any thread. Error naming the site when the rows have no
  /// place.
  void keep(const Site& site, int64_t sequence, int64_t first, MatView<const float> x);
  /// "site/NAME", (batch, rows, width) or (batch, state shape), F32, in the order of add().
  std::vector<NamedTensor> take();

 private:
  int64_t batch_;
  std::vector<Site> sites_;
  std::map<int, Tensor> kept_;  ///< by the site's index
  std::mutex first_sight_;
};

/// Shows one sequence to KeptSites.
class SiteKeeper : public Tap {
 public:
  SiteKeeper(KeptSites& kept, int64_t sequence) : kept_(kept), sequence_(sequence) {}

  /// Token from which the next tensors count (one token at a time).
  void at(int64_t position) { position_ = position; }

  bool wants(const Site& site) const override { return kept_.has(site); }
  void see(const Site& site, MatView<const float> x) override {
    const bool per_token = site.extent == Site::Extent::per_token;
    kept_.keep(site, sequence_, per_token ? position_ : 0, x);
  }

 private:
  KeptSites& kept_;
  int64_t sequence_;
  int64_t position_ = 0;
};

}  // namespace scute
