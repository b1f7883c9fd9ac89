#include "scute/io/seal.h"

#include <fmt/core.h>
#include <sys/xattr.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <sstream>

#include "scute/base/names.h"
#include "scute/io/file.h"
#include "scute/io/posix.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

constexpr const char* kAttribute = "user.scute.sha256";
constexpr size_t kDigits = 64;
constexpr int64_t kMostSeals = int64_t{64} << 20;

std::string seals_beside(const std::string& name) { return folder_of(name) + "/" + kSealsFile; }

/// Calls visit(hash) for each line about `file`; the last ones count as much as the first, because
/// a line is written before its file is put in place.
template <class Visit>
void each_beside(const std::string& file, const Visit& visit) {
  std::error_code ignored;
  const std::string seals = seals_beside(file);
  if (!fs::is_regular_file(seals, ignored)) return;
  std::istringstream lines(read_text(seals, kMostSeals));
  const std::string end = "  " + base_name(file);
  for (std::string line; std::getline(lines, line);) {
    if (line.size() == kDigits + end.size() && line.ends_with(end)) visit(line.substr(0, kDigits));
  }
}

std::string why_file(const std::string& file) {
  std::error_code ignored;
  if (!fs::is_regular_file(fs::symlink_status(file, ignored))) return "no file of scute's";
  if (fs::file_size(file, ignored) == 0) return "";
  if (!is_sealed(file)) return "not written by scute";
  const std::string hash = hash_file(file);
  bool same = attribute_seal(file) == hash;
  each_beside(file, [&](const std::string& other) { same = same || other == hash; });
  return same ? "" : "changed since scute wrote it";
}

}  // namespace

void seal_beside(const std::string& name, const std::string& sha256) {
  append_line(seals_beside(name), fmt::format("{}  {}", sha256, base_name(name)));
}

void seal(const std::string& file, const std::string& name, const std::string& sha256) {
  if (::setxattr(file.c_str(), kAttribute, sha256.data(), sha256.size(), 0) != 0) {
    seal_beside(name, sha256);
  }
}

std::optional<std::string> attribute_seal(const std::string& file) {
  std::array<char, kDigits> value{};
  const ssize_t size = ::getxattr(file.c_str(), kAttribute, value.data(), value.size());
  if (size != static_cast<ssize_t>(kDigits)) return std::nullopt;
  return std::string(value.data(), kDigits);
}

bool is_sealed(const std::string& file) {
  bool found = attribute_seal(file).has_value();
  each_beside(file, [&](const std::string&) { found = true; });
  return found;
}

std::string why_not_unchanged(const std::string& path) {
  std::error_code ignored;
  if (!fs::is_directory(fs::symlink_status(path, ignored))) return why_file(path);
  for (const auto& entry : fs::directory_iterator(path, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name == kSealsFile) continue;
    const std::string why = why_not_unchanged(entry.path().string());
    if (!why.empty()) return entry.is_directory() ? why : fmt::format("{}: {}", name, why);
  }
  return "";
}

}  // namespace scute
