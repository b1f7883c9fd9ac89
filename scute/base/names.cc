#include "scute/base/names.h"

#include <algorithm>
#include <cctype>
#include <filesystem>

namespace scute {
namespace {

/// Matches one character against the pattern's first item; says how long that item is.
bool match_one(std::string_view pattern, char c, size_t& length) {
  if (pattern.front() != '[') {
    length = 1;
    return pattern.front() == '?' || pattern.front() == c;
  }
  size_t i = 1;
  const bool negate = i < pattern.size() && pattern[i] == '!';
  if (negate) ++i;
  bool found = false;
  const size_t first = i;
  while (i < pattern.size() && (pattern[i] != ']' || i == first)) {
    if (i + 2 < pattern.size() && pattern[i + 1] == '-' && pattern[i + 2] != ']') {
      found = found || (pattern[i] <= c && c <= pattern[i + 2]);
      i += 3;
    } else {
      found = found || pattern[i] == c;
      ++i;
    }
  }
  if (i >= pattern.size()) {  // no closing bracket: an ordinary character
    length = 1;
    return c == '[';
  }
  length = i + 1;
  return found != negate;
}

/// Backtracks only to the last star: linear in practice, quadratic at worst.
bool match_single(std::string_view pattern, std::string_view name) {
  size_t p = 0, n = 0, star = std::string_view::npos, resume = 0;
  while (n < name.size()) {
    size_t length = 0;
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = n;
    } else if (p < pattern.size() && match_one(pattern.substr(p), name[n], length)) {
      p += length;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

template <class Name>
std::string join_all(std::span<const Name> names, std::string_view between) {
  std::string out;
  for (const Name& name : names) {
    if (&name != names.data()) out += between;
    out += name;
  }
  return out;
}

}  // namespace

bool glob_match(std::string_view pattern, std::string_view name) {
  while (true) {
    const size_t comma = pattern.find(',');
    if (match_single(pattern.substr(0, comma), name)) return true;
    if (comma == std::string_view::npos) return false;
    pattern.remove_prefix(comma + 1);
  }
}

std::vector<std::string> closest_names(std::string_view name, const std::vector<std::string>& names,
                                       size_t most) {
  const std::string wanted = lower(name.substr(0, 256));
  std::vector<std::pair<size_t, std::string>> ranked;
  for (const std::string& candidate : names) {
    const std::string low = lower(candidate);
    // A name that contains the wanted one is near however long it is.
    const size_t distance =
        !wanted.empty() && low.find(wanted) != std::string::npos ? 1 : edit_distance(wanted, low);
    if (2 * distance <= std::max<size_t>(wanted.size(), 2))
      ranked.emplace_back(distance, candidate);
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> out;
  for (size_t i = 0; i < std::min(most, ranked.size()); ++i) out.push_back(ranked[i].second);
  return out;
}

std::string did_you_mean(std::string_view name, const std::vector<std::string>& names) {
  const auto near = closest_names(name, names);
  if (near.empty()) return "";
  std::string out = "; did you mean ";
  for (size_t i = 0; i < near.size(); ++i) {
    if (i > 0) out += i + 1 == near.size() ? " or " : ", ";
    out += near[i];
  }
  return out + "?";
}

std::string joined(std::span<const std::string> names, std::string_view between) {
  return join_all(names, between);
}

std::string joined(std::span<const std::string_view> names, std::string_view between) {
  return join_all(names, between);
}

std::string first_few(const std::vector<std::string>& names, size_t shown) {
  std::string out;
  for (size_t i = 0; i < std::min(names.size(), shown); ++i) out += (i == 0 ? "" : ", ") + names[i];
  if (names.size() > shown) out += " and " + std::to_string(names.size() - shown) + " more";
  return out;
}

std::string base_name(std::string_view path) {
  const std::filesystem::path plain = std::filesystem::path(path).lexically_normal();
  return (plain.has_filename() ? plain : plain.parent_path()).filename().string();
}

}  // namespace scute
