#include "scute/regressor/position_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

#include "scute/base/csv.h"
#include "scute/base/error.h"
#include "scute/io/file.h"
#include "scute/io/npy.h"

namespace scute {
namespace {

constexpr const char *kArrays = "val_preds.npz", *kWindows = "pred_vs_true.csv",
                     *kSequences = "eval_summary.csv";

void check_parts(const PositionSet& set) {
  int64_t next = 0;
  for (const PositionSet::Part& part : set.parts) {
    if (part.first != next || part.count < 0) {
      fail(part.name, fmt::format("windows from {} on", next),
           fmt::format("{} from {} on", part.count, part.first));
    }
    next += part.count;
  }
  if (next != set.actual.dim(0)) {
    fail("sequences", fmt::format("{} windows in all", set.actual.dim(0)), fmt::format("{}", next));
  }
}

Tensor scalar(double value) {
  const auto narrow = static_cast<float>(value);
  return Tensor::of<float>({}, std::span(&narrow, 1));
}

Tensor copied(MatView<const float> from) {
  Tensor out(DType::f32, {from.rows, from.cols});
  const MatView<float> to = out.mutable_matrix<float>();
  for (int64_t r = 0; r < from.rows; ++r) std::copy_n(from.row(r), from.cols, to.row(r));
  return out;
}

std::vector<NamedTensor> arrays_of(const PositionSet& set, MatView<const float> predicted,
                                   const std::vector<float>& errors) {
  const PositionErrors all = measure(predicted, set.actual.matrix<float>());
  return {{"y_true", set.actual},
          {"y_pred", copied(predicted)},
          {"err", Tensor::of<float>({all.count}, errors)},
          {"mean", scalar(all.mean)},
          {"median", scalar(all.linear.median)},
          {"p80", scalar(all.linear.p80)},
          {"p90", scalar(all.linear.p90)}};
}

std::string window_rows(const PositionSet& set, MatView<const float> predicted,
                        const std::vector<float>& errors) {
  const MatView<const float> actual = set.actual.matrix<float>();
  std::string out = "y_true_x,y_true_y,y_pred_x,y_pred_y,err_m\n";
  for (int64_t r = 0; r < actual.rows; ++r) {
    const float *a = actual.row(r), *p = predicted.row(r);
    // "{}" of a float: the fewest digits that read back to it.
    fmt::format_to(std::back_inserter(out), "{},{},{},{},{}\n", a[0], a[1], p[0], p[1],
                   errors[static_cast<size_t>(r)]);
  }
  return out;
}

std::string sequence_rows(const std::string& dir, const PositionSet& set,
                          MatView<const float> predicted) {
  const MatView<const float> actual = set.actual.matrix<float>();
  std::vector<std::pair<std::string_view, PositionErrors>> rows;
  for (const PositionSet::Part& part : set.parts) {
    if (part.count == 0) continue;
    rows.emplace_back(part.name, measure(predicted.slice_rows(part.first, part.count),
                                         actual.slice_rows(part.first, part.count)));
  }
  // NaN is no number to sort by: it comes last.
  std::ranges::stable_sort(rows, [](const auto& a, const auto& b) {
    const double x = a.second.mean, y = b.second.mean;
    return std::isnan(x) || std::isnan(y) ? std::isnan(y) && !std::isnan(x) : x < y;
  });
  std::string out = "rank,name,count,mean,median,p80,p90,out_dir\n";
  int rank = 0;
  for (const auto& [name, errors] : rows) {
    fmt::format_to(std::back_inserter(out), "{},{},{},{},{},{},{},{}\n", ++rank, csv_text(name),
                   errors.count, errors.mean, errors.linear.median, errors.linear.p80,
                   errors.linear.p90, csv_text(dir));
  }
  return out;
}

}  // namespace

void write_position_files(const std::string& dir, const PositionSet& set,
                          MatView<const float> predicted, Replace replace) {
  const std::vector<float> errors = position_errors(predicted, set.actual.matrix<float>());
  check_parts(set);
  const std::vector<NamedTensor> arrays = arrays_of(set, predicted, errors);
  const std::filesystem::path folder(dir);
  make_folder(dir);
  write_npz((folder / kArrays).string(), arrays, replace);
  const auto write = [&](const char* name, const std::string& text) {
    AtomicFile file((folder / name).string(), replace);
    file.write(text);
    file.commit();
  };
  write(kWindows, window_rows(set, predicted, errors));
  write(kSequences, sequence_rows(dir, set, predicted));
}

std::vector<std::string> position_file_names() { return {kArrays, kWindows, kSequences}; }

}  // namespace scute
