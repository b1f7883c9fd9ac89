// The report: 200 sites of a million values each and 50 experiments that are compared pair by pair.
// Wanted: below 3 s and 5 MB (bytes are a counter).
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <cmath>
#include <filesystem>

#include "scute/base/random.h"
#include "scute/experiments/report/report.h"
#include "scute/io/file.h"

namespace scute {
namespace {

constexpr int kSites = 200, kExperiments = 50, kWindows = 64, kLoggedSites = 25;

/// Normal values with a tail, as scales of activations are: about 5,000 buckets a site.
StatisticsSet make_statistics() {
  StatisticsSet out;
  Random random(1);
  std::vector<float> values(1 << 20);
  for (float& x : values) {
    const double wide = random.uniform() < 0.01 ? 8 : 1;
    x = static_cast<float>(wide * random.normal());
  }
  for (int i = 0; i < kSites; ++i) {
    for (float& x : values) x *= 1.01F;
    out.sites.emplace(fmt::format("layer_{}.op_{}:input", i / 10, i % 10), statistic_of(values));
  }
  return out;
}

Json site_record() {
  Json range, out;
  for (const char* key : {"min", "max", "range"}) range[key] = 1.2345678;
  out["before_percentile"] = out["after_percentile"] = range;
  for (const char* key : {"clipped_ratio", "sqnr_db", "median", "std", "range_reduction"}) {
    out[key] = 0.1234567;
  }
  out["policy"] = "quamba";
  return out;
}

/// A record of about 10 KB; its windows' scores are written beside the log.
Json make_record(int number, const std::string& folder) {
  Random random(static_cast<uint64_t>(number) + 2);
  std::string items;
  double sum = 0;
  for (int i = 0; i < kWindows; ++i) {
    const double nll = 511 * (3.3 + 0.1 * random.normal());
    sum += nll;
    items += fmt::format(
        "{{\"kind\":\"window\",\"index\":{},\"start\":{},\"predictions\":511,\"nll\":{}}}\n", i,
        512 * i, nll);
  }
  const std::string name = fmt::format("{}.jsonl", number);
  write_file(folder + "/" + name, items);
  Json out, task;
  out["timestamp"] = "2026-01-02 03:04:05";
  out["command"] = "scute run examples/tiny-mamba1 --policy quamba";
  for (const char* key : {"w_bits", "a_bits", "calib_data_num", "seed"})
    out["config"][key] = number;
  for (int i = 0; i < kLoggedSites; ++i) {
    out["activation_stats"][fmt::format("layer_{}.x_proj:input", i)] = site_record();
  }
  task["perplexity"] = std::exp(sum / (511 * kWindows));
  task["perplexity_stderr"] = 0.3;
  task["n"] = kWindows;
  task["file"] = "heldout.txt";
  for (const char* key : {"predictions", "window", "stride", "context"}) task[key] = 512;
  out["results"]["tasks"]["perplexity"] = task;
  out["files"]["items"] = name;
  return out;
}

void report(benchmark::State& state) {
  const std::string folder =
      (std::filesystem::temp_directory_path() / "scute_report_bench").string();
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  for (int i = 0; i < kExperiments; ++i) {
    append_record(folder + "/log.jsonl", make_record(i, folder));
  }
  const ExperimentLog log = read_log(folder + "/log.jsonl");
  ReportOptions options;
  if (state.range(0) != 0) options.statistics.push_back({"statistics", make_statistics()});
  if (state.range(1) != 0) options.log = &log;
  size_t bytes = 0;
  for (auto _ : state) bytes = make_report(options).size();
  state.counters["bytes"] = static_cast<double>(bytes);
  std::filesystem::remove_all(folder);
}
BENCHMARK(report)
    ->ArgNames({"statistics", "log"})
    ->Args({1, 0})
    ->Args({0, 1})
    ->Args({1, 1})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

}  // namespace
}  // namespace scute
