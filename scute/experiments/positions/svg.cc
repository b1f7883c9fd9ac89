#include "scute/experiments/positions/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>

#include "scute/base/json.h"

namespace scute {
namespace {

constexpr double kCharacter = 6.8;  // pixels of a letter of 12 pixel text, on the wide side
constexpr double kMargin = 16;
constexpr size_t kLongestEntry = 60;  // characters of a legend's entry

/// Light and dark, one a series: of similar weight on either paper, told apart by those who do not
/// see red and green as different too.
constexpr std::array<std::array<std::string_view, 2>, 7> kSeries = {{{"#0072b2", "#56b4e9"},
                                                                     {"#d55e00", "#ff8f4a"},
                                                                     {"#009e73", "#2fcf9f"},
                                                                     {"#b3558f", "#e29ac6"},
                                                                     {"#b97a00", "#e6b54a"},
                                                                     {"#4d5866", "#b4bfcc"},
                                                                     {"#2a93d5", "#8fcaff"}}};
constexpr std::array<std::string_view, 4> kDashes = {"none", "7 3", "2 2.5", "9 3 2 3"};

std::string colours(size_t theme) {
  const std::string_view ink = theme == 0 ? "#1b2430" : "#e6eaf0";
  const std::string_view muted = theme == 0 ? "#5a6675" : "#a0acba";
  std::string out = fmt::format(
      ".sp .paper{{fill:{}}}.sp text{{fill:{}}}.sp .muted{{fill:{}}}.sp .axis{{stroke:{}}}"
      ".sp .grid{{stroke:{}}}.sp .truth{{stroke:{}}}",
      theme == 0 ? "#ffffff" : "#1a2028", ink, muted, muted, theme == 0 ? "#e3e8ee" : "#2c3540",
      theme == 0 ? "#b4bdc8" : "#5d6977");
  for (size_t k = 0; k < kSeries.size(); ++k) {
    fmt::format_to(std::back_inserter(out), ".sp .c{0}{{stroke:{1}}}.sp .f{0}{{fill:{1}}}", k,
                   kSeries[k][theme]);
  }
  return out;
}

/// Plain rules first, so that viewers without media queries and variables draw the light figure.
std::string style() {
  std::string out =
      ".sp text{font:12px system-ui,-apple-system,\"Segoe UI\",Roboto,\"DejaVu Sans\",sans-serif;"
      "font-variant-numeric:tabular-nums}"
      ".sp text.title{font-size:15px;font-weight:600}.sp text.strong{font-weight:600}"
      ".sp path,.sp line{fill:none;stroke-linejoin:round}.sp .axis,.sp .grid{stroke-width:1}"
      ".sp .series{stroke-width:1.8}.sp .thin{stroke-width:1.2;stroke-linecap:round}"
      ".sp .truth{stroke-width:3.5;stroke-linecap:round}.sp .area{stroke:none;fill-opacity:.18}";
  for (size_t k = 0; k < kDashes.size(); ++k) {
    fmt::format_to(std::back_inserter(out), ".sp .d{}{{stroke-dasharray:{}}}", k, kDashes[k]);
  }
  return out + colours(0) + "@media (prefers-color-scheme:dark){" + colours(1) + "}";
}

/// Pixels to a tenth, "-0.0" as 0.
std::string pixels(double value) {
  const double rounded = std::round(value * 10) / 10;
  return fmt::format("{}", rounded == 0 ? 0.0 : rounded);
}

/// Where each tick stands; from the first multiple of the step on.
std::vector<double> ticks(const SvgAxis& axis, double step) {
  std::vector<double> out;
  const double first = std::ceil(axis.low / step - 1e-9),
               last = std::floor(axis.high / step + 1e-9);
  for (double k = first; k <= last; ++k) out.push_back(k * step);
  return out;
}

/// Characters, and the text cut to `most` of them. Bytes 10xxxxxx continue a character.
size_t characters(std::string_view text) {
  return static_cast<size_t>(
      std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}
std::string shortened(std::string_view text, size_t most) {
  if (characters(text) <= most) return std::string(text);
  size_t end = 0, seen = 0;
  while (end < text.size()) {
    if ((text[end] & 0xC0) != 0x80 && ++seen == most) break;
    ++end;
  }
  return std::string(text.substr(0, end)) + "…";
}

double limited(double value) { return std::clamp(value, -1e5, 1e5); }

}  // namespace

std::string escape_markup(std::string_view text) {
  // Writing JSON and reading it again leaves what is no UTF-8 behind.
  const std::string clean = Json::parse(Json(text).dump(), "text").as_string("text");
  std::string out;
  out.reserve(clean.size());
  for (const char c : clean) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? ' ' : c;
    }
  }
  return out;
}

double tick_step(double extent, double most) {
  const double power = std::pow(10, std::floor(std::log10(extent / most)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (extent / (factor * power) <= most * (1 + 1e-9)) return factor * power;
  }
  return 10 * power;
}

std::string tick_text(double value, double step) {
  const int digits = std::clamp(static_cast<int>(-std::floor(std::log10(step) + 1e-9)), 0, 9);
  const double rounded = std::abs(value) < step * 1e-6 ? 0.0 : value;
  return fmt::format("{:.{}f}", rounded, digits);
}

double SvgPanel::px(double value) const {
  return limited(box.left + (value - x.low) / (x.high - x.low) * box.width);
}
double SvgPanel::py(double value) const {
  return limited(box.top + (y.high - value) / (y.high - y.low) * box.height);
}

SvgPanel equal_panel(SvgBox place, SvgAxis x, SvgAxis y, double shortest, double tallest) {
  const double wanted = place.width * (y.high - y.low) / (x.high - x.low);
  place.height = std::clamp(wanted, shortest, tallest);
  // Metres a pixel: what the tighter axis needs.
  const double scale = std::max((x.high - x.low) / place.width, (y.high - y.low) / place.height);
  const auto widen = [scale](SvgAxis& axis, double length) {
    const double middle = (axis.low + axis.high) / 2;
    axis.low = middle - scale * length / 2;
    axis.high = middle + scale * length / 2;
  };
  widen(x, place.width);
  widen(y, place.height);
  return {place, x, y};
}

void Svg::text(double x, double y, std::string_view text, std::string_view classes, Anchor anchor) {
  const std::string_view where = anchor == Anchor::middle ? "middle"
                                 : anchor == Anchor::end  ? "end"
                                                          : "start";
  body_ += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"{}\" class=\"{}\">{}</text>\n",
                       pixels(x), pixels(y), where, classes, escape_markup(text));
}

double Svg::heading(std::string_view title, std::string_view remark) {
  text(kMargin, 26, title, "title");
  if (remark.empty()) return 40;
  text(kMargin, 45, remark, "muted");
  return 58;
}

double Svg::legend(double top, const std::vector<Entry>& entries) {
  double x = kMargin, y = top + 10;
  for (const Entry& entry : entries) {
    const std::string words = shortened(entry.text, kLongestEntry);
    const double length = 34 + kCharacter * static_cast<double>(characters(words)) + 18;
    if (x > kMargin && x + length > width_) {
      x = kMargin;
      y += 19;
    }
    body_ += fmt::format("<path d=\"M{} {}h26\" class=\"{}\"/>\n", pixels(x), pixels(y - 4),
                         entry.classes);
    text(x + 33, y, words);
    x += length;
  }
  return entries.empty() ? top : y + 14;
}

void Svg::axes(const SvgPanel& panel) {
  const SvgBox& box = panel.box;
  const double bottom = box.top + box.height;
  const double x_step = tick_step(panel.x.high - panel.x.low, std::max(2.0, box.width / 62));
  const double y_step = tick_step(panel.y.high - panel.y.low, std::max(2.0, box.height / 34));
  for (const double value : ticks(panel.x, x_step)) {
    const double x = panel.px(value);
    body_ += fmt::format("<path d=\"M{} {}v{}\" class=\"grid\"/>\n", pixels(x), pixels(box.top),
                         pixels(box.height));
    text(x, bottom + 17, tick_text(value, x_step), "", Anchor::middle);
  }
  for (const double value : ticks(panel.y, y_step)) {
    const double y = panel.py(value);
    body_ += fmt::format("<path d=\"M{} {}h{}\" class=\"grid\"/>\n", pixels(box.left), pixels(y),
                         pixels(box.width));
    text(box.left - 7, y + 4, tick_text(value, y_step), "", Anchor::end);
  }
  body_ += fmt::format("<path d=\"M{0} {1}h{2}v{3}h-{2}z\" class=\"axis\"/>\n", pixels(box.left),
                       pixels(box.top), pixels(box.width), pixels(box.height));
  text(box.left + box.width / 2, bottom + 37, panel.x.label, "muted", Anchor::middle);
  const double middle = box.top + box.height / 2, left = box.left - 46;
  body_ += fmt::format(
      "<text transform=\"translate({} {}) rotate(-90)\" text-anchor=\"middle\" class=\"muted\">{}"
      "</text>\n",
      pixels(left), pixels(middle), escape_markup(panel.y.label));
}

void Svg::path(const SvgPanel& panel, std::string_view data, std::string_view classes) {
  if (data.empty()) return;
  // A nested figure clips at its edges without a name, which several figures in one page would
  // have to share.
  const SvgBox& box = panel.box;
  body_ += fmt::format(
      "<svg x=\"{0}\" y=\"{1}\" width=\"{2}\" height=\"{3}\" viewBox=\"{0} {1} {2} {3}\">"
      "<path d=\"{4}\" class=\"{5}\"/></svg>\n",
      pixels(box.left), pixels(box.top), pixels(box.width), pixels(box.height), data, classes);
}

void Svg::cell(const SvgBox& box, std::string_view colour, std::string_view tip) {
  const std::string title = tip.empty() ? "" : fmt::format("<title>{}</title>", escape_markup(tip));
  body_ += fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{}\">{}</rect>\n",
                       pixels(box.left), pixels(box.top), pixels(box.width), pixels(box.height),
                       colour, title);
}

std::string Svg::finish(double height, std::string_view label) const {
  const std::string w = pixels(width_), h = pixels(height);
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"sp\" width=\"{0}\" height=\"{1}\" "
      "viewBox=\"0 0 {0} {1}\" role=\"img\" aria-label=\"{2}\">\n<style>{3}</style>\n"
      "<rect class=\"paper\" width=\"{0}\" height=\"{1}\"/>\n{4}</svg>\n",
      w, h, escape_markup(label), style(), body_);
}

void SvgLine::add(double x, double y) {
  if (down_ && std::abs(x - x_) < 0.3 && std::abs(y - y_) < 0.3) return;
  if (!down_) {
    // The line of no length makes a dot of a piece that has only this point.
    fmt::format_to(std::back_inserter(data_), "M{} {}h0", pixels(x), pixels(y));
  } else {
    fmt::format_to(std::back_inserter(data_), "L{} {}", pixels(x), pixels(y));
  }
  x_ = x;
  y_ = y;
  down_ = true;
}

void SvgLine::lift() { down_ = false; }

std::string series_classes(size_t k) {
  return fmt::format("c{} d{}", k % kSeries.size(), k % kDashes.size());
}

}  // namespace scute
