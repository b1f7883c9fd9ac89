// A mixture of experts: only the chosen ones are computed.
#pragma once

#include <optional>
#include <vector>

#include "scute/models/language/feed_forward.h"
#include "scute/models/scheme.h"

namespace scute {

/// The sites of one layer behind its input. The pooled one, down_proj_input, shows the rows of
/// every token and choice, by expert and then by token; those of one expert only what was routed
/// there, if anything.
struct ExpertsSites {
  Site router_output;
  /// Of latent experts alone: what gate_proj and up_proj read, and what latent_out reads.
  std::optional<SiteList::InputSites> latent_input, latent_output;
  SiteList::InputSites down_proj_input;
  std::vector<SiteList::InputSites> of_expert;
  std::optional<SiteList::InputSites> shared_input;
  Site down_proj_output;
  ExpertsSites(const MambaConfig& config, const Scheme& scheme, const std::string& layer,
               SiteList& sites);
};

/// The part of a block whose router chooses feed-forwards for each token.
class Experts {
 public:
  /// The tensors of one layer as the checkpoint stores them: cheap to hold, packed later.
  struct Raw {
    LinearTensors router, latent_in, latent_out;
    Tensor correction;
    std::vector<FeedForwardProducts::Raw> experts;
    std::optional<FeedForwardProducts::Raw> shared;
    Raw(WeightReader& reader, const std::string& prefix, const MambaConfig& config);
  };

  Experts(const Raw& raw, const MambaConfig& config, const Execution& execution,
          ExpertsSites sites);

  /// u: L × D (normed), out: L × D.
  void operator()(Run& run, MatView<const float> u, MatView<float> out) const;
  void add_size(ModelSize& size) const;
  /// Adds that of a token, which goes to the chosen experts alone.
  void add_work(ModelWork& work) const;

 private:
  /// Σ weight · expert(x) of each row of x.
  void chosen(Run& run, MatView<const float> x, MatView<const int32_t> experts,
              MatView<const float> weights, MatView<float> out) const;
  void add_shared(Run& run, MatView<const float> u, MatView<float> out) const;

  ExpertsConfig config_;
  Linear router_;
  std::vector<float> correction_;
  std::optional<Linear> latent_in_, latent_out_;
  std::vector<FeedForwardProducts> experts_;
  std::optional<FeedForwardProducts> shared_;
  ExpertsSites sites_;
};

}  // namespace scute
