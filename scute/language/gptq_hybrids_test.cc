// GPTQ and the search over the parts of hybrids.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "scute/base/error.h"
#include "scute/language/hessians.h"
#include "scute/language/search.h"
#include "scute/language/test_hybrid_models.h"

namespace scute::gptq_hybrids_test {
namespace {

using namespace testing_models;
using testing::HasSubstr;

class FittedHybrids : public testing::TestWithParam<NamedHybrid> {
 protected:
  const MambaConfig& config() const { return GetParam().second; }
};
INSTANTIATE_TEST_SUITE_P(All, FittedHybrids, testing::ValuesIn(all_hybrids()), hybrid_name);

const Tensor& tensor_of(const LowBitModel& low, const std::string& name) {
  const auto found = std::ranges::find(low.tensors, name, &NamedTensor::name);
  if (found == low.tensors.end()) throw Error(name);
  return found->tensor;
}

bool same_bytes(const Tensor& a, const Tensor& b) {
  return std::ranges::equal(a.bytes(), b.bytes());
}

Hessians hessians_of(const ModelDescription& model, QuantizeOptions& options,
                     const Folder& folder) {
  options.gptq = true;
  options.calibration.data = {hybrid_data(model.config, folder)};
  options.calibration.windows.samples = 8;
  options.calibration.windows.seqlen = 80;
  return measure_hessians(model, options.calibration, {.threads = 2});
}

TEST_P(FittedHybrids, GptqRoundsEveryMatrixBetterThanToNearest) {
  const Folder folder;
  const ModelDescription model = hybrid_model(config());
  QuantizeOptions options;
  options.format = LayerFormat::parse("W4A16", "");
  const Hessians hessians = hessians_of(model, options, folder);
  const LowBitModel low = quantize(model, {}, nullptr, &hessians, options);
  for (const std::string& name : names_of(low)) {
    const std::string matrix = name.substr(0, name.rfind('.'));
    if (!name.ends_with(".weight_packed")) continue;
    ASSERT_TRUE(low.gptq.contains(matrix)) << matrix;
    EXPECT_LE(low.gptq.at(matrix).error, low.gptq.at(matrix).error_nearest * 1.0001) << matrix;
  }
}

TEST(FittedHybridsAlone, ExpertsThatSawNothingAreRoundedToNearest) {
  const Folder folder;
  const ModelDescription model = hybrid_model(test::small_hybrids()[2].second);  // Jamba
  QuantizeOptions options;
  options.format = LayerFormat::parse("W8A16", "");
  Hessians hessians = hessians_of(model, options, folder);
  const std::string down = "backbone.layers.0.mlp.experts.1.down_proj";
  auto& seen = hessians.sites.at("layer_0.experts.1.down_proj:input");
  for (int64_t k = 0; k < seen.size; ++k) {
    seen.triangle().row(std::min<int64_t>(3, k))[std::max<int64_t>(3, k)] = 0;
  }
  const LowBitModel part = quantize(model, {}, nullptr, &hessians, options);
  EXPECT_TRUE(part.gptq.contains(down));
  const auto codes = tensor_of(part, down + ".weight").matrix<int8_t>();
  int nonzero = 0;  // of the input that was always zero there
  for (int64_t o = 0; o < codes.rows; ++o) nonzero += codes.row(o)[3] != 0 ? 1 : 0;
  EXPECT_GT(nonzero, codes.rows / 2);
  EXPECT_THAT(part.remarks, testing::Not(testing::Contains(HasSubstr("saw no token"))));

  std::ranges::fill(seen.values, 0.0);
  const LowBitModel silent = quantize(model, {}, nullptr, &hessians, options);
  EXPECT_FALSE(silent.gptq.contains(down));
  EXPECT_THAT(silent.remarks, testing::Contains(HasSubstr("layer 0: 1 of 4 experts saw no token")));
  options.gptq = false;
  const LowBitModel nearest = quantize(model, {}, nullptr, nullptr, options);
  EXPECT_TRUE(
      same_bytes(tensor_of(silent, down + ".weight"), tensor_of(nearest, down + ".weight")));
}

TEST(FittedHybridsAlone, SharedBlocksAreRoundedForAllLayersThatUseThem) {
  const Folder folder;
  const ModelDescription model = hybrid_model(test::small_hybrids()[5].second);  // Zamba2
  QuantizeOptions options;
  options.format = LayerFormat::parse("W4A16", "");
  Hessians hessians = hessians_of(model, options, folder);
  const std::string name = "backbone.shared.0.attention.q_proj.weight_packed";
  const LowBitModel all = quantize(model, {}, nullptr, &hessians, options);
  auto& second = hessians.sites.at("layer_2.shared.q_proj:input");
  std::ranges::fill(second.values, 0.0);
  const LowBitModel first = quantize(model, {}, nullptr, &hessians, options);
  EXPECT_FALSE(same_bytes(tensor_of(all, name), tensor_of(first, name)));
}

TEST(FittedHybridsAlone, LayersGiveASharedBlockGridsOfTheirOwn) {
  const Folder folder;
  const ModelDescription model = hybrid_model(test::small_hybrids()[5].second);
  const StatisticsSet statistics = hybrid_statistics(model, folder);
  const auto with = [&](const char* site) {
    Plan plan = hybrid_plan(statistics);
    if (site != nullptr) plan.sites.at(site).hi *= 3;
    const LowBitModel low = quantize(model, plan, &statistics, nullptr, {});
    return hybrid_logits(build_model(low, Execution{}));
  };
  const auto usual = with(nullptr);
  for (const char* input :
       {"q_proj:input", "o_proj:input", "gate_proj:input", "down_proj:input@rotated"}) {
    for (const int layer : {1, 2}) {
      const std::string site = fmt::format("layer_{}.shared.{}", layer, input);
      EXPECT_NE(with(site.c_str()), usual) << site;
    }
  }
}

/// Bits of a weight of the matrices of layers and of what they share, as stored.
double stored_bits_of(const LowBitModel& low, const ModelDescription& model) {
  const auto is_matrix = [](const std::string& name) {
    return (name.starts_with("backbone.layers.") || name.starts_with("backbone.shared.")) &&
           (name.find("_proj.weight") != std::string::npos ||
            name.find("latent_") != std::string::npos || name.find(".linear") != std::string::npos);
  };
  double bits = 0, weights = 0;
  for (const NamedTensor& item : low.tensors) {
    if (is_matrix(item.name)) bits += 8 * static_cast<double>(item.tensor.bytes().size());
  }
  const Weights all = read_weights(model);
  for (const std::string& name : all.names()) {
    const bool bias = name.ends_with(".bias");
    if (is_matrix(name) && !bias) weights += static_cast<double>(all.at(name).size());
  }
  return bits / weights;
}

TEST_P(FittedHybrids, TheSearchKeepsToItsBudget) {
  const Folder folder;
  const ModelDescription model = hybrid_model(config());
  QuantizeOptions options;
  options.format = LayerFormat::parse("W4A16", "");
  SearchOptions search{.bits = 0, .calibration = {}, .threads = 2};
  search.calibration.data = {hybrid_data(config(), folder)};
  search.calibration.windows.samples = 2;
  for (const double budget : {7.0, 9.0, 12.0, 16.0, 20.0}) {
    search.bits = budget;
    const SearchResult found = search_formats(model, {}, nullptr, nullptr, options, search);
    EXPECT_LE(found.average_bits, budget);
    QuantizeOptions with = options;
    with.hybrid = found.layers;
    const LowBitModel low = quantize(model, {}, nullptr, nullptr, with);
    if (config().out_proj_bias || config().feed_forward.bias) continue;  // biases count there
    EXPECT_NEAR(stored_bits_of(low, model), found.average_bits, 1e-9);
  }
  search.bits = 2;
  EXPECT_THROW(search_formats(model, {}, nullptr, nullptr, options, search), Error);
}

}  // namespace
}  // namespace scute::gptq_hybrids_test
