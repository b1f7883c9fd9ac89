#include "scute/language/search.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "scute/base/error.h"
#include "scute/evaluate/divergence.h"
#include "scute/language/calibration.h"

namespace scute {
namespace {

bool of_layer(const std::string& tensor, int64_t layer) {
  return tensor.starts_with(fmt::format("backbone.layers.{}.", layer));
}

/// `base` with one layer's tensors from `other`, which has the same scheme.
LowBitModel with_layer(const LowBitModel& base, const LowBitModel& other, int64_t layer) {
  LowBitModel out;
  out.description = other.description;
  for (const NamedTensor& item : base.tensors) {
    if (!of_layer(item.name, layer)) out.tensors.push_back(item);
  }
  for (const NamedTensor& item : other.tensors) {
    if (of_layer(item.name, layer)) out.tensors.push_back(item);
  }
  return out;
}

/// Stored bits of a weight of the first layer's matrices, their scales included; all layers of a
/// model have the same shapes.
double stored_bits(const LowBitModel& model, const MambaConfig& config) {
  int64_t bytes = 0;
  for (const NamedTensor& item : model.tensors) {
    if (of_layer(item.name, 0) && item.name.find("_proj.weight") != std::string::npos) {
      bytes += static_cast<int64_t>(item.tensor.bytes().size());
    }
  }
  int64_t weights = config.width * (config.projected() + config.inner);
  if (config.mixer == MixerKind::mamba1) {
    weights += config.inner * (2 * config.dt_rank + 2 * config.state);
  }
  return 8 * static_cast<double>(bytes) / static_cast<double>(weights);
}

/// Hundredths of a bit: the unit that budgets are counted in.
constexpr double kUnit = 100;

/// One format a layer, the least sum of losses with at most `budget` units in all. [layer][format].
std::vector<size_t> knapsack(const std::vector<std::vector<double>>& losses,
                             const std::vector<int64_t>& costs, int64_t budget) {
  constexpr double kNever = std::numeric_limits<double>::infinity();
  const auto room = static_cast<size_t>(budget) + 1;
  std::vector<double> best(room, 0);
  std::vector<std::vector<size_t>> chosen(losses.size(), std::vector<size_t>(room));
  for (size_t layer = 0; layer < losses.size(); ++layer) {
    std::vector<double> next(room, kNever);
    for (size_t used = 0; used < room; ++used) {
      for (size_t f = 0; f < costs.size(); ++f) {
        const auto cost = static_cast<size_t>(costs[f]);
        if (cost > used) continue;
        const double loss = best[used - cost] + losses[layer][f];
        if (loss < next[used]) {
          next[used] = loss;
          chosen[layer][used] = f;
        }
      }
    }
    best = std::move(next);
  }
  std::vector<size_t> out(losses.size());
  size_t used = room - 1;
  for (size_t layer = losses.size(); layer-- > 0;) {
    out[layer] = chosen[layer][used];
    used -= static_cast<size_t>(costs[out[layer]]);
  }
  return out;
}

std::vector<std::vector<int32_t>> sequences_of(const ModelDescription& model,
                                               const CalibrationOptions& options) {
  std::vector<std::vector<int32_t>> out;
  const Windows windows =
      calibration_windows(model, options.data, options.windows, options.tokenizer);
  for (const Window& window : windows.windows) out.push_back(window.ids);
  return out;
}

}  // namespace

Json SearchResult::to_json() const {
  Json out = Json::object();
  out["average_bits"] = average_bits;
  for (size_t f = 0; f < formats.size(); ++f) out["bits"][formats[f].name()] = bits[f];
  out["predicted_divergence"] = predicted;
  out["divergence"] = measured.mean;
  out["standard_error"] = measured.standard_error;
  for (size_t i = 0; i < divergence.size(); ++i) {
    Json row = Json::object();
    row["chosen"] = layers[i].name();
    for (size_t f = 0; f < formats.size(); ++f) row[formats[f].name()] = divergence[i][f].mean;
    out["layers"].push_back(std::move(row));
  }
  return out;
}

SearchResult search_formats(const ModelDescription& model, const Plan& plan,
                            const StatisticsSet* statistics, const Hessians* hessians,
                            QuantizeOptions options, const SearchOptions& search) {
  SearchResult out;
  const bool eight_bit = options.format.eight_bit_activations();
  for (const char* name : {"W4A8", "W8A8", "W4A16"}) {
    const LayerFormat format = LayerFormat::parse(name, "search");
    if (format.eight_bit_activations() == eight_bit) out.formats.push_back(format);
  }
  out.formats.push_back(LayerFormat::parse("FP", "search"));
  const int64_t layers = model.config.layers;
  const auto quantized_as = [&](const LayerFormat& format) {
    options.hybrid.assign(static_cast<size_t>(layers), format);
    return quantize(model, plan, statistics, hessians, options);
  };
  const Execution execution;
  const auto sequences = sequences_of(model, search.calibration);
  const Threads threads(search.threads);
  std::vector<LowBitModel> rounded;
  std::vector<int64_t> costs;
  for (const LayerFormat& format : out.formats) {
    rounded.push_back(quantized_as(format));
    out.bits.push_back(stored_bits(rounded.back(), model.config));
    costs.push_back(static_cast<int64_t>(std::ceil(kUnit * out.bits.back())));
  }
  const auto budget = static_cast<int64_t>(kUnit * search.bits * static_cast<double>(layers));
  if (budget < costs.front() * layers) {
    fail("--search",
         fmt::format("at least {:.2f} bits a weight, which {} takes with its scales",
                     static_cast<double>(costs.front()) / kUnit, out.formats.front().name()),
         fmt::format("{}", search.bits));
  }
  const LowBitModel& floats = rounded.back();
  const LanguageModel reference = build_model(floats, execution);
  std::vector<std::vector<double>> losses(static_cast<size_t>(layers));
  out.divergence.resize(static_cast<size_t>(layers));
  const int64_t total = layers * static_cast<int64_t>(out.formats.size() - 1);
  int64_t done = 0;
  for (size_t f = 0; f < out.formats.size(); ++f) {
    for (int64_t i = 0; i < layers; ++i) {
      MeanAndError loss{0, 0};
      if (!out.formats[f].is_float()) {
        const LanguageModel one = build_model(with_layer(floats, rounded[f], i), execution);
        loss = divergence(one, reference, sequences, threads);
        if (search.progress) search.progress(++done, total);
      }
      out.divergence[static_cast<size_t>(i)].push_back(loss);
      losses[static_cast<size_t>(i)].push_back(loss.mean);
    }
  }
  const auto chosen = knapsack(losses, costs, budget);
  for (size_t i = 0; i < chosen.size(); ++i) {
    out.layers.push_back(out.formats[chosen[i]]);
    out.predicted += losses[i][chosen[i]];
    out.average_bits += out.bits[chosen[i]] / static_cast<double>(layers);
  }
  options.hybrid = out.layers;
  const LowBitModel found = quantize(model, plan, statistics, hessians, options);
  out.measured = divergence(build_model(found, execution), reference, sequences, threads);
  return out;
}

}  // namespace scute
