#include "scute/observe/gram.h"

#include <utility>

#include "scute/base/error.h"
#include "scute/kernels/gram.h"

namespace scute {

GramObserver::GramObserver(const std::vector<Site>& sites) {
  for (const Site& site : sites) grams_.emplace(site.name, Gram(site.shape.back()));
}

void GramObserver::see(const Site& site, MatView<const float> values) {
  Gram& gram = grams_.at(site.name);
  if (values.cols != gram.size) {
    fail(site.name, std::to_string(gram.size) + " columns", std::to_string(values.cols));
  }
  add_gram(values, gram.view());
  gram.tokens += values.rows;
}

std::vector<Gram*> GramObserver::all() {
  std::vector<Gram*> out;
  for (auto& [name, gram] : grams_) out.push_back(&gram);
  return out;
}

void GramObserver::add(const GramObserver& other, const Threads& threads) {
  std::vector<std::pair<Gram*, const Gram*>> pairs;
  for (const auto& [name, gram] : other.grams_) pairs.emplace_back(&grams_.at(name), &gram);
  threads.for_each(std::ssize(pairs), [&](int64_t p, int) {
    const auto& [into, from] = pairs[static_cast<size_t>(p)];
    for (size_t i = 0; i < from->values.size(); ++i) into->values[i] += from->values[i];
    into->tokens += from->tokens;
  });
}

std::map<std::string, Gram> GramObserver::finish(const Threads& threads) {
  const std::vector<Gram*> grams = all();
  threads.for_each(std::ssize(grams), [&](int64_t g, int) {
    const MatView<double> values = grams[static_cast<size_t>(g)]->view();
    for (int64_t i = 0; i < values.rows; ++i) {
      for (int64_t j = 0; j < i; ++j) values.row(i)[j] = values.row(j)[i];
    }
  });
  return std::move(grams_);
}

}  // namespace scute
