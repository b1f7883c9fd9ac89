// The log in the layout of MLflow's file store, so that its dashboards can read it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "scute/experiments/log.h"

namespace scute {

struct MlflowExport {
  std::string experiment_id, experiment_name;
  int64_t runs = 0;  ///< written
  int64_t kept = 0;  ///< there already
};

/// DIR/<experiment_id>/<run_id>/{meta.yaml, params, metrics, tags, artifacts}, one run a record,
/// one experiment a log. The run's id follows from the record's id, timestamp and number, so that
/// doing it twice changes nothing. The folder of an experiment carries the tag scute.log; one of
/// that name without it is not scute's, and an Error. meta.yaml of a run is written last: a run
/// without it is not there. `milliseconds`: of a record's local time "YYYY-mm-dd HH:MM:SS", since
/// 1970 in UTC; 0 for what is none.
MlflowExport write_mlflow(const std::string& folder, const ExperimentLog& log,
                          const std::vector<const LogEntry*>& entries,
                          const std::function<int64_t(const std::string& time)>& milliseconds);

}  // namespace scute
