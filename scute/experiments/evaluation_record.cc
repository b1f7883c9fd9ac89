#include "scute/experiments/evaluation_record.h"

#include <filesystem>

#include "scute/base/hash.h"
#include "scute/experiments/fields.h"
#include "scute/experiments/log.h"
#include "scute/experiments/score_json.h"
#include "scute/io/file.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

/// Relative to the log's folder; empty: none.
std::string items_file(const EvaluationFacts& facts) {
  return facts.items.empty() ? "" : (fs::path("items") / (record_id(facts) + ".jsonl")).string();
}

Json no_reordering() {
  Json out;
  out["enabled"] = false;
  out["avg_range_reduction"] = nullptr;
  out["total_layers"] = 0;
  return out;
}

}  // namespace

std::string experiment_hash(const Json& key) {
  Json whole = key;
  whole["tool"] = "scute " SCUTE_VERSION;
  return sha256(whole.dump());
}

std::string record_id(const EvaluationFacts& facts) {
  return experiment_hash(facts.key).substr(0, 12);
}

Json evaluation_record(const EvaluationFacts& facts) {
  Json out;
  out["timestamp"] = facts.timestamp;
  out["command"] = facts.command;
  out["config"] = facts.config;
  out["activation_stats"] = facts.activation_stats;
  out["reorder_summary"] =
      facts.reorder_summary.is_null() ? no_reordering() : facts.reorder_summary;
  out["results"] = facts.results;
  out["results"]["metrics"] = metrics_json(facts.score);
  out["activation_data_file"] = nullptr;
  out["id"] = record_id(facts);
  out["hashes"]["experiment"] = experiment_hash(facts.key);
  for (const auto& [name, hash] : facts.hashes.as_object("hashes")) out["hashes"][name] = hash;
  out["machine"] = facts.machine;
  out["version"] = SCUTE_VERSION;
  for (const auto& [step, seconds] : facts.timing.as_object("timing")) {
    out["timing"][step] = seconds;
  }
  out["timing"]["total"] = facts.seconds;
  out["files"]["statistics"] = nullptr;
  out["files"]["items"] = facts.items.empty() ? Json() : Json(items_file(facts));
  for (const auto& [name, file] : facts.files.as_object("files")) out["files"][name] = file;
  return out;
}

void log_evaluation(const std::string& log, const EvaluationFacts& facts) {
  const fs::path folder = fs::path(log).parent_path();
  if (!facts.items.empty()) {
    make_folder(folder / "items");
    write_file((folder / items_file(facts)).string(), facts.items);
  }
  append_record(log, evaluation_record(facts));
}

}  // namespace scute
