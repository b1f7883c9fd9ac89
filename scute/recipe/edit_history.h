// What edits replaced, kept with what was edited, so that the latest can be taken back exactly.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "scute/base/json.h"
#include "scute/tensor/tensor.h"

namespace scute {

/// What differs, by JSON pointer (RFC 6901): {"/SITE/hi": {"before": 3, "after": 4.5}, …}. No
/// "before": what is there was added; "kept": of a list that became longer, how many stood there.
/// Texts, arrays and objects that are there after are told by "after_sha256", of their JSON in one
/// line. Null on either side: no document.
Json changes_between(const Json& before, const Json& after);

/// `document`, which is as after `changes`, as it was before: in every byte of its JSON, but null
/// where there was none. Error naming `where` and the member that is no longer what the edit left,
/// and for changes that make no sense; the document is then worthless.
void take_back_changes(Json& document, const Json& changes, const std::string& where);

/// A tensor of scales, and which site's.
struct EditedTensor {
  std::string tensor;        ///< as trace names it
  std::string site;          ///< whose scales it holds
  std::string folder, name;  ///< below the model's folder, "" for itself, and in the files there
  Json bytes;                ///< {"type", "before": its bytes in hexadecimal, "after_sha256"}
};

/// Both of the same shape.
Json tensor_change(const Tensor& before, const Tensor& after);
/// The tensor before, of `now`'s shape. Error as of take_back_changes.
Tensor taken_back(const Json& change, const Tensor& now, const std::string& where);

/// One run of `scute scales`.
struct EditStep {
  /// What it did to ranges, in order, as recipes have it; not read here.
  Json sites = Json::array();
  /// changes_between of the folder's JSON files, by name below it, or of the plan, "".
  std::map<std::string, Json> documents;
  std::vector<EditedTensor> tensors;
};

/// The list "undo" of an object, a recipe or a plan's meta: the latest last. How many steps it has;
/// Error naming `where` when it is no list.
int64_t step_count(const Json& object, const std::string& where);
void add_step(Json& object, const EditStep& step, const std::string& where);
/// Takes the latest out, and the list when it was the only one. Error when there is none, and when
/// a name in it is of a file outside of the folder.
EditStep remove_step(Json& object, const std::string& where);

}  // namespace scute
