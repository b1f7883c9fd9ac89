#include "scute/experiments/home_folder.h"

namespace scute {
namespace {

/// What may stand in a path's name: beside such a byte a folder's name is a piece of a longer one.
bool is_of_name(char c) {
  const auto byte = static_cast<unsigned char>(c);
  const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  return letter || byte >= 0x80 || c == '.' || c == '_' || c == '-' || c == '/';
}

Json with_tilde(const Json& value, std::string_view home) {
  if (value.is_string()) return home_as_tilde(value.as_string(""), home);
  if (value.is_array()) {
    Json out = Json::array();
    for (const Json& one : value.as_array("")) out.push_back(with_tilde(one, home));
    return out;
  }
  if (!value.is_object()) return value;
  Json out = Json::object();
  for (const auto& [key, one] : value.as_object("")) out.append_member(key, with_tilde(one, home));
  return out;
}

}  // namespace

std::string home_as_tilde(std::string_view text, std::string_view home) {
  while (home.size() > 1 && home.ends_with('/')) home.remove_suffix(1);
  if (home.size() < 2 || !home.starts_with('/')) return std::string(text);
  std::string out;
  size_t done = 0;
  for (size_t at = text.find(home); at != text.npos; at = text.find(home, at + 1)) {
    const size_t end = at + home.size();
    const bool begins = at == 0 || !is_of_name(text[at - 1]);
    const bool ends = end == text.size() || text[end] == '/' || !is_of_name(text[end]);
    if (!begins || !ends) continue;
    out.append(text.substr(done, at - done)).append("~");
    done = end;
  }
  return out.append(text.substr(done));
}

void home_as_tilde(ExperimentLog& log, std::string_view home) {
  for (LogEntry& entry : log.entries) {
    entry.command = home_as_tilde(entry.command, home);
    for (Json* part :
         {&entry.config, &entry.reorder_summary, &entry.results, &entry.hashes, &entry.files}) {
      *part = with_tilde(*part, home);
    }
  }
}

}  // namespace scute
