// What scales edits replaced, recorded with the folder, and taken back.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "scute/base/error.h"
#include "scute/io/checkpoint.h"
#include "scute/io/file.h"
#include "scute/language/scales_folder.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRecipe = "recipe.json";
/// As low_bit_files.cc reads them.
constexpr int64_t kDocumentLimit = int64_t{64} << 20;

/// The folder's document; null when there is none.
Json stored_document(const std::string& folder, const std::string& name) {
  const std::string file = (fs::path(folder) / name).string();
  return fs::exists(file) ? Json::parse(read_text(file, kDocumentLimit), file) : Json();
}

double largest_of(const Tensor& tensor) {
  const std::vector<float> values = to_vector(tensor);
  return values.empty() ? 0 : static_cast<double>(std::ranges::max(values));
}

/// A folder with edits taken back, in memory.
class UndoneFolder {
 public:
  explicit UndoneFolder(const std::string& folder) : folder_(folder) {
    out_.path = fs::canonical(folder).string();
    document(kRecipe);
  }

  const Json& recipe() const { return out_.documents.at(kRecipe); }
  std::string history() const { return folder_ + "/" + kRecipe; }

  void take_back() {
    const EditStep step = remove_step(out_.documents.at(kRecipe), history());
    for (const auto& [name, changes] : step.documents) {
      Json& now = document(name);
      // scales never removes a file, so that one that is missing was not left by an edit.
      if (now.is_null()) fail(folder_ + "/" + name, "the file that the edit changed", "none");
      take_back_changes(now, changes, folder_ + "/" + name);
    }
    for (const EditedTensor& edited : step.tensors) restore(edited);
    append_undone(step, history(), out_.ranges);
  }
  FolderEdit result() {
    for (const auto& [part, tensors] : out_.tensors) require_safetensors(folder_ + "/" + part);
    return std::move(out_);
  }

 private:
  Json& document(const std::string& name) {
    const auto found = out_.documents.find(name);
    if (found != out_.documents.end()) return found->second;
    return out_.documents[name] = stored_document(folder_, name);
  }
  void restore(const EditedTensor& edited) {
    const std::string path = edited.folder.empty() ? folder_ : folder_ + "/" + edited.folder;
    if (!parts_.contains(edited.folder)) parts_.emplace(edited.folder, read_checkpoint(path));
    std::map<std::string, Tensor>& changed = out_.tensors[edited.folder];
    const auto found = changed.find(edited.name);
    const Tensor now =
        found == changed.end() ? parts_.at(edited.folder).at(edited.name) : found->second;
    const Tensor before = taken_back(edited.bytes, now, path + ": " + edited.name);
    const auto same = [&](const TensorChange& change) { return change.tensor == edited.tensor; };
    const auto line = std::ranges::find_if(out_.changes, same);
    if (line == out_.changes.end()) {
      out_.changes.push_back({edited.tensor,
                              edited.site,
                              {edited.folder, edited.name},
                              largest_of(now),
                              largest_of(before)});
    } else {
      line->largest = largest_of(before);
    }
    changed.insert_or_assign(edited.name, before);
  }

  std::string folder_;
  FolderEdit out_;
  std::map<std::string, Weights> parts_;
};

}  // namespace

void record_step(FolderEdit& edit) {
  EditStep step;
  for (const RangeChange& change : edit.ranges) step.sites.push_back(change.to_json());
  for (const auto& [name, after] : edit.documents) {
    step.documents[name] = changes_between(stored_document(edit.path, name), after);
  }
  std::map<std::string, Weights> parts;
  for (const TensorChange& change : edit.changes) {
    const auto& [folder, name] = change.place;
    if (!parts.contains(folder)) parts.emplace(folder, read_checkpoint(edit.path + "/" + folder));
    step.tensors.push_back(
        {change.tensor, change.site, folder, name,
         tensor_change(parts.at(folder).at(name), edit.tensors.at(folder).at(name))});
  }
  add_step(edit.documents.at(kRecipe), step, edit.path + "/" + kRecipe);
}

int64_t steps_to_undo(const Json& object, const std::string& where, int64_t count) {
  const int64_t steps = step_count(object, where);
  // Of none remove_step() says why.
  if (count == kEveryEdit || steps == 0) return std::max<int64_t>(steps, 1);
  if (count > steps) {
    fail(where, fmt::format("{} edits that can be taken back", count), fmt::format("{}", steps));
  }
  return count;
}

void append_undone(const EditStep& step, const std::string& where, std::vector<RangeChange>& to) {
  const Json::Array& sites = step.sites.as_array(where);
  for (auto one = sites.rbegin(); one != sites.rend(); ++one) {
    const auto number = [&](const char* key) { return one->at(key, where).as_double(where); };
    const auto end = [&](const char* key, size_t i) {
      const Json::Array& pair = one->at(key, where).as_array(where);
      if (pair.size() != 2) fail(where, "[lo, hi]", fmt::format("{} numbers", pair.size()));
      return pair[i].as_double(where);
    };
    to.push_back({.site = one->at("site", where).as_string(where),
                  .edit = one->at("what", where).as_string(where),
                  .lo_before = end("after", 0),
                  .hi_before = end("after", 1),
                  .lo = end("before", 0),
                  .hi = end("before", 1),
                  .scale_before = number("scale_after"),
                  .scale = number("scale_before")});
  }
}

FolderEdit undo_folder(const std::string& folder, int64_t count) {
  UndoneFolder out(folder);
  count = steps_to_undo(out.recipe(), out.history(), count);
  for (; count > 0; --count) out.take_back();
  return out.result();
}

}  // namespace scute
