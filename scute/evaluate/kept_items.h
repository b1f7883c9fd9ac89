// Scores of items that need not be computed here: another process has them, or one that died had.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "scute/base/json.h"
#include "scute/base/shard.h"

namespace scute {

/// The items of an evaluation by task ("perplexity") and number. What is known is taken as it is;
/// of the rest those of the share are scored.
class KeptItems {
 public:
  /// Called with each item as it is scored, from any thread. Null: nobody is told.
  using Tell = std::function<void(const std::string& task, int64_t item, const Json& values)>;

  explicit KeptItems(Shard shard = {}, Tell tell = {}) : shard_(shard), tell_(std::move(tell)) {}

  void know(std::string task, int64_t item, Json values);
  /// Null when it is not known.
  const Json* find(const std::string& task, int64_t item) const;
  /// Whether one that is not known is to be scored here.
  bool wants(int64_t item) const { return shard_.takes(item); }
  void tell(const std::string& task, int64_t item, const Json& values) const {
    if (tell_) tell_(task, item, values);
  }

 private:
  Shard shard_;
  Tell tell_;
  std::map<std::pair<std::string, int64_t>, Json> known_;
};

/// A number as kept: null is one that is not finite, whose kind is lost.
double number_of(const Json& values, const char* key);

}  // namespace scute
