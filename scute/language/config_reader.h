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

/// Getters name file and key in their errors; what is absent or null has its default. Which keys
/// were asked for is remembered.
class ConfigReader {
 public:
  ConfigReader(const Json& json, std::string where) : json_(json), where_(std::move(where)) {}

  std::string at(std::string_view key) const;
  const Json* find(std::string_view key);
  int64_t integer(std::string_view key);
  int64_t integer(std::string_view key, int64_t otherwise);
  double number(std::string_view key, double otherwise);
  bool flag(std::string_view key, bool otherwise);
  std::string text(std::string_view key, std::string otherwise);
  /// An integer, or "auto" for `automatic`.
  int64_t integer_or_auto(std::string_view key, int64_t automatic);
  /// int(expand · width), as Python computes it.
  int64_t expanded(int64_t width);
  /// Refuses an option whose other value this engine does not compute.
  void require(std::string_view key, bool wanted);
  /// Refuses another activation than silu, also called swish.
  void require_silu(std::string_view key);
  /// Refuses a number or truth under this key that is there and another.
  void require_same(std::string_view key, double computed);
  /// The keys that nobody asked for, in the object's order; those that change nothing are left out.
  std::vector<std::string> unread() const;

 private:
  const Json& json_;
  std::string where_;
  std::set<std::string, std::less<>> seen_;
};

}  // namespace scute
