#include "scute/io/file_contents.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "scute/base/error.h"
#include "scute/io/file.h"

namespace scute {
namespace {

constexpr size_t kLooked = 4096;

/// The first bytes of a regular file.
std::string beginning_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string out(kLooked, '\0');
  file.read(out.data(), static_cast<std::streamsize>(out.size()));
  out.resize(static_cast<size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  return out;
}

/// "" when no such format begins so.
std::string_view by_signature(std::string_view bytes) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 7> kBegins{
      {{"\x93NUMPY", "a .npy array"},
       {"PK\x03\x04", "a zip archive (.pt, .npz)"},
       {"\x89PNG", "a picture"},
       {"\xFF\xD8\xFF", "a picture"},
       {"GGUF", kGgufContents},
       {"RIFF", "a picture"},
       {"BM", "a picture"}}};
  for (const auto& [begin, name] : kBegins) {
    if (bytes.starts_with(begin)) return name;
  }
  // Eight bytes of length, then a JSON object.
  if (bytes.size() < 9 || bytes[8] != '{' || bytes[7] != '\0') return "";
  return bytes.find("scute-statistics") == bytes.npos ? "a safetensors file"
                                                      : "statistics that scute collected";
}

std::string_view by_text(std::string_view bytes) {
  const bool binary = std::ranges::any_of(bytes, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 && c != '\n' && c != '\r' && c != '\t' && c != '\f';
  });
  if (binary) return "another format";
  if (bytes.starts_with("\xEF\xBB\xBF")) bytes.remove_prefix(3);
  const size_t first = bytes.find_first_not_of(" \t\r\n");
  if (first == bytes.npos || (bytes[first] != '{' && bytes[first] != '[')) return "text";
  const size_t end = bytes.find('\n', first);
  const bool lines = bytes[first] == '{' && end != bytes.npos && end > first + 1 &&
                     bytes[bytes.find_last_not_of(" \r", end - 1)] == '}';
  return lines ? "JSON lines" : "JSON";
}

}  // namespace

std::string contents_of(const std::string& path) noexcept {
  try {
    std::error_code error;
    if (std::filesystem::is_directory(path, error)) return "a folder";
    if (!std::filesystem::is_regular_file(path, error)) return "no readable file";
    const std::string bytes = beginning_of(path);
    const std::string_view known = by_signature(bytes);
    return std::string(known.empty() ? by_text(bytes) : known);
  } catch (...) {
    return "no readable file";
  }
}

Json read_json(const std::string& path, int64_t limit, const std::string& what) {
  const std::string text = read_text(path, limit);
  try {
    return Json::parse(text, path);
  } catch (const Error&) {
    const std::string found = contents_of(path);
    if (found.starts_with("JSON")) throw;  // which says where it ends being JSON
    fail(path, what + " (JSON)", found);
  }
}

}  // namespace scute
