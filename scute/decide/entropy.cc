// The clip whose quantized histogram diverges least (Kullback-Leibler) from the one seen.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "scute/base/portable_math.h"
#include "scute/decide/choice.h"

namespace scute {
namespace {

/// |x| over [0, reach] in equal bins, as running sums; exact zeros are left out, since every grid
/// reproduces them.
struct Reference {
  double reach = 0;
  double outside = 0;            ///< values beyond reach
  std::vector<double> bin;       ///< values per bin
  std::vector<double> mass;      ///< [i]: values in bins before i
  std::vector<double> occupied;  ///< [i]: bins before i that are not empty
  std::vector<double> x_log_x;   ///< [i]: Σ bin·log(bin) of bins before i
};

double x_log_x(double x) { return x > 0 ? x * portable::log(x) : 0; }

void spread(const Distribution::Point& p, double per_bin, std::vector<double>& bin) {
  const auto count = static_cast<double>(p.count);
  const double last = static_cast<double>(bin.size() - 1);
  const double low = p.low * per_bin, high = p.high * per_bin;
  const auto first_bin = static_cast<size_t>(std::min(low, last));
  const auto last_bin = static_cast<size_t>(std::min(high, last));
  if (first_bin == last_bin) {
    bin[first_bin] += count;
    return;
  }
  for (size_t i = first_bin; i <= last_bin; ++i) {
    const double from = std::max(low, static_cast<double>(i));
    const double to = i == last_bin ? high : static_cast<double>(i + 1);
    bin[i] += count * (to - from) / (high - low);
  }
}

Reference make_reference(const Distribution& d, double reach, int bins) {
  Reference out;
  out.reach = reach;
  out.bin.resize(static_cast<size_t>(bins));
  for (const auto& point : d.magnitudes()) {
    if (point.high == 0) continue;
    if (point.value > reach) {
      out.outside += static_cast<double>(point.count);
    } else {
      auto cut = point;
      cut.high = std::min(cut.high, reach);
      cut.low = std::min(cut.low, reach);
      spread(cut, bins / reach, out.bin);
    }
  }
  const size_t n = out.bin.size();
  out.mass.resize(n + 1);
  out.occupied.resize(n + 1);
  out.x_log_x.resize(n + 1);
  for (size_t i = 0; i < n; ++i) {
    out.mass[i + 1] = out.mass[i] + out.bin[i];
    out.occupied[i + 1] = out.occupied[i] + (out.bin[i] > 0 ? 1 : 0);
    out.x_log_x[i + 1] = out.x_log_x[i] + x_log_x(out.bin[i]);
  }
  return out;
}

/// Divergence when only the first `kept` bins are kept, in `levels` levels: P are the kept bins
/// with everything beyond added to the last; Q the kept bins, each level's values spread evenly
/// over its bins that are not empty. In nats. Costs one step per level.
double divergence(const Reference& r, size_t kept, size_t levels) {
  const double inside = r.mass[kept];
  const double total = r.mass.back() + r.outside;
  const double beyond = total - inside;
  if (inside <= 0) return std::numeric_limits<double>::infinity();
  const double p_log_p = r.x_log_x[kept - 1] + x_log_x(r.bin[kept - 1] + beyond);
  double p_log_q = 0, last_density = 0;
  for (size_t k = 0; k < levels; ++k) {
    const size_t from = k * kept / levels, to = (k + 1) * kept / levels;
    const double mass = r.mass[to] - r.mass[from];
    const double used = r.occupied[to] - r.occupied[from];
    last_density = used > 0 ? mass / used : 0;
    if (last_density > 0) p_log_q += mass * portable::log(last_density);
  }
  // An empty last bin that clipped values fall into has no Q; a billionth stands in for it.
  const double last = r.bin[kept - 1] > 0 ? last_density : inside * 1e-9;
  if (beyond > 0) p_log_q += beyond * portable::log(std::max(last, inside * 1e-9));
  return (p_log_p - p_log_q) / total - portable::log(total) + portable::log(inside);
}

struct Best {
  size_t kept = 0;
  double divergence = std::numeric_limits<double>::infinity();
};

/// `most`: values that may lie beyond. About 256 places, then every place between the neighbours of
/// the best (at most 64 of them).
Best best_of(const Reference& r, size_t levels, double most) {
  Best best;
  const double total = r.mass.back() + r.outside;
  const auto look = [&](size_t from, size_t to, size_t step) {
    for (size_t kept = from; kept <= to; kept += step) {
      if (total - r.mass[kept] > most) continue;
      const double found = divergence(r, kept, levels);
      if (found < best.divergence) best = {kept, found};
    }
  };
  const size_t bins = r.bin.size(), step = std::max<size_t>((bins - levels) / 256, 1);
  look(levels, bins, step);
  look(bins, bins, 1);
  if (best.kept == 0) return {bins, 0};
  const size_t from = std::max(levels, best.kept - std::min(best.kept, step));
  look(from, std::min(bins, best.kept + step), std::max<size_t>(step / 32, 1));
  return best;
}

}  // namespace

Choice choose_entropy(const Question& question) {
  const Distribution& d = question.distribution;
  Choice all = choose_minmax(question);
  all.policy = "entropy";
  const double largest = std::max(-all.lo, all.hi);
  if (largest == 0) return all;
  const bool one_sided = all.lo == 0 || all.hi == 0;
  const int bits =
      question.grid.symmetric || !one_sided ? question.grid.bits - 1 : question.grid.bits;
  // Finer than the 2^13 bins below, every level holds one bin and the divergence says nothing.
  if (bits > 10) {
    all.because = fmt::format("with {} levels the divergence is nil: min-max", 1 << bits);
    return all;
  }
  const int levels = 1 << bits;
  const int bins = std::max(2048, 8 * levels);
  // A divergence cannot see what it costs to clip everything into one bin (values 1, 2, 3 clipped
  // to 1 diverge by nothing), so at most this share may be clipped; normal data want 1 % at 4 bits.
  const double share = std::max(0.01, std::ldexp(1.0, -question.grid.bits - 1));
  const double most = share * static_cast<double>(d.count());
  Reference reference = make_reference(d, largest, bins);
  Best best = best_of(reference, static_cast<size_t>(levels), most);
  // Far outliers leave the body in a few bins and the smallest clip that can be tried wins: look
  // closer, as long as few enough values lie beyond. 2^-40 of the largest at most.
  for (double reach = largest; best.kept == static_cast<size_t>(levels);) {
    reach *= 2.0 * levels / bins;
    if (reach < largest * 0x1p-40 || d.outside(-reach, reach) > share) break;
    reference = make_reference(d, reach, bins);
    best = best_of(reference, static_cast<size_t>(levels), most);
  }
  const double clip = reference.reach * static_cast<double>(best.kept) / bins;
  Choice out = range_of_magnitude(d, clip);
  out.policy = "entropy";
  out.because = fmt::format("{:.6g} keeps the divergence of {} levels of |x| smallest, {:.3g} nats",
                            clip, levels, best.divergence);
  return out;
}

}  // namespace scute
