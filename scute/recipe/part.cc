#include "scute/recipe/part.h"

#include <fmt/format.h>

#include <utility>

#include "scute/base/error.h"

namespace scute {
namespace {

constexpr const char* kPart = "part";

/// What a message says of where statistics come from.
std::string command_of(const StatisticsSet& statistics) {
  const Json* command = statistics.meta.find("command");
  return command != nullptr && command->is_string() ? command->as_string("meta") : "another one";
}

}  // namespace

std::optional<PartRecord> part_of(const StatisticsSet& statistics, const std::string& where) {
  const Json* found = statistics.meta.find(kPart);
  if (found == nullptr) return std::nullopt;
  const std::string what = where + ": meta.part";
  PartRecord out;
  out.collection = found->at("collection", what).as_string(what);
  out.shard.index = found->at("index", what).as_int(what);
  out.shard.of = found->at("of", what).as_int(what);
  out.samples = found->at("samples", what).as_int(what);
  out.finished = found->at("finished", what).as_int(what);
  for (const Json& site : found->at("silent_sites", what).as_array(what)) {
    out.silent.push_back(site.as_string(what));
  }
  const bool sound = 0 <= out.shard.index && out.shard.index < out.shard.of && 0 <= out.finished &&
                     out.finished <= out.samples;
  if (!sound) fail(where, "a part that scute collect --shard wrote", found->dump());
  return out;
}

void say_part(StatisticsSet& statistics, const PartRecord& part) {
  Json json;
  json["collection"] = part.collection;
  json["index"] = part.shard.index;
  json["of"] = part.shard.of;
  json["samples"] = part.samples;
  json["finished"] = part.finished;
  json["silent_sites"] = Json::array();
  for (const std::string& site : part.silent) json["silent_sites"].push_back(site);
  statistics.meta[kPart] = std::move(json);
}

void forget_part(StatisticsSet& statistics) {
  Json rest = Json::object();
  for (const auto& [key, value] : statistics.meta.as_object("meta")) {
    if (key != kPart) rest.append_member(key, value);
  }
  statistics.meta = std::move(rest);
}

PartWork::PartWork(const PartRequest& request, std::string collection) : request_(request) {
  part_.collection = std::move(collection);
  part_.shard = request.shard.value_or(Shard{});
  if (request.begun == nullptr) return;
  const std::string& name = request.begun_name;
  const auto begun = part_of(*request.begun, name);
  const bool same = begun && begun->collection == part_.collection && begun->shard == part_.shard;
  if (!same && request.begun_may_differ) return;
  if (!begun) fail(name, "a part of this collection", "statistics of a whole one; move them");
  if (begun->shard != part_.shard) {
    fail(name, "part " + part_.shard.text(), "part " + begun->shard.text());
  }
  if (!same) {
    fail(name, "a part of this collection: the same model, data and options",
         fmt::format("one of another, by: {}", command_of(*request.begun)));
  }
  begun_ = request.begun;
  part_ = *begun;
}

bool PartWork::takes(int64_t sample) const {
  const Shard& shard = part_.shard;
  return shard.takes(sample) && sample >= shard.nth(part_.finished);
}

void PartWork::begin(Measurement& measurement, int64_t all, int fine, std::function<Json()> meta) {
  if (begun_ != nullptr) measurement.resume(begun_->sites);
  if (!request_.keep) return;
  measurement.keep(request_.due, [this, all, fine, meta = std::move(meta), &measurement](
                                     std::map<std::string, Statistic> seen, int64_t more) {
    StatisticsSet set{.fine = fine, .sites = std::move(seen), .meta = meta()};
    PartRecord part = part_;
    part.samples = part.shard.count(all);
    part.finished += more;
    part.silent = measurement.silent_sites();
    say_part(set, part);
    request_.keep(set);
  });
}

void PartWork::mark(StatisticsSet& statistics, int64_t all, std::vector<std::string> silent,
                    bool interrupted) const {
  if (!request_.shard && !(interrupted && request_.keep)) return;
  PartRecord part = part_;
  part.samples = part.shard.count(all);
  part.silent = std::move(silent);
  say_part(statistics, part);
}

}  // namespace scute
