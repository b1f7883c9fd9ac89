#include "scute/cobra/overrides.h"

#include <fmt/format.h>

#include "scute/base/error.h"
#include "scute/io/file.h"
#include "scute/io/file_contents.h"

namespace scute {
namespace {

constexpr int64_t kLimit = int64_t{1} << 28;

std::string range_text(double lo, double hi) { return fmt::format("{:.6g} .. {:.6g}", lo, hi); }

std::string conflict(const std::string& site, const std::string& loser, const std::string& before,
                     const std::string& winner, const std::string& now) {
  return fmt::format("conflicting ranges of {}: {} {} and {} {}; the last one counts, that {}",
                     site, before, loser, now, winner, winner);
}

std::string hash_in(const PlanFile& file) {
  const Json* recorded = file.plan.meta.find("model_sha256");
  return recorded != nullptr && recorded->is_string() ? recorded->as_string(file.name) : "";
}

/// The meta of the last file that has one.
void merge_meta(const std::vector<PlanFile>& files, MergedPlans& out) {
  const PlanFile* first = nullptr;
  for (const PlanFile& file : files) {
    if (!file.plan.meta.is_null()) out.plan.meta = file.plan.meta;
    if (hash_in(file).empty()) continue;
    if (first == nullptr) first = &file;
    if (hash_in(file) != hash_in(*first)) {
      fail(file.name, "ranges of the same model as " + first->name,
           fmt::format("another model's, SHA-256 {} and {}", hash_in(file).substr(0, 12),
                       hash_in(*first).substr(0, 12)));
    }
  }
  if (first == nullptr) return;
  out.plan.meta["model_sha256"] = hash_in(*first);
  for (const PlanFile& file : files) {
    if (!hash_in(file).empty()) continue;
    out.remarks.push_back(fmt::format("model not recorded in {}: it was taken for that of {}",
                                      file.name, first->name));
  }
}

}  // namespace

PlanFile read_plan_file(const std::string& path) {
  return {path,
          Plan::from_json(read_json(path, kLimit, "ranges of a plan or of other tools"), path)};
}

MergedPlans merge_plans(const std::vector<PlanFile>& files, const SiteList& sites) {
  MergedPlans out;
  std::map<std::string, const PlanFile*> owners;
  for (const PlanFile& file : files) {
    for (const auto& [name, decision] : file.plan.sites) {
      const Site* site = sites.find(name);
      const std::string own = site == nullptr ? name : site->name;
      const auto before = out.plan.sites.find(own);
      if (before != out.plan.sites.end() &&
          (before->second.lo != decision.lo || before->second.hi != decision.hi)) {
        out.remarks.push_back(conflict(own, "in " + owners.at(own)->name,
                                       range_text(before->second.lo, before->second.hi),
                                       "in " + file.name, range_text(decision.lo, decision.hi)));
      }
      out.plan.sites.insert_or_assign(own, decision);
      owners[own] = &file;
    }
  }
  merge_meta(files, out);
  return out;
}

}  // namespace scute
