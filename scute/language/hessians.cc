#include "scute/language/hessians.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <iterator>
#include <memory>
#include <numeric>

#include "scute/base/error.h"
#include "scute/base/shard.h"
#include "scute/base/threads.h"
#include "scute/io/safetensors.h"
#include "scute/language/calibration.h"
#include "scute/language/layer_pass.h"

namespace scute {
namespace {

constexpr const char* kHessianFormat = "scute-hessians";
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

/// These of the sums over windows [0, count), each window shown by forward(window, run): as many at
/// once as there are threads, given to take(sum number, observer) in order. What take() leaves is
/// used again, because new pages cost 1 to 3 s a GB.
template <class Forward, class Take>
void each_sum(const std::vector<Site>& sites, int64_t count, std::vector<int64_t> numbers,
              const Threads& threads, const Forward& forward, const Take& take) {
  std::erase_if(numbers, [&](int64_t number) { return number >= count; });
  const int64_t all = std::ssize(numbers), together = std::min<int64_t>(threads.count(), all);
  std::vector<std::unique_ptr<GramObserver>> sums(static_cast<size_t>(together));
  for (int64_t first = 0; first < all; first += together) {
    const int64_t now = std::min(together, all - first);
    threads.for_each(now, [&](int64_t i, int worker) {
      auto& sum = sums[static_cast<size_t>(i)];
      if (sum) {
        sum->clear();
      } else {
        sum = std::make_unique<GramObserver>(sites);  // zeroing 0.5 GB, too, by all threads
      }
      Run run(sum.get(), 0);
      run.use(threads.team(worker));
      const int64_t number = numbers[static_cast<size_t>(first + i)];
      for (int64_t w = number; w < count; w += kHessianSums) forward(w, run);
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
std::map<std::string, Gram> sum_of(const std::vector<Site>& sites, int64_t count,
                                   const Threads& threads, const Forward& forward) {
  std::unique_ptr<GramObserver> total;
  each_sum(sites, count, all_sums(), threads, forward,
           [&](int64_t, std::unique_ptr<GramObserver>& sum) {
             if (total) {
               total->add(*sum, threads);
             } else {
               total = std::move(sum);
             }
           });
  return total->finish();
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
  const int64_t total = data.count() * static_cast<int64_t>(passes.size());

  Hessians out;
  std::atomic<int64_t> done{0};
  for (const std::vector<Site>& sites : passes) {
    out.sites.merge(sum_of(sites, data.count(), threads, [&](int64_t w, Run& run) {
      forward(model, run, data.windows.windows[static_cast<size_t>(w)].ids);
      if (how.progress) how.progress(done.fetch_add(1) + 1, total);
    }));
  }
  out.meta = data.meta(description, options);
  return out;
}

Json hessian_meta(const ModelDescription& model, const CalibrationOptions& options, int threads) {
  return HessianWindows(model, options, Threads(threads)).meta(model, options);
}

std::map<int64_t, std::map<std::string, Gram>> measure_sums(const ModelDescription& description,
                                                            const CalibrationOptions& options,
                                                            const HessianRun& how,
                                                            const std::vector<int64_t>& sums,
                                                            Json& meta) {
  const Threads threads(how.threads);
  const HessianWindows data(description, options, threads);
  const LanguageModel model = load_model(description, Compute::f32, LanguageModel::Head::absent);
  int64_t total = 0;
  for (const int64_t sum : sums) total += Shard{sum, kHessianSums}.count(data.count());
  std::map<int64_t, std::map<std::string, Gram>> out;
  std::atomic<int64_t> done{0};
  each_sum(
      hessian_sites(model.sites()), data.count(), sums, threads,
      [&](int64_t w, Run& run) {
        forward(model, run, data.windows.windows[static_cast<size_t>(w)].ids);
        if (how.progress) how.progress(done.fetch_add(1) + 1, total);
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

void LayeredHessians::each(const std::function<void(std::map<std::string, Gram>)>& take) {
  LayeredModel& model = work_->layered;
  std::vector<std::span<const int32_t>> ids;
  for (const Window& window : work_->data.windows.windows) ids.emplace_back(window.ids);
  LayerPass pass(model, std::move(ids), LayerPass::End::norm, work_->folder);
  const std::vector<Site> all = hessian_sites(model.sites());
  for (int64_t step = 0; step < pass.steps(); ++step) {
    std::vector<Site> sites;
    std::ranges::copy_if(all, std::back_inserter(sites),
                         [&](const Site& site) { return model.shows(step - 1, site); });
    pass.begin(step);
    auto sums = sum_of(sites, work_->data.count(), work_->threads,
                       [&](int64_t window, Run& run) { pass.show(step, window, run); });
    model.rest();
    if (!sums.empty()) take(std::move(sums));
  }
}

void write_hessians(const std::string& path, const Hessians& hessians) {
  std::vector<NamedTensor> tensors;
  for (const auto& [name, gram] : hessians.sites) {
    tensors.push_back(
        {name + "/hessian", Tensor::of<double>({gram.size, gram.size}, gram.square())});
  }
  write_safetensors(path, tensors,
                    {{"format", kHessianFormat}, {"version", "1"}, {"meta", hessians.meta.dump()}});
}

Hessians read_hessians(const std::string& path, const ModelDescription& model) {
  SafetensorsFile file = read_safetensors(path);
  if (const auto format = file.metadata.find("format");
      format == file.metadata.end() || format->second != kHessianFormat) {
    fail(path, "Hessians that scute quantize --save-hessians wrote", "another file");
  }
  if (const auto version = file.metadata.find("version");
      version == file.metadata.end() || version->second != "1") {
    fail(path, "Hessians of version 1", "another version");
  }
  Hessians out;
  const auto meta = file.metadata.find("meta");
  out.meta = Json::parse(meta == file.metadata.end() ? "{}" : meta->second, path);
  const std::string hash = hash_model(model), found = [&] {
    const Json* value = out.meta.find("model_sha256");
    return value != nullptr && value->is_string() ? value->as_string(path) : "none";
  }();
  if (hash != found) {
    fail(path, fmt::format("Hessians of {} (SHA-256 {})", model.name, hash.substr(0, 12)),
         fmt::format("those of a model with SHA-256 {}", found.substr(0, 12)));
  }
  constexpr std::string_view kEnding = "/hessian";
  for (const NamedTensor& item : file.tensors) {
    const Tensor& tensor = item.tensor;
    if (!item.name.ends_with(kEnding) || tensor.dtype() != DType::f64 || tensor.rank() != 2 ||
        tensor.dim(0) != tensor.dim(1)) {
      fail(path, "square F64 matrices named SITE/hessian",
           fmt::format("{} {}", item.name, to_string(tensor.shape())));
    }
    const auto all = tensor.matrix<double>();
    for (int64_t i = 0; i < all.rows; ++i) {
      for (int64_t j = 0; j <= i; ++j) {
        // NaN is not equal to itself either.
        if (all.row(i)[j] == all.row(j)[i] && (i != j || all.row(i)[i] >= 0)) continue;
        fail(path, fmt::format("{} to be a sum of x·xᵀ", item.name),
             fmt::format("{} at ({}, {}) and {} at ({}, {})", all.row(i)[j], i, j, all.row(j)[i], j,
                         i));
      }
    }
    Gram gram(tensor.dim(0));
    for (int64_t i = 0; i < gram.size; ++i) {
      std::copy(all.row(i) + i, all.row(i) + gram.size, gram.triangle().row(i) + i);
    }
    out.sites.emplace(item.name.substr(0, item.name.size() - kEnding.size()), std::move(gram));
  }
  return out;
}

}  // namespace scute
