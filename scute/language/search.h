// Search: which parts of which layers deserve more bits, from how much each one's rounding changes
// the predictions.
#pragma once

#include <functional>
#include <vector>

#include "scute/evaluate/perplexity.h"
#include "scute/language/quantize.h"
#include "scute/language/search_items.h"

namespace scute {

struct SearchOptions {
  /// At most so many bits a weight on average over the matrices of layers and shared blocks, scales
  /// included, as stored.
  double bits = 8;
  CalibrationOptions calibration;  ///< the windows that divergences are measured on
  int threads = 0;
  std::function<void(int64_t done, int64_t total)> progress = {};
};

struct SearchResult {
  std::vector<FormatItem> items;     ///< what has a format of its own
  std::vector<LayerFormat> formats;  ///< what each may become, fewest bits first
  std::vector<double> bits;          ///< a weight in each, scales included, all items together
  /// divergence[item][format], nats per token, of the float model with this item alone rounded.
  std::vector<std::vector<MeanAndError>> divergence;
  std::vector<size_t> chosen;        ///< the format of each item
  std::vector<LayerFormats> layers;  ///< the list found
  double average_bits = 0;
  double predicted = 0;   ///< sum of the items' divergences
  MeanAndError measured;  ///< of the model with this list
  /// Whether items are other than one mixer for each layer.
  bool by_part() const;
  Json to_json() const;
};

/// Formats: W4A8, W8A8 and FP with 8-bit activations, W4A16, W8A16 and FP with 16. Every part of
/// every layer, and every block that layers share, is measured alone in each, then the list with
/// the least sum of divergences that the budget allows is found exactly, by dynamic programming.
/// Kinds of parts that `options` fix keep their format, and their bits count. Error when even the
/// fewest bits exceed the budget. `options.hybrid` is ignored.
SearchResult search_formats(const ModelDescription& model, const Plan& plan,
                            const StatisticsSet* statistics, const Hessians* hessians,
                            QuantizeOptions options, const SearchOptions& search);

}  // namespace scute
