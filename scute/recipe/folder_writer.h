// Model folders as they are written: beside their name first, and put there when complete.
#pragma once

#include <string>
#include <vector>

#include "scute/io/claim.h"
#include "scute/io/input.h"

namespace scute {

/// Whether scute gives this name to a file that makes a folder a model; statistics may lie beside
/// such files without being part of it.
bool is_model_file(const std::string& name);

/// Whether `inner` is `outer` or a path below it; neither need be there.
bool lies_in(const std::string& inner, const std::string& outer);

/// What a folder that is written may take the place of.
struct FolderRules {
  /// Folders and files that are read meanwhile: none is replaced, nor a folder that holds one, and
  /// none is written in one. Empty names are none.
  std::vector<std::string> sources;
  /// What else the same work writes, maybe into a source: no change of it.
  std::vector<std::string> outputs = {};
  /// Also what was edited since scute wrote it; never what scute did not write.
  bool replace = false;
  /// Of whoever wrote there before.
  Claim::Before before = Claim::Before::unknown;
  Claim::Kept kept = Claim::Kept::refused;
  /// Whether scute wrote a folder like this, as far as names tell: an Error when not.
  void (*check)(const std::string& folder) = nullptr;
};

/// A folder that appears under its name only when complete, written by one process at a time: its
/// name is claimed (scute/io/claim.h) as long as this lives.
class FolderWriter {
 public:
  /// Error when another scute is writing it, and when what is there is not to be replaced: with
  /// `check` null a model folder that scute wrote (it has a recipe.json and nothing but files of
  /// such folders) and, unless `replace`, nobody changed since.
  FolderWriter(const std::string& path, const FolderRules& rules);
  FolderWriter(const FolderWriter&) = delete;
  FolderWriter& operator=(const FolderWriter&) = delete;

  const std::string& target() const { return claim_.target(); }
  const Claim& claim() const { return claim_; }
  /// Where it is written until commit(); the folder is there.
  const std::string& path() const { return claim_.payload(); }
  std::string file(const std::string& name) const { return path() + "/" + name; }
  /// Copies a file that is there, as scute's own; Error when it cannot be written.
  void copy(const std::string& from, const std::string& name) const;
  /// The same, but what was edited or never scute's is not scute's own afterwards either.
  void carry(const std::string& from, const std::string& name) const;
  /// Puts it under its name in one step, on disk, each file with a record of its hash; Error when
  /// something was put there meanwhile, or a source changed.
  void commit();

 private:
  /// With a new file's rights.
  void copy_bytes(const std::string& from, const std::string& name) const;

  InputStamps sources_;
  Claim claim_;
};

}  // namespace scute
