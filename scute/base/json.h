// JSON as a value: parsed defensively, objects keep their order, numbers round-trip.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace scute {

/// A JSON value of any kind.
class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::vector<std::pair<std::string, Json>>;

  Json();  ///< null
  Json(std::nullptr_t);
  Json(bool value);
  Json(int value);
  Json(int64_t value);
  Json(double value);
  Json(const char* value);
  Json(std::string value);
  Json(std::string_view value);
  Json(Array value);
  Json(Object value);
  // Out of line, as everything that a value type does: compiled once, not in a hundred files.
  Json(const Json&);
  Json(Json&&) noexcept;
  Json& operator=(const Json&);
  Json& operator=(Json&&) noexcept;
  ~Json();

  static Json object();
  static Json array();

  /// Parses RFC 8259 text plus the bare words Infinity, -Infinity and NaN that Hugging Face
  /// configs contain. Refused with an Error naming `where` and the byte: anything else, nesting
  /// deeper than 128, a key twice in one object, bytes after the value, integers beyond 64 bits
  /// become doubles.
  static Json parse(std::string_view text, std::string_view where);

  /// One line for indent < 0, else indented. Doubles in the shortest form that reads back the
  /// same; what is not finite, which JSON lacks, as null.
  std::string dump(int indent = -1) const;
  /// The same with Infinity and -Infinity as these words, as Hugging Face's configs have them; NaN
  /// is null here too.
  std::string dump_config(int indent = -1) const;

  bool is_null() const { return std::holds_alternative<std::nullptr_t>(value_); }
  bool is_bool() const { return std::holds_alternative<bool>(value_); }
  bool is_int() const { return std::holds_alternative<int64_t>(value_); }
  bool is_number() const { return is_int() || std::holds_alternative<double>(value_); }
  bool is_string() const { return std::holds_alternative<std::string>(value_); }
  bool is_array() const { return std::holds_alternative<Array>(value_); }
  bool is_object() const { return std::holds_alternative<Object>(value_); }

  /// The value as that type; Error "WHERE: expected a string, found a number" otherwise.
  bool as_bool(std::string_view where) const;
  int64_t as_int(std::string_view where) const;  ///< also a double that is whole
  double as_double(std::string_view where) const;
  const std::string& as_string(std::string_view where) const;
  const Array& as_array(std::string_view where) const;
  const Object& as_object(std::string_view where) const;

  /// The member of an object, or null when absent or when this is no object. Linear in members.
  const Json* find(std::string_view key) const;
  /// The member of an object; Error naming `where` and the key when absent.
  const Json& at(std::string_view key, std::string_view where) const;
  /// The member of an object (this becomes one if null; else Error), added when absent.
  Json& operator[](std::string_view key);
  /// Appends to an array (this becomes one if null; else Error).
  void push_back(Json value);
  /// Adds a member without looking whether the key is there already.
  void append_member(std::string key, Json value);

  bool operator==(const Json&) const;

 private:
  std::variant<std::nullptr_t, bool, int64_t, double, std::string, Array, Object> value_ = nullptr;
};

}  // namespace scute
