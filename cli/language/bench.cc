// scute bench: speed and memory on this machine.
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <memory>

#include "cli/described.h"
#include "cli/form.h"
#include "cli/language/bench_latency.h"
#include "cli/language/forward.h"
#include "cli/language/memory.h"
#include "cli/roofline.h"
#include "cli/terminal/job.h"
#include "cli/terminal/machine.h"
#include "cli/terminal/options.h"
#include "cli/terminal/progress.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/base/random.h"
#include "scute/base/threads.h"
#include "scute/decide/policy.h"
#include "scute/kernels/histogram.h"
#include "scute/language/model_folder.h"
#include "scute/language/random_model.h"
#include "scute/observe/composite.h"
#include "scute/observe/recorder.h"

namespace scute::cli {
namespace {

/// Of random weights, unless asked otherwise.
constexpr const char* kSize = "mamba-130m";

struct BenchRequest {
  std::string model, sites;
  std::optional<std::string> random;
  Execution execution;
  int64_t seqlen = 512, samples = 4, repeat = 3;
  int fine = 8;
  Job job;
  LatencyRequest latency;
  bool roofline = false;

  void declare(Options& options);
  std::string size() const { return random.value_or(kSize); }
  /// The machine alone.
  bool no_model() const { return roofline && model.empty() && !random && !latency.asked(); }
  void check() const;
};

void BenchRequest::declare(Options& options) {
  options.model(model, Options::Need::optional);
  options.random(random, kSize);
  options.integer("--samples", samples, {.least = 1}, "sequences of a pass");
  options.integer("--seqlen", seqlen, {.least = 1}, "tokens of a sequence");
  options.integer("--repeat,--repeats", repeat, {.least = 1},
                  "timed passes of each figure; the medians are shown");
  options.text("--sites", sites, "GLOB", "sites observed; without it all but lm_head:output");
  options.fine(fine);
  latency.add_to(options);
  declare_roofline(options, roofline);
  options.compute(execution.compute);
  options.backend(execution.backend);
  job.declare_memory(options);
  job.declare(options);
  options.not_with({"--memory"}, "--roofline without a model", [this] { return no_model(); });
  options.not_with({"--samples", "--seqlen", "--sites", "--fine"},
                   "--size, --ttft, --tpot, --ttlt, --pp or --tg",
                   [this] { return latency.asked(); });
  options.not_with(
      {"--samples", "--seqlen", "--sites", "--fine", "--repeat", "--compute", "--backend"},
      "--roofline without a model", [this] { return no_model(); });
  options.only_with({"--repeat"}, "a figure that is timed",
                    [this] { return latency.timed() || !latency.asked(); });
  options.note("--roofline without MODEL, --random and a figure measures the machine alone.");
  options.note(fmt::format("Sizes: {}", joined(named_sizes(), ", ")));
}

void BenchRequest::check() const {
  if (random && !model.empty()) {
    throw UsageError("expected either MODEL or --random SIZE, found both");
  }
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/// Of the clock on the wall, and of all processors together: on a machine that others use too, only
/// the second says what the work costs.
struct Time {
  double wall, processor;
};

template <class F>
Time time_of(const F& work) {
  const std::clock_t start = std::clock();
  const double wall = seconds_of(work);
  return {wall, static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC};
}

/// Passes over the same sequences, without and with recorders.
class Passes {
 public:
  Passes(const LanguageModel& model, const BenchRequest& request)
      : model_(model), threads_(request.job.threads) {
    const std::vector<Site> all = observed_sites(model.sites(), request.sites);
    const std::vector<Site> counted = without_composites(all);
    sites_ = static_cast<int64_t>(all.size());
    for (int64_t i = 0; i < request.samples; ++i) {
      ids_.push_back(
          random_ids(request.seqlen, model.config().vocabulary, static_cast<uint64_t>(i)));
    }
    for (int i = 0; i < threads_.count(); ++i) {
      recorders_.push_back(
          std::make_unique<Recorder>(counted, RecorderOptions{.fine = request.fine}));
      plain_.push_back(std::make_unique<Run>());
      observed_.push_back(std::make_unique<Run>(recorders_.back().get()));
      for (Run* run : {plain_.back().get(), observed_.back().get()}) run->use(threads_.team(i));
    }
  }
  Time plain() const { return pass(plain_); }
  Time observed() const { return pass(observed_); }
  int threads() const { return threads_.count(); }
  int64_t sites() const { return sites_; }
  /// Of the first thread that saw anything.
  const std::map<std::string, Statistic>& statistics() const {
    for (const auto& recorder : recorders_) {
      if (!recorder->statistics().empty()) return recorder->statistics();
    }
    fail("bench", "a recorder that saw a value", "none");
  }

 private:
  Time pass(const std::vector<std::unique_ptr<Run>>& runs) const {
    return time_of([&] {
      threads_.for_each(static_cast<int64_t>(ids_.size()), [&](int64_t i, int worker) {
        forward(model_, *runs[static_cast<size_t>(worker)], ids_[static_cast<size_t>(i)]);
      });
    });
  }

  const LanguageModel& model_;
  Threads threads_;
  int64_t sites_ = 0;
  std::vector<std::vector<int32_t>> ids_;
  std::vector<std::unique_ptr<Recorder>> recorders_;
  std::vector<std::unique_ptr<Run>> plain_, observed_;
};

struct Speeds {
  double plain = 0, observed = 0;  ///< tokens a second
  double undisturbed =
      0;            ///< tokens a second if every thread had a processor of its own throughout
  double cost = 0;  ///< processor time with observation over that without, minus 1
};

Speeds measure(const Passes& passes, const BenchRequest& request) {
  Progress progress("bench", "passes", request.job.quiet);
  const auto tokens = static_cast<double>(request.samples * request.seqlen);
  const int64_t total = 2 * request.repeat + 2;
  passes.plain();  // memory and histogram pages are touched before anything is timed
  progress.update(1, total);
  passes.observed();
  progress.update(2, total);
  std::vector<double> plain, observed, processor, ratios;
  for (int64_t i = 0; i < request.repeat; ++i) {
    const Time without = passes.plain(), with = passes.observed();
    plain.push_back(without.wall);
    observed.push_back(with.wall);
    processor.push_back(without.processor);
    ratios.push_back(with.processor / without.processor);
    progress.update(2 * i + 4, total);
  }
  const auto busy = static_cast<double>(passes.threads());
  return {tokens / median(plain), tokens / median(observed), tokens * busy / median(processor),
          median(ratios) - 1};
}

/// Best of several runs over a million normal values, which fit the second-level cache.
struct KernelTimes {
  double histogram = 0, scan = 0;  ///< ns per value
};

KernelTimes measure_kernels(int fine) {
  constexpr int64_t kValues = 1'000'000;
  std::vector<float> values(kValues);
  Random random(1);
  for (float& value : values) value = static_cast<float>(random.normal());
  std::vector<uint32_t> table(static_cast<size_t>(bucket_table_size(fine)));
  KernelTimes best{1e9, 1e9};
  int64_t seen = 0;
  for (int i = 0; i < 20; ++i) {
    const double counting =
        seconds_of([&] { count_buckets(values.data(), kValues, fine, table.data()); });
    const double scanning = seconds_of([&] { seen += scan_values(values.data(), kValues).zeros; });
    best.histogram = std::min(best.histogram, counting * 1e9 / kValues);
    best.scan = std::min(best.scan, scanning * 1e9 / kValues);
  }
  if (seen < 0) best.scan = 0;  // keeps the scan from being optimized away
  return best;
}

/// Seconds to decide 200 sites at 20 percentiles each.
double measure_decide(const std::map<std::string, Statistic>& statistics) {
  constexpr int kSites = 200, kPercentiles = 20;
  std::vector<std::pair<std::string, const Statistic*>> sites;
  for (const auto& [name, statistic] : statistics) {
    if (statistic.finite() > 0) sites.emplace_back(name, &statistic);
  }
  return seconds_of([&] {
    for (int i = 0; i < kSites; ++i) {
      const auto& [name, statistic] = sites[static_cast<size_t>(i) % sites.size()];
      const Decider decider(name, *statistic, true);
      for (int p = 0; p < kPercentiles; ++p) {
        Policy policy = Policy::parse("percentile");
        policy.alpha = 1 - 0.0005 * p;
        decider(policy, {});
      }
    }
  });
}

struct Report {
  std::string model;
  int threads = 0;
  Speeds speeds;
  KernelTimes kernels;
  double decide_seconds = 0;
  int64_t sites = 0, bytes_per_site = 0, weights = 0, peak = 0, loading_peak = 0;
  Work work;  ///< of a pass
  std::optional<Roofline> roofline;

  const Roofline* limits() const { return roofline ? &*roofline : nullptr; }
  double pass_seconds(const BenchRequest& request) const {
    return static_cast<double>(request.samples * request.seqlen) / speeds.plain;
  }
};

Json as_json(const Report& r, const BenchRequest& request) {
  Json out;
  out["model"] = r.model;
  out["compute"] = compute_name(request.execution);
  out["samples"] = request.samples;
  out["seqlen"] = request.seqlen;
  out["repeat"] = request.repeat;
  out["threads"] = r.threads;
  out["fine"] = request.fine;
  out["processor"] = processor_name();
  out["highway"] = highway_target();
  out["instruction_sets"] = instruction_sets();
  out["tokens_per_second"] = r.speeds.plain;
  out["tokens_per_second_undisturbed"] = r.speeds.undisturbed;
  out["tokens_per_second_observed"] = r.speeds.observed;
  out["observation_cost"] = r.speeds.cost;
  out["histogram_ns_per_value"] = r.kernels.histogram;
  out["scan_ns_per_value"] = r.kernels.scan;
  out["sites"] = r.sites;
  out["statistics_bytes_per_site"] = r.bytes_per_site;
  out["weight_bytes"] = r.weights;
  out["peak_bytes"] = r.peak;
  out["peak_bytes_after_loading"] = r.loading_peak;
  out["decide_200_sites_20_percentiles_seconds"] = r.decide_seconds;
  add_work(out["forward"], {r.work}, r.pass_seconds(request), r.limits());
  if (r.roofline) out["roofline"] = as_json(*r.roofline);
  return out;
}

std::string as_text(const Report& r, const BenchRequest& request) {
  std::string out = fmt::format(
      "model       {}, {}, {} of {} tokens, {}\n", r.model, compute_name(request.execution),
      count_of(request.samples, "sequence"), request.seqlen, count_of(r.threads, "thread"));
  out += fmt::format("machine     {}; {}\n", processor_name(), instruction_sets());
  out += fmt::format(
      "forward     {} tokens a second without head and without tap ({} by processor time)\n",
      grouped(static_cast<int64_t>(r.speeds.plain)),
      grouped(static_cast<int64_t>(r.speeds.undisturbed)));
  out +=
      fmt::format("work        {}\n", work_text({r.work}, r.pass_seconds(request), r.limits(), 12));
  out += fmt::format("observed    {} tokens a second with {} observed: {:+.1f} % processor time\n",
                     grouped(static_cast<int64_t>(r.speeds.observed)), count_of(r.sites, "site"),
                     100 * r.speeds.cost);
  out += fmt::format("histogram   {:.2f} ns a value, scan for extremes {:.2f} ns\n",
                     r.kernels.histogram, r.kernels.scan);
  out += fmt::format("statistics  {} a site on average at fine {}\n", bytes_text(r.bytes_per_site),
                     request.fine);
  out += fmt::format("memory      peak {}, packed weights {}, peak after loading {}\n",
                     bytes_text(r.peak), bytes_text(r.weights), bytes_text(r.loading_peak));
  out += fmt::format("decide      200 sites x 20 percentiles in {}\n",
                     duration_text(r.decide_seconds));
  if (r.roofline) out += "\n" + as_text(*r.roofline);
  return out;
}

/// The head is needed, and its memory taken, where tokens are chosen.
LanguageModel make_model(BenchRequest& request, const Call& call) {
  const auto head =
      request.latency.asked() ? LanguageModel::Head::packed : LanguageModel::Head::absent;
  const bool latency = request.latency.asked();
  WholeWork work{.tokens = latency ? request.latency.longest() : request.seqlen,
                 .head = head,
                 .sequences = latency ? request.latency.sequences() : 0};
  const auto observed = [&](const MambaConfig& config, const Scheme& scheme) {
    const SiteList sites = LanguageModelSites(config, scheme).list;
    return latency ? 0 : statistics_bytes(sites, request.fine);
  };
  if (!request.model.empty()) {
    const ModelDescription model = described(request.model, request.job.quiet);
    backend_only_with(call, model.low_bit);
    work.statistics = observed(model.config, model.scheme);
    request.job.threads = planned_whole(request.job, model, request.execution, work);
    return load_model(model, request.execution, head);
  }
  backend_only_with(call, false);
  const MambaConfig config = named_config(request.size());
  work.statistics = observed(config, {});
  request.job.threads = planned_random(request.job, config, request.execution, work);
  return {config, random_weights(config, 42), request.execution, head};
}

/// "random SIZE", and what of its config was assumed.
std::string random_words(const std::string& size) {
  const std::string assumed = assumed_in(size);
  return "random " + size + (assumed.empty() ? "" : fmt::format(" ({})", assumed));
}

Json roofline_alone(const Roofline& roofline) {
  Json out;
  out["roofline"] = as_json(roofline);
  return out;
}

int run(BenchRequest& request, const Call& call, Output& out) {
  Report report;
  if (request.roofline) {
    report.roofline = measure_roofline(request.job.threads, request.job.quiet);
  }
  if (request.no_model()) {
    request.job.answer(
        out, [&] { return roofline_alone(*report.roofline); },
        [&] { return as_text(*report.roofline); });
    return kDone;
  }
  const LanguageModel model = make_model(request, call);
  report.model = request.model.empty() ? random_words(request.size()) : request.model;
  if (request.latency.asked()) {
    bench_latency(model,
                  {.model = report.model,
                   .compute = compute_name(request.execution),
                   .request = request.latency,
                   .job = request.job,
                   .repeat = request.repeat,
                   .roofline = report.limits()},
                  out);
    return kDone;
  }
  report.weights = model.size().total();
  report.loading_peak = peak_memory();
  report.work = {
      model.work_of_blocks() * (request.samples * request.seqlen),
      report.weights - model.size().embedding + request.samples * model.new_state().bytes()};

  const Passes passes(model, request);
  report.threads = passes.threads();
  report.speeds = measure(passes, request);
  report.peak = peak_memory();
  report.sites = passes.sites();
  for (const auto& [name, statistic] : passes.statistics()) {
    report.bytes_per_site += statistic.histogram.bytes();
  }
  report.bytes_per_site /= std::max<int64_t>(1, static_cast<int64_t>(passes.statistics().size()));
  report.kernels = measure_kernels(request.fine);
  report.decide_seconds = measure_decide(passes.statistics());
  request.job.answer(
      out, [&] { return as_json(report, request); }, [&] { return as_text(report, request); });
  return kDone;
}

}  // namespace

Form language_bench_form() {
  return form<BenchRequest>(
      {.kind = ModelKind::language,
       .example = "scute bench --random mamba-130m --samples 2 --repeat 1\n"
                  "scute bench --random mamba-130m --size --ttft --tpot --ttlt --gen-len 32\n"
                  "scute bench --random mamba-130m --pp 512 --tg 128 --repeat 5 --roofline\n"
                  "scute bench --roofline",
       .sizes = named_sizes});
}

}  // namespace scute::cli
