// Predicted positions as files, under the names and in the forms that tools of this field read.
#pragma once

#include <string>
#include <vector>

#include "scute/evaluate/position_error.h"
#include "scute/io/output.h"

namespace scute {

/// Writes into the folder `dir`, made when missing; each file is atomic and in metres:
///   val_preds.npz     y_true, y_pred (n × 2), err (n), mean, median, p80, p90 (scalars), all f4
///   pred_vs_true.csv  y_true_x,y_true_y,y_pred_x,y_pred_y,err_m; digits that read back to the
///                     same f4
///   eval_summary.csv  rank,name,count,mean,median,p80,p90,out_dir; a row for each sequence with
///                     windows, smallest mean first; out_dir is `dir` as given
/// Percentiles are NumPy's (PositionErrors::linear). Error when `predicted` is not n × 2, n is 0,
/// or the parts of `set` do not cover it.
/// Error, too, when `replace` does not cover a file that is there (OutputFile).
void write_position_files(const std::string& dir, const PositionSet& set,
                          MatView<const float> predicted, Replace replace = Replace::anything);
/// Their names in that folder.
std::vector<std::string> position_file_names();

}  // namespace scute
