#include "scute/cobra/random.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/base/random.h"
#include "scute/language/random_model.h"

namespace scute {
namespace {

struct TowerSize {
  int64_t image, width, depth, heads, hidden;
};
struct Size {
  std::string_view name, language;
  TowerSize dino, siglip;
};
constexpr std::array kSizes{
    Size{"cobra+3b-vision", "mamba-2.8b", {384, 1024, 24, 16, 4096}, {384, 1152, 27, 16, 4304}},
    Size{"tiny-cobra-vision", "mamba-tiny", {56, 64, 4, 4, 256}, {56, 72, 3, 4, 269}},
};

VisionConfig tower_config(const char* bucket, const TowerSize& size) {
  VisionConfig out;
  out.bucket = bucket;
  out.image = size.image;
  out.width = size.width;
  out.depth = size.depth;
  out.heads = size.heads;
  out.hidden = size.hidden;
  return out;
}

/// Adds tensors of one model, all from one random sequence.
class Maker {
 public:
  Maker(Weights& weights, RandomForm form, Random& random)
      : weights_(weights), form_(form), random_(random) {}

  /// `shape` begins with the outputs; uniform with variance 1 / (3 · inputs).
  void matrix(const std::string& name, const Shape& shape) {
    const int64_t outputs = shape.front();
    int64_t inputs = 1;
    for (size_t i = 1; i < shape.size(); ++i) inputs *= shape[i];
    // The variance of a uniform value in [−b, b] is b²/3.
    const auto bound = static_cast<float>(1 / std::sqrt(static_cast<double>(inputs)));
    if (form_ == RandomForm::bf16) {
      floats(name, shape, bound);
    } else {
      codes(name, outputs, inputs, bound);
    }
    vector(name + ".bias", {outputs}, 0);
  }
  void vector(const std::string& name, Shape shape, float value) {
    Tensor out(DType::f32, std::move(shape));
    for (float& x : out.mutable_values<float>()) x = value;
    weights_.add(name, std::move(out));
  }
  /// Normal, a tenth as large as what it is added to.
  void offsets(const std::string& name, Shape shape) {
    Tensor out(DType::f32, std::move(shape));
    for (float& x : out.mutable_values<float>()) x = static_cast<float>(0.1 * random_.normal());
    weights_.add(name, std::move(out));
  }

 private:
  /// Four values from each draw.
  void floats(const std::string& name, const Shape& shape, float bound) {
    Tensor out(DType::bf16, shape);
    uint64_t draw = 0;
    int64_t i = 0;
    for (bf16& x : out.mutable_values<bf16>()) {
      draw = i++ % 4 == 0 ? random_.next() : draw >> 16;
      x = to_bf16(bound * (static_cast<float>(draw & 0xffff) / 32767.5F - 1));
    }
    weights_.add(name + ".weight", std::move(out));
  }
  /// Eight codes from each draw, −127 … 127.
  void codes(const std::string& name, int64_t outputs, int64_t inputs, float bound) {
    Tensor out(DType::i8, {outputs, inputs});
    uint64_t draw = 0;
    int64_t i = 0;
    for (int8_t& x : out.mutable_values<int8_t>()) {
      draw = i++ % 8 == 0 ? random_.next() : draw >> 8;
      x = static_cast<int8_t>(std::max<int>(-127, static_cast<int>(draw & 0xff) - 128));
    }
    weights_.add(name + ".weight", std::move(out));
    vector(name + ".weight_scale", {outputs, 1}, bound / 127);
    vector(name + ".input_scale", {1}, 4.0F / 127);  // four deviations of what a norm gives
  }

  Weights& weights_;
  RandomForm form_;
  Random& random_;
};

void add_block(Maker& make, const VisionConfig& c, const std::string& block) {
  for (const char* norm : {"norm1", "norm2"}) {
    make.vector(block + norm + ".weight", {c.width}, 1);
    make.vector(block + norm + ".bias", {c.width}, 0);
  }
  make.matrix(block + "attn.qkv", {3 * c.width, c.width});
  make.matrix(block + "attn.proj", {c.width, c.width});
  make.matrix(block + "mlp.fc1", {c.hidden, c.width});
  make.matrix(block + "mlp.fc2", {c.width, c.hidden});
  if (!c.layer_scale) return;
  make.vector(block + "ls1.gamma", {c.width}, 0.5F);
  make.vector(block + "ls2.gamma", {c.width}, 0.5F);
}

Weights tower_weights(const VisionConfig& c, RandomForm form, Random& random) {
  Weights out("random weights of " + c.bucket);
  Maker make(out, form, random);
  if (form == RandomForm::bf16) {
    make.matrix("patch_embed.proj", {c.width, 3, c.patch, c.patch});
  } else {
    make.matrix("patch_embed.proj", {c.width, 3 * c.patch * c.patch});
  }
  make.offsets("pos_embed", {1, c.patches(), c.width});
  if (c.classes > 0) make.offsets("cls_token", {1, c.classes, c.width});
  if (c.registers > 0) make.offsets("reg_token", {1, c.registers, c.width});
  for (int64_t i = 0; i < c.blocks(); ++i) add_block(make, c, fmt::format("blocks.{}.", i));
  return out;
}

/// rows × inputs times inputs × outputs.
double product(int64_t rows, int64_t inputs, int64_t outputs) {
  return 2.0 * static_cast<double>(rows) * static_cast<double>(inputs) *
         static_cast<double>(outputs);
}

double tower_work(const VisionConfig& c) {
  const int64_t D = c.width, T = c.tokens();
  double out = product(c.patches(), 3 * c.patch * c.patch, D);
  for (int64_t i = 0; i < c.blocks(); ++i) {
    // The last block updates no prefix.
    const int64_t rows = i + 1 == c.blocks() ? c.patches() : T;
    out += product(T, D, 3 * D) + 2 * product(rows, T, D);
    out += product(rows, D, D) + 2 * product(rows, D, c.hidden);
  }
  return out;
}

}  // namespace

std::vector<std::string> named_vision_sizes() {
  std::vector<std::string> out;
  for (const Size& size : kSizes) out.emplace_back(size.name);
  return out;
}

CobraConfig named_vision_config(std::string_view name) {
  for (const Size& size : kSizes) {
    if (size.name != name) continue;
    CobraConfig out;
    VisionConfig dino = tower_config("vision.dino", size.dino);
    dino.classes = 1;
    dino.registers = 4;
    dino.layer_scale = true;
    out.towers = {std::move(dino), tower_config("vision.siglip", size.siglip)};
    out.projector = ProjectorKind::fused_gelu_mlp;
    out.language = named_config(size.language);
    return out;
  }
  fail("--random", fmt::format("one of {}", joined(named_vision_sizes(), ", ")),
       fmt::format("\"{}\"{}", name, did_you_mean(name, named_vision_sizes())));
}

CobraWeights random_vision_weights(const CobraConfig& config, RandomForm form, uint64_t seed) {
  config.check("random weights");
  const ProjectorConfig projector = config.projector_config();
  if (projector.kind != ProjectorKind::fused_gelu_mlp) {
    fail("random weights", "the projector fused-gelu-mlp", "another");
  }
  Random random(seed);
  CobraWeights out;
  for (const VisionConfig& tower : config.towers) {
    out.towers.push_back(tower_weights(tower, form, random));
  }
  out.projector = Weights("random weights of the projector");
  Maker make(out.projector, form, random);
  const int64_t V = projector.vision, D = projector.language;
  make.matrix("projector.0", {4 * V, V});
  make.matrix("projector.2", {D, 4 * V});
  make.matrix("projector.4", {D, D});
  return out;
}

PictureWork picture_work(const CobraConfig& config) {
  PictureWork out;
  for (const VisionConfig& tower : config.towers) out.towers += tower_work(tower);
  const ProjectorConfig projector = config.projector_config();
  const int64_t rows = projector.grid * projector.grid;
  const int64_t V = projector.vision, D = projector.language;
  switch (projector.kind) {
    case ProjectorKind::linear:
      out.projector = product(rows, V, D);
      break;
    case ProjectorKind::gelu_mlp:
      out.projector = product(rows, V, D) + product(rows, D, D);
      break;
    case ProjectorKind::fused_gelu_mlp:
    case ProjectorKind::fused_ldpnet:
      out.projector = product(rows, V, 4 * V) + product(rows, 4 * V, D);
      break;
  }
  if (projector.kind == ProjectorKind::fused_gelu_mlp) out.projector += product(rows, D, D);
  return out;
}

}  // namespace scute
