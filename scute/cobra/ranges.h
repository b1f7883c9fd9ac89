// The ranges of a Cobra that is being quantized, from a plan or else statistics: internal to this
// folder.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "scute/cobra/folder.h"
#include "scute/cobra/matrices.h"
#include "scute/recipe/ranges.h"

namespace scute {

/// What does not fit is noted; finish() reports it, all of it at once.
class CobraRanges {
 public:
  /// `statistics` may be null. `hash` is the model's. Error when plan or statistics are of another
  /// model (by hash, where they have one), or the plan names sites that this model does not have.
  CobraRanges(const CobraDescription& model, const Plan& plan, const StatisticsSet* statistics,
              const std::optional<Policy>& policy, const std::string& hash);

  /// What the tensors of a bucket are kept within: the plan's range, or, when there is no plan at
  /// all, one decided from statistics. Nothing: they are not clipped.
  std::optional<std::pair<float, float>> clip(const std::string& bucket);
  /// The scale of an 8-bit input: from the plan's range of its site (that of the projector's first
  /// matrix also from the towers' buckets), else decided from statistics. Nothing: no range.
  std::optional<float> input_scale(const CobraMatrix& matrix);
  /// The language model's own sites: the plan's, and those decided from statistics besides. Empty
  /// when neither has one inside its layers.
  Plan language();
  /// The language model's part of the statistics; nothing without them.
  std::optional<StatisticsSet> language_statistics() const;

  /// Sites of the towers and the projector that the plan has and nobody asked for.
  std::vector<std::string> unused() const;
  /// Sites that saw one value only, in words.
  const std::vector<std::string>& constants() const { return ranges_.constants(); }
  /// Those asked for, with the plan's meta.
  const Plan& used() const { return ranges_.used(); }
  /// Throws one Error that lists every problem.
  void finish() const;

 private:
  bool of_language(const std::string& site) const;
  /// Of the plan or decided; nothing where neither knows the site.
  std::optional<Decision> find(const std::string& site);
  std::optional<Decision> from_buckets(const CobraMatrix& matrix) const;

  ModelRanges ranges_;
  const StatisticsSet* statistics_;
  std::optional<Policy> policy_;
};

}  // namespace scute
