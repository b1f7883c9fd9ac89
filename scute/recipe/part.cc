#include "scute/recipe/part.h"

#include <fmt/format.h>

#include <utility>

#include "scute/base/error.h"
#include "scute/base/json_difference.h"

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
  out.collection = found->at("collection", what);
  out.collection.as_object(what);
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

void refuse_part(const StatisticsSet& statistics, const std::string& where) {
  if (const auto part = part_of(statistics, where)) {
    fail(where, "statistics of a whole collection; parts are added up by their folder alone",
         "part " + part->shard.text());
  }
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

PartWork::PartWork(const PartRequest& request, Json collection) : request_(request) {
  part_.collection = std::move(collection);
  part_.shard = request.shard.value_or(Shard{});
  if (request.begun == nullptr) return;
  const std::string& name = request.begun_name;
  const std::string expected = request.begun_was_kept
                                   ? "what this command kept (--force drops it)"
                                   : "a part of this collection: the same model, data and options";
  const auto begun = part_of(*request.begun, name);
  const bool same = begun && begun->shard == part_.shard && begun->collection == part_.collection;
  const bool finished = same && begun->complete() && !request.begun_was_kept;
  if (request.measures_anew && (!same || finished)) return;
  if (!begun) fail(name, expected, "statistics of a whole one; move them");
  if (begun->shard != part_.shard) {
    fail(name, "part " + part_.shard.text(), "part " + begun->shard.text());
  }
  if (begun->collection != part_.collection) {
    fail(name, expected,
         fmt::format("one of another, {} of {} samples: {}; by: {}", begun->finished,
                     begun->samples, difference_text(begun->collection, part_.collection),
                     command_of(*request.begun)));
  }
  begun_ = request.begun;
  part_ = *begun;
}

bool PartWork::was_complete(Collected& result) const {
  result.before = part_.finished;
  result.was_complete = begun_ != nullptr && part_.complete() && !request_.begun_was_kept;
  if (result.was_complete) result.statistics = *begun_;
  return result.was_complete;
}

bool PartWork::takes(int64_t sample) const {
  const Shard& shard = part_.shard;
  return shard.takes(sample) && sample >= shard.nth(part_.finished);
}

bool PartWork::has(int64_t sample) const {
  const Shard& shard = part_.shard;
  return shard.takes(sample) && sample < shard.nth(part_.finished);
}

void PartWork::begin(Measurement& measurement, int64_t all, int fine, std::function<Json()> meta) {
  measurement_ = &measurement;
  fine_ = fine;
  meta_ = std::move(meta);
  if (begun_ != nullptr) measurement.resume(begun_->sites);
  if (!request_.keep) return;
  measurement.keep(request_.due, [this, all](std::map<std::string, Statistic> seen, int64_t more) {
    StatisticsSet set{.fine = fine_, .sites = std::move(seen), .meta = meta_()};
    PartRecord part = part_;
    part.samples = part.shard.count(all);
    part.finished += more;
    part.silent = measurement_->silent_sites();
    say_part(set, part);
    request_.keep(set);
  });
}

void PartWork::finish(Collected& result, int64_t all) {
  result.interrupted = measurement_->interrupted();
  result.silent_sites = measurement_->silent_sites();
  result.statistics = {.fine = fine_, .sites = measurement_->take(), .meta = meta_()};
  if (!request_.shard && !(result.interrupted && request_.keep)) return;
  PartRecord part = part_;
  part.samples = part.shard.count(all);
  part.silent = result.silent_sites;
  say_part(result.statistics, part);
}

}  // namespace scute
