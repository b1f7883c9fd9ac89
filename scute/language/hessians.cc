#include "scute/language/hessians.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <iterator>
#include <memory>
#include <numeric>

#include "scute/base/error.h"
#include "scute/base/shard.h"
#include "scute/base/threads.h"
#include "scute/language/calibration.h"
#include "scute/language/layer_pass.h"

namespace scute {
namespace {

/// Bytes of sums at once; models whose matrices need more (1.4b and up) take several passes.
constexpr int64_t kMemory = int64_t{4} << 30;

/// The inputs of the matrices that GPTQ rounds.
std::vector<Site> hessian_sites(const SiteList& list) {
  std::vector<Site> out;
  for (const Site& site : list.sites()) {
    // Of all experts together nothing is rounded: each has what reached it.
    if (site.name.ends_with(".experts.down_proj:input")) continue;
    for (const char* op : {".in_proj:input", ".x_proj:input", ".out_proj:input", ".q_proj:input",
                           ".o_proj:input", ".gate_proj:input", ".up_proj:input",
                           ".down_proj:input", ".latent_out:input", ".linear:input"}) {
      if (site.name.ends_with(op)) out.push_back(site);
    }
    if (site.name == "lm_head:input") out.push_back(site);
  }
  return out;
}

/// Sites of one pass after the other, each as many as the memory holds.
std::vector<std::vector<Site>> passes_of(const std::vector<Site>& sites) {
  std::vector<std::vector<Site>> out(1);
  int64_t bytes = 0;
  for (const Site& site : sites) {
    const int64_t columns = site.shape.back();
    const int64_t more =
        kHessianSums * TriangleView<double>::count(columns) * static_cast<int64_t>(sizeof(double));
    if (!out.back().empty() && bytes + more > kMemory) {
      out.emplace_back();
      bytes = 0;
    }
    out.back().push_back(site);
    bytes += more;
  }
  return out;
}

/// One pass over windows [0, count) for the sums of some sites.
struct SumPass {
  const std::vector<Site>& sites;
  int64_t count;
  const Threads& threads;
  int64_t number = 0;                                ///< among the passes
  HessianCheckpoint* kept = nullptr;                 ///< may be null
  std::function<void(int64_t windows)> passed = {};  ///< so many more are in the sums

  /// Whether what was kept are sums of these sites.
  bool fits(const SiteGrams& grams) const {
    return grams.size() == sites.size() && std::ranges::all_of(sites, [&](const Site& site) {
             const auto found = grams.find(site.name);
             return found != grams.end() && found->second.size == site.shape.back();
           });
  }
};

/// One of the sums: what was kept of it, or a new one, and the windows that it lacks, each shown by
/// forward(window, run).
template <class Forward>
void make_sum(const SumPass& pass, int64_t number, int64_t together,
              std::unique_ptr<GramObserver>& sum, const Team& team, const Forward& forward) {
  const auto passed = [&](int64_t windows) {
    if (pass.passed) pass.passed(windows);
  };
  int64_t done = 0;
  auto begun = pass.kept != nullptr ? pass.kept->begun(pass.number, number) : std::nullopt;
  if (begun && pass.fits(begun->second)) {
    done = begun->first;
    sum = std::make_unique<GramObserver>(std::move(begun->second));
    passed(done);
  } else if (sum) {
    sum->clear();
  } else {
    sum = std::make_unique<GramObserver>(pass.sites);  // zeroing 0.5 GB, too, by all threads
  }
  const int64_t before = done;
  Run run(sum.get(), 0);
  run.use(team);
  for (int64_t w = number + done * kHessianSums; w < pass.count; w += kHessianSums) {
    forward(w, run);
    ++done;
    passed(1);
    if (pass.kept != nullptr) {
      pass.kept->add(pass.number, number, done, sum->grams(), together);
    }
  }
  if (pass.kept != nullptr && done > before) {
    pass.kept->end_sum(pass.number, number, done, sum->grams());
  }
}

/// These of the sums: as many at once as there are threads, given to take(sum number, observer) in
/// order. What take() leaves is used again, because new pages cost 1 to 3 s a GB.
template <class Forward, class Take>
void each_sum(const SumPass& pass, std::vector<int64_t> numbers, const Forward& forward,
              const Take& take) {
  const Threads& threads = pass.threads;
  std::erase_if(numbers, [&](int64_t number) { return number >= pass.count; });
  const int64_t all = std::ssize(numbers), together = std::min<int64_t>(threads.count(), all);
  std::vector<std::unique_ptr<GramObserver>> sums(static_cast<size_t>(together));
  for (int64_t first = 0; first < all; first += together) {
    const int64_t now = std::min(together, all - first);
    threads.for_each(now, [&](int64_t i, int worker) {
      make_sum(pass, numbers[static_cast<size_t>(first + i)], together,
               sums[static_cast<size_t>(i)], threads.team(worker), forward);
    });
    for (int64_t i = 0; i < now; ++i) {
      take(numbers[static_cast<size_t>(first + i)], sums[static_cast<size_t>(i)]);
    }
  }
}

std::vector<int64_t> all_sums() {
  std::vector<int64_t> out(static_cast<size_t>(kHessianSums));
  std::iota(out.begin(), out.end(), 0);
  return out;
}

/// All of them, added in order.
template <class Forward>
SiteGrams sum_of(const SumPass& pass, const Forward& forward) {
  if (pass.kept != nullptr) {
    auto kept = pass.kept->finished(pass.number);
    if (kept && pass.fits(*kept)) {
      pass.passed(pass.count);
      return *std::move(kept);
    }
  }
  std::unique_ptr<GramObserver> total;
  each_sum(pass, all_sums(), forward, [&](int64_t, std::unique_ptr<GramObserver>& sum) {
    if (total) {
      total->add(*sum, pass.threads);
    } else {
      total = std::move(sum);
    }
  });
  SiteGrams out = total->finish();
  if (pass.kept != nullptr) pass.kept->end_pass(pass.number, out);
  return out;
}

/// Windows of one job, and where they come from.
struct HessianWindows {
  HessianWindows(const ModelDescription& model, const CalibrationOptions& options,
                 const Threads& threads)
      : windows(calibration_windows(model, options.data, options.windows, options.input, threads)) {
    hash_model_beside(model);
  }
  int64_t count() const { return std::ssize(windows.windows); }
  Json meta(const ModelDescription& model, const CalibrationOptions& options) const;

  Windows windows;
};

Json HessianWindows::meta(const ModelDescription& model, const CalibrationOptions& options) const {
  int64_t tokens = 0;
  for (const Window& window : windows.windows) tokens += static_cast<int64_t>(window.ids.size());
  Json out;
  out["model"] = model.name;
  out["model_sha256"] = hash_model(model);
  out["tokenizer_sha256"] = hash_tokenizer(model, options.input.tokenizer);
  out["windows"] = count();
  out["seqlen"] = options.windows.seqlen;
  out["tokens"] = tokens;
  out["seed"] =
      options.windows.shuffle ? Json(static_cast<int64_t>(*options.windows.shuffle)) : Json("none");
  out["windows_sha256"] = hash_windows(windows);
  out["data"] = data_json(options.data, windows, options.input);
  record_input(options.input, windows.bad_lines, out);
  return out;
}

/// How many windows are in the sums, told as they come.
class PassedWindows {
 public:
  PassedWindows(const HessianRun& run, int64_t total) : run_(run), total_(total) {}
  void add(int64_t windows) const {
    if (run_.progress) run_.progress(done_.fetch_add(windows) + windows, total_);
  }

 private:
  const HessianRun& run_;
  int64_t total_;
  mutable std::atomic<int64_t> done_{0};
};

/// What was kept of this measurement, where anything is to be. Else nobody waits for the hashes,
/// which are computed beside it.
template <class Meta>
std::optional<HessianCheckpoint> checkpoint_of(const HessianRun& how, const Meta& meta) {
  if (!how.keeping) return std::nullopt;
  return std::optional<HessianCheckpoint>(std::in_place, *how.keeping, hessian_key(meta()));
}

}  // namespace

HessianSizes hessian_sizes(const SiteList& sites) {
  HessianSizes out;
  int64_t shared = 0;
  std::map<std::string, int64_t> layers;
  for (const Site& site : hessian_sites(sites)) {
    const int64_t columns = site.shape.back();
    const int64_t bytes =
        TriangleView<double>::count(columns) * static_cast<int64_t>(sizeof(double));
    out.all += bytes;
    layers[site.name.substr(0, site.name.find('.'))] += bytes;
    if (site.name.find(".shared.") != std::string::npos) shared += bytes;
  }
  for (const auto& [name, bytes] : layers) out.largest_layer = std::max(out.largest_layer, bytes);
  out.largest_layer += shared;
  return out;
}

Hessians measure_hessians(const ModelDescription& description, const CalibrationOptions& options,
                          const HessianRun& how) {
  const Threads threads(how.threads);
  const HessianWindows data(description, options, threads);
  const LanguageModel model = load_model(description, Compute::f32, LanguageModel::Head::absent);
  const auto passes = passes_of(hessian_sites(model.sites()));
  const PassedWindows passed(how, data.count() * std::ssize(passes));

  Hessians out;
  auto kept = checkpoint_of(how, [&] { return data.meta(description, options); });
  for (size_t i = 0; i < passes.size(); ++i) {
    const SumPass pass{.sites = passes[i],
                       .count = data.count(),
                       .threads = threads,
                       .number = static_cast<int64_t>(i),
                       .kept = kept ? &*kept : nullptr,
                       .passed = [&](int64_t windows) { passed.add(windows); }};
    out.sites.merge(sum_of(pass, [&](int64_t w, Run& run) {
      forward(model, run, data.windows.windows[static_cast<size_t>(w)].ids);
    }));
  }
  out.meta = data.meta(description, options);
  return out;
}

Json hessian_key(const Json& meta) {
  Json out = Json::object();
  for (const auto& [name, value] : meta.as_object("meta")) {
    // Hashes of both stand beside the names, which a copy may have others of.
    if (name != "model" && name != "data") out[name] = value;
  }
  const Json& data = meta.at("data", "meta");
  out["windows_of_files"] = data.at("windows", "data");
  out["data_sha256"] = Json::array();
  for (const Json& file : data.at("files", "data").as_array("files")) {
    out["data_sha256"].push_back(file.at("sha256", "file"));
  }
  out["tool"] = "scute " SCUTE_VERSION;
  out["instruction_set"] = instruction_set(Compute::f32);
  return out;
}

Json hessian_meta(const ModelDescription& model, const CalibrationOptions& options, int threads) {
  return HessianWindows(model, options, Threads(threads)).meta(model, options);
}

std::map<int64_t, SiteGrams> measure_sums(const ModelDescription& description,
                                          const CalibrationOptions& options, const HessianRun& how,
                                          const std::vector<int64_t>& sums, Json& meta) {
  const Threads threads(how.threads);
  const HessianWindows data(description, options, threads);
  const LanguageModel model = load_model(description, Compute::f32, LanguageModel::Head::absent);
  int64_t total = 0;
  for (const int64_t sum : sums) total += Shard{sum, kHessianSums}.count(data.count());
  const PassedWindows passed(how, total);
  auto kept = checkpoint_of(how, [&] { return data.meta(description, options); });
  const std::vector<Site> sites = hessian_sites(model.sites());
  const SumPass pass{.sites = sites,
                     .count = data.count(),
                     .threads = threads,
                     .kept = kept ? &*kept : nullptr,
                     .passed = [&](int64_t windows) { passed.add(windows); }};
  std::map<int64_t, SiteGrams> out;
  each_sum(
      pass, sums,
      [&](int64_t w, Run& run) {
        forward(model, run, data.windows.windows[static_cast<size_t>(w)].ids);
      },
      [&](int64_t number, std::unique_ptr<GramObserver>& sum) {
        out[number] = sum->finish();
        sum = nullptr;
      });
  meta = data.meta(description, options);
  return out;
}

struct LayeredHessians::Work {
  Work(const ModelDescription& description, const CalibrationOptions& calibration, int count,
       const std::string& scratch)
      : model(description),
        options(calibration),
        folder(scratch),
        threads(count),
        data(description, calibration, threads),
        layered(description.config, read_weights(description), Compute::f32, description.scheme) {}

  ModelDescription model;
  CalibrationOptions options;
  std::string folder;
  Threads threads;
  HessianWindows data;
  LayeredModel layered;
};

LayeredHessians::LayeredHessians(const ModelDescription& model, const CalibrationOptions& options,
                                 int threads, const std::string& folder)
    : work_(std::make_unique<Work>(model, options, threads, folder)) {}

LayeredHessians::~LayeredHessians() = default;

Json LayeredHessians::meta() const { return work_->data.meta(work_->model, work_->options); }

void LayeredHessians::each(const std::function<void(Step)>& take, const Resumed& from) {
  LayeredModel& model = work_->layered;
  std::vector<std::span<const int32_t>> ids;
  for (const Window& window : work_->data.windows.windows) ids.emplace_back(window.ids);
  LayerPass pass(model, std::move(ids), LayerPass::End::norm, work_->folder);
  const std::vector<Site> all = hessian_sites(model.sites());
  const int64_t windows = work_->data.count();
  if (from.step >= 0) pass.carry_on(from.carried, from.where);
  for (int64_t step = from.step + 1; step < pass.steps(); ++step) {
    std::vector<Site> sites;
    std::ranges::copy_if(all, std::back_inserter(sites),
                         [&](const Site& site) { return model.shows(step - 1, site); });
    pass.begin(step);
    auto sums = sum_of({.sites = sites, .count = windows, .threads = work_->threads},
                       [&](int64_t window, Run& run) { pass.show(step, window, run); });
    model.rest();
    take({step, windows, std::move(sums), pass.carried()});
  }
}

}  // namespace scute
