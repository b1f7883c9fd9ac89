// What a search gives formats to, and which tensors are whose: internal to this folder.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "scute/language/quantize_options.h"
#include "scute/models/language/config.h"

namespace scute {

/// What has one format: a part of a layer, or a block that several layers share.
struct FormatItem {
  std::vector<int64_t> layers;  ///< one, or all that use the shared block
  std::vector<PartKind> kinds;  ///< whose format in each of these layers it is
  int64_t shared = -1;          ///< the block's number; −1: a part

  /// "mixer", "feed-forward", "shared block 0".
  std::string name() const;
  bool operator==(const FormatItem&) const = default;
};

/// Those of a model, by layer and in it by the order of its parts, then the shared blocks. Kinds
/// that `options` give a format of their own are left out.
std::vector<FormatItem> format_items(const MambaConfig& config, const QuantizeOptions& options);

/// Whether item i is the mixer of layer i.
bool one_mixer_a_layer(const std::vector<FormatItem>& items, int64_t layers);

/// Numbers of items by tensor.
class ItemOfTensor {
 public:
  ItemOfTensor(const MambaConfig& config, const std::vector<FormatItem>& items);

  static constexpr int64_t kFixed = -1;  ///< a matrix of a part whose format is not searched
  static constexpr int64_t kNone = -2;   ///< no matrix of a layer or a shared block
  int64_t operator()(const std::string& tensor) const;

 private:
  int64_t of_part(int64_t layer, PartKind kind) const;
  int64_t of_shared(int64_t number) const;

  const MambaConfig& config_;
  const std::vector<FormatItem>& items_;
};

/// One choice an item, the least sum of losses ([item][choice]) with costs of at most `budget` in
/// all. Exact, by dynamic programming: items × budget × choices steps. Of equally good choices the
/// first. Budget at least the sum of the first costs; at most 255 choices.
std::vector<size_t> knapsack(const std::vector<std::vector<double>>& losses,
                             const std::vector<std::vector<int64_t>>& costs, int64_t budget);

}  // namespace scute
