#include "scute/observe/gram.h"

#include <algorithm>
#include <utility>

#include "scute/base/error.h"
#include "scute/kernels/gram.h"

namespace scute {

Gram::Values Gram::square() const {
  Values out(static_cast<size_t>(size * size));
  const MatView<double> all(out.data(), size, size);
  for (int64_t i = 0; i < size; ++i) {
    std::copy(triangle().row(i) + i, triangle().row(i) + size, all.row(i) + i);
  }
  mirror(all);
  return out;
}

Gram& Gram::operator+=(const Gram& other) {
  for (size_t i = 0; i < values.size(); ++i) values[i] += other.values[i];
  tokens += other.tokens;
  return *this;
}

GramObserver::GramObserver(const std::vector<Site>& sites) {
  for (const Site& site : sites) grams_.emplace(site.name, Gram(site.shape.back()));
}

void GramObserver::see(const Site& site, MatView<const float> values) {
  Gram& gram = grams_.at(site.name);
  if (values.cols != gram.size) {
    fail(site.name, std::to_string(gram.size) + " columns", std::to_string(values.cols));
  }
  add_gram(values, gram.triangle());
  gram.tokens += values.rows;
}

void GramObserver::clear() {
  for (auto& [name, gram] : grams_) {
    std::ranges::fill(gram.values, 0.0);
    gram.tokens = 0;
  }
}

void GramObserver::add(const GramObserver& other, const Threads& threads) {
  std::vector<std::pair<Gram*, const Gram*>> pairs;
  for (const auto& [name, gram] : other.grams_) pairs.emplace_back(&grams_.at(name), &gram);
  threads.for_each(std::ssize(pairs), [&](int64_t p, int) {
    const auto& [into, from] = pairs[static_cast<size_t>(p)];
    *into += *from;
  });
}

}  // namespace scute
