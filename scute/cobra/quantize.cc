#include "scute/cobra/quantize.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/cobra/low_bit.h"
#include "scute/cobra/percentile_tables.h"
#include "scute/cobra/quantize_job.h"
#include "scute/language/stored_weight.h"
#include "scute/language/tokenizer_files.h"

namespace scute {
namespace {

Weights weights_of(const std::vector<NamedTensor>& tensors, std::string source) {
  Weights out(std::move(source));
  for (const NamedTensor& item : tensors) out.add(item.name, item.tensor);
  return out;
}

/// Bytes of a part's tensors, had they been stored in bf16.
int64_t bf16_bytes(const Weights& weights) {
  int64_t out = 0;
  for (const std::string& name : weights.names()) out += 2 * weights.at(name).size();
  return out;
}

bool rounds_inputs(const LayerFormat& format) {
  return !format.is_float() && format.eight_bit_activations();
}

}  // namespace

Json CobraQuantizeOptions::to_json() const {
  const auto list = [](const std::vector<std::string>& words) {
    Json out = Json::array();
    for (const std::string& word : words) out.push_back(word);
    return out;
  };
  Json out = Json::object();
  out["format"] = format.name();
  out["buckets"] = Json::object();
  for (const auto& [bucket, own] : buckets) out["buckets"][bucket] = own.name();
  out["include"] = list(include);
  out["exclude"] = list(exclude);
  out["group_size"] = group;
  out["policy"] = policy ? policy->name() : std::string(kDefaultPolicy);
  return out;
}

CobraQuantizeJob::CobraQuantizeJob(const CobraDescription& model, const Plan& plan,
                                   const StatisticsSet* statistics,
                                   const CobraQuantizeOptions& options, int threads,
                                   const QuantizeProgress& progress, const QuantizeMemory& memory)
    : model_(model),
      options_(options),
      threads_(threads),
      progress_(progress),
      memory_(memory),
      language_(cobra_language(model)),
      hash_(language_.embedded ? language_.embedded->sha256 : hash_cobra(model)),
      filter_(model.config, options.include, options.exclude),
      ranges_(model, plan, statistics, options.policy, hash_) {
  check_tokenizer(language_);
  if (!memory.tensors_in.empty()) scratch_ = std::make_unique<ScratchFile>(memory.tensors_in);
  const std::vector<std::string> known = cobra_buckets(model.config);
  for (const auto& [bucket, format] : options.buckets) {
    if (std::ranges::find(known, bucket) == known.end()) {
      fail("--bucket-format", fmt::format("one of {}", joined(known, ", ")), bucket);
    }
  }
  for (const std::string& bucket : known) {
    formats_.buckets[bucket] = options.of_bucket(bucket);
    LayerFormat::parse(formats_.buckets[bucket].name(), bucket);
  }
  if (options.group < 1) fail("--group-size", "at least 1 input", fmt::format("{}", options.group));
  if (statistics != nullptr) out_.statistics = *statistics;
  const bool any = !plan.sites.empty();
  if (any && plan.meta.find("model_sha256") == nullptr) {
    remark("model not recorded in the plan: it was taken for one of " + model.name);
  }
}

void CobraQuantizeJob::clip_buckets() {
  for (const std::string& bucket : cobra_buckets(model_.config)) {
    if (const auto range = ranges_.clip(bucket)) out_.description.ranges[bucket] = *range;
  }
}

void CobraQuantizeJob::quantize_part(size_t part, Weights weights, std::vector<NamedTensor>& to) {
  out_.bytes_bf16 += bf16_bytes(weights);
  std::vector<Rounding> jobs;
  for (const CobraMatrix& matrix : matrices_) {
    if (matrix.part == part) prepare(matrix, weights, jobs);
  }
  threads_.for_each(std::ssize(jobs), [&](int64_t i, int worker) {
    Rounding& job = jobs[static_cast<size_t>(i)];
    job.codes = quantize_nearest(job.weight, job.format, job.matrix->name, threads_.team(worker));
    job.weight = Tensor();  // gives mapped memory back
    if (progress_) progress_(done_.fetch_add(1) + 1, std::ssize(matrices_));
  });
  for (const Rounding& job : jobs) {
    const std::string& name = job.matrix->tensor;
    std::vector<NamedTensor> tensors;
    store_weight(name, job.codes, tensors);
    StoredRows stored(job.codes.outputs(), scratch_.get());
    stored.add(0, std::move(tensors));
    std::ranges::move(stored.take(), std::back_inserter(to));
    if (!job.scale) continue;
    to.push_back({name + ".input_scale", Tensor::of<float>({1}, std::span(&*job.scale, 1))});
  }
  for (const std::string& name : weights.names()) to.push_back({name, weights.take(name)});
}

LayerFormat CobraQuantizeJob::format_of(const CobraMatrix& matrix, std::optional<float>& scale) {
  LayerFormat format = formats_.buckets.at(matrix.bucket);
  if (!filter_.chosen(matrix.name)) format = LayerFormat::parse("FP", "");
  if (!rounds_inputs(format)) return format;
  scale = ranges_.input_scale(matrix);
  if (scale) return format;
  without_range_.push_back(matrix.site());
  format.activation_bits = 16;
  return format;
}

void CobraQuantizeJob::prepare(const CobraMatrix& matrix, Weights& weights,
                               std::vector<Rounding>& jobs) {
  Rounding job{.matrix = &matrix};
  const LayerFormat format = format_of(matrix, job.scale);
  formats_.matrices[matrix.name] = format;
  if (format.is_float()) return;
  const std::string name = matrix.tensor + ".weight";
  const Tensor weight = weights.take(name);
  if (weight.rank() < 2 || weight.size() != weight.dim(0) * matrix.inputs) {
    fail(weights.source() + ": " + name, fmt::format("outputs × {} inputs", matrix.inputs),
         to_string(weight.shape()));
  }
  job.weight = weight.reshaped({weight.dim(0), matrix.inputs});
  if (format.weight_bits == 4) {
    const int64_t group = group_for(matrix.inputs, options_.group);
    job.format = WeightFormat::four_bit(matrix.inputs, group, format.eight_bit_activations());
    groups_[matrix.name] = group;
  }
  if (job.scale) scales_[matrix.name] = *job.scale;
  jobs.push_back(std::move(job));
}

LowBitCobra CobraQuantizeJob::run() {
  out_.description = model_;
  out_.description.low_bit = true;
  out_.float_language = language_;
  clip_buckets();
  CobraWeights weights = read_cobra_weights(model_, CobraModel::Parts::vision);
  for (size_t i = 0; i < weights.towers.size(); ++i) {
    quantize_part(i, std::move(weights.towers[i]), out_.towers.emplace_back());
  }
  quantize_part(weights.towers.size(), std::move(weights.projector), out_.projector);
  quantize_language();
  ranges_.finish();
  out_.bytes_bf16 += bf16_bytes(read_weights(language_));
  out_.plan = ranges_.used();
  if (out_.language) out_.plan.sites.merge(Plan(out_.language->plan).sites);
  remark_on_ranges();
  remark_on_groups();
  out_.description.json["scute"] = cobra_low_bit_json(formats_, out_.description);
  out_.recipe = recipe();
  return std::move(out_);
}

LowBitCobra quantize_cobra(const CobraDescription& model, const Plan& plan,
                           const StatisticsSet* statistics, const CobraQuantizeOptions& options,
                           int threads, const QuantizeProgress& progress,
                           const QuantizeMemory& memory) {
  if (model.low_bit) fail(model.path, "a float model", "a low-bit one");
  return CobraQuantizeJob(model, plan, statistics, options, threads, progress, memory).run();
}

CobraModel build_cobra(const LowBitCobra& model, const Execution& execution,
                       CobraModel::Parts parts) {
  const CobraDescription& description = model.description;
  CobraWeights weights;
  for (const auto& tower : model.towers) {
    weights.towers.push_back(weights_of(tower, description.path));
  }
  weights.projector = weights_of(model.projector, description.path);
  if (parts != CobraModel::Parts::vision) {
    weights.language = model.language ? weights_of(model.language->tensors, description.path)
                                      : read_weights(model.float_language);
    use_plain_names(weights.language);
  }
  CobraModel out(description.config, std::move(weights), execution, parts,
                 description.language.scheme);
  use_ranges(description, parts, out);
  return out;
}

}  // namespace scute
