// The scales of a finished low-bit model, changed together with its plan and its recipe.
#include "scute/language/scales_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "scute/base/error.h"
#include "scute/io/checkpoint.h"
#include "scute/io/file.h"
#include "scute/io/safetensors.h"
#include "scute/models/grids.h"
#include "scute/recipe/folder_writer.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

constexpr double kCodes = 127;
constexpr std::string_view kState = ".ssm_state_act:input";

double magnitude(double lo, double hi) { return std::max(std::abs(lo), std::abs(hi)); }

/// The site's scale as it is stored: of the tensor with one scale, else the largest of several.
float stored_scale(const LowBitFiles& files, const std::string& site) {
  float largest = 0;
  for (const StoredScale& scale : files.scales) {
    if (scale.site != site) continue;
    const std::vector<float> values = scale_values(files, scale.tensor);
    if (values.size() == 1) return values.front();
    largest = std::max(largest, std::ranges::max(values));
  }
  return largest;
}

/// The new tensor: what was exactly the planned scale is exactly that again.
Tensor edited_tensor(const LowBitFiles& files, const std::string& name, const std::string& site,
                     const Decision& before, const Decision& after) {
  std::vector<float> values = scale_values(files, name);
  const double factor = magnitude(after.lo, after.hi) / magnitude(before.lo, before.hi);
  if (values.size() == 1 && values.front() == planned_scale(files, site, before)) {
    values.front() = planned_scale(files, site, after);
  } else {
    for (float& value : values) value = static_cast<float>(factor * static_cast<double>(value));
  }
  Tensor out = Tensor::of<float>(files.tensors.at(name).shape(), values);
  checked_scales(out, name);
  return out;
}

/// A range of a site that no plan speaks of.
Decision decision_of(std::pair<float, float> range) {
  Decision out;
  out.lo = static_cast<double>(range.first);
  out.hi = static_cast<double>(range.second);
  out.grid = GridSpec{};
  out.scale = static_cast<double>(make_grid(out.lo, out.hi, {}).scale);
  return out;
}

bool changed(const FolderEdit& edit, const std::string& site) {
  return std::ranges::any_of(edit.ranges,
                             [&](const RangeChange& change) { return change.site == site; });
}

/// The weight files again, with the new tensors in place of the old ones.
void rewrite_tensors(const FolderEdit& edit, const FolderWriter& folder) {
  for (const auto& [part, tensors] : edit.tensors) {
    make_folder(folder.file(part));
    for (const std::string& file : checkpoint_files(edit.path + "/" + part)) {
      SafetensorsFile all = read_safetensors(file);
      for (NamedTensor& item : all.tensors) {
        const auto found = tensors.find(item.name);
        if (found != tensors.end()) item.tensor = found->second;
      }
      const fs::path name = fs::path(part) / fs::path(file).filename();
      write_safetensors(folder.file(name.string()), all.tensors, all.metadata);
    }
  }
}

/// Every file that is not written anew.
void copy_rest(const FolderEdit& edit, const FolderWriter& folder) {
  for (const auto& entry : fs::recursive_directory_iterator(edit.path)) {
    const std::string name = fs::relative(entry.path(), edit.path).string();
    if (entry.is_directory()) {
      make_folder(folder.file(name));
    } else if (!fs::exists(folder.file(name)) && !edit.documents.contains(name)) {
      folder.carry(entry.path().string(), name);
    }
  }
}

void check_written(const FolderEdit& edit, const FolderWriter& folder) {
  for (const auto& [part, tensors] : edit.tensors) {
    const std::string path = folder.file(part);
    const Weights after = read_checkpoint(path);
    for (const auto& [name, tensor] : tensors) {
      if (!std::ranges::equal(after.at(name).bytes(), tensor.bytes())) {
        fail(path + "/model.safetensors: " + name, "what was written", "other bytes");
      }
    }
  }
}

}  // namespace

Plan ranges_before(const LowBitFiles& files) {
  Plan out;
  if (files.plan) out = *files.plan;
  std::set<std::string> done;
  for (const StoredScale& scale : files.scales) {
    if (scale.site.empty() || !done.insert(scale.site).second) continue;
    const auto found = out.sites.find(scale.site);
    const float stored = stored_scale(files, scale.site);
    if (!std::isnormal(stored) || stored < 0) {
      fail(scale.tensor, "a positive, finite scale", fmt::format("{}", stored));
    }
    const bool planned = found != out.sites.end() &&
                         std::ranges::all_of(files.scales, [&](const StoredScale& other) {
                           return other.site != scale.site ||
                                  agrees(scale_values(files, other.tensor),
                                         planned_scale(files, scale.site, found->second));
                         });
    if (planned) continue;
    Decision& decision = out.sites[scale.site];
    const double share = scale.site.ends_with(kState) ? files.state_clip : 1;
    decision.hi = kCodes * static_cast<double>(stored) / share;
    decision.lo = -decision.hi;
    decision.grid = GridSpec{};
    decision.scale = static_cast<double>(make_grid(decision.lo, decision.hi, {}).scale);
  }
  for (const auto& [site, range] : files.clips) {
    done.insert(site);
    Decision& decision = out.sites[site];
    if (!is_clip_of(decision, range.first, range.second)) decision = decision_of(range);
  }
  // A plan may name sites that no tensor of this checkpoint has: nothing would follow them.
  std::erase_if(out.sites, [&](const auto& entry) { return !done.contains(entry.first); });
  return out;
}

void edit_tensors(const LowBitFiles& files, const Plan& before, const Plan& after,
                  const std::function<TensorPlace(const std::string&)>& place, FolderEdit& edit) {
  for (const StoredScale& scale : files.scales) {
    if (!changed(edit, scale.site)) continue;
    Tensor tensor = edited_tensor(files, scale.tensor, scale.site, before.sites.at(scale.site),
                                  after.sites.at(scale.site));
    const auto values = tensor.values<float>();
    const std::vector<float> was = scale_values(files, scale.tensor);
    const TensorPlace at = place(scale.tensor);
    edit.changes.push_back({scale.tensor, scale.site, at,
                            static_cast<double>(std::ranges::max(was)),
                            static_cast<double>(std::ranges::max(values))});
    edit.tensors[at.folder].emplace(at.name, std::move(tensor));
  }
}

Json plan_after(const LowBitFiles& files, const std::vector<RangeEdit>& edits, const Plan& after,
                const std::vector<RangeChange>& changes) {
  if (!files.plan) return {};
  Plan out = *files.plan;
  for (const RangeChange& change : changes) {
    if (out.sites.contains(change.site)) out.sites[change.site] = after.sites.at(change.site);
  }
  for (const RangeEdit& edit : edits) {
    if (out.meta.is_object()) append_to(out.meta, "edits", edit.text(), "plan.json: meta");
  }
  return out.to_json();
}

Json recipe_after(const LowBitFiles& files, const std::vector<StoredScale>& scales,
                  const std::vector<RangeChange>& changes) {
  Json out = files.recipe;
  if (out.is_null()) {
    out["format"] = "scute-recipe";
    out["version"] = 1;
    out["tool"] = "scute " SCUTE_VERSION;
  }
  for (const RangeChange& change : changes) {
    Json one = change.to_json();
    one["tensors"] = Json::array();
    for (const StoredScale& scale : scales) {
      if (scale.site == change.site) one["tensors"].push_back(scale.tensor);
    }
    append_to(out, "edits", std::move(one), files.path + "/recipe.json");
  }
  return out;
}

void require_safetensors(const std::string& folder) {
  for (const std::string& file : checkpoint_files(folder)) {
    if (!file.ends_with(".safetensors")) fail(file, "a .safetensors file, to be edited", "another");
  }
}

ProbeComparison write_edited(const FolderEdit& edit,
                             const std::function<ProbeComparison(const std::string&)>& compare) {
  // In place the edit is of that folder, whoever wrote it.
  const FolderRules in_place{.sources = {}, .replace = true, .check = [](const std::string&) {}};
  const FolderRules elsewhere{.sources = {edit.path}, .replace = edit.replace};
  if (!edit.out.empty() && lies_in(edit.out, edit.path)) {
    fail(edit.out, "a folder outside of the one that is copied", "one in " + edit.path);
  }
  FolderWriter folder(edit.out.empty() ? edit.path : edit.out,
                      edit.out.empty() ? in_place : elsewhere);
  rewrite_tensors(edit, folder);
  for (const auto& [name, json] : edit.documents) {
    if (json.is_null()) continue;
    make_folder(fs::path(folder.file(name)).parent_path().string());
    write_file(folder.file(name), json.dump_config(2) + "\n");
  }
  copy_rest(edit, folder);
  check_written(edit, folder);
  const ProbeComparison out = compare(folder.path());
  folder.commit();
  return out;
}

FolderEdit edit_folder(const std::string& folder, const std::vector<RangeEdit>& asked) {
  const LowBitFiles files = read_low_bit_files(folder);
  require_safetensors(folder);
  if (files.scales.empty()) fail(folder, "scales of activations to edit", "weights alone");
  const Plan before = ranges_before(files);
  const std::vector<RangeEdit> edits = edits_of_sites(asked, before, files.scales);
  Plan after = before;
  FolderEdit out;
  out.path = fs::canonical(folder).string();
  out.ranges = edit_plan(after, edits);
  edit_tensors(
      files, before, after,
      [](const auto& name) {
        return TensorPlace{"", name};
      },
      out);
  const Json plan = plan_after(files, edits, after, out.ranges);
  if (!plan.is_null()) out.documents["plan.json"] = plan;
  out.documents["recipe.json"] = recipe_after(files, files.scales, out.ranges);
  record_step(out);
  return out;
}

ProbeComparison write_folder_edit(const FolderEdit& edit) {
  return write_edited(edit, [&](const std::string& written) -> ProbeComparison {
    if (!read_low_bit_files(written).has_scheme) return {};
    const Execution execution;
    constexpr auto kHead = LanguageModel::Head::packed;
    const LanguageModel now = load_model(describe_model(written), execution, kHead);
    return compare_logits(load_model(describe_model(edit.path), execution, kHead), now, kProbeSeed);
  });
}

}  // namespace scute
