// Scales: ranges of a plan or of a finished low-bit model changed by hand, without calibrating.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "scute/decide/plan.h"
#include "scute/language/quantize.h"
#include "scute/language/scale_names.h"

namespace scute {

/// "GLOB=1.5", "GLOB=-1:1.5", "GLOB*=1.5" or "GLOB+=0.5". GLOB names sites; the value is of the
/// RANGE, not of the scale (which is 1/127 of it with 8 bits):
///   *=  multiplies lo and hi;
///   =   makes the range −value … value, but a side that kept nothing but 0 stays 0; of two values
///       these are its ends, lowest ≤ 0 ≤ value;
///   +=  widens (below 0: narrows) both sides by value, but a side of 0 stays 0.
struct RangeEdit {
  enum class Operator { set, multiply, add };
  std::string glob;
  Operator op = Operator::set;
  double value = 0;
  std::optional<double> lowest = {};

  /// The operator is found from the right: "layer_*.x_proj:input*=1.5" multiplies. A blank before
  /// the operator keeps a glob's own '*' apart: "layer_0.* =1.5" sets. Error on anything else.
  static RangeEdit parse(std::string_view text);
  std::string text() const;  ///< as parse() reads it
};

/// What an edit did to one site.
struct RangeChange {
  std::string site, edit;
  double lo_before = 0, hi_before = 0, lo = 0, hi = 0;
  double scale_before = 0, scale = 0;

  /// {"what", "site", "before": [lo, hi], "after", "scale_before", "scale_after"}, as recipes list
  /// edits.
  Json to_json() const;
};

/// Applies the edits in order. A changed entry has policy "edited", says in "because" what was done
/// and what chose the range before, and remarks that coverage and SQNR are from before; its scale
/// and range_reduction are those of the new range; a meta object gets the edits under "edits".
/// Error, and nothing changed, when a glob matches no site (naming the nearest) or a range would
/// become 0, negative, infinite or so small that its scale is not a normal float.
std::vector<RangeChange> edit_plan(Plan& plan, const std::vector<RangeEdit>& edits);

/// Edits of tensors, by the names that trace prints, as edits of the sites whose scales they hold;
/// what matches a site of `ranges` stays. An edit of several tensors of one site is one edit of it.
std::vector<RangeEdit> edits_of_sites(const std::vector<RangeEdit>& edits, const Plan& ranges,
                                      const std::vector<StoredScale>& scales);

/// A plan file as it will be: edited, with members that a plan has no use for ("comment") kept.
struct PlanFileEdit {
  Json json;
  std::vector<RangeChange> changes;
};
PlanFileEdit edit_plan_file(const std::string& file, const std::vector<RangeEdit>& edits);
/// The same of a plan's JSON, which errors call `where`; its meta, made where there is none, says
/// what the edit replaced (scute/recipe/edit_history.h).
PlanFileEdit edit_plan_json(const Json& json, const std::string& where,
                            const std::vector<RangeEdit>& edits);

/// The latest `count` edits taken back, the latest first in `changes`: the plan is as before them.
/// Error when there are fewer (kEveryEdit: none), and when something that one of them changed was
/// changed since.
PlanFileEdit undo_plan_json(const Json& json, const std::string& where, int64_t count);
PlanFileEdit undo_plan_file(const std::string& file, int64_t count);
constexpr int64_t kEveryEdit = std::numeric_limits<int64_t>::max();

/// Where a tensor is stored: folder below the model's, and its name in the files there.
struct TensorPlace {
  std::string folder, name;
};

/// What an edit did to one tensor of a checkpoint.
struct TensorChange {
  std::string tensor, site;
  TensorPlace place;
  double largest_before = 0, largest = 0;  ///< of its scales
};

/// The edit of a low-bit folder, worked out but not written.
struct FolderEdit {
  std::string path;
  std::string out = {};  ///< where it is written; "": in place
  bool replace = false;  ///< there, also what was edited since scute wrote it
  std::vector<RangeChange> ranges;
  std::vector<TensorChange> changes;
  /// The new tensors by name, by the folder whose files hold them: "", or a part of Cobra's.
  std::map<std::string, std::map<std::string, Tensor>> tensors;
  /// Files with other contents: "recipe.json" with the edits appended to "edits" and what they
  /// replaced to "undo", "plan.json". Null: the file goes.
  std::map<std::string, Json> documents;
};

/// Every tensor that repeats a site's scale follows its range: one scale is that of the new range,
/// several (channels, groups) are multiplied by the same factor. Without plan.json, or where the
/// tensors are no longer the plan's, the range before is ±127 times the stored scale. Error as
/// edit_plan, and when the folder's tensors are not in safetensors.
FolderEdit edit_folder(const std::string& folder, const std::vector<RangeEdit>& edits);

/// The latest `count` edits of a low-bit folder of any kind taken back, worked out but not written:
/// the folder is as before them, in every byte of its tensors and its JSON. `ranges`, and errors,
/// as undo_plan_json().
FolderEdit undo_folder(const std::string& folder, int64_t count);

/// Writes the folder anew beside its name, loads it, runs it and only then renames it; on an Error
/// all is as before. The comparison is with the model before; of a folder without a "scute"
/// object only the tensors are read again, and `tokens` is 0.
ProbeComparison write_folder_edit(const FolderEdit& edit);

}  // namespace scute
