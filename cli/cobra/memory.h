// --memory of Cobra's verbs: the language model layer by layer where samples can go through it so,
// all weights else.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/terminal/job.h"
#include "scute/cobra/quantize.h"
#include "scute/experiments/run_cobra.h"
#include "scute/language/memory_plan.h"
#include "scute/language/quantize_plan.h"

namespace scute::cli {

struct CobraWork {
  Execution execution = {};
  int models = 1;        ///< as large as this one, in memory at once
  int64_t pictures = 1;  ///< at most
  int64_t tokens = 64;   ///< of a picture's text
  int64_t sites = 0;     ///< that each thread keeps statistics of
  int fine = 8;
  bool kept = false;  ///< every now and then what is finished is kept, for which it is copied
};

/// Threads with which it keeps within --memory, all weights in memory: as many as asked for, or
/// fewer; said on standard error. Error saying what is needed when it does not on one.
int planned_cobra(const Job& job, const CobraDescription& model, const CobraWork& work);

/// The same of a collection, or its language model's layers one at a time; streams on disk lie
/// beside `file`.
MemoryPlan planned_cobra_collection(const Job& job, const CobraDescription& model,
                                    const CobraWork& work, const std::string& file);

/// The same of two models' comparison, one model after the other where their layers go one at a
/// time: ByLayers::samples pictures together.
MemoryPlan planned_cobra_comparison(const Job& job, const CobraDescription& model,
                                    const CobraDescription& against, const CobraWork& work,
                                    const std::string& file);

/// The same of a quantization, and of the check of what it wrote: tensors that are finished lie on
/// disk beside `folder` where they do not fit. `numbers`: files of statistics that were read.
QuantizePlan planned_cobra_quantize(const Job& job, const CobraDescription& model,
                                    const CobraQuantizeOptions& options, const std::string& folder,
                                    const std::vector<std::string>& numbers);

/// RunHow::plan of this Cobra's experiments, each step as its own verb does it, said on standard
/// error; empty without --memory. Error at once where one of the settings does not fit; `job` and
/// `subject` must live as long.
std::function<ExperimentPlan(const Setting& setting)> cobra_experiment_planner(
    const Job& job, const CobraDescription& model, const CobraSubjectOptions& subject,
    const std::vector<Setting>& settings);

}  // namespace scute::cli
