#include "scute/language/search.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "scute/base/error.h"
#include "scute/evaluate/divergence.h"
#include "scute/language/calibration.h"

namespace scute {
namespace {

bool of_layer(const std::string& tensor, int64_t layer) {
  return tensor.starts_with(fmt::format("backbone.layers.{}.", layer));
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

/// One format a layer, the least sum of losses ([layer][format]) with at most `budget` units in
/// all. Exact, by dynamic programming: best[used] is the least loss of the layers so far with at
/// most `used` units. Layers × budget × formats steps: 64 layers of 8 bits are 10 million. Of
/// equally good formats the first, which has the fewest bits.
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
                                               const CalibrationOptions& options,
                                               const Threads& threads) {
  std::vector<std::vector<int32_t>> out;
  const Windows windows =
      calibration_windows(model, options.data, options.windows, options.input, threads);
  for (const Window& window : windows.windows) out.push_back(window.ids);
  return out;
}

/// Candidates that are run before their predictions are compared with the reference's, which are
/// computed once for all of them: an eighth of a pass for each. Each holds its hidden states.
constexpr size_t kCandidatesAtOnce = 8;

/// The models that one search compares. Each format is quantized and packed once for all layers; a
/// model with one rounded layer shares all others with the reference.
class FormatSearch {
 public:
  FormatSearch(const ModelDescription& model, const Plan& plan, const StatisticsSet* statistics,
               const Hessians* hessians, QuantizeOptions options, const SearchOptions& search)
      : model_(model),
        plan_(plan),
        statistics_(statistics),
        hessians_(hessians),
        options_(std::move(options)),
        search_(search),
        layers_(model.config.layers),
        threads_(search.threads),
        sequences_(sequences_of(model, search.calibration, threads_)) {}

  SearchResult run() {
    list_formats();
    quantize_all();
    const int64_t budget = budget_in_units();
    measure_layers();
    choose(budget);
    LanguageModel found = reference();
    for (size_t f = 0; f < packed_.size(); ++f) {
      for (int64_t i = 0; i < layers_; ++i) {
        if (out_.layers[static_cast<size_t>(i)] != out_.formats[f]) continue;
        found = found.with_layer(packed_[f], i);
      }
    }
    out_.measured = divergence(found, reference(), sequences_, threads_);
    return std::move(out_);
  }

 private:
  LowBitModel quantized() const {
    return quantize(model_, plan_, statistics_, hessians_, options_, threads_.count());
  }

  /// One kind of activations in the whole list: the scheme says once how a model's are rounded.
  void list_formats() {
    const bool eight_bit = options_.format.eight_bit_activations();
    for (const char* name : {"W4A8", "W8A8", "W4A16", "W8A16"}) {
      const LayerFormat format = LayerFormat::parse(name, "search");
      if (format.eight_bit_activations() == eight_bit) out_.formats.push_back(format);
    }
    out_.formats.push_back(LayerFormat::parse("FP", "search"));
  }

  void quantize_all() {
    for (const LayerFormat& format : out_.formats) {
      options_.hybrid.assign(static_cast<size_t>(layers_), format);
      const LowBitModel rounded = quantized();
      const auto head =
          format.is_float() ? LanguageModel::Head::packed : LanguageModel::Head::absent;
      packed_.push_back(build_model(rounded, Execution{}, head));
      out_.bits.push_back(stored_bits(rounded, model_.config));
      // Rounded up, so that the list found never exceeds the budget.
      costs_.push_back(static_cast<int64_t>(std::ceil(kUnit * out_.bits.back())));
    }
  }

  int64_t budget_in_units() const {
    const auto budget = static_cast<int64_t>(kUnit * search_.bits * static_cast<double>(layers_));
    if (budget < costs_.front() * layers_) {
      fail("--search",
           fmt::format("at least {:.2f} bits a weight, which {} takes with its scales",
                       static_cast<double>(costs_.front()) / kUnit, out_.formats.front().name()),
           fmt::format("{}", search_.bits));
    }
    return budget;
  }

  /// The float model, in the scheme that all formats share.
  const LanguageModel& reference() const { return packed_.back(); }

  /// Of each layer alone in each format, the others floats: L·(F − 1) divergences instead of F^L.
  /// That they add up is an assumption, so the list found is measured too.
  void measure_layers() {
    out_.divergence.assign(static_cast<size_t>(layers_), {});
    std::vector<std::pair<size_t, int64_t>> candidates;  // format, layer
    for (size_t f = 0; f + 1 < out_.formats.size(); ++f) {
      for (int64_t i = 0; i < layers_; ++i) candidates.emplace_back(f, i);
    }
    for (size_t first = 0; first < candidates.size(); first += kCandidatesAtOnce) {
      const size_t last = std::min(first + kCandidatesAtOnce, candidates.size());
      std::vector<LanguageModel> models;
      for (size_t c = first; c < last; ++c) {
        const auto& [f, layer] = candidates[c];
        models.push_back(reference().with_layer(packed_[f], layer));
      }
      const auto losses = divergences(models, reference(), sequences_, threads_);
      for (size_t c = first; c < last; ++c) {
        out_.divergence[static_cast<size_t>(candidates[c].second)].push_back(losses[c - first]);
      }
      if (search_.progress) {
        search_.progress(static_cast<int64_t>(last), static_cast<int64_t>(candidates.size()));
      }
    }
    for (auto& of_layer : out_.divergence) of_layer.push_back({0, 0});  // floats against floats
  }

  void choose(int64_t budget) {
    std::vector<std::vector<double>> losses;
    for (const auto& of_layer : out_.divergence) {
      losses.emplace_back();
      for (const MeanAndError& loss : of_layer) losses.back().push_back(loss.mean);
    }
    const std::vector<size_t> chosen = knapsack(losses, costs_, budget);
    for (size_t i = 0; i < chosen.size(); ++i) {
      out_.layers.push_back(out_.formats[chosen[i]]);
      out_.predicted += losses[i][chosen[i]];
      out_.average_bits += out_.bits[chosen[i]] / static_cast<double>(layers_);
    }
  }

  const ModelDescription& model_;
  const Plan& plan_;
  const StatisticsSet* statistics_;
  const Hessians* hessians_;
  QuantizeOptions options_;
  const SearchOptions& search_;
  int64_t layers_;
  Threads threads_;
  std::vector<std::vector<int32_t>> sequences_;
  std::vector<LanguageModel> packed_;  ///< one for each format; the last is in floats
  std::vector<int64_t> costs_;         ///< units a weight, one for each format
  SearchResult out_;
};

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
  return FormatSearch(model, plan, statistics, hessians, std::move(options), search).run();
}

}  // namespace scute
