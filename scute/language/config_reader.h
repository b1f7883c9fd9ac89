// One object of a config.json, read key by key: internal to this folder.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "scute/base/json.h"

namespace scute {

/// A number, or an infinity as configs hold it: Infinity, {"__float__": "Infinity"} (transformers
/// 5) or the text "inf".
double config_number(const Json& value, const std::string& where);

/// Getters name file and key in their errors; what is absent has its default, and null is no value
/// but where find() is asked. Which keys were asked for is remembered.
class ConfigReader {
 public:
  ConfigReader(const Json& json, std::string where) : json_(json), where_(std::move(where)) {}

  /// File and key, as errors name them.
  std::string at(std::string_view key) const;
  const std::string& where() const { return where_; }
  /// The value, or null when it is absent or null.
  const Json* find(std::string_view key);
  bool has(std::string_view key) const { return json_.find(key) != nullptr; }
  /// The object under this key; an empty one when there is none.
  ConfigReader object(std::string_view key);
  int64_t integer(std::string_view key);
  int64_t integer(std::string_view key, int64_t otherwise);
  double number(std::string_view key, double otherwise);
  float real(std::string_view key, double otherwise) {
    return static_cast<float>(number(key, otherwise));
  }
  bool flag(std::string_view key, bool otherwise);
  std::string text(std::string_view key, std::string otherwise);
  /// An integer, or "auto" for `automatic`.
  int64_t integer_or_auto(std::string_view key, int64_t automatic);
  /// int(factor · width), as Python computes it; the factor is 2 if absent.
  int64_t expanded(int64_t width, std::string_view key = "expand");
  /// Refuses an option whose other value this engine does not compute.
  void require(std::string_view key, bool wanted);
  /// Refuses another word, if there is one.
  void require_word(std::string_view key, std::string_view wanted);
  /// Refuses another activation than silu, also called swish.
  void require_silu(std::string_view key);
  /// Refuses what stands under this key unless it is null, false or 0: it would change numbers that
  /// this engine does not change so.
  void require_nothing(std::string_view key);
  /// Refuses a number or truth under this key that is there and another; `because` says why it must
  /// be that.
  void require_same(std::string_view key, double computed, std::string_view because);
  /// The keys that nobody asked for, in the object's order; those that change nothing are left out.
  std::vector<std::string> unread() const;

 private:
  int64_t checked(const Json& value, std::string_view key) const;

  const Json& json_;
  std::string where_;
  std::set<std::string, std::less<>> seen_;
};

}  // namespace scute
