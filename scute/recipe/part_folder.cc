#include "scute/recipe/part_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string_view>

#include "scute/base/checked.h"
#include "scute/base/error.h"
#include "scute/base/json_difference.h"
#include "scute/base/names.h"
#include "scute/base/threads.h"
#include "scute/io/file.h"
#include "scute/recipe/part_names.h"
#include "scute/recipe/statistics_io.h"

namespace scute {
namespace {

constexpr std::string_view kStatisticsEnding = ".safetensors";

/// One part as it is read: what it says of itself, and the meta of the whole collection.
struct ReadPart {
  StatisticsSet statistics;
  PartRecord part;
};

ReadPart read_part(const std::string& folder, const Shard& shard) {
  const std::string file = part_file(folder, shard);
  ReadPart out{read_statistics(file), {}};
  const auto part = part_of(out.statistics, file);
  if (!part) fail(file, "a part of a collection", "statistics of a whole one");
  if (part->shard != shard) fail(file, "part " + shard.text(), "part " + part->shard.text());
  out.part = *part;
  forget_part(out.statistics);
  return out;
}

std::string unfinished_text(const PartRecord& part) {
  return fmt::format("{} ({} of {} samples)", part.shard.index, part.finished, part.samples);
}

/// Of the parts that are there, for a message: the first thousand are looked at.
std::vector<std::string> unfinished_of(const std::string& folder, const FoundParts& found) {
  std::vector<std::string> out;
  int64_t looked_at = 0;
  for (const int64_t index : found.parts) {
    if (++looked_at > 1000) break;
    const PartRecord part = read_part(folder, {index, found.of}).part;
    if (!part.complete()) out.push_back(unfinished_text(part));
  }
  return out;
}

[[noreturn]] void refuse_empty(const std::string& folder) {
  const bool items = find_parts(folder, ".jsonl").of != 0;
  fail(folder,
       "parts of a collection (part-0-of-8.safetensors, …), as scute collect --shard writes them",
       items ? "parts of an evaluation; scute eval with --parts and without --shard adds them up"
             : "none");
}

void require_all(const std::string& folder, const FoundParts& found) {
  constexpr size_t kShown = 12;
  std::vector<std::string> missing, writing;
  for (int64_t i = 0; i < found.of && missing.size() < kShown; ++i) {
    if (found.parts.contains(i)) continue;
    (found.writing.contains(i) ? writing : missing).push_back(std::to_string(i));
  }
  if (missing.empty() && writing.empty()) return;
  std::vector<std::string> words;
  if (!missing.empty()) {
    const auto all = found.of - std::ssize(found.parts) - std::ssize(found.writing);
    const auto more = all - std::ssize(missing);
    words.push_back("missing: " + joined(missing, ", ") +
                    (more > 0 ? fmt::format(" and {} more", more) : ""));
  }
  if (!writing.empty()) {
    words.push_back("being written, or left by a writer that died: " + first_few(writing, kShown));
  }
  if (const auto unfinished = unfinished_of(folder, found); !unfinished.empty()) {
    words.push_back("not finished: " + first_few(unfinished, kShown));
  }
  fail(folder, fmt::format("all {} parts", found.of),
       fmt::format("{} ({}); run scute collect ... --shard I/{} for these", std::ssize(found.parts),
                   joined(words, "; "), found.of));
}

/// The sum of some parts.
class Sum {
 public:
  void add(ReadPart read, const std::string& file) {
    if (!read.part.complete()) {
      unfinished_.push_back(unfinished_text(read.part));
    }
    add(std::move(read.statistics), std::move(read.part.silent), read.part.collection, file);
  }
  void add(Sum other) {
    if (other.first_.empty()) return;
    std::ranges::move(other.unfinished_, std::back_inserter(unfinished_));
    add(std::move(other.all_), std::move(other.silent_), other.collection_, other.first_);
  }
  StatisticsSet& statistics() { return all_; }
  std::vector<std::string>& silent() { return silent_; }
  const std::vector<std::string>& unfinished() const { return unfinished_; }

 private:
  void add(StatisticsSet set, std::vector<std::string> silent, const Json& collection,
           const std::string& file) {
    if (first_.empty()) {
      all_ = std::move(set);
      silent_ = std::move(silent);
      collection_ = collection;
      first_ = file;
      return;
    }
    check(set, collection, file);
    try {
      for (auto& [name, statistic] : set.sites) {
        all_.sites.try_emplace(name, Statistic(all_.fine)).first->second.merge(statistic);
      }
    } catch (const Error& error) {
      throw Error(fmt::format("{}: {}", file, error.what()));
    }
    std::erase_if(silent_, [&](const std::string& site) {
      return std::ranges::find(silent, site) == silent.end();
    });
  }
  void check(const StatisticsSet& set, const Json& collection, const std::string& file) const {
    if (collection != collection_) {
      fail(file, "a part of the same collection as " + first_,
           "one of another: " + difference_text(collection, collection_));
    }
    if (!unfinished_.empty() || set.meta == all_.meta) return;
    for (const auto& [key, value] : all_.meta.as_object(first_)) {
      const Json* found = set.meta.find(key);
      if (found == nullptr || *found != value) {
        fail(file, fmt::format("the same {} as {}", key, first_), "another");
      }
    }
    fail(file, "the same meta as " + first_, "another");
  }

  StatisticsSet all_;
  std::vector<std::string> silent_, unfinished_;
  Json collection_;
  std::string first_;
};

}  // namespace

std::string part_file(const std::string& folder, const Shard& shard) {
  return part_file(folder, shard, kStatisticsEnding);
}

std::string new_part_file(const std::string& folder, const Shard& shard) {
  make_folder(folder);
  find_parts_of(folder, kStatisticsEnding, shard);
  return part_file(folder, shard);
}

MergedParts merge_parts(const std::string& folder, const MergeLimits& limits) {
  require_at_least("--fan-in", limits.fan_in, 2);
  const FoundParts found = find_parts(folder, kStatisticsEnding);
  if (found.of == 0) refuse_empty(folder);
  require_all(folder, found);
  const Threads threads(limits.threads);
  const int64_t lanes = std::min<int64_t>({threads.count(), limits.fan_in / 2, (found.of + 1) / 2});
  std::vector<Sum> sums(static_cast<size_t>(lanes));
  threads.for_each(lanes, [&](int64_t lane, int) {
    for (int64_t i = lane; i < found.of; i += lanes) {
      const Shard shard{i, found.of};
      sums[static_cast<size_t>(lane)].add(read_part(folder, shard), part_file(folder, shard));
    }
  });
  Sum& all = sums.front();
  for (size_t i = 1; i < sums.size(); ++i) all.add(std::move(sums[i]));
  if (!all.unfinished().empty()) {
    fail(folder, "parts that are finished",
         fmt::format("not finished: {}; run scute collect ... --shard I/{} again for these",
                     first_few(all.unfinished(), 12), found.of));
  }
  return {std::move(all.statistics()), found.of, std::move(all.silent())};
}

}  // namespace scute
