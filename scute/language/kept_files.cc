#include "scute/language/kept_files.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <system_error>
#include <utility>

#include "scute/base/error.h"
#include "scute/base/json_difference.h"
#include "scute/io/file.h"
#include "scute/io/posix.h"
#include "scute/io/sealed_tensors.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

constexpr const char* kKeptFormat = "scute-hessian-checkpoint";
constexpr const char* kKeptEnding = ".safetensors";

/// What a file says of itself; Error when it was not kept here, or is broken.
Json key_of(const SafetensorsFile& file, const std::string& path) {
  check_sealed_tensors(file, path);
  const auto format = file.metadata.find("format"), key = file.metadata.find("key");
  if (format == file.metadata.end() || format->second != kKeptFormat ||
      key == file.metadata.end()) {
    fail(path, "sums that scute quantize --checkpoint-every kept", "another file, which stays");
  }
  const auto place = file.metadata.find("place");
  if (const std::string stem = fs::path(path).stem(),
      found = place == file.metadata.end() ? "none" : place->second;
      found != stem) {
    fail(path, "the sums of " + stem, "those of " + found);
  }
  return Json::parse(key->second, path);
}

}  // namespace

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

KeptFiles::KeptFiles(WorkKeeping how, Json key) : how_(std::move(how)), key_(std::move(key)) {
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(how_.folder, none)) {
    if (entry.path().extension() != kKeptEnding) continue;
    const std::string path = entry.path().string();
    // What cannot be opened now may be whole all the same: an Error, and it stays.
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.get() < 0) fail_system(path, "a file that can be read", errno);
    Json found;
    try {
      found = key_of(read_safetensors(path), path);
    } catch (const Error& broken) {
      tell(fmt::format("{}; measured again", broken.what()));
      broken_.insert(entry.path().stem());
      continue;
    }
    if (found == key_) continue;
    if (!how_.drops_others) {
      fail(how_.folder, "Hessians kept by this command, or none (--force drops them)",
           "those of another: " + difference_text(found, key_));
    }
    fs::remove(path, none);
  }
}

void KeptFiles::begin() {
  if (how_.begin) how_.cancelled = how_.begin();
}

std::string KeptFiles::path(const std::string& stem) const {
  return (fs::path(how_.folder) / (stem + kKeptEnding)).string();
}

bool KeptFiles::write(const std::string& stem, const std::vector<NamedTensor>& tensors,
                      Metadata metadata) {
  try {
    make_folder(how_.folder);
    metadata["format"] = kKeptFormat;
    metadata["version"] = "1";
    metadata["place"] = stem;  // whatever the file is renamed to
    metadata["key"] = key_.dump();
    write_sealed_tensors(path(stem), tensors, metadata);
    return true;
  } catch (const Error& error) {
    std::error_code holds_others;
    fs::remove(how_.folder, holds_others);  // when nothing is in it
    tell(fmt::format("not kept: {}", error.what()));
    return false;
  }
}

std::optional<SafetensorsFile> KeptFiles::read(const std::string& stem) const {
  std::error_code none;
  if (broken_.contains(stem) || !fs::exists(path(stem), none)) return std::nullopt;
  return read_safetensors(path(stem));  // checked when this was made
}

void KeptFiles::remove(const std::string& stem) const {
  std::error_code none;
  fs::remove(path(stem), none);
}

std::vector<std::string> KeptFiles::stems() const {
  std::vector<std::string> out;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(how_.folder, none)) {
    if (entry.path().extension() != kKeptEnding) continue;
    if (!broken_.contains(entry.path().stem())) out.push_back(entry.path().stem());
  }
  std::ranges::sort(out);
  return out;
}

void KeptFiles::tell(const std::string& problem) {
  const std::lock_guard lock(guard_);
  if (how_.problem) how_.problem(problem);
}

int64_t kept_count(const SafetensorsFile& file, const std::string& name, const std::string& path) {
  const auto found = file.metadata.find(name);
  const std::string text = found == file.metadata.end() ? "" : found->second;
  int64_t out = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  const bool whole = error == std::errc{} && end == text.data() + text.size() && out >= 0;
  if (!whole) fail(path, "a number of " + name, text);
  return out;
}

}  // namespace scute
