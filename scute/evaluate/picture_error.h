// How far one model's values for a picture are from another's.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "scute/evaluate/perplexity.h"
#include "scute/tensor/mat_view.h"

namespace scute {

/// Two sets of values taken as vectors a (of the model) and b (of the reference), in double.
struct VectorError {
  double relative = 0;  ///< ‖a − b‖ / ‖b‖; where b is zero: 0 if a is too, else infinite
  double cosine = 1;    ///< a·b / (‖a‖·‖b‖) in [−1, 1]; 1 if both are zero, 0 if one is
};
/// NaN among the values makes both NaN. Error when the sizes differ or there is no value.
VectorError vector_error(MatView<const float> values, MatView<const float> reference);

/// Next-token logits.
struct LogitError {
  VectorError vector;
  bool same_argmax = false;  ///< the likeliest token (the first of equals) is the same
  double divergence = 0;  ///< Kullback-Leibler, of the model's distribution from the other's, nats
};
/// Error when the numbers differ or are 0.
LogitError logit_error(std::span<const float> logits, std::span<const float> reference);

/// Pictures one by one, summed up.
struct ErrorSummary {
  MeanAndError relative, cosine;
  size_t worst = 0;  ///< number of the item with the largest relative error; NaN is larger than any
};
/// Standard errors are NaN for one item. Error when there is none.
ErrorSummary summarize_errors(std::span<const VectorError> items);

}  // namespace scute
