// The search over parts of hybrids: budget, candidates, the list and what is made of it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "scute/base/error.h"
#include "scute/evaluate/divergence.h"
#include "scute/language/calibration.h"
#include "scute/language/low_bit_config.h"
#include "scute/language/search.h"
#include "scute/language/test_hybrid_models.h"

namespace scute::search_hybrids_test {
namespace {

using namespace testing_models;

class SearchHybrids : public testing::TestWithParam<NamedHybrid> {
 protected:
  const MambaConfig& config() const { return GetParam().second; }
  SearchOptions how(double bits) const {
    SearchOptions out{.bits = bits, .calibration = {}, .threads = 2};
    out.calibration.data = {folder_.path("ids.npy")};
    out.calibration.windows.samples = 2;
    return out;
  }
  SearchResult search(double bits, const QuantizeOptions& options = {}) const {
    return search_formats(model_, plan_, &statistics_, nullptr, options, how(bits));
  }
  LowBitModel of_list(std::vector<LayerFormats> layers) const {
    QuantizeOptions options;
    options.hybrid = std::move(layers);
    return quantize(model_, plan_, &statistics_, nullptr, options);
  }
  std::vector<std::vector<int32_t>> sequences() const {
    std::vector<std::vector<int32_t>> out;
    const CalibrationOptions calibration = how(0).calibration;
    for (const Window& window :
         calibration_windows(model_, calibration.data, calibration.windows, {}).windows) {
      out.push_back(window.ids);
    }
    return out;
  }

  Folder folder_;
  ModelDescription model_ = hybrid_model(config(), 8);
  StatisticsSet statistics_ = hybrid_statistics(model_, folder_);
  Plan plan_ = hybrid_plan(statistics_);
};
INSTANTIATE_TEST_SUITE_P(All, SearchHybrids, testing::ValuesIn(all_hybrids()), hybrid_name);

/// Bits of a weight that each item takes in each format, by quantizing it alone.
double bits_of(const LowBitModel& low, const LowBitModel& floats, double weights) {
  double bits = 0;
  for (const auto& [of, sign] : {std::pair(&low, 1.0), std::pair(&floats, -1.0)}) {
    for (const NamedTensor& item : of->tensors) {
      const bool matrix = item.name.find("_proj.weight") != std::string::npos ||
                          item.name.find("latent_") != std::string::npos ||
                          item.name.find(".linear.weight") != std::string::npos;
      if (matrix) bits += sign * 8 * static_cast<double>(item.tensor.bytes().size());
    }
  }
  return bits / weights;
}

TEST_P(SearchHybrids, EveryPartIsMeasuredAlone) {
  const SearchResult found = search(14);
  const std::vector<LayerFormats> floats(static_cast<size_t>(config().layers),
                                         LayerFormats::all(kFloatFormat));
  const LanguageModel reference = build_model(of_list(floats), Execution{});
  const auto expect_loss = [&](const std::vector<LayerFormats>& layers, const MeanAndError& loss) {
    const auto one =
        divergence(build_model(of_list(layers), Execution{}), reference, sequences(), Threads(1));
    EXPECT_EQ(one.mean, loss.mean);
    EXPECT_EQ(one.standard_error, loss.standard_error);
  };
  std::set<std::pair<int64_t, PartKind>> seen;
  for (size_t i = 0; i < found.items.size(); ++i) {
    SCOPED_TRACE(found.items[i].name());
    for (size_t f = 0; f + 1 < found.formats.size(); ++f) {
      std::vector<LayerFormats> layers = floats;
      for (const int64_t layer : found.items[i].layers) {
        for (const PartKind kind : found.items[i].kinds) {
          layers[static_cast<size_t>(layer)].of(kind) = found.formats[f];
          seen.emplace(layer, kind);
        }
      }
      expect_loss(layers, found.divergence[i][f]);
      EXPECT_GT(found.divergence[i][f].mean, 0);
    }
  }
  for (int64_t layer = 0; layer < config().layers; ++layer) {
    for (const PartKind kind : config().kinds_of_layer(layer)) {
      EXPECT_TRUE(seen.contains({layer, kind})) << layer << " " << name_of(kind);
    }
  }
  expect_loss(found.layers, found.measured);
}

TEST_P(SearchHybrids, TheListIsReadBackAndGivesTheSameModel) {
  for (const double bits : {8.0, 14.0, 20.0}) {
    const SearchResult found = search(bits);
    EXPECT_LE(found.average_bits, bits);
    const LowBitModel low = of_list(found.layers);
    const Json& layers = low.config.at("scute", "").at("layers", "");
    EXPECT_EQ(layers_from_json(low.config.at("scute", ""), ""), found.layers);
    write_file(folder_.path("list.json"), layers.dump());
    EXPECT_EQ(read_hybrid(folder_.path("list.json"), config()), found.layers);
    const LanguageModel read = load_model(as_read(low), Execution{}, LanguageModel::Head::packed);
    EXPECT_EQ(hybrid_logits(read), hybrid_logits(build_model(low, Execution{})));
  }
  EXPECT_EQ(search(32).predicted, 0);  // all in floats, which are f32 here
}

/// Every list with one format a layer, by the same losses.
TEST_P(SearchHybrids, NoListOfOneFormatALayerIsPredictedBetter) {
  double gained = 0;
  for (const double budget : {7.5, 10.0, 14.0, 20.0, 26.0}) {
    const SearchResult found = search(budget);
    const std::vector<FormatItem>& items = found.items;
    std::vector<std::vector<double>> bits(items.size());
    const std::vector<LayerFormats> floats(static_cast<size_t>(config().layers),
                                           LayerFormats::all(kFloatFormat));
    const LowBitModel reference = of_list(floats);
    double weights = 0;
    for (const NamedTensor& item : reference.tensors) {
      LowBitModel one;
      one.tensors = {item};
      weights += bits_of(one, {}, 32);
    }
    for (size_t i = 0; i < items.size(); ++i) {
      for (const LayerFormat& format : found.formats) {
        std::vector<LayerFormats> layers = floats;
        for (const int64_t layer : items[i].layers) {
          for (const PartKind kind : items[i].kinds) {
            layers[static_cast<size_t>(layer)].of(kind) = format;
          }
        }
        bits[i].push_back(bits_of(of_list(layers), reference, weights));
      }
    }
    double least = std::numeric_limits<double>::infinity();
    const size_t lists = static_cast<size_t>(std::pow(3, config().layers));
    for (size_t code = 0; code < lists; ++code) {
      double sum = 32, loss = 0;
      for (size_t i = 0; i < items.size(); ++i) {
        size_t rest = code;
        for (int64_t layer = 0; layer < items[i].layers.front(); ++layer) rest /= 3;
        sum += bits[i][rest % 3];
        loss += found.divergence[i][rest % 3].mean;
      }
      if (sum <= budget + 1e-9) least = std::min(least, loss);
    }
    EXPECT_LE(found.predicted, least * (1 + 1e-12)) << budget;
    gained += least - found.predicted;
  }
  EXPECT_GE(gained, 0);
}

TEST(SearchHybridsAlone, KindsWithAFormatOfTheirOwnKeepIt) {
  const Folder folder;
  const MambaConfig config = test::small_hybrids()[0].second;  // Bamba
  const ModelDescription model = hybrid_model(config);
  QuantizeOptions options;
  options.format = LayerFormat::parse("W4A16", "");
  options.attention = LayerFormat::parse("W8A16", "");
  SearchOptions how{.bits = 12, .calibration = {}, .threads = 2};
  how.calibration.data = {hybrid_data(config, folder)};
  how.calibration.windows.samples = 2;
  const SearchResult found = search_formats(model, {}, nullptr, nullptr, options, how);
  for (const FormatItem& item : found.items) EXPECT_NE(item.kinds.front(), PartKind::attention);
  EXPECT_EQ(found.layers[1].attention.name(), "W8A16");
  EXPECT_LE(found.average_bits, 12);
  const Json rows = found.to_json().at("parts", "");
  EXPECT_EQ(rows.as_array("").size(), 5u);  // two mixers, three feed-forwards
  EXPECT_EQ(rows.as_array("")[1].at("part", ""), Json("feed-forward"));
  EXPECT_EQ(rows.as_array("")[1].at("layers", ""), Json(Json::Array{0}));
  options.mixers = options.feed_forwards = options.attention;
  EXPECT_THROW(search_formats(model, {}, nullptr, nullptr, options, how), Error);
}

TEST(SearchHybridsAlone, ABlockThatLayersShareIsOneItem) {
  const MambaConfig config = all_hybrids().back().second;  // Zamba2, blocks 0, 1, 0
  const std::vector<FormatItem> items = format_items(config, {});
  ASSERT_EQ(items.size(), 5u);
  EXPECT_EQ(items[3].name(), "shared block 0");
  EXPECT_THAT(items[3].layers, testing::ElementsAre(0, 2));
  EXPECT_THAT(items[4].layers, testing::ElementsAre(1));
  const ItemOfTensor item_of(config, items);
  EXPECT_EQ(item_of("backbone.shared.1.attention.q_proj.weight"), 4);
  EXPECT_EQ(item_of("backbone.layers.2.linear.weight_scale"), 3);
  EXPECT_EQ(item_of("backbone.layers.2.mixer.in_proj.weight"), 2);
  EXPECT_EQ(item_of("backbone.layers.2.norm.weight"), ItemOfTensor::kNone);
  EXPECT_EQ(item_of("lm_head.weight"), ItemOfTensor::kNone);
}

}  // namespace
}  // namespace scute::search_hybrids_test
