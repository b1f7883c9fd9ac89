#include "scute/base/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "scute/base/error.h"
#include "scute/base/repeated_key.h"

namespace scute {
namespace {

constexpr size_t kMaxDepth = 128;

struct Word {
  std::string_view text;
  double value;
};
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::array<Word, 3> kWords{{{"Infinity", kInfinity},
                                      {"-Infinity", -kInfinity},
                                      {"NaN", std::numeric_limits<double>::quiet_NaN()}}};

/// Builds a Json from nlohmann's events; the first problem ends the parse.
class Builder : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit Builder(std::string_view where) : where_(where) {}

  Json take() { return std::move(root_); }

  bool null() override { return add(Json()); }
  bool boolean(bool value) override { return add(Json(value)); }
  bool number_integer(number_integer_t value) override { return add(Json(int64_t{value})); }
  bool number_unsigned(number_unsigned_t value) override {
    return add(std::in_range<int64_t>(value) ? Json(static_cast<int64_t>(value))
                                             : Json(static_cast<double>(value)));
  }
  bool number_float(number_float_t value, const string_t&) override { return add(Json(value)); }
  bool string(string_t& value) override {
    if (value.starts_with('\0')) {
      for (const Word& word : kWords) {
        if (std::string_view(value).substr(1) == word.text) return add(Json(word.value));
      }
    }
    return add(Json(std::move(value)));
  }
  bool binary(binary_t&) override { return false; }
  bool start_object(size_t) override { return open(Json::object()); }
  bool start_array(size_t) override { return open(Json::array()); }
  bool end_object() override {
    if (const std::string* key = repeated_key(open_.back().value.as_object(where_))) {
      fail(where_, "each key once in an object", fmt::format("\"{}\" twice", *key));
    }
    return close();
  }
  bool end_array() override { return close(); }

  bool key(string_t& value) override {
    open_.back().key = std::move(value);
    return true;
  }
  bool parse_error(size_t position, const std::string&,
                   const nlohmann::json::exception& problem) override {
    // nlohmann's text reads "[json.exception…] parse error at …: REASON" or "[…] REASON", and may
    // repeat a number of any length.
    constexpr size_t kMost = 100;
    const std::string text = problem.what();
    size_t reason = text.find(": ");
    if (reason == std::string::npos) reason = text.find("] ");
    reason = reason == std::string::npos ? 0 : reason + 2;
    fail(where_, "valid JSON",
         fmt::format("a problem at byte {}: {}", position, text.substr(reason, kMost)));
  }

 private:
  struct Frame {
    Json value;
    std::string key;
  };

  bool open(Json container) {
    if (open_.size() >= kMaxDepth) {
      fail(where_, fmt::format("JSON nested at most {} deep", kMaxDepth), "a deeper one");
    }
    open_.push_back({std::move(container), {}});
    return true;
  }
  bool close() {
    Json done = std::move(open_.back().value);
    open_.pop_back();
    return add(std::move(done));
  }
  bool add(Json value) {
    if (open_.empty()) {
      root_ = std::move(value);
    } else if (Frame& top = open_.back(); top.value.is_array()) {
      top.value.push_back(std::move(value));
    } else {
      top.value.append_member(std::move(top.key), std::move(value));
    }
    return true;
  }

  std::string where_;
  std::vector<Frame> open_;
  Json root_;
};

/// Bare Infinity, -Infinity and NaN, which JSON lacks, become strings that begin with a zero byte
/// and so stand for nothing else; Builder turns them into numbers.
std::string with_quoted_words(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 64);
  bool in_string = false;
  for (size_t i = 0; i < text.size();) {
    if (!in_string) {
      const auto word = std::ranges::find_if(
          kWords, [&](const Word& w) { return text.substr(i).starts_with(w.text); });
      if (word != kWords.end()) {
        out += "\"\\u0000";
        out += word->text;
        out += '"';
        i += word->text.size();
        continue;
      }
    }
    const char c = text[i++];
    out += c;
    if (c == '"') in_string = !in_string;
    if (in_string && c == '\\' && i < text.size()) out += text[i++];
  }
  return out;
}

/// As people read it, infinities and NaN too.
std::string number_text(const Json& json) {
  const double value = json.as_double("");
  return std::isfinite(value) ? json.dump() : fmt::format("{}", value);
}

std::string kind_of(const Json& json) {
  if (json.is_null()) return "null";
  if (json.is_bool()) return "true or false";
  if (json.is_number()) return "the number " + number_text(json);
  if (json.is_string()) return "the string " + json.dump();
  return json.is_array() ? "an array" : "an object";
}

void dump_string(const std::string& text, std::string& out) {
  out += nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

enum class Infinities { null, words };

void dump_double(double value, Infinities infinities, std::string& out) {
  if (std::isinf(value) && infinities == Infinities::words) {
    out += value > 0 ? "Infinity" : "-Infinity";
  } else if (!std::isfinite(value)) {
    out += "null";
  } else {
    std::string digits = fmt::format("{}", value);
    // A double stays a double when read back.
    if (digits.find_first_of(".e") == std::string::npos) digits += ".0";
    out += digits;
  }
}

struct Writer {
  int indent;
  Infinities infinities;
  std::string out = {};

  void line(int depth) {
    if (indent < 0) return;
    out += '\n';
    out.append(static_cast<size_t>(indent * depth), ' ');
  }
  void write(const Json& json, int depth) {
    if (json.is_array()) {
      const auto& items = json.as_array("");
      out += '[';
      for (size_t i = 0; i < items.size(); ++i) {
        if (i > 0) out += indent < 0 ? "," : ", ";
        write(items[i], depth + 1);
      }
      out += ']';
    } else if (json.is_object()) {
      write_object(json.as_object(""), depth);
    } else if (json.is_string()) {
      dump_string(json.as_string(""), out);
    } else if (json.is_int()) {
      out += fmt::format("{}", json.as_int(""));
    } else if (json.is_number()) {
      dump_double(json.as_double(""), infinities, out);
    } else {
      out += json.is_null() ? "null" : json.as_bool("") ? "true" : "false";
    }
  }
  void write_object(const Json::Object& members, int depth) {
    out += '{';
    for (size_t i = 0; i < members.size(); ++i) {
      if (i > 0) out += ',';
      line(depth + 1);
      dump_string(members[i].first, out);
      out += indent < 0 ? ":" : ": ";
      write(members[i].second, depth + 1);
    }
    if (!members.empty()) line(depth);
    out += '}';
  }
};

}  // namespace

Json::Json() = default;
Json::Json(std::nullptr_t) {}
Json::Json(bool value) : value_(value) {}
Json::Json(int value) : value_(int64_t{value}) {}
Json::Json(int64_t value) : value_(value) {}
Json::Json(double value) : value_(value) {}
Json::Json(const char* value) : value_(std::string(value)) {}
Json::Json(std::string value) : value_(std::move(value)) {}
Json::Json(std::string_view value) : value_(std::string(value)) {}
Json::Json(Array value) : value_(std::move(value)) {}
Json::Json(Object value) : value_(std::move(value)) {}
Json::Json(const Json&) = default;
Json::Json(Json&&) noexcept = default;
Json& Json::operator=(const Json&) = default;
Json& Json::operator=(Json&&) noexcept = default;
Json::~Json() = default;

// Not defaulted: Clang 14 crashes on a type that contains itself.
bool Json::operator==(const Json& other) const { return value_ == other.value_; }

Json Json::object() { return Json(Object{}); }
Json Json::array() { return Json(Array{}); }

Json Json::parse(std::string_view text, std::string_view where) {
  // No JSON text holds a NUL; the parser would take it for the end and accept what comes before.
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos) {
    fail(where, "JSON", fmt::format("a NUL at byte {}", nul + 1));
  }
  Builder builder(where);
  const bool plain =
      text.find("Infinity") == std::string_view::npos && text.find("NaN") == std::string_view::npos;
  if (plain) {
    nlohmann::json::sax_parse(text.begin(), text.end(), &builder);
  } else {
    const std::string rewritten = with_quoted_words(text);
    nlohmann::json::sax_parse(rewritten.begin(), rewritten.end(), &builder);
  }
  return builder.take();
}

std::string Json::dump(int indent) const {
  Writer writer{indent, Infinities::null};
  writer.write(*this, 0);
  return std::move(writer.out);
}

std::string Json::dump_config(int indent) const {
  Writer writer{indent, Infinities::words};
  writer.write(*this, 0);
  return std::move(writer.out);
}

bool Json::as_bool(std::string_view where) const {
  if (!is_bool()) fail(where, "true or false", kind_of(*this));
  return std::get<bool>(value_);
}

int64_t Json::as_int(std::string_view where) const {
  if (is_int()) return std::get<int64_t>(value_);
  const double* real = std::get_if<double>(&value_);
  // 2^53: beyond it a double no longer holds every integer.
  if (real == nullptr || std::nearbyint(*real) != *real || std::abs(*real) > 0x1p53) {
    fail(where, "a whole number", kind_of(*this));
  }
  return static_cast<int64_t>(*real);
}

double Json::as_double(std::string_view where) const {
  if (is_int()) return static_cast<double>(std::get<int64_t>(value_));
  if (!is_number()) fail(where, "a number", kind_of(*this));
  return std::get<double>(value_);
}

const std::string& Json::as_string(std::string_view where) const {
  if (!is_string()) fail(where, "a string", kind_of(*this));
  return std::get<std::string>(value_);
}

const Json::Array& Json::as_array(std::string_view where) const {
  if (!is_array()) fail(where, "an array", kind_of(*this));
  return std::get<Array>(value_);
}

const Json::Object& Json::as_object(std::string_view where) const {
  if (!is_object()) fail(where, "an object", kind_of(*this));
  return std::get<Object>(value_);
}

const Json* Json::find(std::string_view key) const {
  if (!is_object()) return nullptr;
  for (const auto& [name, member] : std::get<Object>(value_)) {
    if (name == key) return &member;
  }
  return nullptr;
}

const Json& Json::at(std::string_view key, std::string_view where) const {
  if (!is_object()) fail(where, "an object", kind_of(*this));
  const Json* member = find(key);
  if (member == nullptr) fail(where, fmt::format("the key \"{}\"", key), "none");
  return *member;
}

Json& Json::operator[](std::string_view key) {
  if (is_null()) value_ = Object{};
  if (!is_object()) fail(fmt::format("the key \"{}\"", key), "an object", kind_of(*this));
  auto& members = std::get<Object>(value_);
  for (auto& [name, member] : members) {
    if (name == key) return member;
  }
  return members.emplace_back(std::string(key), Json()).second;
}

void Json::push_back(Json value) {
  if (is_null()) value_ = Array{};
  if (!is_array()) fail("a list that grows", "an array", kind_of(*this));
  std::get<Array>(value_).push_back(std::move(value));
}

void Json::append_member(std::string key, Json value) {
  if (is_null()) value_ = Object{};
  std::get<Object>(value_).emplace_back(std::move(key), std::move(value));
}

}  // namespace scute
