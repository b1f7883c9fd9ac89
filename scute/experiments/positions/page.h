// One page about positions: the stages' figures, plots, and what others measured beside them.
#pragma once

#include <string>
#include <vector>

#include "scute/experiments/positions/plots.h"

namespace scute {

/// A table as text: what the first row says, and rows of as many cells.
struct PageTable {
  std::string caption;
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;
};

struct PositionReport {
  std::string title;
  std::vector<std::string> subtitle;  ///< lines below it: checkpoint, features, protocol
  PositionSet set;
  std::vector<PositionStage> stages;  ///< the first is what the others are compared with
  PositionPlotOptions plots;
  std::vector<PageTable> tables;  ///< behind the figures, in this order
};

/// A whole HTML page that opens from disk: it loads nothing and has no script. The same input gives
/// the same bytes. Error as the figures', and when a row has more cells than its header.
std::string make_position_report(const PositionReport& report);

}  // namespace scute
