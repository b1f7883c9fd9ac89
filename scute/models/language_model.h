// A Mamba language model: embedding, residual blocks, final norm, head.
#pragma once

#include <span>
#include <string>
#include <variant>
#include <vector>

#include "scute/models/mamba1.h"
#include "scute/models/mamba2.h"

namespace scute {

/// Every site of a model, known from its config alone.
struct LanguageModelSites {
  struct Block {
    Site in_proj_input, in_proj_rotated;
    std::variant<Mamba1Sites, Mamba2Sites> mixer;
  };
  SiteList list;
  std::vector<Block> blocks;
  Site embedding_output, head_input, head_rotated, head_output;

  explicit LanguageModelSites(const MambaConfig& config);
};

class LanguageModel {
 public:
  enum class Head { packed, absent };

  /// Reads every tensor of `weights` under the state-spaces names (recipe renames other dialects);
  /// Error naming all that are missing, misshapen or left over. Weights are packed layer by layer
  /// and their checkpoint memory given back. Without a packed head logits() may not be called.
  LanguageModel(const MambaConfig& config, Weights weights, Compute compute,
                Head head = Head::packed);

  const MambaConfig& config() const { return config_; }
  const SiteList& sites() const { return sites_.list; }
  State new_state() const;

  /// The final norm's output for each of L ≥ 1 tokens, L × D, continuing from `state`, which is
  /// updated. A zero state and all tokens: prefill; one token: a generation step. Error on an id
  /// outside the vocabulary.
  void hidden(Run& run, std::span<const int32_t> ids, State& state, MatView<float> out) const;
  /// hidden: L × D to logits: L × V. Shows lm_head:output.
  void logits(Run& run, MatView<const float> hidden, MatView<float> logits) const;

  bool has_head() const { return head_.outputs() > 0; }
  /// Packed weights, embedding table included.
  int64_t bytes() const;

 private:
  struct Block {
    std::vector<float> norm;
    std::variant<Mamba1Mixer, Mamba2Mixer> mixer;
  };
  void embed(std::span<const int32_t> ids, MatView<float> out) const;
  /// RMSNorm of the residual stream into `out`, shown at `site` and, without its weight and
  /// rotated, at `rotated`.
  void norm_and_pass(Run& run, MatView<const float> residual, const std::vector<float>& weight,
                     const Site& site, const Site& rotated, MatView<float> out) const;

  MambaConfig config_;
  LanguageModelSites sites_;
  Tensor embedding_;  ///< V × D in the checkpoint's precision
  std::vector<Block> blocks_;
  std::vector<float> norm_f_;
  Gemm head_;
};

}  // namespace scute
