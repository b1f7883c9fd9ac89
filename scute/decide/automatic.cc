// The policy that tries the others and says why it took one.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "scute/decide/choice.h"

namespace scute {
namespace {

// Clipping outliers of Mamba activations is what breaks models, so a clip has to earn this much.
constexpr double kWorthClipping = 0.5;  // dB
// Closer than this, the simpler of two clips is taken.
constexpr double kEqual = 0.02;  // dB

// A float scale is off by up to 2^-24, so an exact code comes back with up to 144 dB.
constexpr double kLossless = 138;  // dB

struct Candidate {
  Choice choice;
  double sqnr;
  std::string name;
};

}  // namespace

Choice choose_automatic(const Question& question, bool per_side) {
  constexpr std::array<double, 6> kLadder{0.999999, 0.99999, 0.9999, 0.9995, 0.999, 0.99};
  std::vector<Candidate> tried;
  const auto add = [&](Choice choice, std::string name) {
    const double sqnr = question.errors.sqnr(make_grid(choice.lo, choice.hi, question.grid));
    tried.push_back({std::move(choice), sqnr, std::move(name)});
  };
  add(choose_minmax(question), "min-max");
  if (tried[0].sqnr > kLossless) {
    tried[0].choice.because = "min-max loses nothing: every value is a code";
    return tried[0].choice;
  }
  for (const double alpha : kLadder) {
    add(choose_percentile(question, alpha, per_side), "percentile " + to_text(percent_of(alpha)));
  }
  const auto ladder = std::max_element(
      tried.begin() + 1, tried.end(), [](const auto& a, const auto& b) { return a.sqnr < b.sqnr; });
  const size_t best_percentile = static_cast<size_t>(ladder - tried.begin());
  add(choose_mse(question), "mse");
  const Candidate &all = tried[0], &percentile = tried[best_percentile], &mse = tried.back();
  const Candidate& best = mse.sqnr > percentile.sqnr + kEqual ? mse : percentile;

  const auto [worst, top] = std::ranges::minmax_element(tried, {}, &Candidate::sqnr);
  const bool indifferent = top->sqnr - worst->sqnr <= kWorthClipping;
  const bool keep_all = best.sqnr - all.sqnr <= kWorthClipping;
  Choice out = keep_all ? all.choice : best.choice;
  const Candidate& other = &best == &mse ? percentile : mse;
  if (keep_all) {
    out.because =
        fmt::format("min-max gives {:.2f} dB; the best clip, {}, {:.2f} dB, gains less than {} dB",
                    all.sqnr, best.name, best.sqnr, kWorthClipping);
  } else {
    out.because = fmt::format("{} gives {:.2f} dB, {:.2f} dB more than min-max ({} {:.2f} dB)",
                              best.name, best.sqnr, best.sqnr - all.sqnr, other.name, other.sqnr);
  }
  if (indifferent) {
    out.remark = fmt::format("the choice does not matter: all {} candidates lie within {:.2f} dB",
                             tried.size(), top->sqnr - worst->sqnr);
  }
  return out;
}

}  // namespace scute
