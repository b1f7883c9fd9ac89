// Figures as SVG text: a heading, a legend, axes with ticks, and shapes. The same input gives the
// same bytes. Colours follow the reader's light or dark theme; no script, no font from elsewhere.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace scute {

/// Text between tags or in quotes, for XML and HTML: the five special characters escaped, control
/// characters as spaces, bytes that are no UTF-8 as U+FFFD.
std::string escape_markup(std::string_view text);

/// `value` with the digits that ticks `step` apart need: 0.25 for 0.05, 1200 for 200; never "-0".
std::string tick_text(double value, double step);
/// 1, 2 or 5 times a power of ten: the smallest distance of ticks with at most `most` (≥ 1) steps
/// in an extent > 0.
double tick_step(double extent, double most);

/// One axis: what it shows from edge to edge. low < high, both finite.
struct SvgAxis {
  std::string label;  ///< with the unit
  double low = 0, high = 1;
};

/// A rectangle of the figure, pixels from the upper left corner.
struct SvgBox {
  double left = 0, top = 0, width = 0, height = 0;
};

/// A plot inside of a figure: data to pixels.
struct SvgPanel {
  SvgBox box;
  SvgAxis x, y;

  double px(double value) const;  ///< at most 10⁵ pixels off: text stays short for any value
  double py(double value) const;
};

/// Both axes at the same scale in a box of this width, as tall as the data wants (between
/// `shortest` and `tallest` pixels); the axis that has room to spare is widened around its middle.
SvgPanel equal_panel(SvgBox place, SvgAxis x, SvgAxis y, double shortest, double tallest);

/// A figure of fixed width; its height is known when it ends. Text is escaped here. A class is a
/// word of style(): "c0" … "c6" strokes and "f0" … "f6" fills in the colours of series, "d0" … "d3"
/// dashes; "truth", "grid", "axis", "muted", "title", "strong".
class Svg {
 public:
  explicit Svg(double width) : width_(width) {}

  double width() const { return width_; }
  /// Title and, unless empty, a remark below; gives where the next thing may begin.
  double heading(std::string_view title, std::string_view remark);
  struct Entry {
    std::string text;
    std::string classes;  ///< of its line
  };
  /// From `top` down, as many rows as the entries need; gives where the next thing may begin.
  double legend(double top, const std::vector<Entry>& entries);
  /// Frame, grid lines, ticks and labels.
  void axes(const SvgPanel& panel);

  enum class Anchor { start, middle, end };
  void text(double x, double y, std::string_view text, std::string_view classes = "",
            Anchor anchor = Anchor::start);
  /// Path data as SVG has it, clipped to the panel.
  void path(const SvgPanel& panel, std::string_view data, std::string_view classes);
  /// A rectangle in one colour ("#rrggbb"), with a text that shows on pointing unless it is empty.
  void cell(const SvgBox& box, std::string_view colour, std::string_view tip);

  /// The whole file; `label` says to those who cannot see it what it shows.
  std::string finish(double height, std::string_view label) const;

 private:
  double width_;
  std::string body_;
};

/// "M…L…" through points, in one piece; the points closer than 0.3 pixels to the one before are
/// left out, which nobody sees and which bounds the text. A single point becomes a dot.
class SvgLine {
 public:
  void add(double x, double y);  ///< pixels
  void lift();                   ///< the next point begins a new piece
  std::string data() const { return data_; }

 private:
  std::string data_;
  double x_ = 0, y_ = 0;
  bool down_ = false;
};

/// Classes of series k: its colour and its dashes; 28 different ones.
std::string series_classes(size_t k);

}  // namespace scute
