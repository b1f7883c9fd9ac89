#include "cli/collecting.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "cli/terminal/options.h"
#include "cli/terminal/outputs.h"
#include "cli/terminal/words.h"
#include "scute/base/names.h"
#include "scute/language/silent_experts.h"

namespace scute::cli {

void Collecting::say_nothing_written(const Error& error) {
  note(false, fmt::format("scute: interrupted, nothing written ({})", error.what()));
}

std::string tokenizer_doubt(int64_t ids, int64_t rows) {
  // Vocabularies are padded to multiples of 8 … 128; a much smaller tokenizer is another model's.
  return rows - ids > std::max<int64_t>(512, rows / 100)
             ? "is it the one that belongs to this model?"
             : "";
}

std::vector<std::string> missed_sites(const std::vector<std::string>& silent,
                                      const std::string& sites_flag) {
  const bool steps_wanted = sites_flag.find("steps") != std::string::npos;
  std::vector<std::string> out;
  const bool experts_wanted = sites_flag.find("experts") != std::string::npos;
  for (const std::string& site : silent) {
    const bool may_be_silent =
        (!steps_wanted && site.ends_with(":steps")) || (!experts_wanted && is_expert_site(site));
    if (!may_be_silent) out.push_back(site);
  }
  return out;
}

void refuse_silence(const std::string& file, const std::vector<std::string>& missed,
                    std::string_view hint) {
  if (missed.empty()) return;
  fail(file, "a value at every site asked for",
       fmt::format("none at {} (the file holds the others){}{}", joined(missed, ", "),
                   hint.empty() ? "" : "; ", hint));
}

std::vector<std::string> nonfinite_sites(const StatisticsSet& set) {
  std::vector<std::string> out;
  for (const auto& [name, statistic] : set.sites) {
    if (statistic.nans + statistic.infs == 0) continue;
    out.push_back(fmt::format("{} ({} NaN, {} infinite)", name, statistic.nans, statistic.infs));
  }
  return out;
}

std::string nonfinite_text(const StatisticsSet& set) {
  std::string out;
  for (const std::string& site : nonfinite_sites(set)) {
    out += fmt::format("WARNING    {}: decide refuses it unless told --allow-nonfinite\n", site);
  }
  return out;
}

std::string to_continue(const Call& call, const std::string& file, const Arguments& changed) {
  const std::filesystem::path path(file);
  const auto beside = [&](const char* what) {
    const auto name = path.stem().string() + what + path.extension().string();
    return (path.parent_path() / name).string();
  };
  Arguments rest{"collect"};
  rest.insert(rest.end(), call.arguments.begin(), call.arguments.end());
  rest.insert(rest.end(), changed.begin(), changed.end());
  rest.insert(rest.end(), {"--out", beside("-rest")});
  return "to continue:\n  " + shell_command(rest) + "\n  " +
         shell_command({"merge", file, beside("-rest"), "--out", beside("-all")});
}

}  // namespace scute::cli
