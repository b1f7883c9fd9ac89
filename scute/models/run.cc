#include "scute/models/run.h"

#include <algorithm>

#include "scute/kernels/elementwise.h"
#include "scute/kernels/hadamard.h"
#include "scute/kernels/round.h"

namespace scute {

void Run::clip_and_round(const Site& site, MatView<float> x) const {
  if (const SiteClip* range = grids_->find_clip(site)) clamp(x, range->lo, range->hi);
  if (const SiteScales* scales = grids_->find(site)) round_to_grid(x, scales->view());
}

void Run::pass_rotated(const Site& site, MatView<const float> x) {
  if (!wants(site)) return;
  const Arena::Scope scope(arena_);
  const MatView<float> rotated = matrix(x.rows, x.cols);
  // A few rows at a time stay in the first-level cache between copy and transform.
  constexpr int64_t kRows = 4;
  for (int64_t r = 0; r < x.rows; r += kRows) {
    const auto piece = rotated.slice_rows(r, std::min(kRows, x.rows - r));
    copy_rows(x.slice_rows(r, piece.rows), piece);
    hadamard_rows(piece);
  }
  tap_->see(site, rotated);
}

void Run::rotate_and_pass(const Site& site, MatView<float> x) {
  if (!wants(site)) return;
  hadamard_rows(x);
  tap_->see(site, x);
}

}  // namespace scute
