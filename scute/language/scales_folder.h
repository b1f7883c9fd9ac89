// What editing a low-bit folder's scales is made of, for every product: internal to language and
// cobra.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "scute/language/low_bit_files.h"
#include "scute/language/scales.h"
#include "scute/recipe/edit_history.h"

namespace scute {

/// The range of every site that has a scale or a clip: the plan's while what is stored is its, else
/// what is stored.
Plan ranges_before(const LowBitFiles& files);

/// Adds the tensors of `files` that follow `edit.ranges`, which took `before` to `after`.
void edit_tensors(const LowBitFiles& files, const Plan& before, const Plan& after,
                  const std::function<TensorPlace(const std::string&)>& place, FolderEdit& edit);

/// The folder's plan with the entries that changed as they are in `after`; null without one.
Json plan_after(const LowBitFiles& files, const std::vector<RangeEdit>& edits, const Plan& after,
                const std::vector<RangeChange>& changes);
/// The folder's recipe with `changes` appended to "edits"; `scales`: those that may have followed.
Json recipe_after(const LowBitFiles& files, const std::vector<StoredScale>& scales,
                  const std::vector<RangeChange>& changes);

/// Appends to the edit's recipe what the edit replaces (scute/recipe/edit_history.h): of every
/// document and tensor that it has, as the folder holds them now.
void record_step(FolderEdit& edit);

/// How many steps `count` asks for; Error when the recipe or meta `object` has fewer, or none.
int64_t steps_to_undo(const Json& object, const std::string& where, int64_t count);
/// What taking back the step does to ranges: from its last change to its first.
void append_undone(const EditStep& step, const std::string& where, std::vector<RangeChange>& to);

/// Error unless the weight files of `folder` are ones that can be rewritten.
void require_safetensors(const std::string& folder);

/// Writes the folder anew beside itself, compares the new tensors byte for byte, calls `compare`
/// with the new folder's path and only then renames it; on an Error the folder is as before.
ProbeComparison write_edited(const FolderEdit& edit,
                             const std::function<ProbeComparison(const std::string&)>& compare);

}  // namespace scute
