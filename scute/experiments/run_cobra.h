// The experiments of a Cobra: collect, decide, quantize, compare with the float model, record.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "scute/cobra/collect.h"
#include "scute/cobra/quantize.h"
#include "scute/experiments/run.h"

namespace scute {

/// What the experiments of one Cobra share.
struct CobraSubjectOptions {
  std::string model;
  CobraCollectOptions collect;          ///< pictures and texts; both are scored on, too
  std::optional<int64_t> max_pictures;  ///< scored, of those that can be read; all without
  std::string log = SubjectOptions().log;
};

/// How a setting's low-bit Cobra is made.
CobraQuantizeOptions cobra_quantize_options(const Setting& setting);

struct CobraSubjectState;

/// Scored is the distance from the float model, picture by picture. Of a Setting count policy,
/// alpha, execution, logged, command, and of quantize what Cobra's llm can be told; its format is
/// that of every bucket.
class CobraSubject : public ExperimentSubject {
 public:
  /// Error on a model, pictures or texts that cannot be read.
  CobraSubject(CobraSubjectOptions options, RunHow how);
  ~CobraSubject() override;

  const std::string& name() const override;
  std::string key(const Setting& setting) const override;
  Experiment run(const Setting& setting) override;

 private:
  std::unique_ptr<CobraSubjectState> state_;
};

}  // namespace scute
