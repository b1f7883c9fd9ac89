// One inference in progress: scratch memory, and perhaps a tap.
#pragma once

#include <cstdint>

#include "scute/models/arena.h"
#include "scute/models/grids.h"
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
  /// The grids of the model that uses this run now; it must live as long as it does.
  void use(const SiteGrids& grids) { grids_ = &grids; }
  /// Shows a copy of `x` after the Hadamard transform of its rows, if anybody wants it.
  void pass_rotated(const Site& site, MatView<const float> x);
  /// Rotates `x` itself and shows it, if anybody wants it; else leaves it alone.
  void rotate_and_pass(const Site& site, MatView<float> x);

  int64_t state_every() const { return state_every_; }
  Arena& arena() { return arena_; }
  MatView<float> matrix(int64_t rows, int64_t cols) { return arena_.matrix(rows, cols); }
  template <class T = int8_t>
  MatView<T> codes(int64_t rows, int64_t cols) {
    return arena_.codes<T>(rows, cols);
  }

 private:
  void clip_and_round(const Site& site, MatView<float> x) const;

  Tap* tap_;
  const SiteGrids* grids_ = nullptr;
  int64_t state_every_;
  Arena arena_;
};

}  // namespace scute
