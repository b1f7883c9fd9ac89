// How a language model's work keeps within a given memory: decided before it begins, from sizes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "scute/language/model_folder.h"
#include "scute/recipe/measure.h"

namespace scute {

/// Bytes of a model, as stored and as packed for products.
struct LanguageSizes {
  struct Part {
    int64_t stored = 0, packed = 0;
  };
  std::vector<Part> layers;
  Part table, head, shared;
  /// For each token of a sequence: scratch of the thread that runs it, what attention remembers,
  /// and what it takes from layer to layer.
  int64_t scratch_per_token = 0, cache_per_token = 0, stream_per_token = 0;
  int64_t state = 0;        ///< of a sequence, all layers
  int64_t state_layer = 0;  ///< of its largest layer
  int64_t logits_per_token = 0;

  int64_t packed() const;         ///< all layers, what they share, and the head
  int64_t largest_layer() const;  ///< packed, beside its stored form
};

/// Of these tensors, named as read_weights() names them. `head`: whether it is packed.
LanguageSizes sizes_of(const ModelDescription& model, const Weights& weights,
                       const Execution& execution, LanguageModel::Head head);

/// What is in memory whatever the plan: the program, a tokenizer, texts, and files of numbers that
/// are read whole. The same each time: what the process holds just now is not.
int64_t base_memory(const ModelDescription& model, const std::vector<std::string>& texts,
                    const std::vector<std::string>& numbers = {});

/// What a pass over windows is to do.
struct PassSizes {
  int64_t samples = 1, tokens = 1;  ///< windows, and tokens of each at most
  int threads = 1;
  int64_t statistics = 0;  ///< bytes of one thread's
  int64_t base = 0;        ///< base_memory()
};
/// Of a collection; an estimate: 110 KB a site at fine 8, and the vectors that it keeps.
int64_t statistics_bytes(const SiteList& sites, int fine);

/// What is kept of a collection every now and then, of statistics of so many bytes: a copy, the
/// tensors of it, and what was begun before.
constexpr int64_t kept_statistics(int64_t statistics) { return 3 * statistics; }

struct MemoryPlan {
  int threads = 1;
  std::optional<ByLayers> by_layers = {};  ///< empty: all weights packed
  int64_t bytes = 0;                       ///< expected at most

  /// "layer by layer, 64 samples together, between layers in memory; about 3.2 GB".
  std::string text() const;
};

/// The first of these that fits: all weights packed; layer by layer with the samples' streams in
/// memory; with them on disk, in `folder`; the same with fewer threads; all weights with fewer
/// threads. Error saying what the least needs when nothing fits. Without a limit all weights are
/// packed.
MemoryPlan plan_pass(const LanguageSizes& sizes, const PassSizes& pass,
                     std::optional<int64_t> limit, const std::string& folder);

/// The same without the first: one layer at a time.
MemoryPlan plan_by_layers(const LanguageSizes& sizes, const PassSizes& pass, int64_t limit,
                          const std::string& folder);

/// With all weights packed.
int64_t memory_of_whole_pass(const LanguageSizes& sizes, const PassSizes& pass);
/// One layer at a time on so many threads, without the samples' streams.
int64_t layered_bytes(const LanguageSizes& sizes, const PassSizes& pass, int threads);
/// The tensor of this name as packed for products: of a matrix that is rounded, its codes, or what
/// they stand for where products are of floats; of floats, in the precision of the products;
/// everything else is held as f32.
int64_t packed_bytes(const Weights& weights, const std::string& name, const Execution& execution);
/// Bytes of a packed weight for each code of so many bits, with inputs of 8 bits or of floats.
int64_t packed_bytes_of_code(int bits, bool eight_bit_input, const Execution& execution);
/// The layer that a tensor under our names belongs to; −1: none.
int64_t layer_of_tensor(const std::string& name);

}  // namespace scute
