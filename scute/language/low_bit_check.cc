#include "scute/language/low_bit_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <set>

#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/io/file.h"
#include "scute/language/low_bit_config.h"
#include "scute/language/low_bit_matrix_check.h"
#include "scute/language/rotations.h"
#include "scute/language/scale_names.h"

namespace scute {
namespace {

void check_mixer(const Weights& weights, const ModelDescription& model, int64_t index,
                 const LayerFormat& format, const std::string& state_scale) {
  const std::string name = fmt::format("backbone.layers.{}.mixer.", index), label = format.name();
  const bool eight_bit = !format.is_float() && format.eight_bit_activations();
  const bool one = model.config.mixer == MixerKind::mamba1;
  for (const char* matrix : {"in_proj", "x_proj", "out_proj"}) {
    if (!one && std::string_view(matrix) == "x_proj") continue;
    check_low_bit_matrix(weights, name + matrix, format.weight_bits, eight_bit, label);
  }
  if (one) check_low_bit_matrix(weights, name + "dt_proj", eight_bit ? 8 : 16, eight_bit, label);
  require_tensor(weights, name + "conv1d.weight_scale", eight_bit, label);
  const std::string scan = name + "selective_scan.";
  require_tensor(weights, scan + "u_scale", eight_bit, label);
  require_tensor(weights, scan + "ssm_state_scale", eight_bit && state_scale != "none", label);
  require_tensor(weights, scan + "ssm_state_channel_scale", eight_bit && state_scale == "channel",
                 label);
}

bool rounds_inputs(const LayerFormat& format) {
  return !format.is_float() && format.eight_bit_activations();
}

/// The matrices of attention, feed-forwards, experts and shared blocks.
class PartCheck {
 public:
  PartCheck(const Weights& weights, const MambaConfig& config)
      : weights_(weights), config_(config) {}

  void attention(const std::string& name, const LayerFormat& format, bool own_inputs = true) const {
    for (const char* of : {"q_proj", "k_proj", "v_proj", "o_proj"}) {
      matrix(name + of, format, own_inputs);
    }
  }
  void feed_forward(const std::string& name, const LayerFormat& format,
                    bool own_inputs = true) const {
    if (config_.feed_forward.gated()) matrix(name + "gate_proj", format, own_inputs);
    for (const char* of : {"up_proj", "down_proj"}) matrix(name + of, format, own_inputs);
  }
  void experts(const std::string& name, const LayerFormat& format) const {
    matrix(name + "router", kFloatFormat, true);
    for (int64_t e = 0; e < config_.experts.count; ++e) {
      feed_forward(fmt::format("{}experts.{}.", name, e), format);
    }
    if (config_.experts.shared_inner > 0) feed_forward(name + "shared.", format);
    if (config_.experts.latent == 0) return;
    for (const char* of : {"latent_in", "latent_out"}) matrix(name + of, format, true);
  }
  /// A block that layers share: the grids of its inputs are theirs.
  void shared_block(int64_t number, const LayerFormats& formats) const {
    const std::string name = fmt::format("backbone.shared.{}.", number);
    attention(name + "attention.", formats.attention, false);
    feed_forward(name + "mlp.", formats.feed_forward, false);
  }
  /// `formats` of the layer, `block` of the shared block that it uses.
  void shared_use(int64_t layer, const LayerFormats& formats, const LayerFormats& block) const {
    const std::string name = fmt::format("backbone.layers.{}.", layer);
    matrix(name + "linear", formats.feed_forward, true);
    const auto input = [&](const char* op, const LayerFormat& format) {
      require_tensor(weights_, fmt::format("{}shared.{}.input_scale", name, op),
                     rounds_inputs(format), format.name());
    };
    for (const char* op : {"q_proj", "o_proj"}) input(op, block.attention);
    for (const char* op : {"gate_proj", "down_proj"}) input(op, block.feed_forward);
  }

 private:
  void matrix(const std::string& name, const LayerFormat& format, bool own_inputs) const {
    check_low_bit_matrix(weights_, name, format.weight_bits, own_inputs && rounds_inputs(format),
                         format.name());
  }

  const Weights& weights_;
  const MambaConfig& config_;
};

void check_block(const Weights& weights, const ModelDescription& model, const BlockConfig& block,
                 const LayerFormats& formats, const std::string& state_scale) {
  const PartCheck check(weights, model.config);
  const std::string layer = fmt::format("backbone.layers.{}.", block.layer);
  for (const PartKind kind : block.parts) {
    const LayerFormat& format = formats.of(kind);
    switch (kind) {
      case PartKind::mixer:
        check_mixer(weights, model, block.layer, format, state_scale);
        break;
      case PartKind::attention:
        check.attention(layer + "attention.", format);
        break;
      case PartKind::feed_forward:
        check.feed_forward(layer + "mlp.", format);
        break;
      case PartKind::experts:
        check.experts(layer + "mlp.", format);
        break;
    }
  }
}

/// Of all layers by what each may have.
void check_shared(const Weights& weights, const MambaConfig& config,
                  const std::vector<LayerFormats>& layers) {
  const PartCheck check(weights, config);
  for (int64_t number = 0; number < config.shared.count; ++number) {
    const std::vector<int64_t> users = config.shared_users(number);
    if (users.empty()) continue;
    const LayerFormats& block = layers[static_cast<size_t>(users.front())];
    check.shared_block(number, block);
    for (const int64_t user : users) {
      check.shared_use(user, layers[static_cast<size_t>(user)], block);
    }
  }
}

/// Readers of other programs look for one number under several names: edited outside scute in one
/// of them, they would compute another model than this engine does.
void check_twins(const Weights& weights, const ModelDescription& model,
                 const std::vector<std::string>& names) {
  std::map<std::string, std::vector<std::string>> twins;  // by site
  const ScaleOrigins own{model.scheme, false};
  for (const StoredScale& scale : find_scales(names, model.config.mixer, own)) {
    if (scale.site.empty() || weights.at(scale.tensor).size() != 1) continue;
    twins[scale.site].push_back(scale.tensor);
  }
  for (const auto& [site, tensors] : twins) {
    std::vector<std::string> found;
    std::set<float> values;
    for (const std::string& tensor : tensors) {
      const float value = to_vector(weights.at(tensor)).front();
      values.insert(value);
      found.push_back(fmt::format("{} {}", tensor, value));
    }
    if (values.size() < 2) continue;
    fail(fmt::format("{}: {}", model.path, site),
         fmt::format("one scale under all its names (scute scales {} --set '{}*=1.5' changes them "
                     "together)",
                     model.path, site),
         joined(found, ", "));
  }
}

/// Of rotations and folds the tensors show only what is folded: a matrix looks like any other when
/// its columns are rotated. What was done is known from recipe.json, where the folder has one.
void check_rotations(const ModelDescription& model, const std::string& where) {
  const Scheme& scheme = model.scheme;
  const auto expect = [&](const char* key, bool expected, bool found, const std::string& why) {
    if (found == expected) return;
    fail(fmt::format("{}: {}", where, key), fmt::format("{}, {}", expected, why),
         fmt::format("{}", found));
  };
  expect("folded_head", scheme.rotated_stream && !model.config.tied_head, scheme.folded_head,
         "a folded head is that of a rotated stream whose head is not tied");
  const std::string file = model.path + "/recipe.json";
  if (model.embedded || !std::filesystem::exists(file)) return;
  constexpr int64_t kLimit = int64_t{64} << 20;
  const Json recipe = Json::parse(read_text(file, kLimit), file);
  const Json* options = recipe.find("options");
  const Json* hadamard = options == nullptr ? nullptr : options->find("hadamard");
  if (hadamard == nullptr) return;
  const bool rotates = hadamard->as_bool(file + ": options: hadamard");
  const std::string why = fmt::format("as recipe.json says (hadamard {})", rotates);
  const Scheme asked = rotations(model.config, rotates);
  expect("rotated_stream", asked.rotated_stream, scheme.rotated_stream, why);
  expect("rotated_out_proj", asked.rotated_out_proj, scheme.rotated_out_proj, why);
  for (const auto& [key, found] : {std::pair("rotated_down_proj", scheme.rotated_down_proj),
                                   std::pair("rotated_experts", scheme.rotated_experts),
                                   std::pair("rotated_latent", scheme.rotated_latent)}) {
    const Json* said = recipe.find(key);
    expect(key, said != nullptr && said->as_bool(fmt::format("{}: {}", file, key)), found,
           "as recipe.json says");
  }
}

[[noreturn]] void refuse_foreign(const std::string& where, const std::string& method) {
  fail(where, "float weights, or a folder that scute quantize wrote",
       fmt::format("weights quantized by another tool: {}; quantize the float model instead",
                   method));
}

}  // namespace

void refuse_foreign_method(const ModelDescription& model) {
  const Json* said = model.json.find("quantization_config");
  if (model.low_bit || said == nullptr || !said->is_object()) return;
  const Json* method = said->find("quant_method");
  const std::string name =
      method != nullptr && method->is_string() ? method->as_string("") : "an unnamed method";
  // What scute itself writes there; without its own object beside, the tensors tell.
  if (name == "compressed-tensors") return;
  const Json* bits = said->find("bits");
  refuse_foreign(
      fmt::format("{}/{}: quantization_config", model.path, model.config_file),
      bits != nullptr && bits->is_int() ? fmt::format("{}, {} bits", name, bits->dump()) : name);
}

void refuse_foreign_tensors(const ModelDescription& model, const Weights& weights) {
  if (model.low_bit) return;
  struct Foreign {
    std::string_view ending;
    const char* method;
  };
  constexpr std::array<Foreign, 7> kForeign = {{{".qweight", "gptq or awq"},
                                                {".qzeros", "gptq or awq"},
                                                {".absmax", "bitsandbytes, 4 bits"},
                                                {".SCB", "bitsandbytes, 8 bits"},
                                                {".weight_scale_inv", "fp8"},
                                                {".W_q", "hqq"},
                                                {"._data", "quanto"}}};
  for (const std::string& name : weights.names()) {
    for (const Foreign& foreign : kForeign) {
      if (!name.ends_with(foreign.ending)) continue;
      refuse_foreign(model.path, fmt::format("{} (it has {})", foreign.method, name));
    }
  }
}

void check_low_bit(const Weights& weights, const ModelDescription& model) {
  const std::vector<std::string> names = weights.names();
  if (!model.low_bit) {
    const auto scale = std::ranges::find_if(
        names, [](const std::string& name) { return name.ends_with(".weight_scale"); });
    if (scale == names.end()) return;
    fail(model.path, "a \"scute\" object in config.json beside low-bit tensors",
         fmt::format("none, but {}", *scale));
  }
  const std::string where = model.path + "/config.json: scute";
  const Json& scute = model.json.at("scute", where);
  const auto layers = layers_from_json(scute, where);
  const std::string state = scute.at("state_scale", where).as_string(where + ": state_scale");
  check_rotations(model, where);
  for (const BlockConfig& block : model.config.all_blocks()) {
    check_block(weights, model, block, layers[static_cast<size_t>(block.layer)], state);
  }
  check_shared(weights, model.config, layers);
  check_finite(weights);
  check_twins(weights, model, names);
}

}  // namespace scute
