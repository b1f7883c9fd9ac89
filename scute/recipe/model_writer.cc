#include "scute/recipe/model_writer.h"

#include <filesystem>

#include "scute/base/error.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

}  // namespace

std::string checked_target(const std::string& path, const std::string& source, bool replace) {
  const fs::path target = fs::path(path).lexically_normal();
  std::string name = target.has_filename() ? target.string() : target.parent_path().string();
  if (name.empty()) fail("output folder", "a name", "none");
  if (fs::exists(name) && fs::equivalent(name, source)) {
    fail(path, "another folder than the model's own", "that");
  }
  if (fs::exists(name) && !replace) {
    fail(path, "a folder that does not exist (or --force)", "one that does");
  }
  return name;
}

FolderWriter::FolderWriter(std::string target)
    : target_(std::move(target)), path_(target_ + ".writing") {
  std::error_code error;
  fs::remove_all(path_, error);
  if (!fs::create_directories(path_, error)) {
    fail(path_, "a folder that can be made", error.message());
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
    fs::remove_all(old, error);  // left by a killed program; the target beside it is complete
    fs::rename(target_, old, error);
  }
  if (!error) fs::rename(path_, target_, error);
  if (error) {
    std::error_code ignored;
    if (replaces) fs::rename(old, target_, ignored);
    fail(target_, "a folder that can be renamed to", error.message());
  }
  path_.clear();
  if (replaces) fs::remove_all(old, error);
}

void copy_tokenizer(const ModelDescription& model, const FolderWriter& folder) {
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
                           "generation_config.json"}) {
    const fs::path from = fs::path(model.path) / name;
    if (fs::exists(from)) folder.copy(from.string(), name);
  }
}

}  // namespace scute
