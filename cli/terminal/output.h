// Where a verb's results go: standard output, or a string for the verb that called it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "scute/base/json.h"

namespace scute::cli {

class Output {
 public:
  enum class To { standard_output, text };
  explicit Output(To to) : to_(to) {}

  /// Whole lines; those of more than 80 columns are broken at blanks, unless --wide is given
  /// (fitted). Control characters but line ends and tabs are escaped: names of tensors and files
  /// may hold anything.
  void write(std::string_view words);
  /// The same with lines as they are, for what other programs read: CSV, Markdown.
  void write_lines(std::string_view lines);
  /// As it is, for what a model says; escaped as well where standard output is a terminal.
  void write_verbatim(std::string_view text);
  /// One JSON object and a newline.
  void write_json(const Json& json);
  /// Everything written so far (To::text).
  const std::string& text() const { return text_; }
  /// Hands everything to the system; Error when it could not be written. A reader that closed its
  /// end early ("scute sites M | head") has what it wanted: no error.
  void finish();

 private:
  void put(std::string_view bytes);

  To to_;
  std::string text_;
  int failure_ = 0;  ///< errno of the first write that failed
};

/// The words as a JSON array.
Json array_of(const std::vector<std::string>& words);

}  // namespace scute::cli
