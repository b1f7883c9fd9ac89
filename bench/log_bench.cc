// The experiment log: reading 10,000 records of 10 KB, what a listing needs of each, and appending
// with fsync. The listing through the program adds the table: time scute log on the same file.
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "scute/experiments/log.h"
#include "scute/experiments/log_text.h"

namespace scute {
namespace {

constexpr int kRecords = 10'000, kSites = 32;

/// A record of about 10 KB: 32 sites of 290 bytes, and the rest.
Json record(int index) {
  Json out;
  out["timestamp"] = "2026-11-21 11:02:03";
  out["command"] = "scute run examples/tiny-mamba1 --data examples/text/calibration.jsonl";
  for (const char* key : {"w_bits", "a_bits", "calib_data_num", "calib_seqlen", "seed"}) {
    out["config"][key] = 8;
  }
  out["config"]["model"] = "examples/tiny-mamba1";
  out["config"]["percentile_alpha"] = 0.9995;
  for (int site = 0; site < kSites; ++site) {
    Json& stat = out["activation_stats"][fmt::format("layer_{}.x_proj:input", site)];
    for (const char* side : {"before_percentile", "after_percentile"}) {
      stat[side]["min"] = -0.2712345;
      stat[side]["max"] = 4.8112345;
      stat[side]["range"] = 5.082469;
    }
    for (const char* key : {"clipped_ratio", "range_reduction", "median", "std", "sqnr_db"}) {
      stat[key] = 0.4527123;
    }
  }
  for (const char* task : {"last_word", "perplexity"}) {
    for (const char* key : {"accuracy", "perplexity", "perplexity_stderr", "n", "mean_nll"}) {
      out["results"]["tasks"][task][key] = 27.1712345;
    }
    out["results"]["tasks"][task]["sha256"] = std::string(64, 'a');
  }
  for (const char* key : {"experiment", "model", "tokenizer", "windows", "statistics"}) {
    out["hashes"][key] = std::string(64, 'b');
  }
  out["id"] = fmt::format("{:012x}", index);
  return out;
}

/// A file in the temporary folder, removed at the end.
struct File {
  std::string path = std::filesystem::temp_directory_path() /
                     fmt::format("scute_log_bench_{}.jsonl", static_cast<int>(::getpid()));
  ~File() { std::filesystem::remove(path); }
};

void list_10000(benchmark::State& state) {
  const File file;
  {
    std::ofstream out(file.path);
    for (int i = 0; i < kRecords; ++i) out << record(i).dump() << "\n";
  }
  for (auto _ : state) {
    const ExperimentLog log = read_log(file.path);
    double sum = 0;
    for (const LogEntry& entry : log.entries) sum += mean_range_reduction(entry).value_or(0);
    benchmark::DoNotOptimize(sum);
  }
  state.counters["bytes_per_record"] =
      static_cast<double>(std::filesystem::file_size(file.path)) / kRecords;
}
BENCHMARK(list_10000)->Unit(benchmark::kMillisecond);

void append(benchmark::State& state) {
  const File file;
  const Json one = record(1);
  for (auto _ : state) append_record(file.path, one);
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(append)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace scute
