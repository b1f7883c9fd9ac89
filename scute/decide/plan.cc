#include "scute/decide/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/base/threads.h"

namespace scute {
namespace {

constexpr std::string_view kState = "ssm_state_act:input";
constexpr std::string_view kSteps = "ssm_state_act:steps";
constexpr std::string_view kMeta = "meta";
constexpr std::array<std::string_view, 17> kKeys{
    "percentile", "lo",     "hi",       "policy",          "bits",    "symmetric",
    "scale",      "zero",   "coverage", "clipped",         "sqnr_db", "range_before",
    "because",    "remark", "comment",  "range_reduction", "headroom"};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// The digits at the start of `text` without leading zeros.
std::string_view number_at(std::string_view text) {
  size_t end = 0;
  while (end < text.size() && is_digit(text[end])) ++end;
  std::string_view digits = text.substr(0, end);
  while (digits.size() > 1 && digits.front() == '0') digits.remove_prefix(1);
  return digits;
}

size_t skip_digits(std::string_view text, size_t at) {
  while (at < text.size() && is_digit(text[at])) ++at;
  return at;
}

/// JSON has no infinity: null is "no error at all" for a ratio, "not known" for a share.
Json or_null(double value) { return std::isfinite(value) ? Json(value) : Json(); }

Json entry_json(const Decision& d) {
  Json out = Json::object();
  out["percentile"] = d.percentile;
  out["lo"] = d.lo;
  out["hi"] = d.hi;
  out["policy"] = d.policy;
  if (d.headroom != 1) out["headroom"] = d.headroom;
  out["bits"] = d.grid.bits;
  out["symmetric"] = d.grid.symmetric;
  out["scale"] = d.scale;
  out["coverage"] = or_null(d.coverage);
  out["clipped"] = or_null(d.clipped);
  if (!std::isnan(d.sqnr)) out["sqnr_db"] = or_null(d.sqnr);
  out["range_before"] = Json(Json::Array{Json(d.before_lo), Json(d.before_hi)});
  out["range_reduction"] = d.range_reduction;
  out["because"] = d.because;
  if (!d.remark.empty()) out["remark"] = d.remark;
  return out;
}

/// Reads one site's entry; every error names site and key.
class EntryReader {
 public:
  EntryReader(const Json& json, std::string_view where, const std::string& site)
      : json_(json), where_(fmt::format("{}: {}", where, site)) {}

  Decision read() const {
    check_keys();
    Decision out;
    out.lo = finite("lo");
    out.hi = finite("hi");
    if (out.lo > out.hi) {
      fail(at("lo"), fmt::format("at most hi, {}", out.hi), fmt::to_string(out.lo));
    }
    out.percentile = has("percentile") ? finite("percentile") : 100;
    if (out.percentile < 0 || out.percentile > 100) {
      fail(at("percentile"), "0 … 100", fmt::to_string(out.percentile));
    }
    if (has("headroom")) out.headroom = finite("headroom");
    if (!(out.headroom > 0)) fail(at("headroom"), "above 0", fmt::to_string(out.headroom));
    if (has("bits")) {
      const int64_t bits = json_.at("bits", where_).as_int(at("bits"));
      if (bits < 2 || bits > 16) fail(at("bits"), "2 … 16", fmt::to_string(bits));
      out.grid.bits = static_cast<int>(bits);
    }
    if (has("symmetric")) {
      out.grid.symmetric = json_.at("symmetric", where_).as_bool(at("symmetric"));
    }
    read_measurements(out);
    out.policy = text("policy");
    out.because = text("because");
    out.remark = text("remark");
    read_scale(out);
    return out;
  }

 private:
  std::string at(std::string_view key) const { return fmt::format("{}/{}", where_, key); }
  bool has(std::string_view key) const {
    const Json* found = json_.find(key);
    return found != nullptr && !found->is_null();
  }
  double finite(std::string_view key) const {
    const double value = json_.at(key, where_).as_double(at(key));
    // Grids are floats.
    if (!(std::abs(value) <= 0x1.fffffep127))
      fail(at(key), "a finite float", fmt::to_string(value));
    return value + 0.0;
  }
  std::string text(std::string_view key) const {
    return has(key) ? json_.at(key, where_).as_string(at(key)) : "";
  }
  /// A misspelt key would silently leave the default, so unknown ones are refused.
  void check_keys() const {
    for (const auto& [key, value] : json_.as_object(where_)) {
      if (std::ranges::find(kKeys, key) == kKeys.end()) {
        fail(where_, "known keys",
             fmt::format("\"{}\"{}", key, did_you_mean(key, {kKeys.begin(), kKeys.end()})));
      }
    }
  }
  void read_measurements(Decision& out) const {
    out.before_lo = out.lo;
    out.before_hi = out.hi;
    if (has("range_before")) {
      const auto& pair = json_.at("range_before", where_).as_array(at("range_before"));
      if (pair.size() != 2)
        fail(at("range_before"), "[min, max]", fmt::format("{} numbers", pair.size()));
      out.before_lo = pair[0].as_double(at("range_before"));
      out.before_hi = pair[1].as_double(at("range_before"));
      if (!(std::isfinite(out.before_lo) && std::isfinite(out.before_hi))) {
        fail(at("range_before"), "finite numbers", "another");
      }
    }
    if (has("clipped")) out.clipped = share("clipped");
    out.coverage = has("coverage") ? share("coverage") : 1 - out.clipped;
    if (has("range_reduction")) out.range_reduction = finite("range_reduction");
    constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
    const Json* coverage = json_.find("coverage");
    // A share that is there and null was not known; an entry without one is somebody's choice.
    if (coverage != nullptr && coverage->is_null() && !has("clipped")) {
      out.coverage = out.clipped = kUnknown;
    }
    // Written as null when there is no error at all.
    const bool exact = json_.find("sqnr_db") != nullptr;
    out.sqnr = has("sqnr_db") ? finite("sqnr_db")
               : exact        ? std::numeric_limits<double>::infinity()
                              : kUnknown;
  }
  double share(std::string_view key) const {
    const double value = finite(key);
    if (value < 0 || value > 1) fail(at(key), "a share from 0 to 1", fmt::to_string(value));
    return value;
  }
  /// The range counts; a scale that no longer fits it shows that somebody changed the range.
  void read_scale(Decision& out) const {
    out.scale = static_cast<double>(make_grid(out.lo, out.hi, out.grid).scale);
    if (!has("scale")) return;
    constexpr std::string_view kEdited = "edited by hand: coverage and sqnr_db are from before";
    const double recorded = finite("scale");
    // Written in full digits; 1e-6 forgives a text editor's rounding.
    const bool changed = std::abs(recorded - out.scale) > 1e-6 * out.scale;
    if (changed && out.remark.find(kEdited) == std::string::npos) {
      out.remark += out.remark.empty() ? "" : "; ";
      out.remark += kEdited;
    }
  }

  const Json& json_;
  std::string where_;
};

/// What decides a site: its own statistic, or that of the states along the way.
struct Source {
  const Statistic* statistic;
  bool steps;
};

std::map<std::string, Source> sources_of(const std::map<std::string, Statistic>& statistics) {
  std::map<std::string, Source> out;
  for (const auto& [name, statistic] : statistics) {
    if (!name.ends_with(kSteps)) out.emplace(name, Source{&statistic, false});
  }
  for (const auto& [name, statistic] : statistics) {
    if (!name.ends_with(kSteps) || statistic.count == 0) continue;
    const std::string entry = name.substr(0, name.size() - kSteps.size()) + std::string(kState);
    out.insert_or_assign(entry, Source{&statistic, true});
  }
  return out;
}

void check_globs(const PlanOptions& options, const std::map<std::string, Source>& sources) {
  std::vector<std::string> names;
  for (const auto& [name, source] : sources) names.push_back(name);
  for (const auto& [glob, policy] : options.per_site) {
    const bool used = std::ranges::any_of(
        names, [&pattern = glob](const std::string& name) { return glob_match(pattern, name); });
    if (!used) {
      fail("policy", fmt::format("a site matching \"{}\"", glob),
           "none" + did_you_mean(glob, names));
    }
  }
}

/// How one site is decided.
struct SiteAnswer {
  Policy policy;
  GridSpec grid;
  double headroom;
};

SiteAnswer answer_for(const PlanOptions& options, const std::string& name) {
  SiteAnswer out{options.policy, options.grid, options.headroom};
  for (const SiteRule& rule : options.rules) {
    if (!glob_match(rule.glob, name)) continue;
    out.policy = rule.policy.value_or(out.policy);
    out.grid = rule.grid.value_or(out.grid);
    out.headroom = rule.headroom.value_or(out.headroom);
  }
  for (const auto& [glob, policy] : options.per_site) {
    if (glob_match(glob, name)) out.policy = policy;
  }
  return out;
}

Decision decide_site(const PlanOptions& options, const std::string& name, const Source& source) {
  const SiteAnswer how = answer_for(options, name);
  Decision out =
      decide(how.policy, name, *source.statistic, how.grid, options.allow_nonfinite, how.headroom);
  if (source.steps) out.because += fmt::format("; from the states along the way, {}", kSteps);
  return out;
}

}  // namespace

bool natural_less(std::string_view a, std::string_view b) {
  size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    if (is_digit(a[i]) && is_digit(b[j])) {
      const std::string_view m = number_at(a.substr(i)), n = number_at(b.substr(j));
      if (m.size() != n.size()) return m.size() < n.size();
      if (m != n) return m < n;
      i = skip_digits(a, i);
      j = skip_digits(b, j);
    } else if (a[i] != b[j]) {
      return static_cast<unsigned char>(a[i]) < static_cast<unsigned char>(b[j]);
    } else {
      ++i;
      ++j;
    }
  }
  if (a.size() - i != b.size() - j) return a.size() - i < b.size() - j;
  return a < b;  // "x1" and "x01": any fixed order
}

Json Plan::to_json() const {
  std::vector<std::string> names;
  for (const auto& [name, decision] : sites) names.push_back(name);
  std::ranges::sort(names, natural_less);
  Json out = Json::object();
  for (const std::string& name : names) out.append_member(name, entry_json(sites.at(name)));
  if (!meta.is_null()) out.append_member(std::string(kMeta), meta);
  return out;
}

Plan Plan::from_json(const Json& json, std::string_view where) {
  Plan out;
  for (const auto& [name, entry] : json.as_object(where)) {
    if (name == kMeta) {
      out.meta = entry;
      continue;
    }
    out.sites.emplace(name, EntryReader(entry, where, name).read());
  }
  return out;
}

Plan make_plan(const std::map<std::string, Statistic>& statistics, const PlanOptions& options) {
  const std::map<std::string, Source> sources = sources_of(statistics);
  check_globs(options, sources);
  struct Answer {
    Decision decision;
    std::string problem;
  };
  std::vector<const std::map<std::string, Source>::value_type*> sites;
  for (const auto& site : sources) sites.push_back(&site);
  std::vector<Answer> answers(sites.size());
  Threads(options.threads).for_each(std::ssize(sites), [&](int64_t i, int) {
    const auto at = static_cast<size_t>(i);
    const auto& [name, source] = *sites[at];
    try {
      answers[at].decision = decide_site(options, name, source);
    } catch (const Error& error) {
      answers[at].problem = error.what();
    }
  });
  Plan out;
  std::vector<std::string> problems;
  for (size_t i = 0; i < sites.size(); ++i) {
    if (answers[i].problem.empty()) {
      out.sites.emplace(sites[i]->first, std::move(answers[i].decision));
    } else {
      problems.push_back(std::move(answers[i].problem));
    }
  }
  if (!problems.empty()) {
    std::ranges::sort(problems, natural_less);
    throw Error(fmt::format("{} of {} sites cannot be decided:\n  {}", problems.size(),
                            sources.size(), joined(problems, "\n  ")));
  }
  return out;
}

}  // namespace scute
