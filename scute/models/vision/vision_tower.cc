#include "scute/models/vision/vision_tower.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "scute/base/error.h"
#include "scute/kernels/attention.h"
#include "scute/kernels/elementwise.h"
#include "scute/tensor/tensor.h"

namespace scute {
namespace {

constexpr int64_t kColors = 3;

/// The pixels of one patch a row: color after color, line after line, as a convolution's kernel is
/// stored. Lines and columns beyond the last whole patch are left out.
void cut_patches(const VisionConfig& config, MatView<const float> pixels, MatView<float> patches) {
  const int64_t side = config.patch, grid = config.grid();
  for (int64_t color = 0; color < kColors; ++color) {
    for (int64_t line = 0; line < grid * side; ++line) {
      const float* from = pixels.row(color) + line * config.image;
      const int64_t column = (color * side + line % side) * side;
      for (int64_t i = 0; i < grid; ++i) {
        std::copy_n(from + i * side, side, patches.row(line / side * grid + i) + column);
      }
    }
  }
}

/// A convolution's kernel (outputs, 3, patch, patch) as the matrix that multiplies cut patches.
void flatten_kernel(Weights& weights, const VisionConfig& config) {
  const std::string name = "patch_embed.proj.weight";
  const Shape kernel{config.width, kColors, config.patch, config.patch};
  if (!weights.contains(name) || weights.at(name).shape() != kernel) return;
  Tensor flat = weights.take(name).reshaped({config.width, kColors * config.patch * config.patch});
  weights.add(name, std::move(flat));
}

struct NormTensors {
  NormTensors(WeightReader& reader, const std::string& name, int64_t width)
      : weight(reader.take(name + ".weight", {width})),
        bias(reader.take(name + ".bias", {width})) {}
  Tensor weight, bias;
};

struct AffineTensors {
  AffineTensors(WeightReader& reader, const std::string& name, int64_t outputs, int64_t inputs)
      : matrix(reader, name, outputs, inputs), bias(reader.take(name + ".bias", {outputs})) {}
  LinearTensors matrix;
  Tensor bias;
};

std::string block_name(size_t index) { return fmt::format("blocks.{}.", index); }

void append(std::vector<float>& to, const Tensor& tensor) {
  const std::vector<float> more = to_vector(tensor);
  to.insert(to.end(), more.begin(), more.end());
}

MatView<const float> rows_of(const std::vector<float>& values, int64_t cols) {
  return {values.data(), static_cast<int64_t>(values.size()) / cols, cols};
}

const float* or_null(const std::vector<float>& values) {
  return values.empty() ? nullptr : values.data();
}

void require_shape(const std::string& where, std::string_view what, MatView<const float> view,
                   int64_t rows, int64_t cols) {
  if (view.rows == rows && view.cols == cols) return;
  fail(where, fmt::format("{} of {} × {}", what, rows, cols),
       fmt::format("{} × {}", view.rows, view.cols));
}

}  // namespace

void VisionConfig::check(std::string_view where) const {
  // The limits are 10 to 60 times what the largest released tower (SigLIP's 400 million weights at
  // 384 pixels) has; they keep every product of sizes below 2^63.
  const auto in_range = [&](std::string_view name, int64_t value, int64_t least, int64_t most) {
    if (value < least || value > most) {
      fail(where, fmt::format("{} of {} from {} to {}", name, bucket, least, most),
           fmt::format("{}", value));
    }
  };
  if (bucket.empty()) fail(where, "a name for each tower", "none");
  in_range("the image size", image, 1, 1 << 14);
  in_range("the patch size", patch, 1, image);
  in_range("the width", width, 1, 1 << 16);
  in_range("the number of blocks (the last one is not computed)", depth, 2, 1024);
  in_range("the number of heads", heads, 1, width);
  in_range("the hidden width", hidden, 1, 1 << 19);
  in_range("the number of class tokens", classes, 0, 1);
  in_range("the number of registers", registers, 0, 1024);
  if (width % heads != 0) {
    fail(where, fmt::format("a number of heads that divides the width {} of {}", width, bucket),
         fmt::format("{}", heads));
  }
  if (!(norm_eps > 0 && norm_eps < 1)) {
    fail(where, fmt::format("a norm epsilon of {} between 0 and 1", bucket),
         fmt::format("{}", norm_eps));
  }
}

VisionSites::VisionSites(const VisionConfig& config, SiteList& list) {
  const std::string prefix = config.bucket + ".";
  patch_embed =
      list.add(prefix + "patch_embed.proj:input", {kColors * config.patch * config.patch});
  for (int64_t i = 0; i < config.blocks(); ++i) {
    const std::string name = prefix + block_name(static_cast<size_t>(i));
    Block block;
    block.qkv = list.add(name + "attn.qkv:input", {config.width});
    block.proj = list.add(name + "attn.proj:input", {config.width});
    block.fc1 = list.add(name + "mlp.fc1:input", {config.width});
    block.fc2 = list.add(name + "mlp.fc2:input", {config.hidden});
    blocks.push_back(std::move(block));
  }
  output = list.add(config.bucket, {config.width});
}

/// The tensors of one block as the checkpoint stores them.
struct VisionTower::Raw {
  Raw(WeightReader& reader, const std::string& name, const VisionConfig& c)
      : norm1(reader, name + "norm1", c.width),
        norm2(reader, name + "norm2", c.width),
        qkv(reader, name + "attn.qkv", 3 * c.width, c.width),
        proj(reader, name + "attn.proj", c.width, c.width),
        fc1(reader, name + "mlp.fc1", c.hidden, c.width),
        fc2(reader, name + "mlp.fc2", c.width, c.hidden) {
    if (!c.layer_scale) return;
    scale1 = reader.take(name + "ls1.gamma", {c.width});
    scale2 = reader.take(name + "ls2.gamma", {c.width});
  }
  NormTensors norm1, norm2;
  AffineTensors qkv, proj, fc1, fc2;
  Tensor scale1, scale2;
};

VisionTower::Block::Block(Raw raw, const Execution& execution)
    : norm1{to_vector(raw.norm1.weight), to_vector(raw.norm1.bias)},
      norm2{to_vector(raw.norm2.weight), to_vector(raw.norm2.bias)},
      qkv{Linear(raw.qkv.matrix, execution), to_vector(raw.qkv.bias)},
      proj{Linear(raw.proj.matrix, execution), to_vector(raw.proj.bias)},
      fc1{Linear(raw.fc1.matrix, execution), to_vector(raw.fc1.bias)},
      fc2{Linear(raw.fc2.matrix, execution), to_vector(raw.fc2.bias)},
      scale1(to_vector(raw.scale1)),
      scale2(to_vector(raw.scale2)) {}

VisionTower::VisionTower(const VisionConfig& config, Weights weights, const Execution& execution,
                         const VisionSites& sites)
    : config_(config), sites_(sites) {
  config_.check(weights.source());
  flatten_kernel(weights, config_);
  WeightReader reader(weights);
  const int64_t D = config_.width;
  const AffineTensors patch(reader, "patch_embed.proj", D, kColors * config_.patch * config_.patch);
  const Tensor positions = reader.take("pos_embed", {1, config_.patches(), D});
  std::vector<Tensor> prefix;
  if (config_.classes > 0) prefix.push_back(reader.take("cls_token", {1, config_.classes, D}));
  if (config_.registers > 0) prefix.push_back(reader.take("reg_token", {1, config_.registers, D}));
  std::vector<Raw> raw;
  for (size_t i = 0; i < static_cast<size_t>(config_.blocks()); ++i) {
    raw.emplace_back(reader, block_name(i), config_);
  }
  reader.finish();

  patch_embed_ = {Linear(patch.matrix, execution), to_vector(patch.bias)};
  positions_ = to_vector(positions);
  for (const Tensor& tensor : prefix) append(prefix_, tensor);
  blocks_.reserve(raw.size());
  // Block after block, which gives the mapped memory of its checkpoint tensors back.
  for (Raw& tensors : raw) blocks_.emplace_back(std::move(tensors), execution);
}

void VisionTower::Affine::operator()(Run& run, MatView<const float> x, MatView<float> y) const {
  product(run, x, y);
  run.on_rows([&](auto rows) { add_row(rows, bias.data()); }, y);
}

int64_t VisionTower::Affine::bytes() const {
  return product.bytes() + static_cast<int64_t>(bias.size() * sizeof(float));
}

void VisionTower::operator()(Run& run, MatView<const float> pixels, MatView<float> out) const {
  require_shape(config_.bucket, "pixels", pixels, kColors, config_.image * config_.image);
  require_shape(config_.bucket, "an output", out, config_.patches(), config_.width);
  const Arena::Scope scope(run.arena());
  const auto x = run.matrix(config_.tokens(), config_.width);
  embed(run, pixels, x);
  for (size_t i = 0; i < blocks_.size(); ++i) block(run, i, x);
  copy_rows(x.slice_rows(config_.prefix(), config_.patches()), out);
  run.pass(sites_.output, out);
}

void VisionTower::embed(Run& run, MatView<const float> pixels, MatView<float> x) const {
  const Arena::Scope scope(run.arena());
  const auto patches = run.matrix(config_.patches(), kColors * config_.patch * config_.patch);
  cut_patches(config_, pixels, patches);
  run.pass(sites_.patch_embed, patches);
  const auto embedded = x.slice_rows(config_.prefix(), config_.patches());
  patch_embed_(run, patches, embedded);
  add_into(embedded, rows_of(positions_, config_.width));
  copy_rows(rows_of(prefix_, config_.width), x.slice_rows(0, config_.prefix()));
}

void VisionTower::block(Run& run, size_t index, MatView<float> x) const {
  // Nobody reads what the last block would make of the prefix.
  const int64_t first = index + 1 == blocks_.size() ? config_.prefix() : 0;
  const auto rows = x.slice_rows(first, x.rows - first);
  attend(run, index, x, rows);
  feed_forward(run, index, rows);
}

void VisionTower::norm(Run& run, MatView<const float> x, const Norm& how,
                       MatView<float> out) const {
  run.on_rows(
      [&](auto in, auto to) {
        layer_norm(in, how.weight.data(), how.bias.data(), config_.norm_eps, to);
      },
      x, out);
}

void VisionTower::add(Run& run, MatView<const float> x, const std::vector<float>& factors,
                      MatView<float> to) const {
  run.on_rows([&](auto sum, auto more) { add_scaled(sum, more, or_null(factors)); }, to, x);
}

void VisionTower::attend(Run& run, size_t index, MatView<const float> x,
                         MatView<float> rows) const {
  const Block& block = blocks_[index];
  const int64_t D = config_.width, width = D / config_.heads;
  const Arena::Scope scope(run.arena());
  const auto normed = run.matrix(x.rows, D);
  norm(run, x, block.norm1, normed);
  run.pass(sites_.blocks[index].qkv, normed);
  const auto qkv = run.matrix(x.rows, 3 * D);
  block.qkv(run, normed, qkv);

  const auto attended = run.matrix(rows.rows, D);
  const auto scratch = run.matrix(config_.heads, attention_scratch(x.rows, width));
  const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(width)));
  const auto queries = qkv.slice_rows(x.rows - rows.rows, rows.rows);
  run.split(config_.heads, 2 * rows.rows * x.rows * width, [&](int64_t first, int64_t count) {
    for (int64_t h = first; h < first + count; ++h) {
      attention(queries.columns(h * width, width), qkv.columns(D + h * width, width),
                qkv.columns(2 * D + h * width, width), scale, scratch.row(h),
                attended.columns(h * width, width));
    }
  });
  run.pass(sites_.blocks[index].proj, attended);
  const auto projected = normed.slice_rows(0, rows.rows);  // no longer read
  block.proj(run, attended, projected);
  add(run, projected, block.scale1, rows);
}

void VisionTower::feed_forward(Run& run, size_t index, MatView<float> rows) const {
  const Block& block = blocks_[index];
  const Arena::Scope scope(run.arena());
  const auto normed = run.matrix(rows.rows, config_.width);
  norm(run, rows, block.norm2, normed);
  run.pass(sites_.blocks[index].fc1, normed);
  const auto hidden = run.matrix(rows.rows, config_.hidden);
  block.fc1(run, normed, hidden);
  run.on_rows(gelu, hidden);
  run.pass(sites_.blocks[index].fc2, hidden);
  block.fc2(run, hidden, normed);
  add(run, normed, block.scale2, rows);
}

void VisionTower::set_input_range(const Site& site, float lo, float hi) {
  const auto set = [&](const Site& input, Affine& layer) {
    if (input.index == site.index) layer.product.set_input_range(lo, hi);
  };
  set(sites_.patch_embed, patch_embed_);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    set(sites_.blocks[i].qkv, blocks_[i].qkv);
    set(sites_.blocks[i].proj, blocks_[i].proj);
    set(sites_.blocks[i].fc1, blocks_[i].fc1);
    set(sites_.blocks[i].fc2, blocks_[i].fc2);
  }
}

void VisionTower::add_size(ModelSize& size) const {
  const auto of = [](const std::vector<float>& values) {
    return static_cast<int64_t>(values.size() * sizeof(float));
  };
  size.linear += patch_embed_.bytes();
  size.embedding += of(prefix_) + of(positions_);
  for (const Block& block : blocks_) {
    for (const Affine* layer : {&block.qkv, &block.proj, &block.fc1, &block.fc2}) {
      size.linear += layer->bytes();
    }
    for (const Norm* norm : {&block.norm1, &block.norm2}) {
      size.norms += of(norm->weight) + of(norm->bias);
    }
    size.norms += of(block.scale1) + of(block.scale2);
  }
}

void VisionTower::add_work(ModelWork& work) const {
  const int64_t tokens = config_.tokens(), patches = config_.patches();
  patch_embed_.product.add_work(patches, work);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const Block& block = blocks_[i];
    const int64_t rows = i + 1 == blocks_.size() ? patches : tokens;
    block.qkv.product.add_work(tokens, work);
    work.f32 += 2 * rows * tokens * config_.width;
    for (const Affine* layer : {&block.proj, &block.fc1, &block.fc2}) {
      layer->product.add_work(rows, work);
    }
  }
}

}  // namespace scute
