#include "scute/regressor/diagnosis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "scute/base/portable_math.h"

namespace scute {
namespace {

/// Sums of one factor's rounding; doubles in the order of the values.
struct RoundingSums {
  int64_t count = 0, saturated = 0;
  double signal = 0, noise = 0;

  void add(float x, float rounded, bool out_of_range) {
    const double error = static_cast<double>(x) - static_cast<double>(rounded);
    signal += static_cast<double>(x) * static_cast<double>(x);
    noise += error * error;
    saturated += out_of_range ? 1 : 0;
    ++count;
  }
  void finish(RoundingQuality& out) const {
    if (count > 0) out.saturated = static_cast<double>(saturated) / static_cast<double>(count);
    out.sqnr =
        noise > 0 ? 10 * portable::log10(signal / noise) : std::numeric_limits<double>::infinity();
  }
};

Tensor copy_of(MatView<const float> x) {
  Tensor out(DType::f32, {x.rows, x.cols});
  const auto to = out.mutable_matrix<float>();
  for (int64_t r = 0; r < x.rows; ++r) std::copy_n(x.row(r), x.cols, to.row(r));
  return out;
}

bool asymmetric(const LayerRounding& layer, std::string_view name) {
  return layer.backend == RegressorBackend::extension && layer.bits == 8 &&
         name != "patch_embedding";
}

/// Adds the rows of an input, rounded as the layer rounds them.
void add_inputs(const LayerRounding& layer, std::string_view name, MatView<const float> x,
                RoundingSums& sums) {
  Tensor rounded = copy_of(x);
  const auto y = rounded.mutable_matrix<float>();
  const bool wraps = asymmetric(layer, name);
  const auto zero = static_cast<int32_t>(layer.input_zero);
  if (wraps) {
    round_wrapping(y, wrapping_scale(layer.input), zero);
  } else {
    (layer.backend == RegressorBackend::extension ? round_extension : round_lsq)(y, layer.input,
                                                                                 layer.bits);
  }
  // A weight that is its row's largest is the highest code, up to the rounding of the scale.
  const double most = GridSpec{layer.bits, true}.highest() * (1 + 0x1p-20);
  const double one = wraps ? double{wrapping_scale(layer.input)} : 0;
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t c = 0; c < x.cols; ++c) {
      const double scale = wraps ? one : layer.input[static_cast<size_t>(c) % layer.input.size()];
      const double code = static_cast<double>(x.row(r)[c]) / scale;
      // Codes above 127 wrap round: as wrong as those that are cut.
      const bool out = wraps ? code + zero < 0 || code + zero > 127 : std::abs(code) > most;
      sums.add(x.row(r)[c], y.row(r)[c], out);
    }
  }
}

RoundingQuality weight_quality(const LayerRounding& layer, const RegressorProduct& product) {
  RoundingQuality out{layer.bits, 0, 0, 0, 0};
  const auto scales = spread_scales(layer.weight, product.weight.dim(0), product.layer);
  const auto [least, most] = std::ranges::minmax(scales);
  out.scale_least = least;
  out.scale_most = most;
  RoundingSums sums;
  const Tensor floats = product.weight.to_f32();
  for (int64_t o = 0; o < floats.dim(0); ++o) {
    LayerRounding row = layer;
    row.input = {scales[static_cast<size_t>(o)]};
    if (asymmetric(layer, product.layer)) row.backend = RegressorBackend::lsq;
    add_inputs(row, product.layer, floats.matrix<float>().slice_rows(o, 1), sums);
  }
  sums.finish(out);
  return out;
}

/// Keeps what it is shown, piece after piece.
class KeepingTap : public Tap {
 public:
  bool wants(const Site& site) const override { return site.index >= 0; }
  void see(const Site& site, MatView<const float> values) override {
    pieces_[site.name].push_back(copy_of(values));
  }
  const std::map<std::string, std::vector<Tensor>>& pieces() const { return pieces_; }

 private:
  std::map<std::string, std::vector<Tensor>> pieces_;
};

struct DivergenceSums {
  double error = 0, signal = 0, largest = 0;
};

/// Compares piece by piece with what the float network was seen to do.
class ComparingTap : public Tap {
 public:
  ComparingTap(const KeepingTap& reference, std::map<std::string, DivergenceSums>& sums)
      : reference_(reference), sums_(sums) {}
  bool wants(const Site& site) const override {
    return site.index >= 0 && reference_.pieces().contains(site.name);
  }
  void see(const Site& site, MatView<const float> values) override {
    const size_t piece = next_[site.name]++;
    const auto expected = reference_.pieces().at(site.name).at(piece).matrix<float>();
    DivergenceSums& sums = sums_[site.name];
    for (int64_t r = 0; r < values.rows; ++r) {
      for (int64_t c = 0; c < values.cols; ++c) {
        const double f = expected.row(r)[c], error = static_cast<double>(values.row(r)[c]) - f;
        sums.error += error * error;
        sums.signal += f * f;
        sums.largest = std::max(sums.largest, std::abs(error));
      }
    }
  }

 private:
  const KeepingTap& reference_;
  std::map<std::string, DivergenceSums>& sums_;
  std::map<std::string, size_t> next_;
};

/// Calls f(frames, ends) for up to 64 windows at a time.
template <class F>
void for_pieces(const FeatureFolder& folder, F f) {
  NonFinite found;
  for (const FeatureSequence& sequence : folder.sequences) {
    const Tensor frames = normalized_frames(sequence, folder.normalization, found);
    for (size_t first = 0; first < sequence.ends.size(); first += 64) {
      const std::span ends = std::span(sequence.ends).subspan(first);
      f(frames.matrix<float>(), ends.first(std::min<size_t>(64, ends.size())));
    }
  }
}

}  // namespace

RegressorRounding rounding_of(const RegressorFormats& formats) {
  RegressorRounding out;
  for (const auto& [name, layer] : formats.layers) {
    out[name] = {
        RegressorBackend::integer, layer.input.spec.bits, {layer.input.scale}, layer.weight};
  }
  return out;
}

RegressorDiagnosis diagnose(const RegressorCheckpoint& checkpoint, const AnyRegressor& quantized,
                            const RegressorRounding& rounding, const FeatureFolder& folder,
                            double tolerance) {
  const Regressor reference = build_regressor(checkpoint);
  std::map<std::string, DivergenceSums> divergence;
  std::map<std::string, RoundingSums> inputs;
  for_pieces(folder, [&](MatView<const float> frames, std::span<const int64_t> ends) {
    KeepingTap kept;
    Run run(&kept);
    predict(reference, frames, ends, run);
    ComparingTap comparing(kept, divergence);
    Run other(&comparing);
    std::visit([&](const auto& model) { predict(model, frames, ends, other); }, quantized);
    for (const auto& [layer, how] : rounding) {
      const auto pieces = kept.pieces().find(layer + ":input");
      if (pieces == kept.pieces().end()) continue;
      for (const Tensor& x : pieces->second)
        add_inputs(how, layer, x.matrix<float>(), inputs[layer]);
    }
  });

  RegressorDiagnosis out;
  out.tolerance = tolerance;
  const RegressorTensors tensors(checkpoint.config, checkpoint.weights);
  for (const RegressorProduct& product : regressor_products(checkpoint.config, tensors)) {
    const auto how = rounding.find(product.layer);
    if (how == rounding.end()) continue;
    LayerDiagnosis layer{
        product.layer, {how->second.bits, 0, 0, 0, 0}, weight_quality(how->second, product)};
    const auto [least, most] = std::ranges::minmax(how->second.input);
    layer.input.scale_least = least;
    layer.input.scale_most = most;
    inputs[product.layer].finish(layer.input);
    out.layers.push_back(std::move(layer));
  }
  for (const Site& site : reference.sites().sites()) {
    const auto found = divergence.find(site.name);
    if (found == divergence.end()) continue;
    const DivergenceSums& sums = found->second;
    const double relative = sums.signal > 0 ? std::sqrt(sums.error / sums.signal) : 0;
    out.divergence.push_back({site.name, relative, sums.largest});
    if (!out.first_divergent && relative > tolerance) out.first_divergent = site.name;
  }
  return out;
}

std::vector<LayerSensitivity> measure_sensitivity(const RegressorCheckpoint& checkpoint,
                                                  const RegressorStatistics& statistics,
                                                  const RegressorRangeOptions& options,
                                                  const FeatureFolder& folder,
                                                  const Threads& threads,
                                                  const WindowProgress& progress) {
  const RegressorTensors tensors(checkpoint.config, checkpoint.weights);
  const AnyRegressor reference = build_regressor(checkpoint);
  const PositionSet set = positions_of(folder);
  const Tensor expected = predict_folder({&reference}, folder, threads).predicted[0];
  RegressorQuantization how;
  how.backend = RegressorBackend::integer;
  how.mode = RegressorQuantization::Mode::dynamic;
  how.all = true;
  std::vector<LayerSensitivity> out;
  const auto total = 2 * std::ssize(rounded_layers(checkpoint.config, how));
  for (const int bits : {8, 16}) {
    how.bits = bits;
    const auto all = decide_rounding(checkpoint.config, tensors, how, statistics, options);
    for (const std::string& layer : rounded_layers(checkpoint.config, how)) {
      const AnyRegressor model = build_regressor(checkpoint, {{layer, all.at(layer)}});
      const Tensor y = predict_folder({&model}, folder, threads).predicted[0];
      const auto predicted = y.matrix<float>();
      out.push_back({layer, bits, measure(predicted, set.actual.matrix<float>()),
                     compare(predicted, expected.matrix<float>(), set.actual.matrix<float>())});
      if (progress) progress(std::ssize(out), total);
    }
  }
  return out;
}

}  // namespace scute
