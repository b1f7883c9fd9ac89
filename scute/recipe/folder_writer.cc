#include "scute/recipe/folder_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>

#include "scute/base/error.h"
#include "scute/io/file.h"
#include "scute/io/leftovers.h"
#include "scute/io/posix.h"
#include "scute/io/seal.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRecipe = "recipe.json";

/// The names that scute gives to files of a model folder.
constexpr std::array<std::string_view, 12> kOwnFiles{kSealsFile,
                                                     "config.json",
                                                     "model.safetensors",
                                                     "recipe.json",
                                                     "plan.json",
                                                     "statistics.safetensors",
                                                     "tokenizer.json",
                                                     "tokenizer_config.json",
                                                     "special_tokens_map.json",
                                                     "generation_config.json",
                                                     "model.safetensors.index.json",
                                                     "README.md"};

/// The folders of a Cobra's parts.
constexpr std::array<std::string_view, 5> kOwnFolders{"vision", "dino", "siglip", "projector",
                                                      "llm"};

/// Error unless everything in the folder has names that scute gives.
void check_names(const std::string& path) {
  if (fs::is_symlink(path) || !fs::is_directory(path)) {
    fail(path, "a folder to replace", fs::is_symlink(path) ? "a symbolic link" : "another file");
  }
  for (const auto& entry : fs::directory_iterator(path)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_directory() && std::ranges::find(kOwnFolders, name) != kOwnFolders.end()) {
      check_names(entry.path().string());
      continue;
    }
    if (!entry.is_regular_file() || std::ranges::find(kOwnFiles, name) == kOwnFiles.end()) {
      fail(path, "a folder that holds only what scute writes, to replace it",
           name + " in it; move it, or choose another folder");
    }
  }
}

/// Error unless scute wrote the folder: names alone are those of anybody's model.
void check_model_folder(const std::string& path) {
  check_names(path);
  if (!fs::is_empty(path) && !fs::exists(fs::path(path) / kRecipe)) {
    fail(path, fmt::format("a folder that scute wrote (it has a {}), to replace it", kRecipe),
         "a model without one; move it, or choose another folder");
  }
}

/// Error unless `rules` let what stands there go.
void check_standing(const std::string& given, const std::string& target, const FolderRules& rules) {
  std::error_code error;
  const auto there = fs::symlink_status(target, error);
  if (error && there.type() == fs::file_type::none) {
    fail(given, "a name for a folder", error.message());
  }
  const bool stands = there.type() != fs::file_type::not_found;
  for (const std::string& source : rules.sources) {
    if (source.empty() || (!lies_in(source, target) && !lies_in(target, source))) continue;
    fail(given,
         "another folder than the model's own or what else is read, none that holds it or lies in "
         "it",
         stands ? source + " there" : "a new one in " + source);
  }
  if (!stands) return;
  const auto check = rules.check != nullptr ? rules.check : check_model_folder;
  if (rules.replace) return check(target);
  const std::string expected =
      "no folder yet, or one as scute wrote it (--force replaces it if it was edited)";
  const std::string why = why_not_unchanged(target);
  if (!why.empty()) fail(given, expected, "one with " + why);
  try {
    check(target);
  } catch (const Error& problem) {
    fail(given, expected, std::string("another (") + problem.what() + ")");
  }
}

/// What is left in a folder of claims that ended but could not be removed then, which an end has
/// nobody to tell: it would be part of the folder, as something that scute did not write. Error
/// when it cannot be removed now either.
void remove_ended_claims(const std::string& folder) {
  for (const Leftover& left : find_leftovers(folder).found) remove_leftover(left, true);
  for (const Leftover& left : find_leftovers(folder).found) {
    fail(left.folder(), "a folder that can be removed", "one that stays");
  }
}

}  // namespace

bool lies_in(const std::string& inner, const std::string& outer) {
  const fs::path a = fs::weakly_canonical(inner), b = fs::weakly_canonical(outer);
  return std::mismatch(b.begin(), b.end(), a.begin(), a.end()).first == b.end();
}

bool is_model_file(const std::string& name) {
  return std::ranges::find(kOwnFiles, name) != kOwnFiles.end() && name != "statistics.safetensors";
}

FolderWriter::FolderWriter(const std::string& path, const FolderRules& rules)
    : sources_(rules.sources, rules.outputs), claim_(path, Claim::Renames::atomic, rules.before) {
  if (rules.kept == Claim::Kept::refused) claim_.require_no_checkpoint();
  claim_.note_standing();
  check_standing(path, claim_.target(), rules);
  make_folder(claim_.payload());
}

void FolderWriter::copy(const std::string& from, const std::string& name) const {
  copy_bytes(from, name);
  seal(file(name), file(name), hash_file(file(name)));
}

void FolderWriter::carry(const std::string& from, const std::string& name) const {
  if (is_sealed(from) && why_not_unchanged(from).empty()) return copy(from, name);
  copy_bytes(from, name);
}

void FolderWriter::copy_bytes(const std::string& from, const std::string& name) const {
  std::error_code error;
  fs::copy_file(from, file(name), error);
  // With the rights of a new file, not of the other one: the folder's, made anew, tell the umask.
  constexpr auto kRead = fs::perms::owner_read | fs::perms::group_read | fs::perms::others_read;
  constexpr auto kWrite = fs::perms::owner_write | fs::perms::group_write | fs::perms::others_write;
  if (!error) {
    const fs::perms rights = fs::status(claim_.payload(), error).permissions();
    if (!error) fs::permissions(file(name), rights & (kRead | kWrite), error);
  }
  if (error) fail(file(name), "a file that can be written", error.message());
}

void FolderWriter::commit() {
  sources_.check();
  remove_ended_claims(path());
  sync_tree(path());
  claim_.publish();
}

}  // namespace scute
