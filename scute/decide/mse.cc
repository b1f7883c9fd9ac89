// The range with the smallest expected squared error.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "scute/base/portable_math.h"
#include "scute/decide/choice.h"

namespace scute {
namespace {

struct Minimum {
  double at = 0, error = 0;
};

/// How many places are tried, and how many more between the neighbours of the best, how often.
struct Effort {
  int coarse, fine, rounds;
};

/// The best of places spaced by a constant factor over [from, to], both included, then closer
/// around the best. The error has small local minima where codes meet buckets, so this keeps the
/// best seen instead of trusting a slope.
template <class F>
Minimum search(double from, double to, Effort effort, const F& error) {
  Minimum best{to, error(to)};
  double low = from, high = to;
  int places = effort.coarse;
  for (int round = 0; round <= effort.rounds && low < high; ++round) {
    const double factor = portable::pow(high / low, 1.0 / places);
    for (int i = 0; i <= places; ++i) {
      const double at = i == places ? high : low * portable::pow(factor, i);
      const double found = error(at);
      if (found < best.error) best = {at, found};
    }
    low = std::max(from, best.at / factor);
    high = std::min(to, best.at * factor);
    places = effort.fine;
  }
  return best;
}

/// Clips below an eighth of the root mean square cannot win: with r the root mean square, clipping
/// at c leaves at least r² − 2·c·r ≥ 0.75·r², 1.2 dB.
double smallest_clip(double root_mean_square, double largest) {
  return std::min(std::max(root_mean_square / 8, largest * 0x1p-40), largest);
}

}  // namespace

Choice choose_mse(const Question& question) {
  const Distribution& d = question.distribution;
  const ErrorModel& errors = question.errors;
  Choice out = choose_minmax(question);
  const double largest = std::max(-out.lo, out.hi);
  const double all_error = errors.error(make_grid(out.lo, out.hi, question.grid));
  double best_error = all_error;
  if (largest > 0) {
    const double from = smallest_clip(std::sqrt(errors.mean_square()), largest);
    const auto consider = [&](double lo, double hi, double error) {
      if (error >= best_error) return;
      out.lo = lo;
      out.hi = hi;
      best_error = error;
    };
    const auto clip_error = [&](double clip) {
      const Choice range = range_of_magnitude(d, clip);
      return errors.error(make_grid(range.lo, range.hi, question.grid));
    };
    const bool both = !question.grid.symmetric && d.min() < 0 && d.max() > 0;
    const Minimum clip =
        search(from, largest, both ? Effort{32, 8, 1} : Effort{64, 20, 3}, clip_error);
    const Choice range = range_of_magnitude(d, clip.at);
    consider(range.lo, range.hi, clip.error);
    // An asymmetric range has two ends: each in turn, the other one held.
    for (int turn = 0; turn < 2 && both; ++turn) {
      const double lo = out.lo;
      const Minimum hi = search(std::min(from, d.max()), d.max(), {20, 8, 1}, [&](double at) {
        return errors.error(make_grid(lo, at, question.grid));
      });
      consider(lo, hi.at, hi.error);
      const double kept = out.hi;
      const Minimum down = search(std::min(from, -d.min()), -d.min(), {20, 8, 1}, [&](double at) {
        return errors.error(make_grid(-at, kept, question.grid));
      });
      consider(-down.at, kept, down.error);
    }
  }
  out.policy = "mse";
  out.because =
      fmt::format("smallest expected error at {} bits: {:.2f} dB, min-max {:.2f} dB",
                  question.grid.bits, errors.sqnr_of(best_error), errors.sqnr_of(all_error));
  return out;
}

}  // namespace scute
