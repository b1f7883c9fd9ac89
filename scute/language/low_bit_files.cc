#include "scute/language/low_bit_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "scute/base/error.h"
#include "scute/io/checkpoint.h"
#include "scute/io/file.h"
#include "scute/language/low_bit_config.h"
#include "scute/language/silent_experts.h"
#include "scute/recipe/kind.h"
#include "scute/recipe/ranges.h"
#include "scute/recipe/statistics_io.h"
#include "scute/tensor/tensor.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

/// Plans of the largest models (64 layers, 20 sites) are 500 kB.
constexpr int64_t kJsonLimit = int64_t{64} << 20;

/// The folder's JSON file of this name; null when there is none.
Json read_json(const fs::path& folder, const char* name) {
  const fs::path file = folder / name;
  if (!fs::exists(file)) return {};
  return Json::parse(read_text(file.string(), kJsonLimit), file.string());
}

void read_config(const Json& config, LowBitFiles& out) {
  const Json* scute = config.find("scute");
  if (scute == nullptr) return;
  const std::string where = out.path + "/config.json: scute";
  out.has_scheme = true;
  out.origins.scheme = scheme_from_json(*scute, where);
  for (const LayerFormats& formats : layers_from_json(*scute, where)) {
    out.formats.push_back(formats.text());
  }
}

void read_recipe(LowBitFiles& out) {
  const Json* options = out.recipe.find("options");
  if (options == nullptr) return;
  const std::string where = out.path + "/recipe.json: options";
  if (const Json* shared = options->find("shared_scales"); shared != nullptr) {
    out.origins.shared_scales = shared->as_bool(where + ": shared_scales");
  }
  if (const Json* clip = options->find("state_clip"); clip != nullptr) {
    out.state_clip = clip->as_double(where + ": state_clip");
    if (!std::isfinite(out.state_clip) || out.state_clip <= 0) {
      fail(where + ": state_clip", "a positive share", fmt::format("{}", out.state_clip));
    }
  }
}

/// Without the scheme, the plan's own names tell which sites were used.
void guess_from_plan(LowBitFiles& out) {
  const auto any = [&](std::string_view end, bool of_experts = false) {
    return std::ranges::any_of(out.plan->sites, [&](const auto& entry) {
      const bool experts = entry.first.find(".experts.") != std::string::npos;
      return experts == of_experts && entry.first.ends_with(end);
    });
  };
  if (!out.has_scheme) {
    out.origins.scheme.rotated_stream = any(".in_proj:input@rotated");
    out.origins.scheme.rotated_out_proj = any(".out_proj:input@rotated");
    out.origins.scheme.rotated_down_proj = any(".down_proj:input@rotated");
    out.origins.scheme.rotated_experts = any(".down_proj:input@rotated", true);
    out.origins.scheme.rotated_latent = any(".latent_out:input@rotated");
    out.origins.scheme.folded_head = any("lm_head:input@rotated");
  }
  out.origins.experts.emplace();
  for (const auto& [site, decision] : out.plan->sites) {
    if (is_expert_site(site)) out.origins.experts->insert(site);
  }
  if (out.recipe.is_null()) {
    out.origins.shared_scales = any(".in_proj:output") && !any(".conv1d:input");
  }
}

bool any_name(const std::vector<std::string>& names, std::string_view part) {
  return std::ranges::any_of(
      names, [&](const std::string& name) { return name.find(part) != std::string::npos; });
}

}  // namespace

void read_records(LowBitFiles& out) {
  const std::string& folder = out.path;
  out.recipe = read_json(folder, "recipe.json");
  if (const Json plan = read_json(folder, "plan.json"); !plan.is_null()) {
    out.plan = Plan::from_json(plan, folder + "/plan.json");
  }
  if (const fs::path file = fs::path(folder) / "statistics.safetensors"; fs::exists(file)) {
    out.statistics = read_statistics(file.string());
    const Json *theirs = out.statistics->meta.find("model_sha256"),
               *ours = out.recipe.find("model_sha256");
    if (theirs != nullptr && ours != nullptr && !(*theirs == *ours)) {
      out.statistics.reset();
      out.foreign_statistics = true;
    }
  }
}

LowBitFiles read_low_bit_files(const std::string& folder) {
  if (!fs::is_directory(folder)) fail(folder, "a folder of a low-bit model", "no such folder");
  if (fs::exists(fs::path(folder) / "config.json") && kind_of(folder) == ModelKind::cobra) {
    fail(folder, "a low-bit language model's folder (of Cobra, its llm/)",
         "Cobra; its formats and ranges are in its config.json, what they cost says scute eval");
  }
  LowBitFiles out;
  out.path = folder;
  out.tensors = read_checkpoint(folder);
  const std::vector<std::string> names = out.tensors.names();
  out.mixer = any_name(names, ".mixer.x_proj.") ? MixerKind::mamba1 : MixerKind::mamba2;
  for (const std::string& name : names) out.layers = std::max(out.layers, layer_of(name) + 1);
  read_config(read_json(folder, "config.json"), out);
  read_records(out);
  read_recipe(out);
  if (out.plan) guess_from_plan(out);
  out.scales = find_scales(names, out.mixer, out.origins);
  out.chains = part_chains(names);
  if (out.scales.empty() && !any_name(names, ".weight_scale")) {
    fail(folder, "a low-bit model (scute quantize)", "a float one: no tensor is a scale");
  }
  return out;
}

float planned_scale(const LowBitFiles& files, const std::string& site, const Decision& decision) {
  const double range = std::max(std::abs(decision.lo), std::abs(decision.hi));
  const bool state = site.ends_with(".ssm_state_act:input");
  return scale_of_range(state ? files.state_clip * range : range);
}

std::vector<float> scale_values(const LowBitFiles& files, const std::string& tensor) {
  const Tensor& stored = files.tensors.at(tensor);
  const std::string where = fmt::format("{}: {}", files.path, tensor);
  if (!is_float(stored.dtype())) fail(where, "floats", std::string(name_of(stored.dtype())));
  if (stored.size() == 0) fail(where, "at least one scale", "none");
  return to_vector(stored);
}

bool agrees(const std::vector<float>& values, float planned) {
  constexpr double kForgiven = 1e-6;
  const auto largest = static_cast<double>(std::ranges::max(values));
  const double difference = largest - static_cast<double>(planned);
  const double allowed = kForgiven * static_cast<double>(planned);
  return values.size() == 1 ? std::abs(difference) <= allowed : difference <= allowed;
}

bool is_clip_of(const Decision& decision, float lo, float hi) {
  return lo == static_cast<float>(decision.lo) && hi == static_cast<float>(decision.hi);
}

void append_to(Json& object, std::string_view key, Json value, const std::string& where) {
  object.as_object(where);
  Json& list = object[key];
  if (!list.is_null()) list.as_array(fmt::format("{}: {}", where, key));
  list.push_back(std::move(value));
}

}  // namespace scute
