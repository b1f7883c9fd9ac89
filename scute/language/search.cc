#include "scute/language/search.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "scute/base/error.h"
#include "scute/evaluate/divergence.h"
#include "scute/language/calibration.h"
#include "scute/language/scale_names.h"
#include "scute/models/language/check_weights.h"

namespace scute {
namespace {

bool is_matrix(const std::string& tensor) {
  return tensor.find("_proj.weight") != std::string::npos ||
         tensor.find(".latent_in.weight") != std::string::npos ||
         tensor.find(".latent_out.weight") != std::string::npos ||
         tensor.find(".linear.weight") != std::string::npos;
}

/// Weights of each layer's matrices in the float model. What layers share counts for none.
std::vector<int64_t> matrix_weights(const ModelDescription& model) {
  std::vector<int64_t> out(static_cast<size_t>(model.config.layers));
  const Weights weights = read_weights(model);
  check_language_weights(model.config, weights);  // or a layer too many had no place in `out`
  for (const std::string& name : weights.names()) {
    if (const int64_t layer = layer_of(name); layer >= 0 && is_matrix(name)) {
      out[static_cast<size_t>(layer)] += weights.at(name).size();
    }
  }
  return out;
}

/// Bits of each layer's matrices as stored, their scales included.
std::vector<int64_t> stored_bits(const LowBitModel& model) {
  std::vector<int64_t> out(static_cast<size_t>(model.description.config.layers));
  for (const NamedTensor& item : model.tensors) {
    if (const int64_t layer = layer_of(item.name); layer >= 0 && is_matrix(item.name)) {
      out[static_cast<size_t>(layer)] += 8 * static_cast<int64_t>(item.tensor.bytes().size());
    }
  }
  return out;
}

/// Hundredths of a bit of an average layer's weight: the unit that budgets are counted in.
constexpr double kUnit = 100;

/// One format a layer, the least sum of losses ([layer][format]) with at most `budget` units in
/// all. Exact, by dynamic programming: best[used] is the least loss of the layers so far with at
/// most `used` units. Layers × budget × formats steps: 64 layers of 8 bits are 10 million. Of
/// equally good formats the first, which has the fewest bits.
std::vector<size_t> knapsack(const std::vector<std::vector<double>>& losses,
                             const std::vector<std::vector<int64_t>>& costs, int64_t budget) {
  constexpr double kNever = std::numeric_limits<double>::infinity();
  const auto room = static_cast<size_t>(budget) + 1;
  std::vector<double> best(room, 0);
  std::vector<std::vector<size_t>> chosen(losses.size(), std::vector<size_t>(room));
  for (size_t layer = 0; layer < losses.size(); ++layer) {
    std::vector<double> next(room, kNever);
    for (size_t used = 0; used < room; ++used) {
      for (size_t f = 0; f < costs[layer].size(); ++f) {
        const auto cost = static_cast<size_t>(costs[layer][f]);
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
    used -= static_cast<size_t>(costs[layer][out[layer]]);
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
        weights_(matrix_weights(model)),
        costs_(weights_.size()),
        threads_(search.threads),
        sequences_(sequences_of(model, search.calibration, threads_)) {}

  SearchResult run() {
    list_formats();
    quantize_all();
    const int64_t budget = budget_in_units();
    measure_layers();
    choose(budget);
    out_.measured = divergence(found(), reference(), sequences_, threads_);
    return std::move(out_);
  }

 private:
  LowBitModel quantized() const {
    return quantize(model_, plan_, statistics_, hessians_, options_, threads_.count());
  }

  /// The model with the list found. Blocks that layers share are of one format, which no layer
  /// taken for itself shows.
  LanguageModel found() {
    if (model_.config.shared.count > 0) {
      options_.hybrid = out_.layers;
      return build_model(quantized(), Execution{});
    }
    LanguageModel out = reference();
    for (size_t f = 0; f < packed_.size(); ++f) {
      for (int64_t i = 0; i < layers_; ++i) {
        if (out_.layers[static_cast<size_t>(i)] != out_.formats[f]) continue;
        out = out.with_layer(packed_[f], i);
      }
    }
    return out;
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
      add_costs(stored_bits(rounded));
    }
  }

  void add_costs(const std::vector<int64_t>& stored) {
    const auto sum = [](const std::vector<int64_t>& of) {
      return static_cast<double>(std::accumulate(of.begin(), of.end(), int64_t{0}));
    };
    const double all = sum(weights_);
    out_.bits.push_back(sum(stored) / all);
    stored_.emplace_back();
    for (const int64_t bits : stored) stored_.back().push_back(static_cast<double>(bits) / all);
    for (size_t i = 0; i < costs_.size(); ++i) {
      // Rounded up, so that the list found never exceeds the budget.
      const double share = static_cast<double>(stored[i]) * static_cast<double>(layers_) / all;
      costs_[i].push_back(static_cast<int64_t>(std::ceil(kUnit * share)));
    }
  }

  int64_t budget_in_units() const {
    const auto budget = static_cast<int64_t>(kUnit * search_.bits * static_cast<double>(layers_));
    int64_t least = 0;
    for (const std::vector<int64_t>& of_layer : costs_) least += of_layer.front();
    if (budget < least) {
      const double average = static_cast<double>(least) / static_cast<double>(layers_);
      fail("--search",
           fmt::format("at least {:.2f} bits a weight, which {} takes with its scales",
                       std::ceil(average) / kUnit, out_.formats.front().name()),
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
      out_.average_bits += bits_of(i, chosen[i]);
    }
  }

  /// What the layer adds to the bits of an average weight.
  double bits_of(size_t layer, size_t format) const { return stored_[format][layer]; }

  const ModelDescription& model_;
  const Plan& plan_;
  const StatisticsSet* statistics_;
  const Hessians* hessians_;
  QuantizeOptions options_;
  const SearchOptions& search_;
  int64_t layers_;
  std::vector<int64_t> weights_;             ///< of each layer's matrices
  std::vector<std::vector<int64_t>> costs_;  ///< units of each layer in each format
  std::vector<std::vector<double>> stored_;  ///< bits of each format's layers a weight of all
  Threads threads_;
  std::vector<std::vector<int32_t>> sequences_;
  std::vector<LanguageModel> packed_;  ///< one for each format; the last is in floats
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
