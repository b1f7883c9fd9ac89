#include "scute/cobra/scales.h"

#include <algorithm>
#include <filesystem>

#include "scute/base/error.h"
#include "scute/cobra/low_bit_files.h"
#include "scute/cobra/writer.h"

namespace scute {
namespace {

constexpr const char* kLanguage = "llm";

/// config.json with the clips as they are after the edit; null when none has changed.
Json config_after(const CobraLowBitFiles& files, const std::vector<RangeChange>& changes) {
  Json out;
  for (const RangeChange& change : changes) {
    if (!files.parts.clips.contains(change.site)) continue;
    if (out.is_null()) out = files.description.json;
    const auto as_stored = [](double x) {
      return Json(static_cast<double>(static_cast<float>(x)));
    };
    out["scute"]["ranges"][change.site] =
        Json(Json::Array{as_stored(change.lo), as_stored(change.hi)});
  }
  return out;
}

/// The edits of the sites inside the language model, in its own records.
void edit_language(const LowBitFiles& files, const std::vector<RangeEdit>& edits, const Plan& after,
                   FolderEdit& to) {
  std::vector<RangeChange> changes;
  for (const RangeChange& change : to.ranges) {
    const auto follows = [&](const StoredScale& scale) { return scale.site == change.site; };
    if (std::ranges::any_of(files.scales, follows)) changes.push_back(change);
  }
  if (changes.empty()) return;
  // Only edits of these sites belong there.
  std::vector<RangeEdit> own;
  for (const RangeEdit& edit : edits) {
    const auto used = [&](const RangeChange& change) { return change.edit == edit.text(); };
    if (std::ranges::any_of(changes, used)) own.push_back(edit);
  }
  const std::string folder = std::string(kLanguage) + "/";
  const Json plan = plan_after(files, own, after, changes);
  if (!plan.is_null()) to.documents[folder + "plan.json"] = plan;
  to.documents[folder + "recipe.json"] = recipe_after(files, files.scales, changes);
}

std::vector<NamedTensor> probe_folder(const std::string& folder) {
  return probe_cobra(load_cobra(describe_cobra(folder), {}, CobraModel::Parts::all), kProbeSeed);
}

}  // namespace

FolderEdit edit_cobra(const std::string& folder, const std::vector<RangeEdit>& asked) {
  const CobraLowBitFiles files = read_cobra_low_bit_files(folder);
  const CobraConfig& config = files.description.config;
  Plan before = ranges_before(files.parts);
  std::vector<StoredScale> scales = files.parts.scales;
  if (files.language) {
    before.sites.merge(ranges_before(*files.language).sites);
    scales.insert(scales.end(), files.language->scales.begin(), files.language->scales.end());
  }
  if (before.sites.empty()) fail(folder, "scales or clips to edit", "weights alone");
  const std::vector<RangeEdit> edits = edits_of_sites(asked, before, scales);
  Plan after = before;
  FolderEdit out;
  out.path = std::filesystem::canonical(folder).string();
  out.ranges = edit_plan(after, edits);
  const auto of_part = [&](const std::string& name) { return stored_place(config, name); };
  const auto of_language = [](const std::string& name) { return TensorPlace{kLanguage, name}; };
  edit_tensors(files.parts, before, after, of_part, out);
  if (files.language) {
    edit_tensors(*files.language, before, after, of_language, out);
    edit_language(*files.language, edits, after, out);
  }
  for (const auto& [part, tensors] : out.tensors) require_safetensors(folder + "/" + part);
  if (Json now = config_after(files, out.ranges); !now.is_null()) {
    out.documents["config.json"] = std::move(now);
  }
  const Json plan = plan_after(files.parts, edits, after, out.ranges);
  if (!plan.is_null()) out.documents["plan.json"] = plan;
  out.documents["recipe.json"] = recipe_after(files.parts, scales, out.ranges);
  record_step(out);
  return out;
}

ProbeComparison write_cobra_edit(const FolderEdit& edit) {
  return write_edited(edit, [&](const std::string& written) {
    // One after the other: a model of this kind fills memory.
    const auto before = probe_folder(edit.path);
    return compare_probes(before, probe_folder(written));
  });
}

}  // namespace scute
