#include "scute/experiments/kept_statistics.h"

#include <fmt/format.h>

#include <utility>

#include "scute/base/error.h"
#include "scute/io/file.h"
#include "scute/recipe/statistics_io.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

/// Names of the key that statistics were stored under, in their meta.
constexpr const char* kKey = "collection";

}  // namespace

std::vector<std::string> written_beside(const std::string& log) {
  const fs::path folder = fs::path(log).parent_path();
  return {(folder / "statistics").string(), (folder / "items").string()};
}

/// False when there is none, or none that this scute stored under this key.
bool KeptStatistics::read_stored(const std::string& path, std::vector<std::string>& warnings) {
  std::error_code unreadable;
  if (!fs::exists(path, unreadable)) return false;
  try {
    const InputFile input(path);
    StatisticsSet stored = read_statistics(input);
    const Json* name = stored.meta.find(kKey);
    if (name == nullptr || *name != Json(key)) {
      fail(path, "statistics stored under this name", "others");
    }
    set = std::move(stored);
    sha256 = input.sha256();
    return true;
  } catch (const Error& error) {
    warnings.push_back(fmt::format("{}; measured again", error.what()));
    return false;
  }
}

void KeptStatistics::store(std::vector<std::string>& warnings) {
  try {
    const std::string path = (folder / file).string();
    make_folder(folder / "statistics");
    write_statistics(path, *set);
    sha256 = hash_file(path);
  } catch (const Error& error) {
    warnings.push_back(fmt::format("statistics not kept: {}", error.what()));
    file.clear();
  }
}

bool KeptStatistics::measure(const std::function<StatisticsSet()>& pass,
                             std::vector<std::string>& warnings) {
  if (set) return true;
  file = (fs::path("statistics") / (key + ".safetensors")).string();
  if (read_stored((folder / file).string(), warnings)) return true;
  set = pass();
  set->meta[kKey] = key;
  store(warnings);
  return false;
}

}  // namespace scute
