// A small regressor's checkpoint, float or calibrated, with some of its values changed, removed or
// doubled: read and run on one window, or an Error.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <span>

#include "scute/base/error.h"
#include "scute/models/regressor/test_regressors.h"
#include "scute/regressor/predict.h"
#include "scute/regressor/ranges.h"
#include "scute/regressor/writer.h"

namespace scute::fuzz_regressor {
namespace {

using scute::DType;
using scute::Shape;
using scute::Tensor;
using scute::TorchValue;
using Dict = TorchValue::Dict;

/// Values between −1 and 1, different in every place.
TorchValue floats(Shape shape) {
  Tensor out(DType::f32, std::move(shape));
  int n = 0;
  for (float& x : out.mutable_values<float>()) x = static_cast<float>(std::sin(++n));
  return {out};
}

TorchValue number(int64_t value) { return {value}; }
TorchValue text(const char* value) { return {std::string(value)}; }

void add_layer(Dict& state, const std::string& layer, Shape shape, const char* wrapper,
               bool with_bias) {
  const int64_t outputs = shape[0], inputs = shape[1];
  state.emplace_back(layer + wrapper + ".weight", floats(std::move(shape)));
  if (with_bias) state.emplace_back(layer + wrapper + ".bias", floats({outputs}));
  if (std::string_view(wrapper) != ".qconv.conv") return;
  const auto positive = [](Shape of) {
    TorchValue out = floats(std::move(of));
    for (float& x : std::get<Tensor>(out.value).mutable_values<float>()) x = x * x + 0.01F;
    return out;
  };
  state.emplace_back(layer + ".qconv.qa.scale", positive({inputs}));
  state.emplace_back(layer + ".qconv.qa.zero_point", floats({1}));
  state.emplace_back(layer + ".qconv.qw.scale", positive({outputs, 1}));
}

/// Din 5, K 5, C 3, D 4, one block, P 2, S 2.
Dict base(bool origin) {
  const char* wrapper = origin ? ".conv" : ".qconv.conv";
  Dict state;
  add_layer(state, "proj", {3, 5, 1}, wrapper, true);
  add_layer(state, "backbone.patch_embedding", {4, 3, 2}, wrapper, true);
  const std::string block = "backbone.blocks.0.";
  state.emplace_back(block + "norm.weight", floats({4}));
  add_layer(state, block + "in_proj", {16, 4, 1}, wrapper, false);
  if (origin) {
    state.emplace_back(block + "A_log", floats({8, 16}));
    state.emplace_back(block + "D", floats({8}));
    state.emplace_back(block + "conv1d.weight", floats({8, 1, 4}));
    state.emplace_back(block + "conv1d.bias", floats({8}));
    state.emplace_back(block + "x_proj.weight", floats({33, 8}));
    state.emplace_back(block + "dt_proj.weight", floats({8, 1}));
    state.emplace_back(block + "dt_proj.bias", floats({8}));
  } else {
    state.emplace_back(block + "ssm.dt_proj.weight", floats({8, 8, 1}));
    state.emplace_back(block + "ssm.dt_proj.bias", floats({8}));
    state.emplace_back(block + "dw_conv.weight", floats({8, 1, 5}));
    state.emplace_back(block + "dw_conv.bias", floats({8}));
  }
  add_layer(state, block + "out_proj", {4, 8, 1}, wrapper, false);
  state.emplace_back("backbone.norm_f.weight", floats({4}));
  state.emplace_back("backbone.output_layer_flat.weight", floats({3, 4, 2}));
  state.emplace_back("backbone.output_layer_flat.bias", floats({3}));
  add_layer(state, "backbone.output_layer_pool", {3, 4, 1}, wrapper, true);
  add_layer(state, "head", {2, 3, 1}, wrapper, true);
  Dict cfg{{"Din", number(5)},     {"K", number(5)},       {"proj_dim", number(3)},
           {"d_model", number(4)}, {"n_layer", number(1)}, {"patch_len", number(2)},
           {"stride", number(2)}};
  Dict arch{{"use_dwconv", {true}},
            {"pe_off", {false}},
            {"pe_scale", {1.0}},
            {"gate_off", {false}},
            {"agg_pool", text("")},
            {"quant_bits", number(16)},
            {"quant_backend", text("python")},
            {"quant_mode", text("fixed88")},
            {"q_proj_head", {true}}};
  return {{"state_dict", {state}}, {"cfg", {cfg}}, {"arch", {arch}}, {"epoch", number(3)}};
}

/// With the formats of the network in integers, as scute writes them: Q8.8, which nothing has to be
/// measured for.
Dict with_formats(Dict root) {
  const auto checkpoint = scute::parse_regressor_checkpoint({root}, "base");
  scute::CalibratedRegressor calibrated;
  calibrated.how.backend = scute::RegressorBackend::integer;
  calibrated.how.mode = scute::RegressorQuantization::Mode::fixed;
  calibrated.how.all = true;
  const scute::RegressorTensors tensors(checkpoint.config, checkpoint.weights);
  calibrated.formats =
      scute::decide_formats(checkpoint.config, tensors, calibrated.how,
                            scute::RegressorStatistics{}, scute::RegressorRangeOptions{});
  root.emplace_back("scute", scute::scute_part(calibrated));
  return root;
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
};

TorchValue any_value(Bytes& bytes) {
  constexpr int64_t kNumbers[] = {
      -1, 0, 1, 2, 3, 8, 16, 1 << 14, int64_t{1} << 40, std::numeric_limits<int64_t>::max()};
  constexpr double kReals[] = {0,
                               -1,
                               0.5,
                               1e300,
                               std::numeric_limits<double>::infinity(),
                               std::numeric_limits<double>::quiet_NaN()};
  constexpr const char* kTexts[] = {"", "avg", "MAX", "cpp", "dynamic", "fixed", "x"};
  constexpr int64_t kDimensions[] = {0, 1, 2, 3, 4, 5, 8, 16};
  switch (bytes.next(6)) {
    case 0:
      return number(kNumbers[bytes.next(std::size(kNumbers))]);
    case 1:
      return {kReals[bytes.next(std::size(kReals))]};
    case 2:
      return text(kTexts[bytes.next(std::size(kTexts))]);
    case 3:
      return {bytes.next(2) == 1};
    case 4:
      return {nullptr};
    default:
      Shape shape(bytes.next(4));
      for (int64_t& n : shape) n = kDimensions[bytes.next(std::size(kDimensions))];
      if (bytes.next(4) == 0) return {Tensor(DType::i64, shape)};
      TorchValue out = floats(shape);
      const auto values = std::get<Tensor>(out.value).mutable_values<float>();
      if (!values.empty() && bytes.next(3) == 0) {
        values[0] = static_cast<float>(kReals[bytes.next(std::size(kReals))]);
      }
      return out;
  }
}

void mutate(Dict& root, Bytes& bytes) {
  constexpr const char* kKeys[] = {"proj.qconv.a_scale",
                                   "backbone.blocks.0.A_log",
                                   "head.qconv.qw.zero_point",
                                   "q_head",
                                   "agg_pool",
                                   "backbone.patch_embedding.weight",
                                   "best_val",
                                   "stride"};
  while (!bytes.empty()) {
    Dict* dict = &root;
    // Down into one of its dictionaries, and again: the formats are two below `scute`.
    for (int depth = 0; depth < 3; ++depth) {
      const size_t which = bytes.next(dict->size() + 1);
      auto* inner =
          which < dict->size() ? std::get_if<Dict>(&(*dict)[which].second.value) : nullptr;
      if (inner == nullptr) break;
      dict = inner;
    }
    if (dict->empty()) continue;
    const auto at = dict->begin() + static_cast<std::ptrdiff_t>(bytes.next(dict->size()));
    switch (bytes.next(4)) {
      case 0:
        dict->erase(at);
        break;
      case 1:
        at->second = (*dict)[bytes.next(dict->size())].second;
        break;
      case 2:
        dict->emplace_back(kKeys[bytes.next(std::size(kKeys))], any_value(bytes));
        break;
      default:
        at->second = any_value(bytes);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Bytes bytes{std::span(data, size)};
  const bool origin = bytes.next(2) == 1;
  static const Dict kBases[] = {with_formats(base(false)), with_formats(base(true))};
  Dict root = bytes.next(2) == 1 ? kBases[origin ? 1 : 0] : base(origin);
  const bool sound = bytes.empty();
  mutate(root, bytes);
  try {
    const auto checkpoint = scute::parse_regressor_checkpoint({root}, "fuzz");
    const scute::RegressorConfig& config = checkpoint.config;
    if (config.window * config.features > 1 << 16) return 0;
    const Tensor window(DType::f32, {1, config.window, config.features});
    const auto positions = std::visit(
        [&](const auto& model) {
          return scute::testing_regressors::predict_windows(model, window, scute::Threads(1));
        },
        scute::build_stored_regressor(checkpoint));
    if (positions.size() != 2) std::abort();
  } catch (const scute::Error&) {
    if (sound) std::abort();
  }
  return 0;
}

}  // namespace scute::fuzz_regressor
