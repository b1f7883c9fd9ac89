#include "scute/regressor/checkpoint_settings.h"

#include <fmt/format.h>

#include <algorithm>

#include "scute/base/error.h"

namespace scute {
namespace {

/// Named values of one dictionary; errors name the file, the dictionary and the key.
class Settings {
 public:
  Settings(const TorchValue& dict, std::string_view name, const std::string& path)
      : dict_(dict), name_(name), path_(path) {}

  int64_t integer(std::string_view key) const { return get<int64_t>(key, "an integer"); }
  bool truth(std::string_view key) const { return get<bool>(key, "true or false"); }
  std::string text(std::string_view key) const { return get<std::string>(key, "a text"); }
  double real(std::string_view key) const {
    const auto* integer = std::get_if<int64_t>(&at(key).value);
    return integer != nullptr ? static_cast<double>(*integer) : get<double>(key, "a number");
  }
  bool has(std::string_view key) const {
    const TorchValue* found = dict_.find(key);
    return found != nullptr && !std::holds_alternative<std::nullptr_t>(found->value);
  }
  bool truth_or(std::string_view key, bool absent) const { return has(key) ? truth(key) : absent; }

  [[noreturn]] void refuse(std::string_view key, std::string_view expected,
                           std::string_view found) const {
    fail(fmt::format("{}: {}{}", path_, name_, key), expected, found);
  }

 private:
  const TorchValue& at(std::string_view key) const {
    const TorchValue* found = dict_.find(key);
    if (found == nullptr) refuse(key, "a value", "none");
    return *found;
  }
  template <class T>
  T get(std::string_view key, std::string_view expected) const {
    const auto* value = std::get_if<T>(&at(key).value);
    if (value == nullptr) refuse(key, expected, "another value");
    return *value;
  }

  const TorchValue& dict_;
  std::string_view name_;
  const std::string& path_;
};

RegressorConfig::Pool pool_of(std::string name) {
  std::ranges::transform(name, name.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  if (name == "avg") return RegressorConfig::Pool::average;
  if (name == "max") return RegressorConfig::Pool::maximum;
  return RegressorConfig::Pool::flat;
}

}  // namespace

RegressorConfig regressor_config(const TorchValue& cfg, const TorchValue& arch,
                                 RegressorConfig::Variant variant, const std::string& path) {
  const Settings sizes(cfg, "cfg.", path), options(arch, "arch.", path);
  RegressorConfig out;
  out.variant = variant;
  out.features = sizes.integer("Din");
  out.window = sizes.integer("K");
  out.projected = sizes.integer("proj_dim");
  out.width = sizes.integer("d_model");
  out.layers = sizes.integer("n_layer");
  out.patch = sizes.integer("patch_len");
  out.stride = sizes.integer("stride");
  out.positions = !options.truth("pe_off");
  out.position_scale = options.real("pe_scale");
  out.gate = !options.truth("gate_off");
  out.pool = pool_of(options.text("agg_pool"));
  out.convolution = options.truth("use_dwconv") && variant == RegressorConfig::Variant::slim;
  out.check(path);
  return out;
}

RegressorQuantization regressor_quantization(const TorchValue& arch, const std::string& path) {
  const Settings options(arch, "arch.", path);
  RegressorQuantization out;
  if (options.has("quant_backend")) {
    const std::string name = options.text("quant_backend");
    if (name != "python" && name != "cpp") options.refuse("quant_backend", "python or cpp", name);
    if (name == "cpp") out.backend = RegressorQuantization::Backend::extension;
  }
  if (options.has("quant_mode")) {
    const std::string name = options.text("quant_mode");
    if (name == "fixed" || name == "fixed88") {
      out.mode = RegressorQuantization::Mode::fixed;
    } else if (name == "dynamic") {
      out.mode = RegressorQuantization::Mode::dynamic;
    } else if (name == "per-layer") {
      out.mode = RegressorQuantization::Mode::per_layer;
    } else {
      options.refuse("quant_mode", "fixed, fixed88, dynamic or per-layer", name);
    }
  }
  if (options.has("quant_bits")) {
    const int64_t bits = options.integer("quant_bits");
    if (bits != 8 && bits != 16) options.refuse("quant_bits", "8 or 16", fmt::format("{}", bits));
    out.bits = static_cast<int>(bits);
  }
  const bool both = options.truth_or("q_proj_head", false);
  out.all = options.truth_or("quantize_all", false);
  out.proj = options.truth_or("q_proj", both);
  out.head = options.truth_or("q_head", both);
  out.block_linear = options.truth_or("q_block_linear", false);
  out.backbone_linear = options.truth_or("q_backbone_linear", false);
  return out;
}

RegressorTraining regressor_training(const TorchValue& root, const std::string& path) {
  const Settings values(root, "", path);
  RegressorTraining out;
  if (values.has("epoch")) out.epoch = values.integer("epoch");
  if (values.has("best_metric")) out.best_metric = values.text("best_metric");
  if (values.has("best_val")) out.best_value = values.real("best_val");
  return out;
}

}  // namespace scute
