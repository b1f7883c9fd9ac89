// Sound low-bit checkpoints with tensors taken away, added, reshaped and overwritten as the bytes
// say: LanguageModel refuses them with an Error, or runs.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "scute/base/error.h"
#include "scute/base/random.h"
#include "scute/models/language/language_model.h"
#include "scute/quantize/weight.h"

namespace scute::fuzz_low_bit {
namespace {

using scute::DType;
using scute::MambaConfig;
using scute::NamedTensor;
using scute::Shape;
using scute::Tensor;

struct Base {
  MambaConfig config;
  std::vector<NamedTensor> tensors;

  void add(const std::string& name, Tensor tensor) { tensors.push_back({name, std::move(tensor)}); }
  void floats(const std::string& name, Shape shape, double offset = 0, double scale = 0.3) {
    Tensor out(DType::f32, std::move(shape));
    for (float& x : out.mutable_values<float>()) {
      x = static_cast<float>(offset + scale * random.uniform());
    }
    add(name, std::move(out));
  }
  void scales(const std::string& name, Shape shape) { floats(name, std::move(shape), 0.01, 0.01); }
  /// 8 bits, or 4 bits in groups of 4 with a second level.
  void matrix(const std::string& name, int64_t outputs, int64_t inputs, int bits) {
    Tensor real(DType::f32, {outputs, inputs});
    for (float& x : real.mutable_values<float>()) x = static_cast<float>(random.normal());
    scute::WeightFormat format;
    if (bits == 4) format = scute::WeightFormat::four_bit(inputs, 4, true);
    const scute::QuantizedWeight weight = scute::quantize_nearest(real, format, name);
    if (bits == 8) {
      add(name + ".weight", weight.codes);
    } else {
      add(name + ".weight_packed", scute::pack_int4(weight.codes));
      add(name + ".weight_shape", Tensor::of<int64_t>({2}, std::vector<int64_t>{outputs, inputs}));
      add(name + ".weight_channel_scale", weight.channel_scales);
    }
    add(name + ".weight_scale", weight.scales);
    scales(name + ".input_scale", {1});
  }
  void convolution(const std::string& name, int64_t channels) {
    Tensor codes(DType::i8, {channels, 1, 4});
    for (int8_t& c : codes.mutable_values<int8_t>()) {
      c = static_cast<int8_t>(static_cast<int>(random.below(255)) - 127);
    }
    add(name + ".weight", std::move(codes));
    scales(name + ".weight_scale", {channels});
    floats(name + ".bias", {channels});
  }
  scute::Random random{1};
};

Base common(scute::MixerKind mixer) {
  Base base;
  MambaConfig& c = base.config;
  c.mixer = mixer;
  c.layers = 1;
  c.width = 8;
  c.vocabulary = 12;
  c.inner = 16;
  c.state = 4;
  c.dt_rank = 4;
  c.heads = 4;
  c.head_width = 4;
  base.floats("backbone.layers.0.norm.weight", {8}, 1);
  base.floats("backbone.norm_f.weight", {8}, 1);
  return base;
}

const std::string kMixer = "backbone.layers.0.mixer.", kScan = kMixer + "selective_scan.";

/// W8A8, the table too, a scale for each channel of the state.
Base mamba1() {
  Base base = common(scute::MixerKind::mamba1);
  base.matrix("backbone.embedding", 12, 8, 8);
  base.tensors.pop_back();  // the embedding's input is no number
  base.scales("lm_head.input_scale", {1});
  base.matrix(kMixer + "in_proj", 32, 8, 8);
  base.matrix(kMixer + "x_proj", 12, 16, 8);
  base.matrix(kMixer + "dt_proj", 16, 4, 8);
  base.matrix(kMixer + "out_proj", 8, 16, 8);
  base.convolution(kMixer + "conv1d", 16);
  base.floats(kMixer + "dt_proj.bias", {16}, -1);
  base.floats(kMixer + "A_log", {16, 4});
  base.floats(kMixer + "D", {16});
  base.scales(kMixer + "conv1d.input_scale", {1});
  for (const char* name : {"dt", "B", "C", "z", "ssm_state"}) {
    base.scales(kScan + name + "_scale", {1});
  }
  base.scales(kScan + "ssm_state_channel_scale", {16});
  const Tensor u = Tensor::of<float>({1}, std::vector<float>{0.02f});
  for (NamedTensor& item : base.tensors) {
    if (item.name == kMixer + "x_proj.input_scale") item.tensor = u;
  }
  base.add(kMixer + "conv1d.output_scale", u);
  base.add(kScan + "u_scale", u);
  return base;
}

/// W4A8 with grouped heads and a head of its own in floats.
Base mamba2() {
  Base base = common(scute::MixerKind::mamba2);
  base.config.tied_head = false;
  base.floats("backbone.embedding.weight", {12, 8});
  base.floats("lm_head.weight", {12, 8});
  base.matrix(kMixer + "in_proj", base.config.projected(), 8, 4);
  base.matrix(kMixer + "out_proj", 8, 16, 4);
  base.convolution(kMixer + "conv1d", base.config.conv_channels());
  base.floats(kMixer + "dt_bias", {4}, -1);
  base.floats(kMixer + "A_log", {4});
  base.floats(kMixer + "D", {4});
  base.floats(kMixer + "norm.weight", {16}, 1);
  for (const char* name : {"x", "B", "C"}) {
    base.scales(kMixer + "conv1d." + name + "_input_scale", {1});
  }
  for (const char* name : {"z", "dt", "B", "C"}) base.scales(kScan + name + "_scale", {1});
  base.scales(kScan + "u_scale", {1, 4, 4});
  base.scales(kScan + "ssm_state_scale", {1, 4, 4, 4});
  std::vector<int32_t> ends{1, 2, 3, 4};
  base.add(kScan + "x_head_group_range", Tensor::of<int32_t>({1, 4}, ends));
  std::vector<int32_t> channel_ends;
  for (int i = 0; i < 4; ++i) channel_ends.insert(channel_ends.end(), ends.begin(), ends.end());
  base.add(kScan + "x_dim_group_range", Tensor::of<int32_t>({1, 4, 4}, channel_ends));
  return base;
}

/// What is left of the input; zeros behind its end.
struct Bytes {
  std::span<const uint8_t> left;

  bool empty() const { return left.empty(); }
  size_t next(size_t below) {
    if (left.empty() || below == 0) return 0;
    const size_t byte = left.front();
    left = left.subspan(1);
    return byte % below;
  }
  Shape shape() {
    constexpr int64_t kDimensions[] = {0, 1, 2, 3, 4, 5, 8, 12, 16, 32, 44, 64};
    Shape out(next(5));
    for (int64_t& n : out) n = kDimensions[next(std::size(kDimensions))];
    return out;
  }
  Tensor tensor() {
    constexpr DType kTypes[] = {DType::f32,  DType::i8,  DType::i32, DType::i64,
                                DType::bf16, DType::f16, DType::f64};
    const DType type = kTypes[next(std::size(kTypes))];
    Shape shape = this->shape();
    if (scute::element_count(shape, "fuzz") > 1 << 16) shape = {1};
    std::vector<std::byte> content(static_cast<size_t>(scute::element_count(shape, "fuzz")) *
                                   size_t{8});
    for (std::byte& b : content) {
      if (empty()) break;
      b = static_cast<std::byte>(next(256));
    }
    Tensor probe(type, shape);
    return Tensor::of_bytes(type, shape, std::span(content).first(probe.bytes().size()));
  }
};

/// The same tensor with some of its bytes, or all of its floats, replaced.
Tensor changed(const Tensor& tensor, Bytes& bytes) {
  std::vector<std::byte> content(tensor.bytes().begin(), tensor.bytes().end());
  if (content.empty()) return tensor;
  if (bytes.next(2) == 0) {
    for (size_t count = bytes.next(9), at = bytes.next(256); count > 0; --count, ++at) {
      content[at % content.size()] = static_cast<std::byte>(bytes.next(256));
    }
  } else {
    constexpr float kSpecial[] = {0.0f,   -1.0f,
                                  1e-40f, 1e-30f,
                                  1e38f,  std::numeric_limits<float>::infinity(),
                                  -0.0f,  std::numeric_limits<float>::quiet_NaN()};
    const float value = kSpecial[bytes.next(std::size(kSpecial))];
    for (size_t i = 0; i + sizeof value <= content.size(); i += sizeof value) {
      std::memcpy(content.data() + i, &value, sizeof value);
    }
  }
  return Tensor::of_bytes(tensor.dtype(), tensor.shape(), content);
}

void mutate(std::vector<NamedTensor>& tensors, Bytes& bytes) {
  while (!bytes.empty() && !tensors.empty()) {
    const size_t what = bytes.next(6), at = bytes.next(tensors.size());
    const auto place = tensors.begin() + static_cast<std::ptrdiff_t>(at);
    if (what == 0) {
      tensors.erase(place);
    } else if (what == 1) {
      place->tensor = bytes.tensor();
    } else if (what == 2) {
      place->tensor = tensors[bytes.next(tensors.size())].tensor;
    } else if (what == 3) {
      constexpr const char* kEndings[] = {".input_scale", "_scale", ".weight_channel_scale",
                                          ".weight_packed", "_extra"};
      std::string name = place->name.substr(0, place->name.rfind('.'));
      name += kEndings[bytes.next(std::size(kEndings))];
      tensors.push_back({std::move(name), bytes.tensor()});
    } else {
      place->tensor = changed(place->tensor, bytes);
    }
  }
}

void run(const scute::LanguageModel& model, int64_t vocabulary) {
  constexpr int32_t kIds[] = {3, 0, 11};
  scute::Run run;
  scute::State state = model.new_state();
  Tensor hidden(DType::f32, {3, 8}), logits(DType::f32, {3, vocabulary});
  for (int piece = 0; piece < 2; ++piece) {
    model.hidden(run, kIds, state, hidden.mutable_matrix<float>());
  }
  model.logits(run, hidden.matrix<float>(), logits.mutable_matrix<float>());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Base bases[] = {mamba1(), mamba2()};
  Bytes bytes{std::span(data, size)};
  const Base& base = bases[bytes.next(2)];
  const size_t flags = bytes.next(32);
  scute::Scheme scheme;
  scheme.rotated_stream = (flags & 1) != 0;
  scheme.rotated_out_proj = (flags & 2) != 0;
  scheme.folded_head = (flags & 4) != 0;
  if ((flags & 8) != 0) scheme.state_rounding = scute::Scheme::StateRounding::nearest;
  const auto backend = (flags & 16) != 0 ? scute::Backend::simulate : scute::Backend::integer;

  std::vector<NamedTensor> tensors = base.tensors;
  if (!base.config.tied_head && scheme.rotated_out_proj) {  // grouped: the rotation's own order
    std::vector<int32_t> order(16);
    for (size_t c = 0; c < 16; ++c) order[c] = static_cast<int32_t>(c ^ 5);
    tensors.push_back({kScan + "x_channel_order", Tensor::of<int32_t>({16}, order)});
  }
  const bool sound = bytes.empty() && !scheme.folded_head;
  mutate(tensors, bytes);
  try {
    scute::Weights weights("fuzz");
    for (const NamedTensor& item : tensors) weights.add(item.name, item.tensor);
    const scute::LanguageModel model(base.config, std::move(weights),
                                     {scute::Compute::f32, backend},
                                     scute::LanguageModel::Head::packed, scheme);
    run(model, base.config.vocabulary);
  } catch (const scute::Error&) {
    if (sound) std::abort();
  }
  return 0;
}

}  // namespace scute::fuzz_low_bit
