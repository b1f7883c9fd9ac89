#include "scute/recipe/part_names.h"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>

#include "scute/base/error.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "part-", kOf = "-of-";
constexpr std::string_view kWriting = ".writing";  // of scute/io/claim.h

/// Nothing when it is no name of a part.
std::optional<Shard> shard_of(std::string_view name, std::string_view ending) {
  if (!name.starts_with(kPrefix) || !name.ends_with(ending)) return std::nullopt;
  if (name.size() < kPrefix.size() + ending.size()) return std::nullopt;
  std::string middle(name.substr(kPrefix.size(), name.size() - kPrefix.size() - ending.size()));
  const size_t of = middle.find(kOf);
  if (of == std::string::npos) return std::nullopt;
  middle.replace(of, kOf.size(), "/");
  try {
    const Shard out = Shard::parse(middle, "");
    return out.text() == middle ? std::optional(out) : std::nullopt;  // 00/2 is no name of ours
  } catch (const Error&) {
    return std::nullopt;  // another's file: scute writes no such name
  }
}

}  // namespace

std::string part_file(const std::string& folder, const Shard& shard, std::string_view ending) {
  return (fs::path(folder) / fmt::format("{}{}{}{}{}", kPrefix, shard.index, kOf, shard.of, ending))
      .string();
}

FoundParts find_parts(const std::string& folder, std::string_view ending) {
  FoundParts out;
  std::error_code error;
  std::string first;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    std::string name = at->path().filename().string();
    const bool writing = name.ends_with(kWriting);
    if (writing) name.resize(name.size() - kWriting.size());
    const auto shard = shard_of(name, ending);
    if (!shard) continue;
    if (out.of != 0 && out.of != shard->of) {
      fail(folder, fmt::format("parts of one number, as {}", first),
           fmt::format("{} beside it; move one kind away", name));
    }
    if (out.of == 0) first = name;
    out.of = shard->of;
    (writing ? out.writing : out.parts).insert(shard->index);
  }
  if (error) fail(folder, "a folder that can be read", error.message());
  return out;
}

FoundParts find_parts_of(const std::string& folder, std::string_view ending, const Shard& shard) {
  FoundParts out = find_parts(folder, ending);
  if (out.of != 0 && out.of != shard.of) {
    fail(folder, fmt::format("parts of {}, as --shard {} says", shard.of, shard.text()),
         fmt::format("parts of {}; give another folder", out.of));
  }
  return out;
}

}  // namespace scute
