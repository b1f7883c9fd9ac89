#include "scute/observe/gram.h"

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

void GramObserver::add(const GramObserver& other) {
  for (const auto& [name, gram] : other.grams_) {
    Gram& into = grams_.at(name);
    for (size_t i = 0; i < gram.values.size(); ++i) into.values[i] += gram.values[i];
    into.tokens += gram.tokens;
  }
}

std::map<std::string, Gram> GramObserver::finish() {
  for (auto& [name, gram] : grams_) {
    const MatView<double> all = gram.view();
    for (int64_t i = 0; i < gram.size; ++i) {
      for (int64_t j = 0; j < i; ++j) all.row(i)[j] = all.row(j)[i];
    }
  }
  return std::move(grams_);
}

}  // namespace scute
