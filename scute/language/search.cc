#include "scute/language/search.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "scute/base/error.h"
#include "scute/evaluate/divergence.h"
#include "scute/language/calibration.h"
#include "scute/language/search_items.h"
#include "scute/models/language/check_weights.h"

namespace scute {
namespace {

/// Bits of the matrices of each item, and of those that belong to none.
struct ItemBits {
  std::vector<int64_t> items;
  int64_t fixed = 0;

  int64_t all() const { return std::accumulate(items.begin(), items.end(), fixed); }
};

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

/// The models that one search compares. Each format is quantized and packed once for all items; a
/// model with one rounded item shares all others with the reference.
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
        threads_(search.threads),
        sequences_(sequences_of(model, search.calibration, threads_)) {
    out_.items = format_items(model.config, options_);
    if (out_.items.empty()) {
      fail("--search", "a kind of part without a format of its own (--mixers, --attention, …)",
           "none left in " + model.name);
    }
  }

  SearchResult run() {
    count_weights();
    list_formats();
    quantize_all();
    set_costs();
    const int64_t budget = budget_in_units();
    measure_items();
    choose(budget);
    out_.measured = divergence(found(), reference(), sequences_, threads_);
    return std::move(out_);
  }

 private:
  void count_weights() {
    const Weights weights = read_weights(model_);
    check_language_weights(model_.config, weights);  // or a layer too many had no place
    const ItemOfTensor item_of(model_.config, out_.items);
    for (const std::string& name : weights.names()) {
      if (item_of(name) != ItemOfTensor::kNone) weights_ += weights.at(name).size();
    }
  }

  /// As stored, scales included.
  ItemBits stored_bits(const LowBitModel& model) const {
    const ItemOfTensor item_of(model_.config, out_.items);
    ItemBits out{std::vector<int64_t>(out_.items.size())};
    for (const NamedTensor& tensor : model.tensors) {
      const int64_t item = item_of(tensor.name);
      if (item == ItemOfTensor::kNone) continue;
      int64_t& bits =
          item == ItemOfTensor::kFixed ? out.fixed : out.items[static_cast<size_t>(item)];
      bits += 8 * static_cast<int64_t>(tensor.tensor.bytes().size());
    }
    return out;
  }

  static LanguageModel with_item(LanguageModel model, const LanguageModel& other,
                                 const FormatItem& item) {
    for (const int64_t layer : item.layers) {
      for (const PartKind kind : item.kinds) model = model.with_part(other, layer, kind);
    }
    return model;
  }

  /// The model with the list found.
  LanguageModel found() const {
    LanguageModel out = reference();
    for (size_t i = 0; i < out_.items.size(); ++i) {
      if (out_.chosen[i] + 1 == out_.formats.size()) continue;
      out = with_item(std::move(out), packed_[out_.chosen[i]], out_.items[i]);
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
      options_.hybrid.assign(static_cast<size_t>(model_.config.layers), LayerFormats::all(format));
      const LowBitModel rounded =
          quantize(model_, plan_, statistics_, hessians_, options_, threads_.count());
      const auto head =
          format.is_float() ? LanguageModel::Head::packed : LanguageModel::Head::absent;
      packed_.push_back(build_model(rounded, Execution{}, head));
      stored_.push_back(stored_bits(rounded));
      out_.bits.push_back(share(stored_.back().all()));
    }
  }

  /// Bits as a share of all weights.
  double share(int64_t bits) const {
    return static_cast<double>(bits) / static_cast<double>(weights_);
  }

  /// Of layers that are one part each, hundredths of a bit of an average layer's weight. Else the
  /// largest number of bits that everything is a multiple of, as long as no budget has more than
  /// kMostUnits of it. Rounded up, so that the list found never exceeds the budget.
  void set_costs() {
    constexpr int64_t kMostUnits = 1 << 18;
    int64_t unit = 0;
    for (const ItemBits& of_format : stored_) {
      for (const int64_t bits : of_format.items) unit = std::gcd(unit, bits);
    }
    unit = std::max({unit, int64_t{1}, stored_.back().all() / kMostUnits});
    unit_ = one_mixer_a_layer(out_.items, model_.config.layers) ? 0 : unit;
    for (size_t i = 0; i < out_.items.size(); ++i) {
      costs_.emplace_back();
      for (const ItemBits& of_format : stored_) costs_.back().push_back(units(of_format.items[i]));
    }
  }

  int64_t units(int64_t bits) const {
    if (unit_ > 0) return (bits + unit_ - 1) / unit_;
    const auto layers = static_cast<double>(model_.config.layers);
    return static_cast<int64_t>(std::ceil(
        kHundredths * (static_cast<double>(bits) * layers / static_cast<double>(weights_))));
  }

  int64_t budget_in_units() const {
    const auto sum = [this](size_t f) {
      int64_t out = 0;
      for (const auto& of_item : costs_) out += of_item[f];
      return out;
    };
    const auto layers = static_cast<double>(model_.config.layers);
    const int64_t least = sum(0), most = sum(costs_.front().size() - 1);
    int64_t budget = static_cast<int64_t>(kHundredths * search_.bits * layers);
    double average = static_cast<double>(least) / layers;
    if (unit_ > 0) {
      const double bits = search_.bits * static_cast<double>(weights_);
      const bool all = bits >= static_cast<double>(stored_.back().all());
      const double left = (bits - static_cast<double>(fixed())) / static_cast<double>(unit_);
      budget = all ? most : static_cast<int64_t>(std::floor(left));
      average = kHundredths * share(fixed() + least * unit_);
    }
    if (budget < least) {
      fail("--search",
           fmt::format("at least {:.2f} bits a weight, which {} takes with its scales",
                       std::ceil(average) / kHundredths, out_.formats.front().name()),
           fmt::format("{}", search_.bits));
    }
    return std::min(budget, std::max(most, least));
  }

  /// Bits of the parts whose format is not searched.
  int64_t fixed() const { return stored_.front().fixed; }

  /// The float model, in the scheme that all formats share.
  const LanguageModel& reference() const { return packed_.back(); }

  /// Of each item alone in each format, the others floats: items·(F − 1) divergences instead of
  /// F^items. That they add up is an assumption, so the list found is measured too.
  void measure_items() {
    out_.divergence.assign(out_.items.size(), {});
    std::vector<std::pair<size_t, size_t>> candidates;  // format, item
    for (size_t f = 0; f + 1 < out_.formats.size(); ++f) {
      for (size_t i = 0; i < out_.items.size(); ++i) candidates.emplace_back(f, i);
    }
    for (size_t first = 0; first < candidates.size(); first += kCandidatesAtOnce) {
      const size_t last = std::min(first + kCandidatesAtOnce, candidates.size());
      std::vector<LanguageModel> models;
      for (size_t c = first; c < last; ++c) {
        const auto& [f, item] = candidates[c];
        models.push_back(with_item(reference(), packed_[f], out_.items[item]));
      }
      const auto losses = divergences(models, reference(), sequences_, threads_);
      for (size_t c = first; c < last; ++c) {
        out_.divergence[candidates[c].second].push_back(losses[c - first]);
      }
      if (search_.progress) {
        search_.progress(static_cast<int64_t>(last), static_cast<int64_t>(candidates.size()));
      }
    }
    for (auto& of_item : out_.divergence) of_item.push_back({0, 0});  // floats against floats
  }

  void choose(int64_t budget) {
    std::vector<std::vector<double>> losses;
    for (const auto& of_item : out_.divergence) {
      losses.emplace_back();
      for (const MeanAndError& loss : of_item) losses.back().push_back(loss.mean);
    }
    out_.chosen = knapsack(losses, costs_, budget);
    std::vector<LayerFormats> layers(static_cast<size_t>(model_.config.layers),
                                     LayerFormats::all(kFloatFormat));
    out_.average_bits = share(fixed());
    for (size_t i = 0; i < out_.items.size(); ++i) {
      const size_t f = out_.chosen[i];
      for (const int64_t layer : out_.items[i].layers) {
        for (const PartKind kind : out_.items[i].kinds) {
          layers[static_cast<size_t>(layer)].of(kind) = out_.formats[f];
        }
      }
      out_.predicted += losses[i][f];
      out_.average_bits += share(stored_[f].items[i]);
    }
    options_.hybrid = std::move(layers);
    for (int64_t i = 0; i < model_.config.layers; ++i) {
      out_.layers.push_back(of_its_parts(options_.of_layer(i), i));
    }
  }

  /// Kinds that the layer does not have are as its first part.
  LayerFormats of_its_parts(const LayerFormats& formats, int64_t layer) const {
    const std::vector<PartKind> kinds = model_.config.kinds_of_layer(layer);
    LayerFormats out = LayerFormats::all(kinds.empty() ? formats.mixer : formats.of(kinds.front()));
    for (const PartKind kind : kinds) out.of(kind) = formats.of(kind);
    return out;
  }

  static constexpr double kHundredths = 100;

  const ModelDescription& model_;
  const Plan& plan_;
  const StatisticsSet* statistics_;
  const Hessians* hessians_;
  QuantizeOptions options_;
  const SearchOptions& search_;
  int64_t weights_ = 0;                      ///< of all matrices
  std::vector<ItemBits> stored_;             ///< by format
  int64_t unit_ = 0;                         ///< bits that budgets are counted in; 0: hundredths
  std::vector<std::vector<int64_t>> costs_;  ///< [item][format], in units
  Threads threads_;
  std::vector<std::vector<int32_t>> sequences_;
  std::vector<LanguageModel> packed_;  ///< one for each format; the last is in floats
  SearchResult out_;
};

}  // namespace

bool SearchResult::by_part() const { return !one_mixer_a_layer(items, std::ssize(layers)); }

Json SearchResult::to_json() const {
  Json out = Json::object();
  out["average_bits"] = average_bits;
  for (size_t f = 0; f < formats.size(); ++f) out["bits"][formats[f].name()] = bits[f];
  out["predicted_divergence"] = predicted;
  out["divergence"] = measured.mean;
  out["standard_error"] = measured.standard_error;
  const bool parts = by_part();
  for (size_t i = 0; i < divergence.size(); ++i) {
    Json row = Json::object();
    if (parts) {
      row["part"] = items[i].name();
      row["layers"] = Json::array();
      for (const int64_t layer : items[i].layers) row["layers"].push_back(layer);
    }
    row["chosen"] = formats[chosen[i]].name();
    for (size_t f = 0; f < formats.size(); ++f) row[formats[f].name()] = divergence[i][f].mean;
    out[parts ? "parts" : "layers"].push_back(std::move(row));
  }
  return out;
}

SearchResult search_formats(const ModelDescription& model, const Plan& plan,
                            const StatisticsSet* statistics, const Hessians* hessians,
                            QuantizeOptions options, const SearchOptions& search) {
  return FormatSearch(model, plan, statistics, hessians, std::move(options), search).run();
}

}  // namespace scute
