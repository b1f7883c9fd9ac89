// Σ x·xᵀ of the vectors that pass a site: what GPTQ needs.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "scute/base/memory.h"
#include "scute/base/threads.h"
#include "scute/tensor/tap.h"
#include "scute/tensor/triangle.h"

namespace scute {

/// The sum over all tokens: columns × columns, symmetric, kept as its upper triangle.
struct Gram {
  using Values = std::vector<double, MemoryAllocator<double>>;

  int64_t size = 0;
  int64_t tokens = 0;
  Values values;  ///< of triangle()

  explicit Gram(int64_t columns = 0)
      : size(columns), values(static_cast<size_t>(TriangleView<double>::count(columns))) {}
  TriangleView<double> triangle() { return {values.data(), size}; }
  TriangleView<const double> triangle() const { return {values.data(), size}; }
  /// Both triangles, row by row.
  Values square() const;
  Gram& operator+=(const Gram& other);
};

/// Sums up what passes its sites. Adding is not associative in floating point: equal results need
/// the same samples in the same order, and observers added in the same order.
class GramObserver : public Tap {
 public:
  explicit GramObserver(const std::vector<Site>& sites);
  /// Goes on where another ended.
  explicit GramObserver(std::map<std::string, Gram> grams) : grams_(std::move(grams)) {}
  bool wants(const Site& site) const override { return grams_.contains(site.name); }
  void see(const Site& site, MatView<const float> values) override;
  /// As new, in the memory that it has.
  void clear();
  /// Adds the sums of an observer of the same sites, several sites at once.
  void add(const GramObserver& other, const Threads& threads = Threads(1));
  const std::map<std::string, Gram>& grams() const { return grams_; }
  std::map<std::string, Gram> finish() { return std::move(grams_); }

 private:
  std::map<std::string, Gram> grams_;
};

}  // namespace scute
