// The record of an evaluation, of any kind of model: one road from a score to a line of the log.
#pragma once

#include <string>

#include "scute/base/json.h"
#include "scute/evaluate/score.h"

namespace scute {

/// What was evaluated and what was found; the products fill it in (run_record_language.h,
/// run_record_cobra.h, positions/record.h).
struct EvaluationFacts {
  Json key;     ///< everything that decides the result but this tool's version; its hash is the id
  Json config;  ///< as in every record: "model", "w_bits", "a_bits", …
  Json hashes;  ///< of model and data
  Json activation_stats = Json::object();
  Json reorder_summary;            ///< null: nothing is reordered
  Json results = Json::object();   ///< besides "metrics": "tasks", "accuracy", …
  Score score;                     ///< with its items
  std::string items;               ///< their lines; empty: not kept
  Json files = Json::object();     ///< besides "items"
  std::string command, timestamp;  ///< "YYYY-mm-dd HH:MM:SS"
  Json machine;
  double seconds = 0;
  Json timing = Json::object();  ///< of the steps, where they were taken
};

/// SHA-256 of an experiment's key and this tool's version: hashes.experiment of its record.
std::string experiment_hash(const Json& key);

/// The id that its record has.
std::string record_id(const EvaluationFacts& facts);

/// A line of the experiment log (docs/formats.md).
Json evaluation_record(const EvaluationFacts& facts);

/// Writes the items' scores beside the log and adds the record. Error when one cannot be written.
void log_evaluation(const std::string& log, const EvaluationFacts& facts);

}  // namespace scute
