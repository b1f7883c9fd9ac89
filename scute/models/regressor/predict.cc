#include "scute/models/regressor/predict.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <type_traits>

#include "scute/base/error.h"

namespace scute {
namespace {

// Rows of one product. A piece's largest matrix (64 windows × 7 patches × 512 numbers) fits into
// the second cache level; products of fewer rows would read the weights more often than they use
// them.
constexpr int64_t kPiece = 64;

int64_t pieces(int64_t rows) { return (rows + kPiece - 1) / kPiece; }

void check(const RegressorConfig& config, MatView<const float> frames,
           std::span<const int64_t> ends) {
  if (frames.cols != config.features) {
    fail("frames", fmt::format("{} features each, as the model's Din says", config.features),
         fmt::format("{}", frames.cols));
  }
  for (const int64_t end : ends) {
    if (end >= config.window && end <= frames.rows) continue;
    fail("windows",
         fmt::format("an end from {} (K frames before it) to {} (the number of frames)",
                     config.window, frames.rows),
         fmt::format("{}", end));
  }
}

/// Who carries out pieces 0 … n − 1 of a step, in any order.
using Each = std::function<void(int64_t n, const std::function<void(Run&, int64_t)>& piece)>;

template <class Model>
class Prediction {
  using Value = typename Model::Value;

 public:
  Prediction(const Model& model, MatView<const float> frames, std::span<const int64_t> ends)
      : model_(model), config_(model.config()), frames_(frames), ends_(ends) {
    check(config_, frames, ends);
    find_shared();
    projected_ = Tensor(dtype_of<Value>(), {covered(), config_.projected});
    patches_ = Tensor(dtype_of<Value>(), {std::ssize(first_), config_.width});
    positions_ = Tensor(DType::f32, {std::ssize(ends), RegressorConfig::outputs});
  }

  Tensor run(const Each& each) {
    each(pieces(covered()), [this](Run& run, int64_t i) { project(run, i * kPiece); });
    each(pieces(std::ssize(first_)), [this](Run& run, int64_t i) { embed(run, i * kPiece); });
    each(pieces(std::ssize(ends_)), [this](Run& run, int64_t i) { locate(run, i * kPiece); });
    return std::move(positions_);
  }

 private:
  /// Consecutive frames that windows cover.
  struct Stretch {
    int64_t frame;  ///< its first
    int64_t row;    ///< of that frame among all covered ones
    int64_t count;
  };

  int64_t covered() const {
    return stretches_.empty() ? 0 : stretches_.back().row + stretches_.back().count;
  }

  /// Notes which frames windows cover, and at which of them patches begin.
  void find_shared() {
    std::vector<int64_t> sorted(ends_.begin(), ends_.end());
    std::ranges::sort(sorted);
    sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
    for (const int64_t end : sorted) {
      const int64_t begin = end - config_.window;
      if (stretches_.empty() || begin > stretches_.back().frame + stretches_.back().count) {
        stretches_.push_back({begin, covered(), 0});
      }
      stretches_.back().count = end - stretches_.back().frame;
      for (int64_t l = 0; l < config_.patches(); ++l) {
        first_.push_back(row_of(begin + l * config_.stride));
      }
    }
    std::ranges::sort(first_);
    first_.erase(std::unique(first_.begin(), first_.end()), first_.end());
  }

  /// Row among the covered frames.
  int64_t row_of(int64_t frame) const {
    const auto after = std::ranges::upper_bound(stretches_, frame, {}, &Stretch::frame);
    const Stretch& stretch = *std::prev(after);
    return stretch.row + frame - stretch.frame;
  }

  void project(Run& run, int64_t row) {
    const int64_t end = std::min(row + kPiece, covered());
    auto stretch = std::prev(std::ranges::upper_bound(stretches_, row, {}, &Stretch::row));
    for (; row < end; ++stretch) {
      const int64_t count = std::min(end, stretch->row + stretch->count) - row;
      model_.project(run, frames_.slice_rows(stretch->frame + row - stretch->row, count),
                     projected_.mutable_matrix<Value>().slice_rows(row, count));
      row += count;
    }
  }

  void embed(Run& run, int64_t row) {
    const int64_t count = std::min(kPiece, std::ssize(first_) - row);
    model_.embed(run, projected_.matrix<Value>(),
                 std::span(first_).subspan(static_cast<size_t>(row), static_cast<size_t>(count)),
                 patches_.mutable_matrix<Value>().slice_rows(row, count));
  }

  MatView<Value> scratch(Run& run, int64_t rows) const {
    if constexpr (std::is_same_v<Value, float>) {
      return run.matrix(rows, config_.width);
    } else {
      return run.codes<Value>(rows, config_.width);
    }
  }

  void locate(Run& run, int64_t window) {
    const int64_t L = config_.patches();
    const int64_t count = std::min(kPiece, std::ssize(ends_) - window);
    const Arena::Scope scope(run.arena());
    const auto own = scratch(run, count * L);
    for (int64_t r = 0; r < own.rows; ++r) {
      const int64_t end = ends_[static_cast<size_t>(window + r / L)];
      const int64_t first = row_of(end - config_.window + r % L * config_.stride);
      const auto patch = std::ranges::lower_bound(first_, first) - first_.begin();
      std::copy_n(patches_.matrix<Value>().row(patch), config_.width, own.row(r));
    }
    model_.locate(run, own, positions_.mutable_matrix<float>().slice_rows(window, count));
  }

  const Model& model_;
  const RegressorConfig& config_;
  MatView<const float> frames_;
  std::span<const int64_t> ends_;
  std::vector<Stretch> stretches_;  ///< ascending, apart
  std::vector<int64_t> first_;      ///< rows where patches begin, ascending, each once
  Tensor projected_, patches_, positions_;
};

}  // namespace

template <class Model>
Tensor predict(const Model& model, MatView<const float> frames, std::span<const int64_t> ends,
               const Threads& threads) {
  std::vector<Run> runs(static_cast<size_t>(threads.count()));
  return Prediction<Model>(model, frames, ends)
      .run([&](int64_t n, const std::function<void(Run&, int64_t)>& piece) {
        threads.for_each(
            n, [&](int64_t i, int worker) { piece(runs[static_cast<size_t>(worker)], i); });
      });
}

template <class Model>
Tensor predict(const Model& model, MatView<const float> frames, std::span<const int64_t> ends,
               Run& run) {
  return Prediction<Model>(model, frames, ends)
      .run([&](int64_t n, const std::function<void(Run&, int64_t)>& piece) {
        for (int64_t i = 0; i < n; ++i) piece(run, i);
      });
}

template Tensor predict(const Regressor&, MatView<const float>, std::span<const int64_t>,
                        const Threads&);
template Tensor predict(const Regressor&, MatView<const float>, std::span<const int64_t>, Run&);
template Tensor predict(const IntegerRegressor&, MatView<const float>, std::span<const int64_t>,
                        const Threads&);
template Tensor predict(const IntegerRegressor&, MatView<const float>, std::span<const int64_t>,
                        Run&);

}  // namespace scute
