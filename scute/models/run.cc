#include "scute/models/run.h"

#include <algorithm>

#include "scute/kernels/elementwise.h"
#include "scute/kernels/hadamard.h"
#include "scute/kernels/round.h"

namespace scute {

std::vector<Run> Run::of_workers(const Threads& threads) {
  std::vector<Run> out(static_cast<size_t>(threads.count()));
  for (size_t worker = 0; worker < out.size(); ++worker) {
    out[worker].use(threads.team(static_cast<int>(worker)));
  }
  return out;
}

bool Run::touches(const Site& site) const {
  const bool changed =
      grids_ != nullptr && (grids_->find_clip(site) != nullptr || grids_->find(site) != nullptr);
  return changed || wants(site);
}

void Run::clip_and_round(const Site& site, MatView<float> x) const {
  const SiteClip* range = grids_->find_clip(site);
  const SiteScales* scales = grids_->find(site);
  if (range == nullptr && scales == nullptr) return;
  split_rows(x, [&](int64_t first, int64_t count) {
    const auto rows = x.slice_rows(first, count);
    if (range != nullptr) clamp(rows, range->lo, range->hi);
    if (scales != nullptr) round_to_grid(rows, scales->rows(first, count));
  });
}

/// A quarter of a million operations take 10 to 30 µs, beside which 2 µs to share them are little.
/// Two stretches a thread, so that one that is held up costs the others less.
int64_t Run::stretch_of(int64_t n, int64_t each, int64_t multiple) const {
  constexpr int64_t kWorth = int64_t{1} << 17;
  const int64_t worth = n > 0 && each > 0 ? std::max<int64_t>(n * each / kWorth, 1) : 1;
  const int threads = worth > 1 ? team_.size() : 1;
  if (threads == 1) return n;
  const int64_t pieces = std::min<int64_t>(worth, 2 * threads);
  const int64_t step = (n + pieces - 1) / pieces;
  return (step + multiple - 1) / multiple * multiple;
}

void Run::pass_input(const SiteList::InputSites& sites, MatView<float> x) {
  if (sites.rotates()) on_rows([](auto rows) { hadamard_rows(rows); }, x);
  pass_turned(sites, x);
}

void Run::pass_turned(const SiteList::InputSites& sites, MatView<float> x) {
  if (sites.rotates()) return pass(sites.rotated, x);
  pass_rotated(sites.rotated, x);
  pass(sites.plain, x);
}

void Run::pass_rotated(const Site& site, MatView<const float> x) {
  if (!wants(site)) return;
  const Arena::Scope scope(arena_);
  const MatView<float> rotated = matrix(x.rows, x.cols);
  on_few_rows(
      [](MatView<const float> from, MatView<float> to) {
        copy_rows(from, to);
        hadamard_rows(to);
      },
      x, rotated);
  tap_->see(site, rotated);
}

void Run::rotate_and_pass(const Site& site, MatView<float> x) {
  if (!wants(site)) return;
  on_rows([](auto rows) { hadamard_rows(rows); }, x);
  tap_->see(site, x);
}

}  // namespace scute
