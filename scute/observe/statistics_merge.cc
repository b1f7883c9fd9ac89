#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "scute/base/checked.h"
#include "scute/base/error.h"
#include "scute/observe/statistics_file.h"

namespace scute {
namespace {

constexpr const char* kWhere = "merge";
constexpr std::array<const char*, 7> kMustAgree{
    "model_sha256", "tokenizer_sha256", "normalization_sha256", "seqlen", "state_every",
    "compute",      "observer"};
constexpr std::array<const char*, 2> kAdded{"samples", "tokens"};

std::string text_of(const Json* json) { return json == nullptr ? "nothing" : json->dump(); }

bool same(const Json* a, const Json* b) { return a == nullptr || b == nullptr ? a == b : *a == *b; }

std::vector<Json> sorted_by_text(std::vector<Json> items) {
  std::vector<std::pair<std::string, Json>> keyed;
  for (Json& item : items) keyed.emplace_back(item.dump(), std::move(item));
  std::ranges::stable_sort(keyed, {}, &std::pair<std::string, Json>::first);
  std::vector<Json> out;
  for (auto& [text, item] : keyed) out.push_back(std::move(item));
  return out;
}

/// The member as a list: absent none, an array its items, else itself alone.
std::vector<Json> list_of(const Json& meta, const char* key) {
  const Json* found = meta.find(key);
  if (found == nullptr) return {};
  return found->is_array() ? found->as_array(kWhere) : std::vector<Json>{*found};
}

std::vector<Json> joined(const Json& a, const Json& b, const char* key) {
  std::vector<Json> out = list_of(a, key);
  for (Json& item : list_of(b, key)) out.push_back(std::move(item));
  return sorted_by_text(std::move(out));
}

/// The metas that went into this one.
std::vector<Json> parts_of(const Json& meta) {
  return meta.find("parts") != nullptr ? list_of(meta, "parts") : std::vector<Json>{meta};
}

void check_agreement(const StatisticsSet& a, const StatisticsSet& b) {
  if (a.fine != b.fine) {
    fail(kWhere, fmt::format("fine {} in both", a.fine), fmt::to_string(b.fine));
  }
  for (const char* key : kMustAgree) {
    const Json *mine = a.meta.find(key), *other = b.meta.find(key);
    if (!same(mine, other)) {
      fail(kWhere, fmt::format("{} {} in both", key, text_of(mine)), text_of(other));
    }
  }
  for (const auto* pair : {&a, &b}) {
    const StatisticsSet& lacking = pair == &a ? b : a;
    for (const auto& [name, statistic] : pair->sites) {
      // Windows shorter than --state-every show no intermediate state.
      if (!lacking.sites.contains(name) && !name.ends_with(":steps")) {
        fail(kWhere, "the same sites in both", fmt::format("{} in one only", name));
      }
    }
  }
}

/// A window both entries list, when they speak of the same files.
std::string common_window(const Json& a, const Json& b) {
  const Json *files = a.find("files"), *other_files = b.find("files");
  if (files == nullptr || !same(files, other_files)) return "";
  std::set<std::string> seen;
  for (const Json& window : list_of(a, "windows")) seen.insert(window.dump());
  for (const Json& window : list_of(b, "windows")) {
    if (seen.contains(window.dump())) return window.dump();
  }
  return "";
}

void check_repeats(const Json& a, const Json& b) {
  constexpr const char* kExpected = "different data in both (or repeats allowed)";
  const std::vector<Json> hashes = list_of(a, "windows_sha256");
  for (const Json& hash : list_of(b, "windows_sha256")) {
    if (std::ranges::find(hashes, hash) != hashes.end()) {
      fail(kWhere, kExpected, fmt::format("the same windows, windows_sha256 {}", hash.dump()));
    }
  }
  for (const Json& mine : list_of(a, "data")) {
    for (const Json& other : list_of(b, "data")) {
      if (mine == other) fail(kWhere, kExpected, fmt::format("in both data {}", mine.dump()));
      if (const std::string window = common_window(mine, other); !window.empty()) {
        fail(kWhere, kExpected, fmt::format("the window {} in both", window));
      }
    }
  }
}

Json sum_of(const Json* a, const Json* b, const char* key) {
  const int64_t first = a == nullptr ? 0 : a->as_int(key);
  return Json(checked_add(first, b == nullptr ? 0 : b->as_int(key), key));
}

Json merged_meta(const Json& a, const Json& b) {
  if (a.is_null() && b.is_null()) return {};
  std::map<std::string, Json> members;
  if (a.is_object()) {
    for (const auto& [key, value] : a.as_object(kWhere)) {
      if (same(&value, b.find(key))) members[key] = value;
    }
  }
  for (const char* key : kAdded) {
    const Json *mine = a.find(key), *other = b.find(key);
    if (mine != nullptr || other != nullptr) members[key] = sum_of(mine, other, key);
  }
  for (const char* key : {"data", "windows_sha256"}) {
    if (std::vector<Json> all = joined(a, b, key); !all.empty())
      members[key] = Json(std::move(all));
  }
  std::vector<Json> parts = parts_of(a);
  for (Json& part : parts_of(b)) parts.push_back(std::move(part));
  members["parts"] = Json(sorted_by_text(std::move(parts)));
  Json out = Json::object();
  for (auto& [key, value] : members) out.append_member(key, std::move(value));
  return out;
}

}  // namespace

void merge(StatisticsSet& into, const StatisticsSet& other, Repeats repeats) {
  check_agreement(into, other);
  if (repeats == Repeats::refuse) check_repeats(into.meta, other.meta);
  StatisticsSet all = into;
  for (const auto& [name, statistic] : other.sites) {
    try {
      all.sites.try_emplace(name, Statistic(all.fine)).first->second.merge(statistic);
    } catch (const Error& error) {
      throw Error(fmt::format("{}: {}: {}", kWhere, name, error.what()));
    }
  }
  all.meta = merged_meta(into.meta, other.meta);
  into = std::move(all);
}

}  // namespace scute
