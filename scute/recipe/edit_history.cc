#include "scute/recipe/edit_history.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <utility>

#include "scute/base/error.h"
#include "scute/base/hash.h"

namespace scute {
namespace {

constexpr std::string_view kList = "undo";

std::string escaped(std::string_view key) {
  std::string out;
  for (const char c : key) out += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
  return out;
}

std::vector<std::string> keys_of(const std::string& pointer, const std::string& where) {
  std::vector<std::string> out;
  if (!pointer.empty() && pointer.front() != '/') fail(where, "a JSON pointer", pointer);
  for (size_t i = 0; i < pointer.size(); ++i) {
    if (pointer[i] == '/') {
      out.emplace_back();
    } else if (pointer[i] == '~' && i + 1 < pointer.size()) {
      out.back() += pointer[++i] == '1' ? '/' : '~';
    } else {
      out.back() += pointer[i];
    }
  }
  return out;
}

/// What is recorded of a value that an edit left.
void add_after(Json& change, const Json& value) {
  const bool compound = value.is_array() || value.is_object() || value.is_string();
  if (compound) {
    change["after_sha256"] = sha256(value.dump());
  } else {
    change["after"] = value;
  }
}

bool is_as_left(const Json& value, const Json& change) {
  Json now = Json::object();
  add_after(now, value);
  const std::string key = now.as_object("").front().first;
  const Json* recorded = change.find(key);
  return recorded != nullptr && *recorded == now.at(key, "");
}

/// For an error: numbers as they are, of all else the kind.
std::string shown(const Json* value) {
  if (value == nullptr) return "none";
  if (value->is_array() || value->is_object() || value->is_string()) return "another";
  return value->dump();
}

class Comparison {
 public:
  Json found = Json::object();

  void compare(const Json& before, const Json& after, const std::string& pointer) {
    if (before == after) return;
    if (before.is_object() && after.is_object() && grows(before, after)) {
      const Json::Object &old = before.as_object(""), &now = after.as_object("");
      for (size_t i = 0; i < now.size(); ++i) {
        member(i < old.size() ? &old[i].second : nullptr, now[i].second,
               pointer + "/" + escaped(now[i].first));
      }
    } else if (before.is_array() && after.is_array() && begins_with(after, before)) {
      Json change = Json::object();
      change["kept"] = std::ssize(before.as_array(""));
      add_after(change, after);
      found.append_member(pointer, std::move(change));
    } else {
      replaced(&before, after, pointer);
    }
  }

 private:
  /// Whether all members before are there in their order and new ones stand behind them: else
  /// putting the old ones back would change their order.
  static bool grows(const Json& before, const Json& after) {
    const Json::Object &old = before.as_object(""), &now = after.as_object("");
    return old.size() <= now.size() &&
           std::equal(old.begin(), old.end(), now.begin(),
                      [](const auto& a, const auto& b) { return a.first == b.first; });
  }
  static bool begins_with(const Json& after, const Json& before) {
    const Json::Array &old = before.as_array(""), &now = after.as_array("");
    return old.size() <= now.size() && std::equal(old.begin(), old.end(), now.begin());
  }
  void member(const Json* before, const Json& after, const std::string& pointer) {
    if (before == nullptr) {
      replaced(nullptr, after, pointer);
    } else {
      compare(*before, after, pointer);
    }
  }
  void replaced(const Json* before, const Json& after, const std::string& pointer) {
    Json change = Json::object();
    if (before != nullptr) change["before"] = *before;
    add_after(change, after);
    found.append_member(pointer, std::move(change));
  }
};

/// One member as it was before.
class Replacement {
 public:
  Replacement(const std::string& pointer, const Json& change, const std::string& where)
      : keys_(keys_of(pointer, where)), change_(change), where_(where + ": " + pointer) {}

  void apply(Json& value, size_t depth = 0) const {
    if (depth == keys_.size()) {
      if (!is_as_left(value, change_)) refuse(&value);
      value = before(value);
      return;
    }
    const std::string& key = keys_[depth];
    if (value.find(key) == nullptr) refuse(nullptr);
    apply(value[key], depth + 1);
    const bool added = change_.find("before") == nullptr && change_.find("kept") == nullptr;
    if (depth + 1 < keys_.size() || !added) return;
    Json::Object rest = value.as_object(where_);
    std::erase_if(rest, [&](const auto& member) { return member.first == key; });
    value = std::move(rest);
  }

 private:
  Json before(const Json& value) const {
    const Json* kept = change_.find("kept");
    if (kept == nullptr) {
      const Json* before = change_.find("before");
      return before == nullptr ? Json() : *before;
    }
    const Json::Array& all = value.as_array(where_);
    const int64_t count = kept->as_int(where_);
    if (count < 0 || count > std::ssize(all)) fail(where_, "a part of the list", kept->dump());
    return Json::Array(all.begin(), all.begin() + count);
  }
  [[noreturn]] void refuse(const Json* found) const {
    const Json* after = change_.find("after");
    fail(where_, "what the edit left there" + (after == nullptr ? "" : ", " + after->dump()),
         shown(found) + ": changed since by another tool or edit; --set changes what is there now");
  }

  std::vector<std::string> keys_;
  const Json& change_;
  std::string where_;
};

std::string hex_of(std::span<const std::byte> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  for (const std::byte byte : bytes) {
    out += kDigits[std::to_integer<size_t>(byte >> 4)];
    out += kDigits[std::to_integer<size_t>(byte & std::byte{15})];
  }
  return out;
}

std::vector<std::byte> bytes_of(const std::string& hex, const std::string& where) {
  std::vector<std::byte> out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    unsigned value = 0;
    const char* end = hex.data() + i + 2;
    if (std::from_chars(hex.data() + i, end, value, 16).ptr != end) break;
    out.push_back(std::byte(value));
  }
  if (2 * out.size() != hex.size()) fail(where, "bytes in hexadecimal", "other text");
  return out;
}

std::string hash_of(const Tensor& tensor) {
  Sha256 hash;
  hash.update(tensor.bytes());
  return hash.hex();
}

DType float_type(const std::string& name, const std::string& where) {
  for (const DType type : {DType::f64, DType::f32, DType::f16, DType::bf16}) {
    if (name_of(type) == name) return type;
  }
  fail(where, "a type of F64 F32 F16 BF16", name);
}

/// Error unless the path stays below the folder that it is read in.
void check_inside(const std::string& path, const std::string& where) {
  const std::filesystem::path given(path);
  const bool out = given.is_absolute() || std::ranges::find(given, "..") != given.end();
  if (out) fail(where, "names of files in the folder", path);
}

EditStep step_of(const Json& json, const std::string& where) {
  EditStep out;
  out.sites = json.at("sites", where);
  for (const auto& [file, changes] : json.at("documents", where).as_object(where)) {
    check_inside(file, where);
    out.documents.emplace(file, changes);
  }
  for (const auto& [name, one] : json.at("tensors", where).as_object(where)) {
    const std::string tensor = where + ": " + name;
    const auto text = [&tensor, &change = one](const char* key) {
      return change.at(key, tensor).as_string(tensor);
    };
    out.tensors.push_back({name, text("site"), text("folder"), text("name"), one});
    check_inside(out.tensors.back().folder, where);
  }
  return out;
}

Json json_of(const EditStep& step) {
  Json out = Json::object();
  out["sites"] = step.sites;
  out["documents"] = Json::object();
  for (const auto& [file, changes] : step.documents) out["documents"][file] = changes;
  out["tensors"] = Json::object();
  for (const EditedTensor& tensor : step.tensors) {
    Json one = Json::object();
    one["site"] = tensor.site;
    one["folder"] = tensor.folder;
    one["name"] = tensor.name;
    for (const auto& [key, value] : tensor.bytes.as_object("")) one[key] = value;
    out["tensors"].append_member(tensor.tensor, std::move(one));
  }
  return out;
}

}  // namespace

Json changes_between(const Json& before, const Json& after) {
  Comparison comparison;
  if (before.is_null() && !after.is_null()) {
    Json change = Json::object();
    add_after(change, after);
    comparison.found.append_member("", std::move(change));
  } else {
    comparison.compare(before, after, "");
  }
  return std::move(comparison.found);
}

void take_back_changes(Json& document, const Json& changes, const std::string& where) {
  for (const auto& [pointer, change] : changes.as_object(where))
    Replacement(pointer, change, where).apply(document);
}

Json tensor_change(const Tensor& before, const Tensor& after) {
  Json out = Json::object();
  out["type"] = name_of(before.dtype());
  out["before"] = hex_of(before.bytes());
  out["after_sha256"] = hash_of(after);
  return out;
}

Tensor taken_back(const Json& change, const Tensor& now, const std::string& where) {
  if (change.at("after_sha256", where).as_string(where) != hash_of(now)) {
    fail(where, "the scales that the edit left there",
         "others: changed since by another tool or edit; --set changes what is there now");
  }
  const DType type = float_type(change.at("type", where).as_string(where), where);
  const std::vector<std::byte> bytes = bytes_of(change.at("before", where).as_string(where), where);
  if (std::ssize(bytes) != now.size() * size_of(type)) {
    fail(where, fmt::format("{} scales before the edit", now.size()), "another number");
  }
  return Tensor::of_bytes(type, now.shape(), bytes);
}

int64_t step_count(const Json& object, const std::string& where) {
  const Json* steps = object.find(kList);
  return steps == nullptr ? 0 : std::ssize(steps->as_array(where + ": undo"));
}

void add_step(Json& object, const EditStep& step, const std::string& where) {
  step_count(object, where);
  object[kList].push_back(json_of(step));
}

EditStep remove_step(Json& object, const std::string& where) {
  if (step_count(object, where) == 0) {
    const Json* edits = object.find("edits");
    const bool older = edits != nullptr && edits->is_array() && !edits->as_array("").empty();
    fail(where, "an edit that can be taken back",
         older ? "edits that did not record what they replaced, made by an older scute or from the "
                 "folder above"
               : "none");
  }
  Json::Array steps = object.at(kList, where).as_array(where);
  EditStep out = step_of(steps.back(), where + ": undo");
  steps.pop_back();
  if (!steps.empty()) {
    object[kList] = std::move(steps);
    return out;
  }
  Json::Object rest = object.as_object(where);
  std::erase_if(rest, [](const auto& member) { return member.first == kList; });
  object = std::move(rest);
  return out;
}

}  // namespace scute
