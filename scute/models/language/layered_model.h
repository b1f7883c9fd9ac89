// A language model of which one block at a time is in memory.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <vector>

#include "scute/models/language/language_model.h"
#include "scute/models/language/language_tensors.h"
#include "scute/models/language/model_frame.h"

namespace scute {

/// For passes in which many sequences go through a block before the next is packed: each sequence
/// from a zero state, its stream kept by the caller. What the sites of a sequence show, and the
/// numbers that leave, are those of LanguageModel, bit for bit.
class LayeredModel {
 public:
  /// Checks the tensors as LanguageModel does; scales of a block are checked when it is packed.
  LayeredModel(const MambaConfig& config, Weights weights, const Execution& execution,
               const Scheme& scheme = {});
  /// Inside a larger model, which numbers its sites.
  LayeredModel(const MambaConfig& config, Weights weights, const Execution& execution,
               const Scheme& scheme, LanguageModelSites sites);

  const MambaConfig& config() const { return config_; }
  const SiteList& sites() const { return sites_.list; }
  int64_t blocks() const { return static_cast<int64_t>(configs_.size()); }
  /// Whether a pass through that block shows the site; −1: entering does, blocks(): leaving.
  bool shows(int64_t block, const Site& site) const;
  /// Whether through() reads what entered the first block.
  bool needs_origin() const { return config_.shared.count > 0; }

  /// Keeps what passes this site within [lo, hi] from now on, as LanguageModel::set_range() does.
  /// Where the checkpoint has 8-bit scales, go_to() of its block is an Error.
  void set_range(const Site& site, float lo, float hi);

  /// Packs that block in place of what was packed before, and gives the pages of its checkpoint
  /// back, which are read again should it be packed again. Not while another thread runs.
  void go_to(int64_t block);
  /// The same for the head, or for `count` of its rows from `first` on, a multiple of 32: then
  /// logits() gives those of these ids alone.
  void go_to_head() { go_to_head(0, config_.vocabulary); }
  void go_to_head(int64_t first, int64_t count);
  /// Gives back what is packed, and the table's pages.
  void rest();

  /// The vectors that enter the first block, L × D. Errors as LanguageModel::hidden.
  void enter(Run& run, MatView<const float> prefix, std::span<const int32_t> ids,
             MatView<float> residual) const;
  /// One sequence from its beginning through the block that go_to() packed.
  void through(Run& run, MatView<float> residual, MatView<const float> origin) const;
  /// The final norm's output, L × D.
  void leave(Run& run, MatView<const float> residual, MatView<float> hidden) const;
  /// L × V, or L × count, after go_to_head(). Shows lm_head:output.
  void logits(Run& run, MatView<const float> hidden, MatView<float> logits) const;

 private:
  /// The index of its first site.
  int first_site(int64_t block) const;

  MambaConfig config_;
  Scheme scheme_;
  LanguageModelSites sites_;
  Execution execution_;
  std::vector<BlockConfig> configs_;
  std::map<int64_t, std::vector<Tensor>> of_layers_;  ///< whose pages are given back
  LanguageTensors tensors_;
  std::shared_ptr<SharedBlocks> shared_;
  ModelFrame frame_;
  SiteGrids grids_, clips_;  ///< of the block and what is clipped there; what is clipped alone
  std::vector<Site> clipped_;
  std::optional<Block> block_;
  Linear head_;
};

}  // namespace scute
