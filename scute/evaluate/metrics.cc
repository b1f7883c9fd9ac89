#include "scute/evaluate/metrics.h"

namespace scute {

Metric text_perplexity() {
  return {"perplexity",
          "",
          MetricDirection::lower,
          MetricForm::perplexity,
          {"perplexity", "perplexity", "perplexity", "", "of a text, per token", "windows",
           "perplexity"},
          {"window", {"nll"}, "start", "predictions"}};
}

Metric last_word_accuracy() {
  return {"accuracy",
          "share",
          MetricDirection::higher,
          MetricForm::share,
          {"accuracy", "last word", "accuracy", "", "of last words", "passages", "last_word"},
          {"last_word", {"hit"}, "index", ""}};
}

Metric last_word_perplexity() {
  return {"last_word_perplexity",
          "",
          MetricDirection::lower,
          MetricForm::perplexity,
          {"perplexity per last word", "word perplexity", "perplexity", "w", "per last word",
           "passages", "last_word"},
          {"last_word", {"nll"}, "index", ""}};
}

Metric position_error() {
  return {"position_error",
          "m",
          MetricDirection::lower,
          MetricForm::ratio,
          {"mean error", "error", "mean error", "", "of positions", "windows", "position"},
          {"position", {"error"}, "index", ""}};
}

}  // namespace scute
