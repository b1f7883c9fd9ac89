// How a quantization keeps within a given memory: decided before it begins, from sizes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "scute/language/memory_plan.h"
#include "scute/language/quantize.h"

namespace scute {

/// Bytes, but for what says otherwise.
struct QuantizeSizes {
  int threads = 1;
  int64_t base = 0;           ///< base_memory()
  int64_t results = 0;        ///< of all finished tensors
  int64_t layers = 0;         ///< of those that belong to layers
  int64_t at_work = 0;        ///< of all matrices in work at once, GPTQ's own included
  int64_t largest = 0;        ///< the same of the one that takes most
  int64_t largest_layer = 0;  ///< finished tensors of the layer that has most
  int64_t checked_layer = 0;  ///< the same, and packed
  int64_t head_rows = 0;      ///< rows of a head that are checked at once
  /// Hessians: of all sites, and of those of the largest layer, one sum each; 0: none are used.
  int64_t hessians = 0, hessians_of_layer = 0;
  bool hessians_given = false;  ///< read from a file, and in memory to the end
  PassSizes pass = {};          ///< in which they are measured

  /// Whether they are measured layer by layer where memory is short.
  bool by_layers() const { return hessians > 0 && !hessians_given; }
};

/// Of this model; `pass` as far as Hessians are measured.
QuantizeSizes quantize_sizes(const ModelDescription& model, const Weights& weights,
                             const QuantizeOptions& options, const PassSizes& pass);

/// Of the model that a quantization of this one gives, all of it in this format.
LanguageSizes low_bit_sizes(const LanguageSizes& model, const QuantizeSizes& sizes,
                            const LayerFormat& format, const Execution& execution);

struct QuantizePlan {
  int threads = 1;
  QuantizeMemory memory = {};
  FolderCheck check = FolderCheck::whole;
  int64_t bytes = 0;  ///< expected at most

  /// "finished tensors on disk, …; about 3.2 GB".
  std::string text() const;
};

/// Everything in memory where that fits; else finished tensors on disk, in `folder`, the check one
/// layer at a time, Hessians measured and used layer by layer, and no more matrices at once than
/// there is room for. Error saying what is needed when that does not fit either.
QuantizePlan plan_quantize(const LanguageSizes& model, const QuantizeSizes& sizes,
                           std::optional<int64_t> limit, const std::string& folder);

/// The same without the first.
QuantizePlan plan_quantize_by_layers(const LanguageSizes& model, const QuantizeSizes& sizes,
                                     int64_t limit, const std::string& folder);
/// The limit with which that is no Error: one layer and one matrix at a time on one thread.
int64_t least_quantize_bytes(const LanguageSizes& model, const QuantizeSizes& sizes);

}  // namespace scute
