// The page's parts, embedded when scute is built (cmake/embed.cmake).
#pragma once

#include <string_view>

namespace scute {

struct ReportAssets {
  std::string_view html;    ///< with the places @CSP@, @STYLE@, @DATA@, @CHART@, @SCRIPT@
  std::string_view style;   ///< page/report.css
  std::string_view chart;   ///< Chart.js as Debian ships it, its licence first
  std::string_view script;  ///< page/*.js, one after the other
};
const ReportAssets& report_assets();

}  // namespace scute
