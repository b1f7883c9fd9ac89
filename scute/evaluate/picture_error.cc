#include "scute/evaluate/picture_error.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "scute/base/error.h"
#include "scute/evaluate/divergence.h"
#include "scute/kernels/elementwise.h"

namespace scute {
namespace {

/// Of squares and products over all elements, row after row: the same for every stride.
struct Sums {
  double difference = 0, values = 0, reference = 0, product = 0;
};

Sums sums_of(MatView<const float> values, MatView<const float> reference) {
  Sums out;
  for (int64_t r = 0; r < values.rows; ++r) {
    const float *a = values.row(r), *b = reference.row(r);
    for (int64_t c = 0; c < values.cols; ++c) {
      const auto x = static_cast<double>(a[c]), y = static_cast<double>(b[c]);
      out.difference += (x - y) * (x - y);
      out.values += x * x;
      out.reference += y * y;
      out.product += x * y;
    }
  }
  return out;
}

}  // namespace

VectorError vector_error(MatView<const float> values, MatView<const float> reference) {
  if (values.rows != reference.rows || values.cols != reference.cols || values.size() == 0) {
    fail("errors", fmt::format("values of {} × {}, at least one", reference.rows, reference.cols),
         fmt::format("{} × {}", values.rows, values.cols));
  }
  const Sums sums = sums_of(values, reference);
  VectorError out;
  if (sums.reference == 0) {
    out.relative = sums.difference == 0          ? 0
                   : std::isnan(sums.difference) ? sums.difference
                                                 : std::numeric_limits<double>::infinity();
    out.cosine = std::isnan(sums.values) ? sums.values : (sums.values == 0 ? 1 : 0);
    return out;
  }
  out.relative = std::sqrt(sums.difference / sums.reference);
  // Rounding may leave the quotient of parallel vectors a few 1e-16 beyond 1.
  out.cosine = sums.values == 0
                   ? 0
                   : std::clamp(sums.product / std::sqrt(sums.values) / std::sqrt(sums.reference),
                                -1.0, 1.0);
  return out;
}

LogitError logit_error(std::span<const float> logits, std::span<const float> reference) {
  const MatView<const float> a(logits.data(), 1, std::ssize(logits)),
      b(reference.data(), 1, std::ssize(reference));
  LogitError out;
  out.vector = vector_error(a, b);
  out.same_argmax = argmax(a.data, a.cols) == argmax(b.data, b.cols);
  out.divergence = divergence(logits, reference);
  return out;
}

ErrorSummary summarize_errors(std::span<const VectorError> items) {
  if (items.empty()) fail("errors", "at least one picture", "none");
  std::vector<double> relative, cosine;
  ErrorSummary out;
  for (size_t i = 0; i < items.size(); ++i) {
    relative.push_back(items[i].relative);
    cosine.push_back(items[i].cosine);
    const double most = relative[out.worst];
    if (!std::isnan(most) && !(relative[i] <= most)) out.worst = i;
  }
  out.relative = mean_and_error(relative);
  out.cosine = mean_and_error(cosine);
  return out;
}

}  // namespace scute
