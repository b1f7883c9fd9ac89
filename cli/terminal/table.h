// A table of text, columns aligned, for a terminal or a file.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace scute::cli {

class Table {
 public:
  enum class Align { left, right };
  struct Column {
    std::string title;
    Align align = Align::right;
  };
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  /// As many cells as there are columns.
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  /// The row added last is the best: standard output shows it in bold on a terminal.
  void mark_best() { best_ = rows_.size(); }
  size_t rows() const { return rows_.size(); }
  /// Title line and rows, two blanks between columns, a newline after each.
  std::string text() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
  size_t best_ = 0;  ///< its number from 1
};

}  // namespace scute::cli
