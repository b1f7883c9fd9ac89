#include "scute/regressor/predict.h"

#include <algorithm>
#include <memory>
#include <span>

#include "scute/base/checked.h"
#include "scute/base/hash.h"
#include "scute/observe/recorder.h"

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
    add(sequence.positions.bytes());
  }
  return hash.hex();
}

FolderPredictions predict_folder(const std::vector<const AnyRegressor*>& models,
                                 const FeatureFolder& folder, const Threads& threads,
                                 const WindowProgress& progress) {
  FolderPredictions out;
  const int64_t total = folder.windows();
  for (size_t m = 0; m < models.size(); ++m)
    out.predicted.emplace_back(DType::f32, Shape{total, 2});
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

RegressorStatistics measure_regressor(const Regressor& model, const FeatureFolder& folder,
                                      int64_t windows, const Threads& threads,
                                      const WindowProgress& progress) {
  const int64_t total = windows == 0 ? folder.windows() : std::min(windows, folder.windows());
  std::vector<std::unique_ptr<Recorder>> recorders;
  for (int w = 0; w < threads.count(); ++w) {
    recorders.push_back(std::make_unique<Recorder>(model.sites().sites()));
  }
  // A piece is what one worker sees at a time: large enough that few frames are seen twice, where
  // two pieces meet.
  constexpr int64_t kPiece = 64;
  int64_t done = 0, before = 0;
  NonFinite found;
  for (const FeatureSequence& sequence : folder.sequences) {
    const std::vector<int64_t> chosen = spread(sequence.ends, before, folder.windows(), total);
    before += std::ssize(sequence.ends);
    if (chosen.empty()) continue;
    const std::span<const int64_t> all(chosen);
    const Tensor frames = normalized_frames(sequence, folder.normalization, found, threads);
    const int64_t pieces = (std::ssize(all) + kPiece - 1) / kPiece;
    threads.for_each(pieces, [&](int64_t i, int worker) {
      const auto first = static_cast<size_t>(i * kPiece);
      const auto own = all.subspan(first, std::min<size_t>(kPiece, all.size() - first));
      Run run(recorders[static_cast<size_t>(worker)].get());
      predict(model, frames.matrix<float>(), own, run);
    });
    done += std::ssize(all);
    if (progress) progress(done, total);
  }
  for (size_t w = 1; w < recorders.size(); ++w) recorders[0]->merge(*recorders[w]);
  return recorders[0]->take();
}

}  // namespace scute
