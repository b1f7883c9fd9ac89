#include "scute/recipe/folder_writer.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>

#include "scute/base/error.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

constexpr const char* kMark = ".writing-";
constexpr const char* kRecipe = "recipe.json";

/// The names that scute gives to files of a model folder.
constexpr std::array<std::string_view, 11> kOwnFiles{"config.json",
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
void check_replaceable(const std::string& path) {
  check_names(path);
  if (!fs::is_empty(path) && !fs::exists(fs::path(path) / kRecipe)) {
    fail(path, fmt::format("a folder that scute wrote (it has a {}), to replace it", kRecipe),
         "a model without one; move it, or choose another folder");
  }
}

bool lies_in(const fs::path& inner, const fs::path& outer) {
  const fs::path a = fs::weakly_canonical(inner), b = fs::weakly_canonical(outer);
  return std::mismatch(b.begin(), b.end(), a.begin(), a.end()).first == b.end();
}

/// Folders beside `target` whose process has ended.
void remove_leftovers(const std::string& target) {
  std::error_code error;
  const fs::path parent = fs::path(target).parent_path();
  const std::string start = fs::path(target).filename().string() + kMark;
  for (const auto& entry : fs::directory_iterator(parent.empty() ? "." : parent, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(start)) continue;
    const std::string process = name.substr(start.size());
    const bool number = !process.empty() && process.find_first_not_of("0123456789") == process.npos;
    if (number && !fs::exists("/proc/" + process)) fs::remove_all(entry.path(), error);
  }
}

}  // namespace

std::string checked_target(const std::string& path, const std::string& source, bool replace) {
  const fs::path target = fs::path(path).lexically_normal();
  std::string name = target.has_filename() ? target.string() : target.parent_path().string();
  if (name.empty()) fail("output folder", "a name", "none");
  std::error_code error;
  const auto there = fs::symlink_status(name, error);
  if (error && there.type() == fs::file_type::none) {
    fail(path, "a name for a folder", error.message());
  }
  if (there.type() == fs::file_type::not_found) return name;
  if (lies_in(source, name) || lies_in(name, source)) {
    fail(path, "another folder than the model's own, none that it lies in and none of its parts",
         "that");
  }
  if (!replace) {
    fail(path, "a folder that does not exist (or --force)",
         fs::is_directory(name) ? "one that does" : "a file of that name");
  }
  check_replaceable(name);
  return name;
}

FolderWriter::FolderWriter(std::string target)
    : target_(std::move(target)), path_(target_ + kMark + std::to_string(::getpid())) {
  remove_leftovers(target_);
  std::error_code error;
  if (!fs::create_directories(path_, error)) {
    fail(path_, "a folder that can be made", error ? error.message() : "one of that name");
  }
}

FolderWriter::~FolderWriter() {
  std::error_code error;
  if (!path_.empty()) fs::remove_all(path_, error);
}

void FolderWriter::copy(const std::string& from, const std::string& name) const {
  std::error_code error;
  fs::copy_file(from, file(name), error);
  if (error) fail(file(name), "a file that can be written", error.message());
}

void FolderWriter::commit() {
  std::error_code error;
  const std::string old = path_ + ".old";
  const bool replaces = fs::exists(target_);
  if (replaces) {
    fs::rename(target_, old, error);
  }
  if (!error) fs::rename(path_, target_, error);
  if (error) {
    std::error_code ignored;
    if (replaces) fs::rename(old, target_, ignored);
    fail(target_, "a folder that can be put there",
         error.message() + " (did another process write it meanwhile?)");
  }
  path_.clear();
  if (replaces) fs::remove_all(old, error);
}

}  // namespace scute
