#include "cli/terminal/outputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "cli/terminal/options.h"
#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/io/seal.h"
#include "scute/recipe/folder_writer.h"

namespace scute::cli {
namespace {

namespace fs = std::filesystem;

bool same_file(const std::string& a, const std::string& b) {
  if (a.empty() || b.empty()) return false;
  std::error_code error;
  return fs::equivalent(a, b, error) ||
         fs::weakly_canonical(a, error) == fs::weakly_canonical(b, error);
}

/// Whether `file` is there, lies in the folder `input` and is part of what is read there.
bool part_of_folder(const std::string& file, const std::string& input) {
  std::error_code error;
  if (!fs::is_directory(input, error) || !fs::exists(file, error)) return false;
  if (!lies_in(file, input)) return false;
  return is_model_file(fs::weakly_canonical(file, error).filename().string()) || !is_sealed(file);
}

}  // namespace

void check_ending(const std::string& flag, const std::string& file,
                  const std::vector<std::string>& endings) {
  if (file.empty()) return;
  for (const std::string& ending : endings) {
    if (file.ends_with(ending)) return;
  }
  throw UsageError(fmt::format("{}: expected a name ending in {}, found \"{}\"", flag,
                               joined(endings, " or "), file));
}

void check_force(bool force, const std::vector<std::string>& outputs) {
  for (const std::string& output : outputs) {
    if (!output.empty()) return;
  }
  if (force) throw UsageError("--force: expected the name of a file to write, found none");
}

void refuse_same_files(const std::vector<std::string>& outputs,
                       const std::vector<std::string>& inputs) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (!same_file(outputs[i], outputs[j])) continue;
      throw UsageError(
          fmt::format("expected another file for each output, found {} twice", outputs[i]));
    }
    for (const std::string& input : inputs) {
      if (outputs[i].empty() || input.empty()) continue;
      if (!same_file(outputs[i], input) && !part_of_folder(outputs[i], input)) continue;
      throw UsageError(fmt::format("expected an output that is not read, found {}", outputs[i]));
    }
  }
}

ClaimedFile::ClaimedFile(const std::string& path, bool force,
                         const std::vector<std::string>& inputs, Claim::Before before,
                         const std::function<bool(const std::string& path)>& vouched,
                         Claim::Kept kept)
    : inputs_((refuse_same_files({path}, inputs), inputs)),
      file_(path, force ? Replace::anything : Replace::unchanged, before, vouched, kept),
      end_(file_.claim()) {}

void ClaimedFile::publish() {
  inputs_.check();
  file_.publish();
}

void ClaimedFile::publish(std::string_view text) {
  write_file(written(), text);
  publish();
}

void check_replaceable(const std::vector<std::string>& files, bool force,
                       const std::vector<std::string>& inputs) {
  refuse_same_files(files, inputs);
  for (const std::string& file : files) {
    std::error_code error;
    if (fs::exists(fs::symlink_status(file, error))) ClaimedFile(file, force, inputs);
  }
}

void claim_if_named(std::optional<ClaimedFile>& file, const std::string& path, bool force,
                    const std::vector<std::string>& inputs) {
  if (!path.empty()) file.emplace(path, force, inputs);
}

}  // namespace scute::cli
