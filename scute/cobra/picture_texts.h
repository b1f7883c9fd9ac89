// The text that goes with each picture of a collection: from a file, or seeded random ids.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "scute/base/json.h"
#include "scute/cobra/folder.h"
#include "scute/data/text_input.h"

namespace scute {

/// Which text goes with each picture.
struct TextOptions {
  std::string prompts;  ///< .txt or .jsonl texts, .jsonl or .npy ids; empty: random ids
  bool random = true;   ///< without prompts: random ids, or no text at all
  int64_t length = 16;  ///< of random texts, in tokens
  uint64_t seed = 42;   ///< of random texts
  TextInput input = {};
};

/// Row i belongs to the i-th picture in sorted order; one row belongs to all.
class PictureTexts {
 public:
  /// Texts become prompts as the model's generation builds them. `pictures`: how many there are.
  /// Error when a file has more than one row but fewer than pictures, an empty row, or an id that
  /// the model lacks. Random ids are below the vocabulary without its padding.
  PictureTexts(const CobraDescription& model, const TextOptions& options, int64_t pictures);

  bool any() const { return !rows_.empty(); }
  /// Empty when there is no text.
  std::span<const int32_t> of(int64_t picture) const {
    if (rows_.empty()) return {};
    return rows_[rows_.size() == 1 ? 0 : static_cast<size_t>(picture)];
  }
  /// What a statistics file says of it: {"source": "random", "length", "seed", "vocabulary"}, or
  /// {"source": "file", "file", "sha256", "rows"}, or {"source": "none"}.
  const Json& origin() const { return origin_; }
  const BadLines& bad_lines() const { return bad_lines_; }

 private:
  std::vector<std::vector<int32_t>> rows_;
  Json origin_;
  BadLines bad_lines_;
};

}  // namespace scute
