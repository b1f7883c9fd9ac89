#include "cli/roofline.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <memory>

#include "cli/terminal/machine.h"
#include "cli/terminal/progress.h"
#include "cli/terminal/table.h"
#include "cli/terminal/words.h"
#include "scute/base/random.h"
#include "scute/base/threads.h"
#include "scute/kernels/gemm.h"
#include "scute/kernels/gemm_int8.h"

namespace scute::cli {
namespace {

using Limit = Roofline::Limit;

constexpr int kRuns = 7;
constexpr double kRunSeconds = 0.025;
/// Of the kernels' products: operands of 1.5 MB in f32, weights panel by panel in the second cache.
constexpr int64_t kRows = 256, kInputs = 512, kOutputs = 512;
/// Long enough that handing out pieces costs nothing.
constexpr int64_t kPieceWords = int64_t{1} << 18;
constexpr int64_t kLeastReadBytes = int64_t{256} << 20;
constexpr int64_t kCaches = 8;  ///< times the last cache are read
constexpr int64_t kExpValues = 4096;

Limit limit_of(ProductType type) {
  if (type == ProductType::f32) return Limit::f32;
  return type == ProductType::bf16 ? Limit::bf16 : Limit::int8;
}

const char* title_of(Limit limit) {
  switch (limit) {
    case Limit::f32:
      return "f32 products";
    case Limit::bf16:
      return "bf16 products";
    case Limit::int8:
      return "int8 products";
    case Limit::read:
      return "reading";
    default:
      return "exp";
  }
}

const char* unit_of(Limit limit) {
  if (limit == Limit::read) return "GB/s";
  return limit == Limit::exp ? "10^9 values/s" : "10^9 multiply-adds/s";
}

/// Calls chunk(index, worker) as often as fills a run, or `count` times, and gives its rate.
using Chunk = std::function<void(int64_t index, int worker)>;
Rate rate_of(const Threads& threads, double work, const Chunk& chunk, int64_t count = 0) {
  const int64_t team = threads.count();
  if (count == 0) {
    threads.for_each(team, chunk);  // wakes threads, touches memory
    const double once = seconds_of([&] { threads.for_each(4 * team, chunk); }) / 4;
    count = team * std::max<int64_t>(1, std::llround(kRunSeconds / std::max(once, 1e-6)));
  }
  std::vector<double> rates;
  for (int i = 0; i < kRuns; ++i) {
    const double seconds = seconds_of([&] { threads.for_each(count, chunk); });
    rates.push_back(work * static_cast<double>(count) / seconds);
  }
  std::ranges::sort(rates);
  return {rates[kRuns / 2], rates.front(), rates.back()};
}

/// One thread; and all of them, where they are more.
std::vector<int> one_and_all(int threads) {
  return threads == 1 ? std::vector<int>{1} : std::vector<int>{1, threads};
}

/// 1 … 8, then powers of two, then all.
std::vector<int> counts_up_to(int threads) {
  std::vector<int> out;
  for (int n = 1; n < threads; n += n < 8 ? 1 : n) out.push_back(n);
  out.push_back(threads);
  return out;
}

Tensor random_floats(int64_t rows, int64_t cols) {
  Tensor out(DType::f32, {rows, cols});
  Random random(1);
  for (float& x : out.mutable_values<float>()) x = static_cast<float>(random.normal());
  return out;
}

Tensor random_codes(int64_t rows, int64_t cols) {
  Tensor out(DType::i8, {rows, cols});
  Random random(1);
  for (int8_t& x : out.mutable_values<int8_t>()) {
    x = static_cast<int8_t>(static_cast<int64_t>(random.below(256)) - 128);
  }
  return out;
}

/// Measures everything, a row after the other.
class RooflineMeasurement {
 public:
  RooflineMeasurement(int threads, bool quiet) : progress_("roofline", "rates", quiet) {
    out_.threads = Threads(threads).count();
    const auto few = static_cast<int64_t>(one_and_all(out_.threads).size());
    total_ = 7 * few + static_cast<int64_t>(counts_up_to(out_.threads).size());
  }

  Roofline run() {
    for (const ProductType type : kProductTypes) {
      add_loops(type);
      add_kernels(type);
    }
    add_reading();
    add_exps();
    return std::move(out_);
  }

 private:
  void add(Limit limit, std::string by, const Threads& threads, const Rate& rate) {
    out_.rows.push_back({limit, std::move(by), threads.count(), rate});
    progress_.update(std::ssize(out_.rows), total_);
  }

  void add_loops(ProductType type) {
    constexpr int64_t kSteps = 100'000;
    const PeakLoop loop = peak_loop(type);
    for (const int n : one_and_all(out_.threads)) {
      const Threads threads(n);
      add(limit_of(type), std::string(loop.instruction), threads,
          rate_of(threads, static_cast<double>(kSteps * loop.multiply_adds_a_step),
                  [&](int64_t, int) { run_peak_loop(type, kSteps); }));
    }
  }

  void add_kernels(ProductType type) {
    constexpr double kWork = static_cast<double>(kRows * kInputs * kOutputs);
    const bool integers = type == ProductType::int8;
    const Gemm floats(random_floats(integers ? 0 : kOutputs, kInputs),
                      type == ProductType::bf16 ? Compute::bf16 : Compute::f32);
    const GemmInt8 codes(random_codes(integers ? kOutputs : 0, kInputs));
    for (const int n : one_and_all(out_.threads)) {
      const Threads threads(n);
      std::vector<Tensor> x, y, prepared;  // of each thread
      for (int i = 0; i < n; ++i) {
        x.push_back(integers ? random_codes(kRows, kInputs) : random_floats(kRows, kInputs));
        prepared.emplace_back(DType::u8, Shape{codes.input_bytes(kRows)});
        y.emplace_back(integers ? DType::i32 : DType::f32, Shape{kRows, kOutputs});
      }
      const auto multiply = [&](int64_t, int worker) {
        Tensor &in = x[static_cast<size_t>(worker)], &out = y[static_cast<size_t>(worker)];
        if (integers) {
          auto* to = reinterpret_cast<std::byte*>(
              prepared[static_cast<size_t>(worker)].mutable_values<uint8_t>().data());
          codes.prepare(in.matrix<int8_t>(), 0, kRows, to);
          codes.multiply(to, 0, out.mutable_matrix<int32_t>());
        } else {
          floats(in.matrix<float>(), out.mutable_matrix<float>());
        }
      };
      const auto name = integers ? codes.backend() : floats.backend();
      add(limit_of(type), std::string(name), threads, rate_of(threads, kWork, multiply));
    }
  }

  void add_reading() {
    out_.cached_bytes = last_level_cache();
    const int64_t most = memory_of_machine().available / 4;
    const int64_t wanted = std::max(kLeastReadBytes, kCaches * out_.cached_bytes);
    constexpr int64_t kPieceBytes = kPieceWords * static_cast<int64_t>(sizeof(uint64_t));
    const int64_t pieces = std::max<int64_t>(1, std::min(wanted, most) / kPieceBytes);
    out_.read_bytes = pieces * kPieceBytes;
    const auto words =
        std::make_unique_for_overwrite<uint64_t[]>(static_cast<size_t>(pieces * kPieceWords));
    Threads(out_.threads).for_each(pieces, [&](int64_t i, int) {
      std::fill_n(words.get() + i * kPieceWords, kPieceWords, uint64_t{1});
    });
    for (const int n : counts_up_to(out_.threads)) {
      const Threads threads(n);
      add(Limit::read, "sum over memory", threads,
          rate_of(
              threads, double{kPieceBytes},
              [&](int64_t i, int) { sum_words(words.get() + i * kPieceWords, kPieceWords); },
              pieces));
    }
  }

  void add_exps() {
    constexpr int kTimes = 64;
    std::vector<float> x(kExpValues);
    Random random(1);
    for (float& value : x) value = static_cast<float>(-16 * random.uniform());
    for (const int n : one_and_all(out_.threads)) {
      const Threads threads(n);
      std::vector<std::vector<float>> y(static_cast<size_t>(n), x);
      add(Limit::exp, "the scan's, in the first cache", threads,
          rate_of(threads, double{kTimes * kExpValues}, [&](int64_t, int worker) {
            for (int i = 0; i < kTimes; ++i) {
              exp2_values(x.data(), kExpValues, y[static_cast<size_t>(worker)].data());
            }
          }));
    }
  }

  Progress progress_;
  int64_t total_ = 0;
  Roofline out_;
};

ModelWork products_of(const std::vector<Work>& parts) {
  ModelWork out;
  for (const Work& part : parts) out = out + part.products * part.times;
  return out;
}

int64_t bytes_of(const std::vector<Work>& parts) {
  int64_t out = 0;
  for (const Work& part : parts) out += part.bytes * part.times;
  return out;
}

}  // namespace

double Roofline::best(Limit limit) const {
  double out = 0;
  for (const Row& row : rows) {
    if (row.limit == limit && row.threads == threads) out = std::max(out, row.rate.most);
  }
  return out;
}

Roofline measure_roofline(int threads, bool quiet) {
  return RooflineMeasurement(threads, quiet).run();
}

Json as_json(const Roofline& roofline) {
  Json out;
  out["processor"] = processor_name();
  out["highway"] = highway_target();
  out["instruction_sets"] = instruction_sets();
  out["threads"] = roofline.threads;
  out["runs"] = kRuns;
  out["read_bytes"] = roofline.read_bytes;
  out["last_cache_bytes"] = roofline.cached_bytes;
  out["rates"] = Json::array();
  for (const Roofline::Row& row : roofline.rows) {
    Json one;
    one["limit"] = title_of(row.limit);
    one["by"] = row.by;
    one["threads"] = row.threads;
    one["unit"] = unit_of(row.limit);
    one["median"] = row.rate.median / 1e9;
    one["least"] = row.rate.least / 1e9;
    one["most"] = row.rate.most / 1e9;
    out["rates"].push_back(std::move(one));
  }
  for (const Limit limit : {Limit::f32, Limit::bf16, Limit::int8, Limit::read, Limit::exp}) {
    out["limits"][title_of(limit)] = roofline.best(limit) / 1e9;
  }
  return out;
}

std::string as_text(const Roofline& roofline) {
  std::string out = fmt::format(
      "machine  {}; {}\nroofline median of {} runs; products in 10^9 "
      "multiply-adds a second, kernels with {} x {} x {}; reading in GB/s, {} with a last cache of "
      "{}; exp in 10^9 values a second\n\n",
      processor_name(), instruction_sets(), kRuns, kRows, kInputs, kOutputs,
      bytes_text(roofline.read_bytes),
      roofline.cached_bytes > 0 ? bytes_text(roofline.cached_bytes) : "unknown size");
  using Align = Table::Align;
  Table table({{"limit", Align::left},
               {"by", Align::left},
               {"threads"},
               {"median"},
               {"lowest"},
               {"highest"}});
  for (const Roofline::Row& row : roofline.rows) {
    const auto number = [](double rate) { return significant(rate / 1e9, 4); };
    table.add({title_of(row.limit), row.by, fmt::format("{}", row.threads), number(row.rate.median),
               number(row.rate.least), number(row.rate.most)});
  }
  return out + table.text();
}

TimeLimit time_limit(const std::vector<Work>& parts, const Roofline& roofline) {
  double products = 0, memory = 0, seconds = 0;
  for (const Work& part : parts) {
    double multiplying = 0;
    for (const ProductType type : kProductTypes) {
      const double rate = roofline.best(limit_of(type));
      if (part.products.of(type) > 0) {
        multiplying += static_cast<double>(part.products.of(type)) / rate;
      }
    }
    const bool cached = part.bytes <= roofline.cached_bytes;
    const double reading =
        cached ? 0 : static_cast<double>(part.bytes) / roofline.best(Limit::read);
    const auto times = static_cast<double>(part.times);
    (reading > multiplying ? memory : products) += times * std::max(reading, multiplying);
    seconds += times * std::max(reading, multiplying);
  }
  return {seconds, memory > products};
}

void add_work(Json& figure, const std::vector<Work>& parts, double seconds,
              const Roofline* roofline) {
  const ModelWork products = products_of(parts);
  for (const ProductType type : kProductTypes) {
    figure["multiply_adds"][std::string(name_of(type))] = products.of(type);
  }
  figure["exps"] = products.exps;
  figure["bytes_read"] = bytes_of(parts);
  if (roofline == nullptr) return;
  const TimeLimit limit = time_limit(parts, *roofline);
  figure["limit"]["ms"] = limit.seconds * 1e3;
  figure["limit"]["bound_by"] = limit.memory ? "reading" : "products";
  figure["limit"]["share"] = limit.seconds / seconds;
  figure["limit"]["exps_ms"] =
      static_cast<double>(products.exps) / roofline->best(Limit::exp) * 1e3;
}

std::string work_text(const std::vector<Work>& parts, double seconds, const Roofline* roofline,
                      size_t indent) {
  const ModelWork products = products_of(parts);
  const auto multiply_adds = static_cast<double>(products.multiply_adds());
  const auto bytes = static_cast<double>(bytes_of(parts));
  std::string types;
  for (const ProductType type : kProductTypes) {
    if (products.of(type) * 100 < products.multiply_adds()) continue;
    types += fmt::format("{}{}", types.empty() ? "" : " and ", name_of(type));
  }
  std::string out = fmt::format("{} x 10^9 multiply-adds in {}, {} x 10^9 a second; {}, {} GB/s",
                                significant(multiply_adds / 1e9, 3), types,
                                significant(multiply_adds / seconds / 1e9, 3),
                                bytes_text(bytes_of(parts)), significant(bytes / seconds / 1e9, 3));
  if (roofline == nullptr) return out;
  const TimeLimit limit = time_limit(parts, *roofline);
  return out + fmt::format("\n{}{:.2f} of the limit, {} ms by {}", std::string(indent, ' '),
                           limit.seconds / seconds, significant(limit.seconds * 1e3, 4),
                           limit.memory ? "reading" : "products");
}

void declare_roofline(Options& options, bool& value) {
  options.flag("--roofline", value,
               "rates of products, reading and exp on one thread and on --threads, and with them "
               "the share of its limit that each figure reaches");
  options.note(
      "A share is the least time that this machine could need over the time measured. That least "
      "time is the longer of two: the multiply-adds of products, convolution and scan, each at the "
      "highest rate of its type (f32, bf16 or int8) in the same run, and the weights and states "
      "read "
      "once at the rate of reading, unless they fit into the last cache; both on --threads. "
      "Exponentials are not in it.");
}

}  // namespace scute::cli
