#include "scute/regressor/predict.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "scute/base/checked.h"
#include "scute/base/hash.h"
#include "scute/evaluate/not_finite.h"

namespace scute {

AnyRegressor build_stored_regressor(const RegressorCheckpoint& checkpoint) {
  if (!checkpoint.formats) return build_regressor(checkpoint, stored_rounding(checkpoint));
  return IntegerRegressor(checkpoint.config,
                          RegressorTensors(checkpoint.config, checkpoint.weights),
                          *checkpoint.formats);
}

PositionSet positions_of(const FeatureFolder& folder) {
  PositionSet out{Tensor(DType::f32, {folder.windows(), 2}), {}};
  const auto rows = out.actual.mutable_matrix<float>();
  int64_t row = 0;
  for (const FeatureSequence& sequence : folder.sequences) {
    out.parts.push_back({sequence.name, row, std::ssize(sequence.ends)});
    const auto positions = sequence.positions.matrix<float>();
    for (const int64_t end : sequence.ends) {
      std::copy_n(positions.row(end), 2, rows.row(row++));
    }
  }
  return out;
}

std::string hash_features(const FeatureFolder& folder) {
  Sha256 hash;
  const auto add = [&](const auto& values) { hash.update(std::as_bytes(std::span(values))); };
  if (folder.normalization) {
    add(folder.normalization->mean);
    add(folder.normalization->deviation);
  }
  for (const FeatureSequence& sequence : folder.sequences) {
    hash.update(sequence.name);
    hash.update(to_string(sequence.frames.shape()));
    add(sequence.ends);
    add(sequence.frames.bytes());
    sequence.frames.give_back();
    add(sequence.positions.bytes());
  }
  return hash.hex();
}

namespace {

/// See FolderPredictions::not_finite; `predicted` is of these windows of one sequence. The model
/// reads that window once more.
std::string look_for_not_finite(const AnyRegressor& model, MatView<const float> frames,
                                const FeatureSequence& sequence, MatView<const float> predicted) {
  for (int64_t r = 0; r < predicted.rows; ++r) {
    if (std::isfinite(predicted.row(r)[0]) && std::isfinite(predicted.row(r)[1])) continue;
    NotFiniteWatch watch;
    Run run(&watch);
    const auto end = std::span(sequence.ends).subspan(static_cast<size_t>(r), 1);
    std::visit([&](const auto& one) { predict(one, frames, end, run); }, model);
    const std::string& found = watch.found();
    return fmt::format("{} in window {} of {}", found.empty() ? "a position that is not" : found, r,
                       sequence.name);
  }
  return "";
}

}  // namespace

FolderPredictions predict_folder(const std::vector<const AnyRegressor*>& models,
                                 const FeatureFolder& folder, const Threads& threads,
                                 const WindowProgress& progress) {
  FolderPredictions out;
  const int64_t total = folder.windows();
  for (size_t m = 0; m < models.size(); ++m)
    out.predicted.emplace_back(DType::f32, Shape{total, 2});
  out.not_finite.resize(models.size());
  int64_t row = 0;
  for (const FeatureSequence& sequence : folder.sequences) {
    const Tensor frames = normalized_frames(sequence, folder.normalization, out.found, threads);
    for (size_t m = 0; m < models.size(); ++m) {
      const Tensor y = std::visit(
          [&](const auto& model) {
            return predict(model, frames.matrix<float>(), sequence.ends, threads);
          },
          *models[m]);
      std::ranges::copy(y.values<float>(),
                        out.predicted[m].mutable_values<float>().begin() + row * 2);
      if (!out.not_finite[m].empty()) continue;
      out.not_finite[m] =
          look_for_not_finite(*models[m], frames.matrix<float>(), sequence, y.matrix<float>());
    }
    row += std::ssize(sequence.ends);
    if (progress) progress(row, total);
  }
  return out;
}

namespace {

/// Of `ends`, whose first is window `before` of `all`, those that belong to `total` windows spread
/// evenly over all: window w, where w · total / all steps to the next whole number.
std::vector<int64_t> spread(const std::vector<int64_t>& ends, int64_t before, int64_t all,
                            int64_t total) {
  std::vector<int64_t> out;
  const auto steps = [&](int64_t w) { return checked_mul(w, total, "windows") / all; };
  for (int64_t i = 0; i < std::ssize(ends); ++i) {
    if (steps(before + i + 1) > steps(before + i)) out.push_back(ends[static_cast<size_t>(i)]);
  }
  return out;
}

}  // namespace

std::vector<WindowPiece> calibration_pieces(const FeatureFolder& folder, int64_t windows) {
  constexpr int64_t kPiece = 64;
  const int64_t all = folder.windows();
  const int64_t total = windows == 0 ? all : std::min(windows, all);
  std::vector<WindowPiece> out;
  int64_t before = 0;
  for (size_t s = 0; s < folder.sequences.size(); ++s) {
    const std::vector<int64_t>& ends = folder.sequences[s].ends;
    const std::vector<int64_t> chosen = spread(ends, before, all, total);
    before += std::ssize(ends);
    for (int64_t i = 0; i < std::ssize(chosen); i += kPiece) {
      const auto first = chosen.begin() + i;
      out.push_back({s, {first, first + std::min(kPiece, chosen.end() - first)}});
    }
  }
  return out;
}

int64_t measure_pieces(const Regressor& model, const FeatureFolder& folder,
                       std::span<const WindowPiece> pieces, Measurement& measurement,
                       NonFinite& found) {
  int64_t finished = 0;
  while (finished < std::ssize(pieces) && !measurement.interrupted()) {
    const auto rest = pieces.subspan(static_cast<size_t>(finished));
    const size_t sequence = rest.front().sequence;
    const auto other = std::ranges::find_if(
        rest, [&](const WindowPiece& piece) { return piece.sequence != sequence; });
    const auto own = rest.first(static_cast<size_t>(other - rest.begin()));
    const Tensor frames = normalized_frames(folder.sequences[sequence], folder.normalization, found,
                                            measurement.threads());
    std::vector<Sample> samples;
    for (const WindowPiece& piece : own) samples.push_back({.units = std::ssize(piece.ends)});
    finished += measurement.run(samples, [&](int64_t i, Run& run) {
      predict(model, frames.matrix<float>(), own[static_cast<size_t>(i)].ends, run);
    });
  }
  return finished;
}

RegressorStatistics measure_regressor(const Regressor& model, const FeatureFolder& folder,
                                      int64_t windows, const Threads& threads,
                                      const WindowProgress& progress) {
  const std::vector<WindowPiece> pieces = calibration_pieces(folder, windows);
  const int64_t total = windows == 0 ? folder.windows() : std::min(windows, folder.windows());
  Measurement measurement(model.sites().sites(), {},
                          {.threads = threads.count(), .progress = progress}, total);
  NonFinite found;
  measure_pieces(model, folder, pieces, measurement, found);
  return measurement.take();
}

}  // namespace scute
