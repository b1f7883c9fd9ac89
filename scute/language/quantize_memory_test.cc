// Quantizing within a given memory: the same bytes as without a limit.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "scute/base/error.h"
#include "scute/io/safetensors.h"
#include "scute/io/scratch_file.h"
#include "scute/language/gptq_checkpoint.h"
#include "scute/language/hessians.h"
#include "scute/language/low_bit_matrix_check.h"
#include "scute/language/quantize_plan.h"
#include "scute/language/stored_weight.h"
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

/// Of GPTQ on so few tokens that experts are left out.
QuantizeOptions few_windows(const ModelDescription& model, const Folder& folder) {
  QuantizeOptions options;
  options.format = LayerFormat::parse("W4A16", "");
  options.head = options.gptq = true;
  options.calibration.data = {hybrid_data(model.config, folder)};
  options.calibration.windows.samples = 6;
  options.calibration.windows.seqlen = 3;
  return options;
}

TEST_P(QuantizedWithinMemory, GptqLayerByLayer) {
  const Folder folder;
  const ModelDescription model = hybrid_model(GetParam().second);
  const QuantizeOptions options = few_windows(model, folder);
  const Hessians hessians = measure_hessians(model, options.calibration, {.threads = 2});
  const std::string whole = everything_in(quantize(model, {}, nullptr, &hessians, options));
  for (const int threads : {1, 3}) {
    const LowBitModel low =
        quantize(model, {}, nullptr, nullptr, options, threads, {}, tight(folder));
    EXPECT_EQ(everything_in(low), whole) << threads << " threads";
  }
}

struct Ended {};

/// The matrices that a run of this command would not finish again.
int64_t kept_matrices(const WorkKeeping& keeping) {
  for (const auto& file : std::filesystem::directory_iterator(keeping.folder)) {
    const Json key = Json::parse(read_safetensors(file.path()).metadata.at("key"), "key");
    return std::ssize(GptqCheckpoint(keeping, key).finished());
  }
  return 0;
}

/// Ended again and again, some matrices later each time, and gone on with from the step before.
TEST_P(QuantizedWithinMemory, GptqGoesOnAfterAnyEnd) {
  const Folder folder;
  const ModelDescription model = hybrid_model(GetParam().second);
  const QuantizeOptions options = few_windows(model, folder);
  for (const bool on_disk : {true, false}) {
    QuantizeMemory memory = tight(folder);
    if (!on_disk) memory.tensors_in = memory.streams_in = "";
    const std::optional<WorkKeeping> keeping =
        WorkKeeping{.folder = folder.path(on_disk ? "disk" : "memory"), .windows = 1};
    std::filesystem::create_directory(keeping->folder);
    int64_t end_at = 5, kept = 0, ends = 0;
    const auto end_there = [&](int64_t done, int64_t) {
      if (done == end_at) throw Ended();
    };
    for (std::optional<LowBitModel> low; !low; end_at += 5) {
      try {
        low = quantize(model, {}, nullptr, nullptr, options, 1, end_there, memory, keeping);
        const std::string again = everything_in(*low);
        low = quantize(model, {}, nullptr, nullptr, options, 2, {}, memory);
        EXPECT_EQ(again, everything_in(*low));
      } catch (const Ended&) {
        const int64_t now = kept_matrices(*keeping);
        EXPECT_GE(now, kept);
        EXPECT_LT(now, end_at);
        kept = now;
        ++ends;
      }
    }
    EXPECT_GT(kept, 0) << ends << " ends";
  }
}

/// One scale for a whole matrix is that of all of its rows.
TEST_P(QuantizedWithinMemory, PerTensorByRows) {
  const Folder folder;
  const ModelDescription model = hybrid_model(GetParam().second);
  QuantizeOptions options;
  options.format = LayerFormat::parse("W8A16", "");
  options.head = options.per_tensor = true;
  options.calibration.data = {hybrid_data(model.config, folder)};
  options.calibration.windows.samples = 4;
  options.calibration.windows.seqlen = 12;
  for (const bool gptq : {false, true}) {
    options.gptq = gptq;
    std::optional<Hessians> hessians;
    if (gptq) hessians = measure_hessians(model, options.calibration, {.threads = 2});
    const Hessians* given = gptq ? &*hessians : nullptr;
    const LowBitModel low = quantize(model, {}, nullptr, given, options);
    for (const bool on_disk : {true, false}) {
      QuantizeMemory few{.at_work = 1};
      if (on_disk) few.tensors_in = folder.path("");
      const LowBitModel same = quantize(model, {}, nullptr, given, options, 2, {}, few);
      EXPECT_EQ(everything_in(same), everything_in(low)) << "gptq: " << gptq;
    }
  }
}

/// Tables and heads, too, some rows after the others.
TEST_P(QuantizedWithinMemory, TablesAndHeadsByRows) {
  const Folder folder;
  const ModelDescription model = hybrid_model(GetParam().second);
  QuantizeOptions options;
  options.embedding = options.head = true;
  options.group = 8;
  for (const char* format : {"W8A16", "W4A16"}) {
    options.format = LayerFormat::parse(format, "");
    const LowBitModel low = quantize(model, {}, nullptr, nullptr, options);
    for (const bool on_disk : {true, false}) {
      QuantizeMemory few{.at_work = 1};
      if (on_disk) few.tensors_in = folder.path("");
      const LowBitModel same = quantize(model, {}, nullptr, nullptr, options, 2, {}, few);
      EXPECT_EQ(everything_in(same), everything_in(low)) << format << " on disk: " << on_disk;
    }
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
  for (const int64_t rows : {int64_t{32}, low.description.config.vocabulary}) {
    const auto by_layers = probe_language(layered, 3, rows);
    EXPECT_TRUE(compare_probes(by_layers, probe_language(whole, 3)).identical) << rows << " rows";
  }
}

/// Bytes that this process held at most since it was last asked for; 0: the system does not say.
int64_t held_since_then() {
  std::ifstream status("/proc/self/status");
  int64_t kibibytes = 0;
  for (std::string word; status >> word;) {
    if (word == "VmHWM:") status >> kibibytes;
  }
  std::ofstream reset("/proc/self/clear_refs");
  reset << 5 << std::flush;
  return reset.good() ? kibibytes * 1024 : 0;
}

class QuantizePeak : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Ways, QuantizePeak,
                         testing::Values("kept", "rounded", "per_tensor", "gptq"),
                         [](const auto& way) { return std::string(way.param); });

/// A head of its own, 61 MB in f32 and folded and rotated, takes what some of its rows do.
TEST_P(QuantizePeak, OfALargeHeadIsThatOfSomeRows) {
  const std::string way = GetParam();
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "memory is not given back here";
#endif
  const Folder folder;
  MambaConfig config = test::small_hybrids()[1].second;
  config.vocabulary = 480'000;
  const ModelDescription model = hybrid_model(config);
  ASSERT_FALSE(config.tied_head);
  const int64_t head = 4 * config.vocabulary * config.width;
  QuantizeOptions options;
  options.format = LayerFormat::parse(way == "per_tensor" ? "W8A16" : "W4A16", "");
  options.head = way != "kept";
  options.per_tensor = way == "per_tensor";
  options.gptq = way == "gptq";
  options.calibration.data = {hybrid_data(config, folder)};
  options.calibration.windows.samples = 2;
  options.calibration.windows.seqlen = 8;
  QuantizeMemory memory = tight(folder);
  memory.at_work = int64_t{4} << 20;
  held_since_then();
  const int64_t before = held_since_then();
  if (before == 0) GTEST_SKIP() << "no /proc/self/clear_refs";
  const LowBitModel low = quantize(model, {}, nullptr, nullptr, options, 2, {}, memory);
  EXPECT_LT(held_since_then() - before, head / 3);
  std::optional<Hessians> hessians;
  if (options.gptq) hessians = measure_hessians(model, options.calibration, {.threads = 2});
  const LowBitModel whole =
      quantize(model, {}, nullptr, hessians ? &*hessians : nullptr, options, 2);
  EXPECT_GT(held_since_then() - before, head) << "or nothing was measured";
  EXPECT_EQ(everything_in(low), everything_in(whole));
}

/// Experts have thousands of matrices of less than a megabyte, 6 GB of them where 5 were allowed.
TEST(StoredRowsPeak, OfManySmallMatricesIsThatOfAFew) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "memory is not given back here";
#endif
  constexpr int64_t kMatrices = 512, kOutputs = 256, kInputs = 512;
  const Folder folder;
  ScratchFile scratch(folder.path(""));
  held_since_then();
  const int64_t before = held_since_then();
  if (before == 0) GTEST_SKIP() << "no /proc/self/clear_refs";
  std::vector<NamedTensor> all;
  for (int64_t i = 0; i < kMatrices; ++i) {
    StoredRows rows(kOutputs, &scratch);
    const std::vector<int8_t> codes(kOutputs * kInputs, static_cast<int8_t>(i));
    rows.add(0, {{"a", Tensor::of<int8_t>({kOutputs, kInputs}, codes)}});
    for (NamedTensor& item : rows.take()) all.push_back(std::move(item));
  }
  EXPECT_LT(held_since_then() - before, kMatrices * kOutputs * kInputs / 3);
  EXPECT_EQ(all[7].tensor.values<int8_t>()[9], 7);
}

/// What ends the work is listened to from the first window on: before, it would not be heard.
TEST(KeptHessians, BeginWhenTheWindowsDo) {
  const Folder folder;
  const ModelDescription model = hybrid_model(all_hybrids().front().second);
  CalibrationOptions options;
  options.data = {hybrid_data(model.config, folder)};
  options.windows.samples = 3;
  options.windows.seqlen = 8;
  int begun = 0;
  int64_t first_done = 0;
  const auto begin = [&] {
    ++begun;
    return nullptr;
  };
  const auto progress = [&](int64_t done, int64_t) {
    if (first_done == 0) first_done = begun * done;
  };
  const HessianRun how{
      .threads = 1,
      .progress = progress,
      .keeping = WorkKeeping{.folder = folder.path("kept"), .windows = 1, .begin = begin}};
  measure_hessians(model, options, how);
  EXPECT_EQ(begun, 1);
  EXPECT_EQ(first_done, 1) << "begun before the first window";
  options.data = {folder.path("none.npy")};
  EXPECT_THROW(measure_hessians(model, options, how), Error);
  EXPECT_EQ(begun, 1) << "begun before the windows were read";
}

/// What is written, and what is looked at as a low-bit folder is read, does not stay: of 67 MB.
TEST(QuantizeFolderPeak, OfWritingAndReadingAFolderIsThatOfSomeElements) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "memory is not given back here";
#endif
  constexpr int64_t kBytes = int64_t{1} << 26;
  const Folder folder;
  write_safetensors(folder.path("a"), {{"a", Tensor(DType::f32, {kBytes / 4})}}, {});
  const SafetensorsFile file = read_safetensors(folder.path("a"));
  Weights weights("a");
  weights.add("a", file.tensors.front().tensor);
  held_since_then();
  const int64_t before = held_since_then();
  if (before == 0) GTEST_SKIP() << "no /proc/self/clear_refs";
  check_finite(weights);
  EXPECT_LT(held_since_then() - before, kBytes / 3);
  write_safetensors(folder.path("b"), file.tensors, {});
  EXPECT_LT(held_since_then() - before, kBytes / 3);
}

/// It is folded and rotated, also where it stays in floats: 131,072 × 3,072 took 4.8 GB where
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

/// Large tensors are in the file, and what is read of them is what was put there.
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
