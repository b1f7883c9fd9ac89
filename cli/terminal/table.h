// A table of text, columns aligned, for a terminal or a file.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace scute::cli {

class Table {
 public:
  enum class Align { left, right };
  /// Of text that is cut: a name's end tells it from others, a sentence is read from its beginning.
  enum class Keep { end, beginning };
  struct Column {
    std::string title;
    Align align = Align::right;
    /// Columns of the highest rank are left out first, and together; those of rank 0 one after the
    /// other, from the right. The first column never is.
    int rank = 0;
    Keep keep = Keep::end;
    size_t least = 24;  ///< what text is not cut further than, in columns
  };
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  /// As many cells as there are columns.
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  /// The row added last is the best: standard output shows it in bold on a terminal.
  void mark_best() { best_ = rows_.size(); }
  size_t rows() const { return rows_.size(); }
  /// Title line and rows, two blanks between columns, a newline after each. A table that is wider
  /// than 80 columns is made to fit unless --wide is given: titles are broken into lines, columns
  /// are left out until the others fit with text cut to its least, text is cut, the first column
  /// last; a line below says what is missing. Numbers are never cut.
  std::string text() const;
  /// The rows as they are, without titles: lists, whose last column holds words that may be broken.
  std::string list() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
  size_t best_ = 0;  ///< its number from 1
};

}  // namespace scute::cli
