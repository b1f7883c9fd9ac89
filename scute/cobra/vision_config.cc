#include "scute/cobra/vision_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "scute/base/error.h"
#include "scute/base/names.h"

namespace scute {
namespace {

/// The released architectures (models/vision/README.md), timm's defaults filled in.
struct Architecture {
  const char* name;
  TowerKind kind;
  int64_t image, patch, width, depth, heads;
  double mlp_ratio;
  int64_t registers;
};
constexpr std::array kArchitectures{
    Architecture{"vit_large_patch14_reg4_dinov2", TowerKind::dino, 518, 14, 1024, 24, 16, 4.0, 4},
    Architecture{"vit_so400m_patch14_siglip_384", TowerKind::siglip, 384, 14, 1152, 27, 16, 3.7362,
                 0},
    Architecture{"vit_so400m_patch14_siglip_224", TowerKind::siglip, 224, 14, 1152, 27, 16, 3.7362,
                 0},
    Architecture{"vit_base_patch16_siglip_224", TowerKind::siglip, 224, 16, 768, 12, 12, 4.0, 0},
    Architecture{"vit_base_patch16_siglip_256", TowerKind::siglip, 256, 16, 768, 12, 12, 4.0, 0},
    Architecture{"vit_base_patch16_siglip_384", TowerKind::siglip, 384, 16, 768, 12, 12, 4.0, 0},
};

const Architecture& find_architecture(TowerKind kind, std::string name, const std::string& where) {
  name = name.substr(0, name.find('.'));  // timm writes the pretraining tag behind a dot
  std::vector<std::string> known;
  for (const Architecture& candidate : kArchitectures) {
    if (candidate.kind != kind) continue;
    if (name == candidate.name) return candidate;
    known.emplace_back(candidate.name);
  }
  fail(where + ": architecture", fmt::format("one of {}", joined(known, ", ")),
       fmt::format("\"{}\"", name));
}

/// timm's "model_args": those that shape the tower, and those whose other values it does not
/// compute.
void read_arguments(const Json& args, const std::string& where, VisionConfig& c,
                    double& mlp_ratio) {
  for (const auto& member : args.as_object(where)) {
    const std::string& key = member.first;
    const Json& value = member.second;
    const std::string at = where + ": " + key;
    const auto require = [&](const Json& wanted) {
      if (value != wanted)
        fail(at, wanted.dump() + ", which is what Cobra's towers use", value.dump());
    };
    if (key == "embed_dim") {
      c.width = value.as_int(at);
    } else if (key == "depth") {
      c.depth = value.as_int(at);
    } else if (key == "num_heads") {
      c.heads = value.as_int(at);
    } else if (key == "patch_size") {
      c.patch = value.as_int(at);
    } else if (key == "mlp_ratio") {
      mlp_ratio = value.as_double(at);
    } else if (key == "reg_tokens") {
      c.registers = value.as_int(at);
    } else if (key == "init_values") {
      c.layer_scale = !value.is_null();
    } else if (key == "class_token") {
      c.classes = value.as_bool(at) ? 1 : 0;
    } else if (key == "no_embed_class") {
      require(true);
    } else if (key == "qkv_bias") {
      require(true);
    } else if (key == "qk_norm" || key == "pre_norm") {
      require(false);
    } else if (key == "act_layer") {
      require("gelu");
    } else if (key == "in_chans") {
      require(3);
    } else if (key != "img_size" && key != "global_pool" && key != "num_classes" &&
               key != "fc_norm" && key != "dynamic_img_size" && key != "weight_init") {
      fail(at, "an argument of timm's VisionTransformer that Cobra's towers use", "another one");
    }
  }
}

PixelNormalization default_normalization(TowerKind kind) {
  if (kind == TowerKind::siglip) return {{0.5F, 0.5F, 0.5F}, {0.5F, 0.5F, 0.5F}};
  return {{0.485F, 0.456F, 0.406F}, {0.229F, 0.224F, 0.225F}};
}

void read_three(const Json& pretrained, const char* key, const std::string& where, bool positive,
                std::array<float, 3>& out) {
  const Json* found = pretrained.find(key);
  if (found == nullptr) return;
  const std::string at = where + ": pretrained_cfg: " + key;
  const auto& numbers = found->as_array(at);
  if (numbers.size() != 3) fail(at, "three numbers", fmt::format("{}", numbers.size()));
  for (size_t i = 0; i < 3; ++i) {
    out[i] = static_cast<float>(numbers[i].as_double(at));
    if (!std::isfinite(out[i]) || (positive && out[i] <= 0)) {
      fail(at, positive ? "positive numbers" : "finite numbers", numbers[i].dump_config());
    }
  }
}

/// The side of a square number of positions; Error naming the tensor otherwise.
int64_t side_of(int64_t positions, const std::string& source) {
  const auto side = static_cast<int64_t>(std::llround(std::sqrt(static_cast<double>(positions))));
  if (side < 1 || side * side != positions) {
    fail(source + ": pos_embed", "positions of a square grid", fmt::format("{}", positions));
  }
  return side;
}

/// Meta's raw file (models/vision/README.md): registers under another name, the class token's
/// position in front of the patches'.
void use_raw_names(Weights& weights, const VisionConfig& config) {
  if (!weights.contains("mask_token")) return;
  weights.erase("mask_token");
  if (!weights.contains("register_tokens")) return;
  weights.rename("register_tokens", "reg_token");
  const Tensor positions = weights.take("pos_embed").to_f32();
  const Tensor token = weights.take("cls_token").to_f32();
  if (positions.rank() != 3 || positions.dim(1) < 2 || positions.dim(2) != config.width ||
      token.size() != config.width) {
    fail(weights.source(), fmt::format("cls_token and pos_embed of width {}", config.width),
         fmt::format("{} and {}", to_string(token.shape()), to_string(positions.shape())));
  }
  const auto all = positions.values<float>();
  const auto width = static_cast<size_t>(config.width);
  std::vector<float> sum(token.values<float>().begin(), token.values<float>().end());
  for (size_t c = 0; c < width; ++c) sum[c] += all[c];
  weights.add("cls_token", Tensor::of<float>({1, 1, config.width}, sum));
  weights.add("pos_embed",
              Tensor::of<float>({1, positions.dim(1) - 1, config.width}, all.subspan(width)));
}

bool never_computed(const std::string& name, const VisionConfig& config) {
  for (const char* prefix : {"norm.", "fc_norm.", "head.", "head_drop.", "attn_pool."}) {
    if (name.starts_with(prefix)) return true;
  }
  return name.starts_with(fmt::format("blocks.{}.", config.depth - 1));
}

}  // namespace

TowerDescription describe_tower(TowerKind kind, const Json& json, const std::string& architecture,
                                int64_t image, const std::string& where) {
  const Json* named = json.find("architecture");
  const Architecture& base = find_architecture(
      kind, named == nullptr ? architecture : named->as_string(where + ": architecture"), where);
  const bool dino = kind == TowerKind::dino;
  TowerDescription out;
  out.normalization = default_normalization(kind);
  VisionConfig& c = out.config;
  c.bucket = dino ? "vision.dino" : "vision.siglip";
  c.patch = base.patch;
  c.width = base.width;
  c.depth = base.depth;
  c.heads = base.heads;
  c.classes = dino ? 1 : 0;
  c.registers = base.registers;
  c.layer_scale = dino;
  double mlp_ratio = base.mlp_ratio;
  int64_t own_image = base.image;
  if (const Json* args = json.find("model_args"); args != nullptr && !args->is_null()) {
    read_arguments(*args, where + ": model_args", c, mlp_ratio);
    if (const Json* size = args->find("img_size")) own_image = size->as_int(where + ": img_size");
  }
  c.image = image > 0 ? image : own_image;
  const double hidden = static_cast<double>(c.width) * mlp_ratio;
  if (c.width >= 1 && c.width < 1 << 17 && !(hidden >= 1 && hidden < 1e7)) {
    fail(where + ": mlp_ratio", "a positive ratio", fmt::format("{}", mlp_ratio));
  }
  // timm truncates: 4304.1 → 4304. A width that makes no sense is said by check().
  c.hidden = hidden >= 1 && hidden < 1e7 ? static_cast<int64_t>(hidden) : 0;
  c.check(where);
  if (const Json* pretrained = json.find("pretrained_cfg"); pretrained != nullptr) {
    read_three(*pretrained, "mean", where, false, out.normalization.mean);
    read_three(*pretrained, "std", where, true, out.normalization.deviation);
  }
  return out;
}

Weights timm_weights(Weights weights, const VisionConfig& config) {
  constexpr std::string_view kOpenClip = "visual.trunk.";
  const bool open_clip = weights.contains("visual.trunk.pos_embed");
  for (const std::string& name : weights.names()) {
    if (!open_clip) break;
    if (name.starts_with(kOpenClip)) {
      weights.rename(name, name.substr(kOpenClip.size()));
    } else {
      weights.erase(name);
    }
  }
  use_raw_names(weights, config);
  for (const std::string& name : weights.names()) {
    if (never_computed(name, config)) weights.erase(name);
  }
  if (!weights.contains("pos_embed")) return weights;  // its reader names what is missing
  const Tensor& positions = weights.at("pos_embed");
  const bool fits = positions.rank() == 3 && positions.dim(1) == config.patches();
  if (positions.rank() == 3 && !fits && positions.dim(2) == config.width) {
    const int64_t from = side_of(positions.dim(1), weights.source());
    const Tensor resampled = resample_positions(positions.to_f32(), from, config.grid());
    weights.erase("pos_embed");
    weights.add("pos_embed", resampled);
  }
  return weights;
}

}  // namespace scute
