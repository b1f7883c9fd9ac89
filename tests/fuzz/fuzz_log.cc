// Any bytes as an experiment log, and as the folder beside it none: lines are skipped with a remark
// or listed, compared and exported; what the scanner cuts out of a sound line is what a parser
// sees.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>

#include "scute/base/error.h"
#include "scute/experiments/difference.h"
#include "scute/experiments/line_scanner.h"
#include "scute/experiments/log_text.h"
#include "tests/fuzz/memory_file.h"

namespace scute::fuzz_log {
namespace {

/// A line that the parser takes as an object, the scanner must take too, with the same members.
void check_scanner(std::string_view line) {
  std::optional<scute::Json> parsed;
  try {
    parsed = scute::Json::parse(line, "line");
  } catch (const scute::Error&) {
    return;
  }
  if (!parsed->is_object()) return;
  std::string problem;
  const auto members = scute::scan_line(line, problem);
  // Two keys that differ in their escapes alone are one to the parser, which refuses them.
  if (!problem.empty() || members.size() != parsed->as_object("").size()) std::abort();
  for (size_t i = 0; i < members.size(); ++i) {
    const auto& [key, value] = parsed->as_object("")[i];
    const scute::Json cut = scute::Json::parse(members[i].value, "value");
    if (cut.dump() != value.dump()) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_scanner(text.substr(0, text.find('\n')));
  const scute::fuzz::MemoryFile file({data, size});
  const scute::ExperimentLog log = scute::read_log(file.path());
  std::vector<const scute::LogEntry*> entries;
  for (const scute::LogEntry& entry : log.entries) {
    entries.push_back(&entry);
    scute::matches(entry, "percentile_alpha: null");
    scute::mean_range_reduction(entry);
    try {
      entry.record("fuzz");
    } catch (const scute::Error&) {
    }
    for (scute::Difference& d : scute::compare_results(log.entries[0], entry, "/nowhere")) {
      if (!(d.p >= 0 && d.p <= 1)) std::abort();
      scute::verdict_text(d);
      scute::adjust_for_many({&d});
    }
  }
  scute::log_csv(entries);
  return 0;
}

}  // namespace scute::fuzz_log
