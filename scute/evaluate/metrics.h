// The metrics that this layer measures, by what they are.
#pragma once

#include "scute/evaluate/score.h"

namespace scute {

Metric text_perplexity();       ///< of a text, per token; items are windows
Metric last_word_accuracy();    ///< share of last words hit; items are passages
Metric last_word_perplexity();  ///< per last word; items are passages
Metric position_error();        ///< a regressor's mean error, metres; items are windows

}  // namespace scute
