// scute scales: ranges of a plan or a low-bit model changed by hand; for every kind.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/terminal/options.h"
#include "scute/language/scales.h"

namespace scute::cli {

struct ScalesRequest {
  std::string target, out;
  std::vector<std::string> sets;
  std::vector<RangeEdit> edits;  ///< of `sets`
  std::optional<int64_t> undo;   ///< instead: how many edits are taken back, kEveryEdit: all
  bool force = false, dry_run = false, json = false;

  void declare(Options& options);
  void check();
  /// Where the result goes.
  const std::string& written() const { return out.empty() ? target : out; }
};

/// What was changed, and how the model computes after it.
struct ScalesAnswer {
  std::vector<RangeChange> ranges;
  std::vector<TensorChange> tensors = {};
  ProbeComparison check = {};
  std::string outputs = {};  ///< that were compared
};

/// Gives the exit code.
int show_scales(const ScalesRequest& request, const ScalesAnswer& answer, Output& out);
/// The same of an edit, which `write` writes unless nothing shall be; `outputs`: what it compares.
int show_scales(const ScalesRequest& request, FolderEdit edit,
                ProbeComparison (*write)(const FolderEdit&), std::string outputs, Output& out);

}  // namespace scute::cli
