#include "scute/experiments/fields.h"

#include <cmath>

namespace scute {

const Json* field(const Json& record, FieldPath path) {
  const Json* at = &record;
  for (const std::string_view key : path) {
    at = at->find(key);
    if (at == nullptr) return nullptr;
  }
  return at;
}

std::optional<double> number_field(const Json& record, FieldPath path) {
  const Json* found = field(record, path);
  if (found == nullptr || !found->is_number()) return std::nullopt;
  const double value = found->as_double("");
  return std::isfinite(value) ? std::optional(value) : std::nullopt;
}

std::string text_field(const Json& record, FieldPath path) {
  const Json* found = field(record, path);
  return found != nullptr && found->is_string() ? found->as_string("") : "";
}

bool flag_field(const Json& record, FieldPath path) {
  const Json* found = field(record, path);
  return found != nullptr && found->is_bool() && found->as_bool("");
}

}  // namespace scute
