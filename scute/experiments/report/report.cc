#include "scute/experiments/report/report.h"

#include <array>
#include <cstddef>
#include <string_view>

#include "scute/base/error.h"
#include "scute/base/hash.h"
#include "scute/experiments/report/assets.h"
#include "scute/experiments/report/data.h"

namespace scute {
namespace {

/// RFC 4648 §4 of the bytes that hexadecimal digits stand for: how a content security policy
/// writes hashes.
std::string base64_of_hex(std::string_view hex) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  // Three hexadecimal digits are 12 bits: two digits of base 64.
  for (size_t at = 0; at < hex.size(); at += 3) {
    size_t bits = 0;
    for (size_t i = at; i < at + 3; ++i) {
      bits = bits * 16 + (i < hex.size() ? std::string_view("0123456789abcdef").find(hex[i]) : 0);
    }
    out += kDigits[bits / 64];
    // 64 digits leave one over, whose 4 bits need one digit of base 64.
    if (at + 1 < hex.size()) out += kDigits[bits % 64];
  }
  while (out.size() % 4 != 0) out += '=';
  return out;
}

std::string hash_source(std::string_view text) {
  return "'sha256-" + base64_of_hex(sha256(text)) + "'";
}

/// Nothing may be loaded, and only our own script and style run: text from a log that got past
/// everything else would still not.
std::string security_policy(const ReportAssets& assets) {
  return "default-src 'none'; script-src " + hash_source(assets.chart) + " " +
         hash_source(assets.script) + "; style-src " + hash_source(assets.style) +
         "; base-uri 'none'; form-action 'none'";
}

/// JSON that cannot end the element it stands in: "<" appears inside of strings only, where \u003c
/// means the same.
std::string embeddable(const Json& json) {
  const std::string text = json.dump();
  std::string out;
  out.reserve(text.size() + text.size() / 50);
  for (const char c : text) {
    if (c == '<') {
      out += "\\u003c";
    } else {
      out += c;
    }
  }
  return out;
}

/// The template with its places filled from left to right; what was filled in is not read again.
std::string fill(std::string_view html,
                 const std::array<std::pair<std::string_view, std::string_view>, 5>& places) {
  std::string out;
  for (const auto& [place, text] : places) {
    const size_t at = html.find(place);
    if (at == std::string_view::npos) fail("report page", std::string(place), "none");
    out += html.substr(0, at);
    out += text;
    html.remove_prefix(at + place.size());
  }
  out += html;
  return out;
}

}  // namespace

std::string make_report(const ReportOptions& options) {
  const bool no_log = options.log == nullptr || options.log->entries.empty();
  if (no_log && options.statistics.empty() && !options.checkpoint) {
    fail("report", "experiments, statistics or a checkpoint to show", "none of them");
  }
  const Threads threads(options.threads);
  Json data;
  data["tool"] = "scute " SCUTE_VERSION;
  data["plans"] = plans_data(options);
  data["statistics"] = Json::array();
  for (const ReportStatistics& statistics : options.statistics) {
    data["statistics"].push_back(statistics_data(statistics, options.plans, threads));
  }
  if (options.log != nullptr) {
    data["log"] = log_data(*options.log, options.most_experiments, threads);
  }
  if (options.checkpoint) {
    data["checkpoint"] = checkpoint_data(*options.checkpoint, options.checkpoint_recipe);
  }
  const ReportAssets& assets = report_assets();
  const std::string policy = security_policy(assets), json = embeddable(data);
  return fill(assets.html, {{{"@CSP@", policy},
                             {"@STYLE@", assets.style},
                             {"@DATA@", json},
                             {"@CHART@", assets.chart},
                             {"@SCRIPT@", assets.script}}});
}

}  // namespace scute
