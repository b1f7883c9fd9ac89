// The language model of a Cobra that is being quantized, and what is said about all of it.
#include <fmt/format.h>

#include <algorithm>

#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/cobra/quantize_job.h"

namespace scute {
namespace {

constexpr const char* kBucket = "llm";
constexpr const char* kHowToCollect =
    "statistics collected with --sites 'layer_*,lm_head:input*' have them";

/// The hash that the language model's own quantization compares with: what was said of the whole
/// model holds for it.
void use_hash(Json& meta, const ModelDescription& language) {
  if (meta.find("model_sha256") != nullptr) meta["model_sha256"] = hash_model(language);
}

std::string plural(size_t count, const char* noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

}  // namespace

std::vector<LayerFormats> CobraQuantizeJob::language_layers() const {
  const MambaConfig& config = model_.config.language;
  const LayerFormat plain = LayerFormat::parse("FP", ""), format = formats_.buckets.at(kBucket);
  std::vector<LayerFormats> out;
  bool any = false;
  for (int64_t i = 0; i < config.layers; ++i) {
    const bool chosen = !format.is_float() && filter_.layer_chosen(config, i);
    any = any || chosen;
    out.push_back(LayerFormats::all(chosen ? format : plain));
  }
  return any ? out : std::vector<LayerFormats>{};
}

std::optional<Plan> CobraQuantizeJob::language_plan(const LayerFormat& format) {
  if (!format.eight_bit_activations()) return Plan{};
  Plan plan = ranges_.language();
  if (!plan.sites.empty()) return plan;
  if (options_.buckets.contains(kBucket)) {
    fail("llm", fmt::format("ranges of the language model's sites, layer_…, for {}", format.name()),
         fmt::format("none; {}", kHowToCollect));
  }
  remark(fmt::format(
      "llm stays in floats: neither plan nor statistics has ranges of its sites, layer_…; {}",
      kHowToCollect));
  return std::nullopt;
}

void CobraQuantizeJob::quantize_language() {
  QuantizeOptions options = options_.language;
  options.format = formats_.buckets.at(kBucket);
  options.hybrid = language_layers();
  std::optional<Plan> plan;
  if (!options.hybrid.empty()) plan = language_plan(options.format);
  if (!plan) {
    formats_.buckets[kBucket] = LayerFormat::parse("FP", "");
    return;
  }
  const auto usual = LayerFormats::all(options.format);
  const bool all = std::ranges::count(options.hybrid, usual) == std::ssize(options.hybrid);
  if (all) options.hybrid.clear();
  options.group = group_for(model_.config.language.width, options_.group);
  plan->meta = ranges_.used().meta;
  use_hash(plan->meta, language_);
  std::optional<StatisticsSet> statistics = ranges_.language_statistics();
  if (statistics) use_hash(statistics->meta, language_);
  const auto behind = [this](int64_t done, int64_t total) {
    if (progress_) progress_(done_ + done, done_ + total);
  };
  out_.language = quantize(language_, *plan, statistics ? &*statistics : nullptr, nullptr, options,
                           threads_.count(), behind, memory_);
  out_.description.language = out_.language->description;
  for (const std::string& sentence : out_.language->remarks) {
    if (!sentence.starts_with("model not recorded")) remark("llm: " + sentence);
  }
}

void CobraQuantizeJob::remark_on_ranges() {
  if (!without_range_.empty()) {
    const bool one = without_range_.size() == 1;
    remark(fmt::format(
        "{} {} in floats, {} weights alone are rounded: neither plan nor statistics has a range of "
        "{}; scute collect MODEL --images DIR --out FILE measures all sites; give that as --stats "
        "FILE",
        plural(without_range_.size(), "input"), one ? "stays" : "stay", one ? "its" : "their",
        first_few(without_range_)));
  }
  if (const auto unused = ranges_.unused(); !unused.empty()) {
    remark(fmt::format("{} of the plan not used, because what passes there is not rounded: {}",
                       plural(unused.size(), "range"), first_few(unused)));
  }
  if (!ranges_.constants().empty()) {
    remark(fmt::format(
        "one value only was seen at {} (a constant slice, or too few samples: collect more "
        "batches, or look at what passes there with scute report)",
        first_few(ranges_.constants())));
  }
}

void CobraQuantizeJob::remark_on_groups() {
  std::map<int64_t, std::vector<std::string>> other;
  for (const CobraMatrix& matrix : matrices_) {
    const auto found = groups_.find(matrix.name);
    if (found == groups_.end()) continue;
    const int64_t group = found->second;
    if (matrix.inputs > options_.group && group != options_.group) {
      other[group].push_back(matrix.name);
    }
  }
  for (const auto& [group, names] : other) {
    remark(fmt::format("groups of {} inputs instead of {}, which does not divide, in {}", group,
                       options_.group, first_few(names)));
  }
}

Json CobraQuantizeJob::matrix_recipes() const {
  Json out = Json::object();
  for (const CobraMatrix& matrix : matrices_) {
    const std::string& name = matrix.name;
    Json one = Json::object();
    one["format"] = formats_.matrices.at(name).name();
    if (const auto group = groups_.find(name); group != groups_.end()) {
      one["group_size"] = group->second;
    }
    if (const auto scale = scales_.find(name); scale != scales_.end()) {
      one["input_scale"] = static_cast<double>(scale->second);
    }
    out.append_member(name, std::move(one));
  }
  return out;
}

Json CobraQuantizeJob::recipe() const {
  Json out = Json::object();
  out["format"] = "scute-recipe";
  out["version"] = 1;
  out["tool"] = "scute " SCUTE_VERSION;
  out["model"] = model_.name;
  out["model_sha256"] = hash_;
  out["tokenizer_sha256"] = hash_tokenizer(language_);
  out["options"] = options_.to_json();
  out["plan"] = out_.plan.meta;
  out["matrices"] = matrix_recipes();
  if (out_.language) out["llm"] = out_.language->recipe.at("options", "recipe");
  out["remarks"] = Json::array();
  for (const std::string& sentence : out_.remarks) out["remarks"].push_back(sentence);
  out["edits"] = Json::array();
  return out;
}

}  // namespace scute
