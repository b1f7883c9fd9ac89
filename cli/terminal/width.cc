#include "cli/terminal/width.h"

#include <algorithm>
#include <cctype>

#include "scute/text/columns.h"

namespace scute::cli {
namespace {

// Like the terminal, of the whole program: set once by main().
bool wide = false;

/// Where in a line its words begin: behind the last label of a few columns, else the first word.
size_t begin_of_words(std::string_view line) {
  constexpr size_t kLabels = 40;  // columns
  size_t out = std::min(line.find_first_not_of(' '), line.size());
  for (size_t at = out; (at = line.find("  ", at)) != line.npos;) {
    at = line.find_first_not_of(' ', at);
    if (at == line.npos || columns_of(line.substr(0, at)) > kLabels) break;
    out = at;
  }
  return out;
}

/// "scute VERB …", perhaps behind a prompt; not "scute VERB: what it does".
bool is_command(std::string_view words) {
  constexpr std::string_view kPrompt = "$ ", kProgram = "scute ";
  if (words.starts_with(kPrompt)) words.remove_prefix(kPrompt.size());
  if (!words.starts_with(kProgram)) return false;
  words.remove_prefix(kProgram.size());
  const auto end = std::ranges::find_if(
      words, [](char c) { return std::islower(static_cast<unsigned char>(c)) == 0; });
  return end != words.begin() && end != words.end() && *end == ' ';
}

/// The end of the word that begins at `from`; one of a command may hold blanks between quotes.
size_t end_of_word(std::string_view line, size_t from, bool command) {
  bool quoted = false;
  for (size_t at = from; at < line.size(); ++at) {
    if (command && line[at] == '\'') quoted = !quoted;
    if (line[at] == ' ' && !quoted) return at;
  }
  return line.size();
}

/// The end of the word from `from` on; of one that is wider than `room` the part up to a comma.
size_t end_of_part(std::string_view line, size_t from, size_t room, bool command) {
  const size_t end = end_of_word(line, from, command);
  const std::string_view word = line.substr(from, end - from);
  if (command || columns_of(word) <= room) return end;
  const size_t comma = word.substr(0, end_of_columns(word, room)).rfind(',');
  return comma == word.npos ? end : from + comma + 1;
}

std::string broken(std::string_view line) {
  const size_t begin = begin_of_words(line);
  const bool command = is_command(line.substr(begin));
  const size_t most = kColumns - (command ? 2 : 0);  // " \"
  // What has no label and is not far in already goes on a little further in.
  constexpr size_t kFarIn = 8;
  const bool below = begin >= kFarIn || line.find_first_not_of(' ') < begin;
  const size_t further = below ? 0 : command ? 4 : 2;
  const size_t hang = std::min(columns_of(line.substr(0, begin)) + further, kColumns / 2);
  std::string out(line.substr(0, begin));
  size_t column = columns_of(out);
  for (size_t at = begin; at < line.size();) {
    const size_t end = end_of_part(line, at, most - hang, command);
    const std::string_view part = line.substr(at, end - at);
    const size_t gap = at > begin && line[at - 1] == ' ' ? 1 : 0;
    if (at > begin && column + gap + columns_of(part) > most) {
      out += (command ? " \\\n" : "\n") + std::string(hang, ' ');
      column = hang;
    } else {
      out += std::string(gap, ' ');
      column += gap;
    }
    out += part;
    column += columns_of(part);
    at = end + (end < line.size() && line[end] == ' ' ? 1 : 0);
  }
  return out;
}

}  // namespace

void choose_width(bool as_wide) { wide = as_wide; }

bool is_wide() { return wide; }

std::string fitted(std::string_view words) {
  if (wide) return std::string(words);
  std::string out;
  while (!words.empty()) {
    const size_t end = std::min(words.find('\n'), words.size());
    const std::string_view line = words.substr(0, end);
    out += columns_of(line) <= kColumns ? std::string(line) : broken(line);
    if (end < words.size()) out += '\n';
    words.remove_prefix(std::min(end + 1, words.size()));
  }
  return out;
}

}  // namespace scute::cli
