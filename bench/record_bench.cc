// What it costs to record an experiment: ranges of every logged site, the line in the log, and the
// first values of each site.
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>

#include "scute/base/random.h"
#include "scute/experiments/log.h"
#include "scute/experiments/run_record.h"
#include "scute/io/file.h"
#include "scute/io/npy.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kLayers = 64;  // mamba-2.8b: 128 percentile sites

std::vector<float> normal_values(int64_t count, uint64_t seed) {
  std::vector<float> out(static_cast<size_t>(count));
  Random random(seed);
  for (float& x : out) x = static_cast<float>(random.normal());
  return out;
}

StatisticsSet statistics_of_layers() {
  StatisticsSet out;
  for (int64_t i = 0; i < kLayers; ++i) {
    for (const char* op : {"x_proj", "ssm_state_act"}) {
      out.sites.emplace(fmt::format("layer_{}.{}:input", i, op),
                        statistic_of(normal_values(100000, static_cast<uint64_t>(i))));
    }
  }
  return out;
}

fs::path folder() {
  return fs::temp_directory_path() / fmt::format("scute_record_bench_{}", ::getpid());
}

void record_statistics(benchmark::State& state) {
  const StatisticsSet statistics = statistics_of_layers();
  PlanOptions options;
  options.policy = Policy::parse("quamba:0.9995");
  const std::string log = (folder() / "log.jsonl").string();
  for (auto _ : state) {
    const Plan plan = make_plan(statistics.sites, options);
    Json record;
    record["activation_stats"] = activation_stats(statistics, plan, {}, {});
    append_record(log, record);
  }
  state.counters["sites"] = 2 * kLayers;
  fs::remove_all(folder());
}
BENCHMARK(record_statistics)->Unit(benchmark::kMillisecond);

void save_values(benchmark::State& state) {
  std::vector<NamedTensor> arrays;
  for (int64_t i = 0; i < 2 * kLayers; ++i) {
    arrays.push_back({fmt::format("layer_{}.x_proj:input", i),
                      Tensor::of<float>({10000}, normal_values(10000, static_cast<uint64_t>(i)))});
  }
  fs::create_directories(folder());
  const std::string path = (folder() / "values.npz").string();
  for (auto _ : state) write_npz(path, arrays);
  state.counters["bytes a site"] =
      static_cast<double>(file_size(path)) / static_cast<double>(arrays.size());
  fs::remove_all(folder());
}
BENCHMARK(save_values)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace scute
