// The report's buckets: the four canonical sites of a vision-language model, and what went into
// them.
#include <algorithm>
#include <set>

#include "scute/decide/buckets.h"
#include "scute/decide/plan.h"
#include "scute/experiments/report/data.h"

namespace scute {
namespace {

/// More files than anybody reads: 10 000 pictures would be a page of 1 MB.
constexpr size_t kMostFiles = 200;

size_t bucket_rank(std::string_view name) {
  return static_cast<size_t>(std::ranges::find(kBuckets, name) - kBuckets.begin());
}

/// The metas of the sets that were merged; of a set of its own that one.
std::vector<const Json*> parts_of(const Json& meta) {
  std::vector<const Json*> out;
  const Json* parts = meta.find("parts");
  if (parts == nullptr || !parts->is_array()) return {&meta};
  for (const Json& part : parts->as_array("report")) out.push_back(&part);
  return out;
}

/// Null when a part does not say.
Json sum_of(const std::vector<const Json*>& parts, std::string_view key) {
  int64_t sum = 0;
  for (const Json* part : parts) {
    const Json* value = part->find(key);
    // Counts of pictures; what no folder can hold was not written by scute.
    if (value == nullptr || !value->is_int()) return {};
    const int64_t count = value->as_int("report");
    if (count < 0 || count > int64_t{1} << 40) return {};
    sum += count;
  }
  return sum;
}

void add_pictures(const Json& meta, Json& out) {
  const std::vector<const Json*> parts = parts_of(meta);
  const bool any = std::ranges::any_of(
      parts, [](const Json* part) { return part->find("pictures_listed") != nullptr; });
  if (!any) return;
  Json& pictures = out["pictures"];
  pictures["measured"] = sum_of(parts, "samples");
  pictures["listed"] = sum_of(parts, "pictures_listed");
  pictures["unused"] = sum_of(parts, "pictures_unused");
  pictures["corrupt"] = sum_of(parts, "pictures_corrupt");
  std::set<std::string> seen;
  out["text"] = Json::array();
  for (const Json* part : parts) {
    const Json* text = part->find("text");
    if (text == nullptr || !seen.insert(text->dump()).second) continue;
    out["text"].push_back(finite(*text));
  }
}

}  // namespace

bool shown_before(std::string_view a, std::string_view b) {
  const size_t rank = bucket_rank(a), other = bucket_rank(b);
  return rank != other ? rank < other : natural_less(a, b);
}

const std::vector<double>& bucket_percentiles() {
  static const std::vector<double> percentiles{0.1, 1, 50, 99, 99.9, 99.99, 99.999};
  return percentiles;
}

Json bucket_data(const Distribution& distribution, Json because) {
  Json out;
  for (const double percentile : bucket_percentiles()) {
    out["percentiles"].push_back(number(distribution.quantile(percentile / 100), 5));
  }
  out["because"] = std::move(because);
  return out;
}

Json origin(const Json& meta) {
  Json out = Json::object();
  for (const char* key : {"model", "model_sha256", "samples", "tokens", "sampling"}) {
    if (const Json* value = meta.find(key)) out[key] = finite(*value);
  }
  add_pictures(meta, out);
  // The list of windows, which is long, is left out.
  out["data"] = Json::array();
  size_t files_seen = 0;
  const Json* data = meta.find("data");
  if (data == nullptr || !data->is_array()) return out;
  for (const Json& part : data->as_array("report")) {
    const Json* files = part.find("files");
    if (files == nullptr || !files->is_array()) continue;
    for (const Json& file : files->as_array("report")) {
      if (++files_seen <= kMostFiles) out["data"].push_back(finite(file));
    }
  }
  out["files"] = static_cast<int64_t>(files_seen);
  return out;
}

}  // namespace scute
