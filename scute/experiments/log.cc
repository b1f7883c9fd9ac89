#include "scute/experiments/log.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <set>
#include <system_error>

#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/experiments/fields.h"
#include "scute/experiments/line_scanner.h"
#include "scute/io/file.h"
#include "scute/io/file_contents.h"

namespace scute {
namespace {

/// Where a member goes; null for those that are parsed by record() only.
Json* place_of(std::string_view key, LogEntry& entry) {
  if (key == "config") return &entry.config;
  if (key == "reorder_summary") return &entry.reorder_summary;
  if (key == "results") return &entry.results;
  if (key == "hashes") return &entry.hashes;
  if (key == "files") return &entry.files;
  return nullptr;
}

std::string* text_place_of(std::string_view key, LogEntry& entry) {
  if (key == "id") return &entry.id;
  if (key == "timestamp") return &entry.timestamp;
  if (key == "command") return &entry.command;
  return nullptr;
}

/// Error when a member that a listing needs is no JSON.
LogEntry read_entry(std::string_view line, const std::vector<LineMember>& members) {
  LogEntry entry;
  entry.text = line;
  for (const LineMember& member : members) {
    Json* place = place_of(member.key, entry);
    std::string* text = text_place_of(member.key, entry);
    if (place == nullptr && text == nullptr) continue;
    Json value = Json::parse(member.value, fmt::format("\"{}\"", member.key));
    if (place != nullptr) {
      *place = std::move(value);
    } else if (value.is_string()) {
      *text = value.as_string("");
    }
  }
  return entry;
}

constexpr std::string_view kTorn = "{\"";

std::string read_begin(const std::string& path, size_t size) {
  std::string out(size, '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(out.data(), static_cast<std::streamsize>(size));
  return out;
}

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

/// Adds the entry of one line, or the remark why there is none.
void add_line(std::string_view line, int64_t line_number, ExperimentLog& log) {
  const auto skip = [&](std::string_view why) {
    log.remarks.push_back(fmt::format("line {}: {}; skipped", line_number, why));
  };
  std::string problem;
  const auto members = scan_line(line, problem);
  if (!problem.empty()) return skip("expected one complete JSON object, found " + problem);
  try {
    LogEntry entry = read_entry(line, members);
    entry.number = static_cast<int64_t>(log.entries.size()) + 1;
    log.entries.push_back(std::move(entry));
  } catch (const Error& error) {
    skip(error.what());
  }
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") + 1 - begin);
}

/// Keys are the same with hyphens and with underscores, as flags are.
std::string key_form(std::string_view key) {
  std::string out = lower(key);
  std::replace(out.begin(), out.end(), '-', '_');
  return out;
}

/// "KEY: VALUE" taken apart.
struct KeyTerm {
  std::string key, text;
  Json value;  ///< of `text`; null for "null", and meaningless for a bare string
  bool bare = false;
};

/// False for what cannot be one: a key is a word.
bool parse_term(std::string_view term, KeyTerm& out) {
  const size_t colon = term.find(':');
  if (colon == std::string_view::npos) return false;
  out.key = key_form(trimmed(term.substr(0, colon)));
  out.text = trimmed(term.substr(colon + 1));
  const bool word = std::ranges::all_of(
      out.key, [](char c) { return c == '_' || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); });
  if (out.key.empty() || out.text.empty() || !word) return false;
  try {
    out.value = Json::parse(out.text, "filter");
  } catch (const Error&) {
    // Python's words, which logs' readers also type.
    const std::string small = lower(out.text);
    out.bare = small != "none" && small != "true" && small != "false";
    if (small == "true" || small == "false") out.value = small == "true";
  }
  return true;
}

bool equals(const Json& member, const KeyTerm& term) {
  if (member.is_string() && lower(member.as_string("")) == lower(term.text)) return true;
  if (term.bare) return false;
  if (member.is_number() && term.value.is_number()) {
    const double a = member.as_double(""), b = term.value.as_double("");
    return a == b || (a != a && b != b);
  }
  return member == term.value;
}

/// At any depth; depth is limited by Json::parse.
bool has_member(const Json& json, const KeyTerm& term) {
  if (json.is_array()) {
    return std::ranges::any_of(json.as_array(""),
                               [&](const Json& item) { return has_member(item, term); });
  }
  if (!json.is_object()) return false;
  return std::ranges::any_of(json.as_object(""), [&](const auto& member) {
    return (key_form(member.first) == term.key && equals(member.second, term)) ||
           has_member(member.second, term);
  });
}

/// A pipe would wait for ever.
void check_regular(const std::string& path) {
  std::error_code unreadable;
  const auto status = std::filesystem::status(path, unreadable);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    fail(path, "a file that holds a log", "a folder, pipe or device");
  }
}

bool is_hexadecimal(std::string_view text) {
  return text.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
}

}  // namespace

Json LogEntry::record(std::string_view where) const {
  return Json::parse(text, fmt::format("{}, experiment {}", where, number));
}

std::string ExperimentLog::folder() const {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

std::string path_beside(const std::string& folder, const std::string& name) {
  const std::filesystem::path path(name);
  const bool inside = !name.empty() && name.find('\0') == std::string::npos && path.is_relative() &&
                      std::ranges::none_of(path, [](const auto& part) { return part == ".."; });
  return inside ? (std::filesystem::path(folder) / path).string() : "";
}

const LogEntry& ExperimentLog::find(std::string_view which) const {
  const auto count = static_cast<int64_t>(entries.size());
  int64_t number = 0;
  const auto [end, error] = std::from_chars(which.data(), which.data() + which.size(), number);
  if (error == std::errc() && end == which.data() + which.size()) {
    if (number < 0 && number >= -count) number += count + 1;
    if (number >= 1 && number <= count) return entries[static_cast<size_t>(number - 1)];
  }
  const auto refuse = [&](std::string_view found) {
    if (count == 0) fail(path, fmt::format("an experiment \"{}\"", which), "none in it yet");
    fail(path,
         fmt::format("an experiment \"{}\": a number from 1 to {}, -1 for the last, or the first 4 "
                     "or more digits of an id",
                     which, count),
         found);
  };
  if (which.size() < 4 || !is_hexadecimal(which)) refuse("none");
  const std::string prefix = lower(which);
  const LogEntry* found = nullptr;
  std::vector<std::string> ids;
  for (const LogEntry& entry : entries) {
    if (!entry.id.starts_with(prefix)) continue;
    found = &entry;
    if (std::ranges::find(ids, entry.id) == ids.end()) ids.push_back(entry.id);
  }
  if (found == nullptr) refuse("none");
  std::ranges::sort(ids);
  if (ids.size() > 1) refuse(fmt::format("several: {}", joined(ids, ", ")));
  return *found;
}

ExperimentLog read_log(const std::string& path) {
  check_regular(path);
  ExperimentLog log;
  log.path = path;
  log.bytes = std::make_shared<const std::string>(read_text(path));
  std::string_view rest = *log.bytes;
  if (rest.starts_with("\xEF\xBB\xBF")) rest.remove_prefix(3);  // what Windows editors put first
  for (int64_t line_number = 1; !rest.empty(); ++line_number) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    const size_t skipped = log.remarks.size();
    if (!is_blank(line)) add_line(line, line_number, log);
    log.cut_short =
        end == rest.size() && log.remarks.size() > skipped && trimmed(line).starts_with(kTorn);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return log;
}

void check_log(const std::string& path) {
  std::error_code unreadable;
  if (std::filesystem::is_directory(path, unreadable))
    fail(path, "a file that records are added to", "a folder");
  if (!std::filesystem::is_regular_file(path, unreadable)) return;
  // As dump() begins a record.
  const bool begun = read_begin(path, kTorn.size()) == kTorn;
  if (begun || !read_log(path).entries.empty()) return;
  if (std::filesystem::file_size(path, unreadable) == 0) return;
  fail(path, "an experiment log (.jsonl), to which a record is added", contents_of(path));
}

void append_record(const std::string& path, const Json& record) {
  make_folder(std::filesystem::path(path).parent_path());
  check_regular(path);
  append_line(path, record.dump());
}

bool matches(const LogEntry& entry, std::string_view term) {
  KeyTerm key;
  const std::string_view words = trimmed(term);
  if (parse_term(words, key)) {
    if (has_member(entry.config, key)) return true;
    // Without a blank it may be a bare word with a colon: percentile:0.999, layer_0.x_proj:input.
    const char after = words[words.find(':') + 1];
    if (after == ' ' || after == '\t') return false;
  }
  const std::string piece = lower(words);
  return lower(text_field(entry.config, {"model"})).find(piece) != std::string::npos ||
         lower(entry.command).find(piece) != std::string::npos;
}

}  // namespace scute
