// Model folders as they are written: beside their name first, and put there when complete.
#pragma once

#include <string>

namespace scute {

/// `path` without a slash at its end. Error when something is there and not `replace`; with
/// `replace` too when that is no folder that scute wrote (it has a recipe.json), or holds anything
/// that scute does not write; and when the folder `source`, which is being read, is it, lies in it
/// or has it inside.
std::string checked_target(const std::string& path, const std::string& source, bool replace);

/// A folder beside `target`, of this process alone (".writing-" and its id behind the name), that
/// disappears unless it is put in place. What killed processes left there is removed first.
class FolderWriter {
 public:
  explicit FolderWriter(std::string target);
  ~FolderWriter();
  FolderWriter(const FolderWriter&) = delete;
  FolderWriter& operator=(const FolderWriter&) = delete;

  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  /// Copies a file that is there; Error when it cannot be written.
  void copy(const std::string& from, const std::string& name) const;
  /// Renames to the target, in place of what may be there: that stays if the renaming fails.
  void commit();

 private:
  std::string target_, path_;
};

}  // namespace scute
