#include "scute/decide/policy.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "scute/base/error.h"
#include "scute/decide/choice.h"

namespace scute {
namespace {

constexpr std::array<std::pair<std::string_view, PolicyKind>, 7> kNames{
    {{"auto", PolicyKind::automatic},
     {"minmax", PolicyKind::minmax},
     {"percentile", PolicyKind::percentile},
     {"tail", PolicyKind::tail},
     {"mse", PolicyKind::mse},
     {"entropy", PolicyKind::entropy},
     {"quamba", PolicyKind::quamba}}};

[[noreturn]] void fail_policy(std::string_view text) {
  fail("policy",
       "auto, minmax, percentile[:99.95 or :0.9995], tail[:PERCENTILE], mse, entropy or "
       "quamba[:0.9995]",
       fmt::format("\"{}\"", text));
}

double parse_number(std::string_view digits, std::string_view text) {
  double value = 0;
  const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (problem != std::errc() || end != digits.data() + digits.size()) fail_policy(text);
  return value;
}

Choice choose(const Policy& policy, std::string_view site, const Question& question) {
  switch (policy.kind) {
    case PolicyKind::automatic:
      return choose_automatic(question, policy.per_side);
    case PolicyKind::minmax:
      return choose_minmax(question);
    case PolicyKind::percentile:
      return choose_percentile(question, policy.alpha, policy.per_side);
    case PolicyKind::tail:
      return choose_tail(question, policy);
    case PolicyKind::mse:
      return choose_mse(question);
    case PolicyKind::entropy:
      return choose_entropy(question);
    case PolicyKind::quamba:
      return choose_quamba(question, policy, site);
  }
  return choose_minmax(question);
}

void check(const Policy& policy) {
  if (!(policy.alpha > 0 && policy.alpha <= 1)) {
    fail("policy", "alpha, the share kept, in (0, 1]", fmt::to_string(policy.alpha));
  }
  if (const auto& given = policy.percentile_override; given && !(*given > 0 && *given <= 100)) {
    fail("policy", "a percentile in (0, 100]", fmt::to_string(*given));
  }
}

void check(std::string_view site, const Statistic& statistic, bool allow_nonfinite) {
  if (statistic.nans + statistic.infs > 0 && !allow_nonfinite) {
    fail(
        site, "finite values (or allow others to be left out)",
        fmt::format("{} NaN and {} Inf among {}", statistic.nans, statistic.infs, statistic.count));
  }
  if (statistic.finite() == 0) fail(site, "at least one finite value", "none");
}

void add_remark(std::string& remark, std::string text) {
  if (!remark.empty()) remark += "; ";
  remark += text;
}

}  // namespace

double share_of(double number) {
  if (number > 0 && number <= 1) return number;
  // 99.9 / 100 is 0.9990000000000001: the noise of the last bits is taken off.
  if (number >= 50 && number <= 100) return std::round(number * 1e10) / 1e12;
  fail("policy", "a share kept in (0, 1], or a percentile from 50 to 100", to_text(number));
}

Policy Policy::parse(std::string_view text) {
  const size_t colon = text.find(':');
  const std::string_view word = text.substr(0, colon);
  const auto* found =
      std::ranges::find(kNames, word, &std::pair<std::string_view, PolicyKind>::first);
  if (found == kNames.end()) fail_policy(text);
  Policy out;
  out.kind = found->second;
  if (colon == std::string_view::npos) return out;
  const double value = parse_number(text.substr(colon + 1), text);
  if (out.kind == PolicyKind::tail) {
    if (!(value > 0 && value <= 100)) {
      fail("policy", "a percentile in (0, 100]", fmt::format("\"{}\"", text));
    }
    out.percentile_override = value;
  } else if (out.kind == PolicyKind::percentile || out.kind == PolicyKind::quamba) {
    out.alpha = share_of(value);
  } else {
    fail_policy(text);
  }
  return out;
}

std::string Policy::name() const {
  const auto* found =
      std::ranges::find(kNames, kind, &std::pair<std::string_view, PolicyKind>::second);
  std::string out(found->first);
  if (kind == PolicyKind::percentile || kind == PolicyKind::quamba)
    out += fmt::format(":{}", to_text(alpha));
  if (kind == PolicyKind::tail && percentile_override)
    out += fmt::format(":{}", to_text(*percentile_override));
  return out;
}

struct Decider::Prepared {
  std::string site;
  uint64_t nans, infs;
  Distribution distribution;
  ErrorModel errors;

  Prepared(std::string name, const Statistic& statistic)
      : site(std::move(name)),
        nans(statistic.nans),
        infs(statistic.infs),
        distribution(statistic),
        errors(distribution) {}
};

Decider::Decider(std::string site, const Statistic& statistic, bool allow_nonfinite) {
  check(site, statistic, allow_nonfinite);
  prepared_ = std::make_unique<Prepared>(std::move(site), statistic);
}
Decider::~Decider() = default;
Decider::Decider(Decider&&) noexcept = default;
Decider& Decider::operator=(Decider&&) noexcept = default;

Decision Decider::operator()(const Policy& policy, GridSpec grid, double headroom) const {
  check(policy);
  if (!(headroom > 0) || !std::isfinite(headroom)) {
    fail("headroom", "a factor above 0", fmt::to_string(headroom));
  }
  const auto& [site, nans, infs, distribution, errors] = *prepared_;
  Choice choice = choose(policy, site, {distribution, errors, grid});

  Decision out;
  out.lo = headroom * choice.lo;
  out.hi = headroom * choice.hi;
  out.policy = std::move(choice.policy);
  out.because = std::move(choice.because);
  out.remark = std::move(choice.remark);
  out.headroom = headroom;
  if (headroom != 1) out.because += fmt::format("; {} times as wide", to_text(headroom));
  out.grid = grid;
  const Grid chosen = make_grid(out.lo, out.hi, grid);
  out.scale = static_cast<double>(chosen.scale);
  out.before_lo = distribution.min();
  out.before_hi = distribution.max();
  out.clipped = distribution.outside(out.lo, out.hi);
  out.coverage = 1 - out.clipped;
  out.percentile = choice.percentile ? *choice.percentile : percent_of(out.coverage);
  const double before = std::max(out.before_hi, 0.0) - std::min(out.before_lo, 0.0);
  out.range_reduction = before > 0 ? 1 - (out.hi - out.lo) / before : 0;
  out.sqnr = errors.sqnr(chosen);
  out.thin = choice.thin;
  if (out.before_lo == out.before_hi) {
    add_remark(out.remark, fmt::format("constant data: every value is {:.6g}", out.before_lo));
  }
  if (nans + infs > 0) {
    add_remark(out.remark, fmt::format("{} NaN and {} Inf left out", nans, infs));
  }
  return out;
}

Decision decide(const Policy& policy, std::string_view site, const Statistic& statistic,
                GridSpec grid, bool allow_nonfinite, double headroom) {
  return Decider(std::string(site), statistic, allow_nonfinite)(policy, grid, headroom);
}

double expected_error(const Distribution& distribution, double lo, double hi, GridSpec grid) {
  return ErrorModel(distribution).error(make_grid(lo, hi, grid));
}

}  // namespace scute
