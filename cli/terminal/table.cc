#include "cli/terminal/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "cli/terminal/color.h"
#include "cli/terminal/width.h"
#include "cli/terminal/words.h"
#include "scute/base/names.h"
#include "scute/text/columns.h"

namespace scute::cli {
namespace {

constexpr size_t kGap = 2;
constexpr size_t kAnyWidth = std::numeric_limits<size_t>::max();

using Row = std::vector<std::string>;

Row words_of_title(const std::string& title) {
  Row out;
  for (size_t at = 0; at < title.size();) {
    const size_t end = std::min(title.find(' ', at), title.size());
    if (end > at) out.push_back(title.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

/// The title in lines of at most `width` columns, as its longest word has.
Row lines_of_title(const std::string& title, size_t width) {
  Row out;
  for (const std::string& word : words_of_title(title)) {
    const bool fits = !out.empty() && columns_of(out.back()) + 1 + columns_of(word) <= width;
    if (fits) {
      out.back() += " " + word;
    } else {
      out.push_back(word);
    }
  }
  return out;
}

/// `text` in `width` columns, "…" where something is missing; what it is indented by stays.
std::string cut(const std::string& text, size_t width, Table::Keep keep) {
  if (columns_of(text) <= width) return text;
  const size_t indent = std::min(text.find_first_not_of(' '), width / 2);
  const std::string_view words = std::string_view(text).substr(indent);
  const size_t room = width - indent - 1;
  const std::string blanks(indent, ' ');
  if (keep == Table::Keep::beginning) {
    return blanks + std::string(words.substr(0, end_of_columns(words, room))) + "…";
  }
  return blanks + "…" + std::string(words.substr(begin_of_columns(words, room)));
}

/// Nothing stands beside its first cell: a heading, which may reach over the next columns.
bool is_heading(const Row& row) {
  const auto empty = [](const std::string& cell) { return cell.empty(); };
  return row.size() > 1 && std::all_of(row.begin() + 1, row.end(), empty);
}

/// Which columns there are, and how wide: `most` together.
class Layout {
 public:
  Layout(const std::vector<Table::Column>& columns, const std::vector<Row>& rows, size_t most)
      : columns_(columns), rows_(rows), most_(most), shown_(columns.size()) {
    std::iota(shown_.begin(), shown_.end(), size_t{0});
    for (const Table::Column& column : columns_) {
      titles_.push_back({column.title});
      widths_.push_back(columns_of(column.title));
    }
    for (const Row& row : rows_) {
      for (size_t i = 0; i < row.size(); ++i) widths_[i] = std::max(widths_[i], columns_of(row[i]));
    }
    if (total(widths_) > most_) fit();
  }

  /// Titles stand on the rows.
  std::string titles() const {
    size_t most = 1;
    for (const size_t i : shown_) most = std::max(most, titles_[i].size());
    std::string out;
    for (size_t k = 0; k < most; ++k) {
      Row cells(columns_.size());
      for (const size_t i : shown_) {
        const size_t above = most - titles_[i].size();
        if (k >= above) cells[i] = titles_[i][k - above];
      }
      out += line(cells) + "\n";
    }
    return out;
  }
  std::string line(const Row& cells) const {
    if (is_heading(cells) && is_text(0)) return cut(cells[0], most_, Table::Keep::beginning);
    std::string out;
    for (const size_t i : shown_) {
      const std::string cell = is_text(i) ? cut(cells[i], widths_[i], columns_[i].keep) : cells[i];
      const std::string padding(widths_[i] - std::min(widths_[i], columns_of(cell)), ' ');
      if (i != shown_.front()) out += std::string(kGap, ' ');
      out += is_text(i) ? cell + padding : padding + cell;
    }
    return out.erase(out.find_last_not_of(' ') + 1);
  }
  /// What is missing; "" when nothing is.
  std::string note() const {
    Row missing;
    for (size_t i = 0; i < columns_.size(); ++i) {
      if (!shows(i)) missing.push_back(columns_[i].title);
    }
    std::string out;
    if (!missing.empty()) out = "left out " + joined(missing, ", ");
    if (cut_) out += std::string(out.empty() ? "" : "; ") + "text cut at …";
    return out.empty() ? out
                       : fmt::format("({} to fit {} columns; --wide shows all)\n", out, most_);
  }

 private:
  bool shows(size_t i) const { return std::ranges::find(shown_, i) != shown_.end(); }
  bool is_text(size_t i) const { return columns_[i].align == Table::Align::left; }
  size_t total(const std::vector<size_t>& widths) const {
    size_t out = kGap * (shown_.size() - 1);
    for (const size_t i : shown_) out += widths[i];
    return out;
  }

  void fit() {
    std::vector<size_t> least;
    for (size_t i = 0; i < columns_.size(); ++i) {
      widths_[i] = 0;
      for (const std::string& word : words_of_title(columns_[i].title))
        widths_[i] = std::max(widths_[i], columns_of(word));
      for (const Row& row : rows_) {
        if (i > 0 || !is_heading(row)) widths_[i] = std::max(widths_[i], columns_of(row[i]));
      }
      least.push_back(is_text(i) ? std::min(widths_[i], columns_[i].least) : widths_[i]);
    }
    while (total(least) > most_ && shown_.size() > 1) leave_out();
    least[0] = std::min(least[0], most_);
    narrow(least);
    for (const size_t i : shown_) titles_[i] = lines_of_title(columns_[i].title, widths_[i]);
    for (const Row& row : rows_) {
      for (const size_t i : shown_) {
        cut_ = cut_ || (columns_of(row[i]) > widths_[i] && !(i == 0 && is_heading(row)));
      }
    }
  }
  /// The columns of the highest rank, or the last one.
  void leave_out() {
    int rank = 0;
    for (const size_t i : shown_) rank = std::max(rank, i == 0 ? 0 : columns_[i].rank);
    if (rank == 0) return shown_.pop_back();
    std::erase_if(shown_, [&](size_t i) { return i > 0 && columns_[i].rank == rank; });
  }
  /// Takes from the widest column of text but the first what is too much, then from the first.
  void narrow(const std::vector<size_t>& least) {
    while (total(widths_) > most_) {
      size_t widest = columns_.size();
      for (const size_t i : shown_) {
        if (!is_text(i) || widths_[i] <= least[i]) continue;
        const bool none = widest == columns_.size() || widest == shown_.front();
        if (none || widths_[i] > widths_[widest]) widest = i;
      }
      if (widest == columns_.size()) return;
      --widths_[widest];
    }
  }

  const std::vector<Table::Column>& columns_;
  const std::vector<Row>& rows_;
  const size_t most_;
  std::vector<size_t> shown_;  ///< indices of columns
  std::vector<size_t> widths_;
  std::vector<Row> titles_;  ///< lines of each
  bool cut_ = false;
};

}  // namespace

std::string Table::text() const {
  std::vector<Row> rows = rows_;
  for (Row& row : rows) {
    for (std::string& cell : row) cell = printable(cell);  // a line end would break the row
  }
  const Layout layout(columns_, rows, is_wide() ? kAnyWidth : kColumns);
  std::string out = layout.titles();
  for (size_t i = 0; i < rows.size(); ++i) {
    const std::string line = layout.line(rows[i]);
    out += (i + 1 == best_ ? tinted(line, Tint::strong, stdout) : line) + "\n";
  }
  return out + layout.note();
}

std::string Table::list() const {
  const Layout layout(columns_, rows_, kAnyWidth);
  std::string out;
  for (const Row& row : rows_) out += layout.line(row) + "\n";
  return out;
}

}  // namespace scute::cli
