// Quantizing within a given memory: the same bytes as without a limit.
#include <gtest/gtest.h>

#include "scute/io/scratch_file.h"
#include "scute/language/hessians.h"
#include "scute/language/quantize_plan.h"
#include "scute/language/test_hybrid_models.h"

namespace scute::quantize_memory_test {
namespace {

using namespace testing_models;

class QuantizedWithinMemory : public testing::TestWithParam<NamedHybrid> {};
INSTANTIATE_TEST_SUITE_P(All, QuantizedWithinMemory, testing::ValuesIn(all_hybrids()), hybrid_name);

std::string everything_in(const LowBitModel& low) {
  std::string out = low.recipe.dump() + low.config.dump();
  for (const NamedTensor& item : low.tensors) {
    const auto bytes = item.tensor.bytes();
    out += item.name + to_string(item.tensor.shape());
    out.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  return out;
}

QuantizeMemory tight(const Folder& folder) {
  return {.at_work = 1,
          .tensors_in = folder.path(""),
          .streams_in = folder.path(""),
          .hessians_by_layers = true};
}

TEST_P(QuantizedWithinMemory, GptqLayerByLayer) {
  const Folder folder;
  const ModelDescription model = hybrid_model(GetParam().second);
  QuantizeOptions options;
  options.format = LayerFormat::parse("W4A16", "");
  options.head = true;
  options.gptq = true;
  options.calibration.data = {hybrid_data(model.config, folder)};
  options.calibration.windows.samples = 6;
  options.calibration.windows.seqlen = 3;  // so few that experts are left out
  const Hessians hessians = measure_hessians(model, options.calibration, {.threads = 2});
  const std::string whole = everything_in(quantize(model, {}, nullptr, &hessians, options));
  for (const int threads : {1, 3}) {
    const LowBitModel low =
        quantize(model, {}, nullptr, nullptr, options, threads, {}, tight(folder));
    EXPECT_EQ(everything_in(low), whole) << threads << " threads";
  }
}

TEST_P(QuantizedWithinMemory, RoundedAndCheckedOneLayerAtATime) {
  const Folder folder;
  const ModelDescription model = hybrid_model(GetParam().second);
  const StatisticsSet statistics = hybrid_statistics(model, folder);
  const Plan plan = hybrid_plan(statistics);
  QuantizeOptions options;
  options.format = LayerFormat::parse("W4A8", "");
  options.group = 8;
  const LowBitModel low = quantize(model, plan, &statistics, nullptr, options);
  const LowBitModel same =
      quantize(model, plan, &statistics, nullptr, options, 2, {}, tight(folder));
  EXPECT_EQ(everything_in(same), everything_in(low));

  const LanguageModel whole = build_model(low, Execution());
  LayeredModel layered(low.description.config, tensors_of(same), Execution(),
                       low.description.scheme);
  EXPECT_TRUE(compare_probes(probe_language(layered, 3), probe_language(whole, 3)).identical);
}

/// Large tensors are in the file, and what is read of them is what was put there.
/// It is folded and rotated whole, also where it stays in floats: 131,072 × 3,072 took 4.8 GB where
/// 3 GB were to be enough.
TEST(QuantizePlanOf, AHeadOfItsOwnCountsAsAMatrix) {
  int untied = 0;
  for (const NamedHybrid& one : all_hybrids()) {
    const ModelDescription model = hybrid_model(one.second);
    if (model.config.tied_head) continue;
    const Weights weights = read_weights(model);
    int64_t matrices = 0;
    for (const std::string& name : weights.names()) {
      const Tensor& tensor = weights.at(name);
      const bool matrix = tensor.rank() == 2 && name.ends_with(".weight");
      matrices += matrix && name != "backbone.embedding.weight" ? tensor.size() : 0;
    }
    EXPECT_EQ(quantize_sizes(model, weights, {}, {}).at_work, 12 * matrices) << one.first;
    ++untied;
  }
  EXPECT_GT(untied, 0);
}

TEST(ScratchFile, HoldsTensors) {
  const Folder folder;
  Tensor tensor(DType::i32, {300, 1000});
  int32_t next = 0;
  for (int32_t& value : tensor.mutable_values<int32_t>()) value = ++next;
  Tensor first, second;
  {
    ScratchFile file(folder.path(""));
    first = file.put(tensor);
    tensor.mutable_values<int32_t>()[7] = -1;
    second = file.put(tensor);
  }
  first.give_back();
  EXPECT_EQ(first.values<int32_t>()[7], 8);
  EXPECT_EQ(second.values<int32_t>()[7], -1);
  EXPECT_EQ(first.values<int32_t>()[299'999], 300'000);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path("")));
}

}  // namespace
}  // namespace scute::quantize_memory_test
