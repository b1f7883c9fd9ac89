// --memory of language models' verbs.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/terminal/job.h"
#include "scute/experiments/run.h"
#include "scute/language/collect.h"
#include "scute/language/memory_plan.h"
#include "scute/language/quantize_plan.h"

namespace scute::cli {

/// How the collection keeps within --memory, said on standard error; streams on disk lie beside
/// `file`. `kept`: what is finished is kept every now and then, for which it is copied. Error when
/// it cannot. Without --memory: all weights in memory.
MemoryPlan planned_collection(const Job& job, const ModelDescription& model,
                              const CollectOptions& options, const std::string& file,
                              bool kept = false);

/// Work for which all weights are in memory: at least so many tokens of a sequence, and texts that
/// are read.
struct WholeWork {
  int64_t tokens = 1;       ///< that go through the layers together
  int64_t kept_tokens = 0;  ///< that attention remembers beside them
  int64_t logit_rows = 1;   ///< of a thread at once
  int64_t statistics = 0;   ///< bytes of one thread's
  std::vector<std::string> texts = {};
  LanguageModel::Head head = LanguageModel::Head::packed;
  int64_t sequences = 0;  ///< at once; 0: as many as threads
};
/// Threads with which it keeps within --memory, said on standard error: as many as asked for, or
/// fewer. Error saying what is needed when it does not on one.
int planned_whole(const Job& job, const ModelDescription& model, const Execution& execution,
                  const WholeWork& work);
/// The same of weights that are made in memory, and so far have shapes alone.
int planned_random(const Job& job, const MambaConfig& config, const Execution& execution,
                   const WholeWork& work);

/// What is scored, of one model.
struct ScoringWork {
  int64_t tokens = 1;     ///< of the longest sequence
  int64_t sequences = 1;  ///< of the task that has more
  bool by_layers = true;  ///< whether sequences can go through a layer together
  std::vector<std::string> texts = {};
};
/// How scoring keeps within --memory, as a collection does, said on standard error; streams on disk
/// lie beside `file`, or, when that is empty, in the working directory. Error saying what is needed
/// when it cannot.
MemoryPlan planned_scoring(const Job& job, const ModelDescription& model,
                           const Execution& execution, const ScoringWork& work,
                           const std::string& file);

/// The same of a quantization. `numbers`: files of statistics and plans that were read. `whole`:
/// flags that were given and need everything in memory; Error naming them where there is no room.
QuantizePlan planned_quantize(const Job& job, const ModelDescription& model,
                              const QuantizeOptions& options, const std::string& folder,
                              const std::vector<std::string>& numbers,
                              const std::vector<std::string>& whole);

/// How an experiment keeps within --memory: collected and quantized as these verbs do, scored with
/// all weights in memory. Error saying what is needed when it does not. Not said: it is asked more
/// than once.
ExperimentPlan planned_experiment(const Job& job, const ModelDescription& model,
                                  const SubjectOptions& subject, const Setting& setting);
/// RunHow::plan, of this model's experiments; empty without --memory. Error at once where one of
/// the settings does not fit; `job` and `subject` must live as long.
std::function<ExperimentPlan(const Setting& setting)> experiment_planner(
    const Job& job, const ModelDescription& model, const SubjectOptions& subject,
    const std::vector<Setting>& settings);

}  // namespace scute::cli
