#include "scute/base/csv.h"

namespace scute {

bool is_formula(std::string_view text) {
  if (text.empty() || text == "-") return false;
  if (std::string_view("=+-@\t\r\n").find(text[0]) == text.npos) return false;
  // "-1" and "-1.5e-3" are numbers; "-1+1" and "+1" are computed.
  const bool number = text[0] == '-' && text.size() > 1 && text[1] >= '0' && text[1] <= '9' &&
                      text.find_first_not_of("0123456789.", 1) == text.npos;
  return !number;
}

std::string csv_text(std::string_view text) {
  std::string out = is_formula(text) ? "'" : "";
  out += text;
  if (out.find_first_of("\",\r\n") == out.npos) return out;
  std::string quoted = "\"";
  for (const char c : out) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

}  // namespace scute
