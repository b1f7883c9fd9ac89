#include "cli/terminal/outputs.h"

#include <fmt/format.h>

#include <filesystem>

#include "cli/terminal/options.h"
#include "scute/base/error.h"
#include "scute/recipe/statistics_io.h"

namespace scute::cli {
namespace {

namespace fs = std::filesystem;

bool same_file(const std::string& a, const std::string& b) {
  if (a.empty() || b.empty()) return false;
  std::error_code error;
  return fs::equivalent(a, b, error) ||
         fs::weakly_canonical(a, error) == fs::weakly_canonical(b, error);
}

}  // namespace

void refuse_same_files(const std::vector<std::string>& outputs,
                       const std::vector<std::string>& inputs) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (!same_file(outputs[i], outputs[j])) continue;
      throw UsageError(
          fmt::format("expected another file for each output, found {} twice", outputs[i]));
    }
    for (const std::string& input : inputs) {
      if (!same_file(outputs[i], input)) continue;
      throw UsageError(fmt::format("expected an output that is not read, found {}", outputs[i]));
    }
  }
}

void refuse_to_replace(const std::string& path) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored) || fs::file_size(path, ignored) == 0) return;
  try {
    read_statistics(path);
  } catch (const Error&) {
    fail(path, "no file yet, or statistics, which are replaced", "another file, which stays");
  }
}

}  // namespace scute::cli
