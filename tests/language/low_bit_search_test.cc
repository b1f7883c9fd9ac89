// The search for a format of each layer, and scales per channel where they cost nothing.
#include <gmock/gmock.h>

#include <cmath>
#include <numeric>

#include "scute/base/error.h"
#include "scute/evaluate/divergence.h"
#include "scute/language/calibration.h"
#include "scute/language/search.h"
#include "tests/language/test_low_bit_models.h"

namespace scute::low_bit_search_test {
namespace {

using fixtures::Folder;
using testing::Each;
using testing::Ge;

/// Four layers of random weights.
constexpr const char* kConfig =
    R"({"d_model": 64, "n_layer": 4, "vocab_size": 96, "ssm_cfg": {}, "pad_vocab_size_multiple": 8})";

class Search : public testing::Test {
 protected:
  Search()
      : model_(low_bit::random_model(folder_.path("model"), kConfig)),
        statistics_(low_bit::random_statistics(model_, folder_)),
        plan_(low_bit::plan_of(statistics_)) {}

  SearchResult search(double bits, int threads = 2) const {
    SearchOptions options{.bits = bits, .calibration = {}, .threads = threads};
    options.calibration.data = {folder_.path("ids.npy")};
    options.calibration.windows.samples = 4;
    return search_formats(model_, plan_, &statistics_, nullptr, {}, options);
  }
  static double loss(const SearchResult& found, const std::vector<size_t>& choice) {
    double sum = 0;
    for (size_t i = 0; i < choice.size(); ++i) sum += found.divergence[i][choice[i]].mean;
    return sum;
  }

  Folder folder_;
  ModelDescription model_;
  StatisticsSet statistics_;
  Plan plan_;
};

TEST_F(Search, ACheckpointOfMoreLayersIsRefused) {
  std::string shorter = kConfig;
  shorter.replace(shorter.find("\"n_layer\": 4"), 12, "\"n_layer\": 2");
  write_file(folder_.path("model") + "/config.json", shorter);
  model_ = describe_model(folder_.path("model"));
  plan_.meta = {};  // which names the model by its hash
  EXPECT_THROW(search(14), Error);
}

TEST_F(Search, FindsTheBestListOfAllThatTheBudgetAllows) {
  const SearchResult found = search(14);
  ASSERT_EQ(found.formats.size(), 3u);  // W4A8, W8A8, FP
  EXPECT_LE(found.average_bits, 14);
  double least = std::numeric_limits<double>::infinity();
  for (size_t code = 0; code < 81; ++code) {
    std::vector<size_t> choice;
    double bits = 0;
    for (size_t i = 0, rest = code; i < 4; ++i, rest /= 3) {
      choice.push_back(rest % 3);
      bits += std::ceil(100 * found.bits[rest % 3]);  // budgets are counted in hundredths
    }
    if (bits <= 5600) least = std::min(least, loss(found, choice));
  }
  EXPECT_DOUBLE_EQ(found.predicted, least);
  EXPECT_THAT(found.measured.mean, Ge(0));
}

TEST_F(Search, EveryLayerAtFourOrSixteenBitsWhereTheBudgetLeavesNoChoice) {
  // W4A8 takes 4.8 bits here: small matrices have many scales. The floats of this model are f32.
  EXPECT_THAT(search(4.81).layers, Each(LayerFormats::all(LayerFormat::parse("W4A8", ""))));
  const SearchResult all = search(32);
  EXPECT_THAT(all.layers, Each(LayerFormats::all(kFloatFormat)));
  EXPECT_EQ(all.measured.mean, 0);  // the same model
  EXPECT_EQ(all.average_bits, 32);
  EXPECT_THROW(search(4.7), Error);
}

TEST_F(Search, BesideFloatActivationsThereAreFourAndEightBits) {
  SearchOptions options{.bits = 32, .calibration = {}, .threads = 2};
  options.calibration.data = {folder_.path("ids.npy")};
  options.calibration.windows.samples = 4;
  QuantizeOptions floats;
  floats.format = LayerFormat::parse("W8A16", "");
  const SearchResult found = search_formats(model_, {}, nullptr, nullptr, floats, options);
  std::vector<std::string> names;
  for (const LayerFormat& format : found.formats) names.push_back(format.name());
  EXPECT_THAT(names, testing::ElementsAre("W4A16", "W8A16", "FP"));
  EXPECT_LT(found.bits[0], found.bits[1]);
  EXPECT_LT(found.bits[1], found.bits[2]);
  for (const auto& of_layer : found.divergence) EXPECT_GT(of_layer[0].mean, of_layer[1].mean);
}

TEST_F(Search, TheSameListForAnyNumberOfThreads) {
  const std::string alone = search(14, 1).to_json().dump();
  for (const int threads : {2, 5}) EXPECT_EQ(search(14, threads).to_json().dump(), alone);
}

// Put together from packed layers and run several at once: the same numbers as one by one.
TEST_F(Search, CandidatesAreTheModelsThatTheirListsQuantizeTo) {
  const SearchResult found = search(14);
  const auto quantized = [&](std::vector<LayerFormats> layers) {
    QuantizeOptions options;
    options.hybrid = std::move(layers);
    return build_model(quantize(model_, plan_, &statistics_, nullptr, options), Execution{});
  };
  CalibrationOptions calibration;
  calibration.windows.samples = 4;
  const Windows windows =
      calibration_windows(model_, {folder_.path("ids.npy")}, calibration.windows, {});
  std::vector<std::vector<int32_t>> sequences;
  for (const Window& window : windows.windows) sequences.push_back(window.ids);
  const std::vector<LayerFormats> floats(4, LayerFormats::all(kFloatFormat));
  const LanguageModel reference = quantized(floats);
  const auto expect_loss = [&](const std::vector<LayerFormats>& layers, const MeanAndError& loss) {
    const auto one = divergence(quantized(layers), reference, sequences, Threads(1));
    EXPECT_EQ(one.mean, loss.mean);
    EXPECT_EQ(one.standard_error, loss.standard_error);
  };
  for (size_t layer = 0; layer < 4; ++layer) {
    for (size_t f = 0; f < 2; ++f) {
      std::vector<LayerFormats> layers = floats;
      layers[layer] = LayerFormats::all(found.formats[f]);
      expect_loss(layers, found.divergence[layer][f]);
    }
  }
  expect_loss(found.layers, found.measured);
  // Of another scheme.
  EXPECT_THROW(reference.with_part(low_bit::plain(model_), 0, PartKind::mixer), Error);
}

TEST_F(Search, FewerBitsAreFurtherFromTheFloatModel) {
  for (const auto& of_layer : search(10).divergence) {
    EXPECT_GT(of_layer[0].mean, of_layer[1].mean);  // W4A8, W8A8
    EXPECT_EQ(of_layer[2].mean, 0);                 // FP
  }
}

/// The function stays the same: x rows of in_proj times 32, their taps divided by 32.
ModelDescription with_outliers(const ModelDescription& model, const std::string& path) {
  std::vector<NamedTensor> tensors;
  const SafetensorsFile file = read_safetensors(model.path + "/model.safetensors");
  for (const NamedTensor& item : file.tensors) {
    Tensor changed =
        Tensor::of_bytes(item.tensor.dtype(), item.tensor.shape(), item.tensor.bytes());
    const bool in = item.name.ends_with("in_proj.weight"),
               taps = item.name.ends_with("conv1d.weight");
    for (int64_t row : {3, 40}) {
      if (!in && !taps) break;
      const int64_t width = changed.size() / changed.dim(0);
      for (float& w : changed.mutable_values<float>().subspan(static_cast<size_t>(row * width),
                                                              static_cast<size_t>(width))) {
        w *= in ? 32.0f : 1 / 32.0f;
      }
    }
    tensors.push_back({item.name, std::move(changed)});
  }
  std::filesystem::create_directories(path);
  write_safetensors(path + "/model.safetensors", tensors, {{"format", "pt"}});
  write_file(path + "/config.json", kConfig);
  return describe_model(path);
}

TEST_F(Search, OutlierChannelsBeforeTheConvolutionChangeNothingWithAScaleEach) {
  const ModelDescription outliers = with_outliers(model_, folder_.path("outliers"));
  const StatisticsSet seen = low_bit::random_statistics(outliers, folder_);
  const Plan plan = low_bit::plan_of(seen, "minmax");
  const Plan twin_plan = low_bit::plan_of(statistics_, "minmax");
  std::vector<int32_t> ids(40);
  std::iota(ids.begin(), ids.end(), 5);
  const auto logits = [&](const ModelDescription& model, const Plan& ranges,
                          const StatisticsSet& statistics, QuantizeOptions::ConvScale scale) {
    QuantizeOptions options;
    options.conv_scale = scale;
    return low_bit::logits_of(
        build_model(quantize(model, ranges, &statistics, nullptr, options), {}), ids);
  };
  using ConvScale = QuantizeOptions::ConvScale;
  // Powers of two throughout: every code is the same.
  const Tensor twin = logits(model_, twin_plan, statistics_, ConvScale::channel);
  EXPECT_TRUE(
      std::ranges::equal(logits(outliers, plan, seen, ConvScale::channel).bytes(), twin.bytes()));
  const Tensor exact = low_bit::logits_of(low_bit::plain(model_), ids);
  EXPECT_GT(low_bit::correlation(exact, twin),
            low_bit::correlation(exact, logits(outliers, plan, seen, ConvScale::tensor)));
}

TEST(Divergence, IsThatOfTheDistributions) {
  const Folder folder;
  const ModelDescription model = low_bit::random_model(folder.path("model"), kConfig);
  const LanguageModel a = low_bit::plain(model);
  const std::vector<std::vector<int32_t>> sequences{{1, 2, 3, 4, 5}, {9, 8, 7}};
  EXPECT_EQ(divergence(a, a, sequences, Threads(1)).mean, 0);
  QuantizeOptions four;
  four.format = LayerFormat::parse("W4A16", "");
  const LanguageModel b = build_model(quantize(model, {}, nullptr, nullptr, four), {});
  double expected = 0;
  for (const auto& ids : sequences) {
    const Tensor p = low_bit::logits_of(a, ids), q = low_bit::logits_of(b, ids);
    double sum = 0;
    for (size_t t = 0; t < ids.size(); ++t) {
      const float* x = p.matrix<float>().row(static_cast<int64_t>(t));
      const float* y = q.matrix<float>().row(static_cast<int64_t>(t));
      double total_x = 0, total_y = 0;
      for (int v = 0; v < 96; ++v) {
        total_x += std::exp(static_cast<double>(x[v]));
        total_y += std::exp(static_cast<double>(y[v]));
      }
      for (int v = 0; v < 96; ++v) {
        const double log_p = static_cast<double>(x[v]) - std::log(total_x);
        sum += std::exp(log_p) * (log_p - static_cast<double>(y[v]) + std::log(total_y));
      }
    }
    expected += sum / static_cast<double>(ids.size()) / 2;
  }
  // log_sum_exp takes exponentials in float: 2 ulp of each, 2^-22, in a sum of differences.
  EXPECT_NEAR(divergence(b, a, sequences, Threads(2)).mean, expected, 1e-6);
  EXPECT_GT(expected, 1e-5);  // or the tolerance would hide everything
  EXPECT_THROW(divergence(a, a, {}, Threads(1)), Error);
}

}  // namespace
}  // namespace scute::low_bit_search_test
