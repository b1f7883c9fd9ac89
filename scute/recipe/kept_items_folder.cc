#include "scute/recipe/kept_items_folder.h"

#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "scute/base/error.h"
#include "scute/base/hash.h"
#include "scute/base/json_difference.h"
#include "scute/base/names.h"
#include "scute/io/file.h"
#include "scute/recipe/part_names.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kItemsEnding = ".jsonl";
constexpr const char* kFormat = "scute-evaluation-part";

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Null when it is no JSON: torn by a writer that died.
Json parsed(std::string_view line, const std::string& file) {
  try {
    return Json::parse(line, file);
  } catch (const Error&) {
    return {};
  }
}

/// So many digits of a line's SHA-256, in a last member.
constexpr size_t kCheckDigits = 16;
constexpr std::string_view kCheck = ",\"check\":\"", kCheckEnd = "\"}";

std::string check_of(std::string_view members) {
  return sha256(std::string(members)).substr(0, kCheckDigits);
}

/// The line of a JSON object, by which it is seen whether it is changed.
std::string checked_line(const Json& object) {
  std::string out = object.dump();
  out.pop_back();
  const std::string check = check_of(out);
  return out.append(kCheck).append(check).append(kCheckEnd);
}

bool is_unchanged(std::string_view line) {
  constexpr size_t kTail = kCheck.size() + kCheckDigits + kCheckEnd.size();
  if (line.size() < kTail) return false;
  const std::string_view members = line.substr(0, line.size() - kTail);
  return line.substr(members.size() + kCheck.size(), kCheckDigits) == check_of(members);
}

void check_header(const Json& header, const std::string& file, const Json& evaluation,
                  const Shard& shard) {
  const Json* format = header.find("format");
  if (format == nullptr || *format != Json(kFormat)) {
    fail(file, "a part of an evaluation that scute eval --parts wrote", "another file");
  }
  if (header.at("version", file) != Json(1)) {
    fail(file, "a part of version 1", header.at("version", file).dump());
  }
  const Shard found{header.at("index", file).as_int(file), header.at("of", file).as_int(file)};
  if (found != shard) fail(file, "part " + shard.text(), "part " + found.text());
  const Json& own = header.at("evaluation", file);
  if (own == evaluation) return;
  const Json* command = header.find("command");
  fail(file, "a part of this evaluation: the same model, data and options",
       fmt::format("one of another: {}; by: {}", difference_text(own, evaluation),
                   command != nullptr && command->is_string() ? command->as_string(file)
                                                              : "another command"));
}

}  // namespace

KeptItemsFolder::KeptItemsFolder(const std::string& folder, const Json& evaluation,
                                 const std::string& command, std::optional<Shard> shard,
                                 Claim::Before before)
    : shard_(shard) {
  make_folder(folder);
  const int64_t of =
      (shard_ ? find_parts_of(folder, kItemsEnding, *shard_) : find_parts(folder, kItemsEnding)).of;
  if (!shard_ && of > 1) {
    take_all(folder, evaluation, of);
    return;
  }
  if (!shard_) shard_ = Shard{};
  items_ = KeptItems(*shard_, [this](const std::string& task, int64_t item, const Json& values) {
    tell(task, item, values);
  });
  file_ = part_file(folder, *shard_, kItemsEnding);
  claim_.emplace(file_, Claim::Renames::atomic, before);
  std::error_code error;
  bool finished = false;
  if (fs::exists(file_, error) && read(file_, evaluation, *shard_, finished)) return;
  Json header;
  header["format"] = kFormat;
  header["version"] = 1;
  header["evaluation"] = evaluation;
  header["index"] = shard_->index;
  header["of"] = shard_->of;
  header["command"] = command;
  append_line(file_, checked_line(header));
}

KeptItemsFolder::~KeptItemsFolder() {
  try {
    const std::lock_guard lock(guard_);
    flush();
  } catch (const Error&) {
    // What is lost is scored again.
  }
}

void KeptItemsFolder::take_all(const std::string& folder, const Json& evaluation, int64_t of) {
  std::vector<std::string> missing, unfinished;
  for (int64_t i = 0; i < of; ++i) {
    const std::string file = part_file(folder, {i, of}, kItemsEnding);
    std::error_code error;
    bool finished = false;
    if (!fs::exists(file, error)) {
      missing.push_back(std::to_string(i));
      continue;
    }
    read(file, evaluation, {i, of}, finished);
    if (!finished) unfinished.push_back(std::to_string(i));
  }
  std::vector<std::string> words;
  if (!missing.empty()) words.push_back("missing: " + first_few(missing, 12));
  if (!unfinished.empty()) words.push_back("not finished: " + first_few(unfinished, 12));
  if (words.empty()) return;
  fail(
      folder, fmt::format("all {} parts, finished", of),
      fmt::format("{}; run the same command with --shard I/{} for these", joined(words, "; "), of));
}

bool KeptItemsFolder::read(const std::string& file, const Json& evaluation, const Shard& shard,
                           bool& finished) {
  constexpr int64_t kLimit = int64_t{1} << 32;
  const std::string text = read_text(file, kLimit);
  bool begun = false;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = text.find('\n', begin);
    if (end == std::string::npos) end = text.size();
    const std::string_view words = std::string_view(text).substr(begin, end - begin);
    const Json line = parsed(words, file);
    begin = end + 1;
    if (line.is_null()) continue;
    if (!begun) {
      check_header(line, file, evaluation, shard);
      if (!is_unchanged(words)) fail(file, "a first line as scute wrote it", "a changed one");
      begun = true;
    } else if (!is_unchanged(words)) {
      continue;
    } else if (line.find("finished") != nullptr) {
      finished = true;
    } else if (const Json* task = line.find("task"); task != nullptr) {
      items_.know(task->as_string(file), line.at("item", file).as_int(file),
                  line.at("values", file));
      ++known_;
    }
  }
  return begun;
}

void KeptItemsFolder::tell(const std::string& task, int64_t item, const Json& values) {
  Json line;
  line["task"] = task;
  line["item"] = item;
  line["values"] = values;
  const std::lock_guard lock(guard_);
  waiting_ += (waiting_.empty() ? "" : "\n") + checked_line(line);
  if (++lines_ >= every_items_ || now() - last_ >= every_) flush();
}

void KeptItemsFolder::flush() {
  if (waiting_.empty()) return;
  append_line(file_, waiting_);
  waiting_.clear();
  lines_ = 0;
  last_ = now();
}

void KeptItemsFolder::finish() {
  const std::lock_guard lock(guard_);
  if (file_.empty()) return;
  flush();
  Json line;
  line["finished"] = true;
  append_line(file_, checked_line(line));
}

}  // namespace scute
