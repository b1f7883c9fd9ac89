// Σ x·xᵀ of the vectors that pass a site: what GPTQ needs.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "scute/base/memory.h"
#include "scute/base/threads.h"
#include "scute/tensor/tap.h"

namespace scute {

/// The sum over all tokens, columns × columns; the upper triangle until finish().
struct Gram {
  int64_t size = 0;
  int64_t tokens = 0;
  std::vector<double, MemoryAllocator<double>> values;

  explicit Gram(int64_t columns = 0)
      : size(columns), values(static_cast<size_t>(columns * columns)) {}
  MatView<double> view() { return {values.data(), size, size}; }
  MatView<const double> view() const { return {values.data(), size, size}; }
};

/// Sums up what passes its sites. Adding is not associative in floating point: equal results need
/// the same samples in the same order, and observers added in the same order.
class GramObserver : public Tap {
 public:
  explicit GramObserver(const std::vector<Site>& sites);
  bool wants(const Site& site) const override { return grams_.contains(site.name); }
  void see(const Site& site, MatView<const float> values) override;
  /// Adds the sums of an observer of the same sites, several sites at once.
  void add(const GramObserver& other, const Threads& threads = Threads(1));
  /// The sums, lower triangles filled in.
  std::map<std::string, Gram> finish(const Threads& threads = Threads(1));

 private:
  std::vector<Gram*> all();

  std::map<std::string, Gram> grams_;
};

}  // namespace scute
