// A language model: embedding, residual blocks, final norm, head.
#pragma once

#include <set>
#include <span>
#include <string>
#include <vector>

#include "scute/models/language/block.h"
#include "scute/models/language/model_frame.h"
#include "scute/models/lazy_list.h"

namespace scute {

/// Every site of a model, known from its config and scheme alone.
struct LanguageModelSites {
  SiteList list;
  std::vector<BlockSites> blocks;
  Site embedding_output, head_output;
  SiteList::InputSites head_input;

  LanguageModelSites();
  LanguageModelSites(const LanguageModelSites&);
  LanguageModelSites(LanguageModelSites&&) noexcept;
  LanguageModelSites& operator=(const LanguageModelSites&);
  LanguageModelSites& operator=(LanguageModelSites&&) noexcept;
  ~LanguageModelSites();
  explicit LanguageModelSites(const MambaConfig& config, const Scheme& scheme = {})
      : LanguageModelSites(config, scheme, {}, "embedding:output") {}
  /// After the sites of whatever comes before the language model; `embedding` is the name of its
  /// first site, whose usual name is then an alias.
  LanguageModelSites(const MambaConfig& config, const Scheme& scheme, SiteList before,
                     const std::string& embedding);
};

/// A model that runs, all of its weights packed; a value that may be shared by threads.
class LanguageModel {
 public:
  enum class Head { packed, absent };

  /// No model: none of its functions may be called.
  LanguageModel();
  LanguageModel(const LanguageModel&);
  LanguageModel(LanguageModel&&) noexcept;
  LanguageModel& operator=(const LanguageModel&);
  LanguageModel& operator=(LanguageModel&&) noexcept;
  ~LanguageModel();
  /// Reads every tensor of `weights` under the state-spaces names (recipe renames other dialects),
  /// float or low-bit in any mixture; Error naming all that are missing, misshapen or left over, or
  /// the one whose scales make no sense. Weights are packed layer by layer and their checkpoint
  /// memory given back, low-bit layers here and float ones when a pass first comes to them. Without
  /// a packed head logits() may not be called.
  LanguageModel(const MambaConfig& config, Weights weights, const Execution& execution,
                Head head = Head::packed, const Scheme& scheme = {});
  /// The same inside a larger model, which numbers its sites: LanguageModelSites of this config and
  /// scheme.
  LanguageModel(const MambaConfig& config, Weights weights, const Execution& execution, Head head,
                const Scheme& scheme, LanguageModelSites sites);

  /// This model with the parts of one kind of one layer as `other` has them, a mixer's grids
  /// included; of attention and feed-forward what a shared block is to that layer too. Packed
  /// weights are shared, not copied. Error unless both have the same config and scheme.
  LanguageModel with_part(const LanguageModel& other, int64_t layer, PartKind kind) const;

  const MambaConfig& config() const { return config_; }
  const SiteList& sites() const { return sites_.list; }
  /// `sequence` numbers the sequences of a job: what stochastic rounding is keyed by.
  State new_state(int64_t sequence = 0) const;

  /// The final norm's output for each of L ≥ 1 tokens, L × D, continuing from `state`, which is
  /// updated. A zero state and all tokens: prefill; one token: a generation step. Error on an id
  /// outside the vocabulary.
  void hidden(Run& run, std::span<const int32_t> ids, State& state, MatView<float> out) const;
  /// The same for a sequence that begins with vectors instead of tokens: `prefix`, rows × D, then
  /// `ids`; either may be empty, not both. out: (rows + ids) × D. The embedding's site sees the
  /// tokens' vectors alone. Error also on a prefix of another width.
  void hidden(Run& run, MatView<const float> prefix, std::span<const int32_t> ids, State& state,
              MatView<float> out) const;
  /// hidden: L × D to logits: L × V. Shows lm_head:output.
  void logits(Run& run, MatView<const float> hidden, MatView<float> logits) const;

  /// What every further token adds to a State: keys and values of all attention layers.
  int64_t cache_bytes_per_token() const;

  bool has_head() const { return head_.outputs() > 0; }
  ModelSize size() const;
  /// Of a token through all blocks, or through the head.
  ModelWork work_of_blocks() const;
  ModelWork work_of_head() const;

  /// Keeps what passes this site within [lo, hi] from now on. Error naming the site unless lo < hi,
  /// where nothing that passes there is used, and where the checkpoint has 8-bit activations: their
  /// scales lie in it, some in several places. Not while another thread runs the model.
  void set_range(const Site& site, float lo, float hi);

 private:
  void build(Weights weights, const Execution& how, Head head);
  bool has_scales_at(const Site& site) const;

  MambaConfig config_;
  Scheme scheme_;
  LanguageModelSites sites_;
  SiteGrids grids_;
  ModelFrame frame_;
  LazyList<Block> blocks_;
  ModelSize shared_size_;  ///< of what blocks share
  Linear head_;
  std::set<std::string> eight_bit_;  ///< "layer_3.": layers with scales of their activations
};

/// One pass over a sequence from a zero state, for whoever is shown its sites; the head is not
/// computed.
void forward(const LanguageModel& model, Run& run, std::span<const int32_t> ids);

}  // namespace scute
