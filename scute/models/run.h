// One inference in progress: scratch memory, and perhaps a tap.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "scute/base/threads.h"
#include "scute/models/arena.h"
#include "scute/models/grids.h"
#include "scute/models/sites.h"
#include "scute/tensor/tap.h"

namespace scute {

/// Belongs to one thread at a time.
class Run {
 public:
  /// `tap` may be null. `state_every`: the scan shows its state after every so many tokens at
  /// ssm_state_act:steps; 0 never.
  explicit Run(Tap* tap = nullptr, int64_t state_every = 64)
      : tap_(tap), state_every_(state_every) {}

  bool wants(const Site& site) const { return tap_ != nullptr && tap_->wants(site); }
  /// The one hook at every site: shows `x` to the tap, then clips it to the site's range and rounds
  /// it to the site's grid, if it has them.
  void pass(const Site& site, MatView<float> x) {
    if (wants(site)) tap_->see(site, x);
    if (grids_ != nullptr) clip_and_round(site, x);
  }
  /// Whether pass() shows or changes what passes there.
  bool touches(const Site& site) const;
  /// The grids of the model that uses this run now; it must live as long as it does.
  void use(const SiteGrids& grids) { grids_ = &grids; }
  /// The input of a product, rotated first where that is how it looks; the twin of a plain one is
  /// shown what a rotated one would be.
  void pass_input(const SiteList::InputSites& sites, MatView<float> x);
  /// The same of an x that is rotated already where that is how it looks.
  void pass_turned(const SiteList::InputSites& sites, MatView<float> x);
  /// Shows a copy of `x` after the Hadamard transform of its rows, if anybody wants it.
  void pass_rotated(const Site& site, MatView<const float> x);
  /// Rotates `x` itself and shows it, if anybody wants it; else leaves it alone.
  void rotate_and_pass(const Site& site, MatView<float> x);

  /// The runs of the workers of a for_each().
  static std::vector<Run> of_workers(const Threads& threads);

  /// Whose idle threads help with the loops inside; without one they run on this thread.
  void use(const Team& team) { team_ = team; }
  /// Calls work(first, count) for stretches that cover [0, n) in any order, on several threads
  /// where that pays. An item is `each` elementary operations; a stretch begins at a multiple of
  /// `multiple`. `work` throws nothing, takes nothing from the arena, and its results do not depend
  /// on where the stretches end.
  template <class Work>
  void split(int64_t n, int64_t each, const Work& work, int64_t multiple = 1) const {
    const int64_t step = stretch_of(n, each, multiple);
    if (step >= n) return work(int64_t{0}, n);
    team_.share((n + step - 1) / step,
                [&](int64_t i) noexcept { work(i * step, std::min(step, n - i * step)); });
  }
  /// split() over the rows of a matrix of `cols` columns, for a step that costs a few operations a
  /// value.
  template <class Work>
  void split_rows(MatView<const float> x, const Work& work) const {
    split(x.rows, 8 * x.cols, work);
  }
  /// The same for a step that takes whole rows: work(rows of x, the same rows of each of `more`).
  template <class Work, class T, class... More>
  void on_rows(const Work& work, MatView<T> x, MatView<More>... more) const {
    split_rows(x, [&](int64_t first, int64_t count) {
      work(x.slice_rows(first, count), more.slice_rows(first, count)...);
    });
  }
  /// The same, for several steps in a row: with a few rows at a time, which stay in the first-level
  /// cache from step to step.
  template <class Work, class T, class... More>
  void on_few_rows(const Work& work, MatView<T> x, MatView<More>... more) const {
    static constexpr int64_t kRows = 4;
    split_rows(x, [&](int64_t first, int64_t count) {
      for (int64_t r = first; r < first + count; r += kRows) {
        const int64_t rows = std::min(kRows, first + count - r);
        work(x.slice_rows(r, rows), more.slice_rows(r, rows)...);
      }
    });
  }

  int64_t state_every() const { return state_every_; }
  Arena& arena() { return arena_; }
  MatView<float> matrix(int64_t rows, int64_t cols) { return arena_.matrix(rows, cols); }
  template <class T = int8_t>
  MatView<T> codes(int64_t rows, int64_t cols) {
    return arena_.codes<T>(rows, cols);
  }

 private:
  void clip_and_round(const Site& site, MatView<float> x) const;
  int64_t stretch_of(int64_t n, int64_t each, int64_t multiple) const;

  Tap* tap_;
  Team team_;
  const SiteGrids* grids_ = nullptr;
  int64_t state_every_;
  Arena arena_;
};

}  // namespace scute
