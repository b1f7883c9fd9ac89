// scute merge: statistics files into one, as if collected at once.
#include <fmt/format.h>

#include "cli/terminal/interrupt.h"
#include "cli/terminal/options.h"
#include "cli/terminal/words.h"
#include "scute/io/file.h"
#include "scute/recipe/statistics_io.h"

namespace scute::cli {

int run_merge(const Arguments& arguments, Output& out) {
  std::vector<std::string> files;
  std::string target;
  bool json = false;
  Options options("merge");
  options.texts("STATS", files, "FILE...", "statistics files of one model and one kind",
                Options::Need::required);
  options.text("--out", target, "FILE", "a name ending in .safetensors or .pt",
               Options::Need::required);
  options.json(json);
  if (!options.parse(arguments, out)) return kDone;
  if (!target.ends_with(".safetensors") && !target.ends_with(".pt")) {
    throw UsageError(
        fmt::format("--out: expected a name ending in .safetensors or .pt, found \"{}\"", target));
  }
  { const AtomicFile probe(target); }

  const StatisticsSet all = merge_statistics(files);
  const HoldInterrupts hold;
  write_statistics(target, all);

  const auto number = [&](std::string_view key) {
    const Json* value = all.meta.find(key);
    return value != nullptr && value->is_int() ? value->as_int(target) : int64_t{0};
  };
  if (json) {
    Json result;
    result["file"] = target;
    result["bytes"] = file_size(target);
    result["files"] = static_cast<int64_t>(files.size());
    result["samples"] = number("samples");
    result["tokens"] = number("tokens");
    result["sites"] = static_cast<int64_t>(all.sites.size());
    out.write_json(result);
  } else {
    out.write(fmt::format("merged     {}: {}, {} tokens, {}\nfile       {}, {}\n",
                          count_of(static_cast<int64_t>(files.size()), "file"),
                          count_of(number("samples"), "sample"), grouped(number("tokens")),
                          count_of(static_cast<int64_t>(all.sites.size()), "site"), target,
                          bytes_text(file_size(target))));
  }
  return kDone;
}

}  // namespace scute::cli
