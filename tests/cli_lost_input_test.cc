// Large files that are cut short while they are read, of every kind: one line names them, exit 1.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <numeric>

#include "cli/terminal/lost_input.h"
#include "scute/cobra/folder.h"
#include "scute/io/checkpoint.h"
#include "scute/io/npy.h"
#include "scute/io/safetensors.h"
#include "scute/io/test_npy.h"
#include "scute/io/torch_zip.h"
#include "scute/language/model_folder.h"
#include "scute/regressor/checkpoint.h"
#include "tests/program.h"

namespace scute::cli_lost_input_test {
namespace {

namespace fs = std::filesystem;

/// Elements of the tensor that makes a file large enough to be mapped.
constexpr int64_t kMany = (int64_t{65} << 20) / 4;

/// All bytes of what was loaded, so that each page is wanted.
int64_t sum(const Tensor& tensor) {
  const auto bytes = tensor.bytes();
  return std::accumulate(bytes.begin(), bytes.end(), int64_t{0},
                         [](int64_t all, std::byte byte) { return all + static_cast<int>(byte); });
}

/// Leaves a page of the file behind the reader's back, then lets it read on.
[[noreturn]] void lose(const std::string& file, const std::function<int64_t()>& read_on) {
  cli::name_lost_inputs();
  fs::resize_file(file, 4096);
  std::_Exit(read_on() == -1 ? 2 : 0);
}

class LostInput : public ::testing::Test {
 protected:
  /// A copy of a model's folder.
  std::string copy(const std::string& from) const {
    fs::copy(from, folder_.path("model"), fs::copy_options::recursive);
    return folder_.path("model");
  }
  TemporaryFolder folder_;
};

int64_t sum(const Weights& weights) {
  int64_t out = 0;
  for (const std::string& name : weights.names()) out += sum(weights.at(name));
  return out;
}

/// Adds a tensor that makes the file large.
void enlarge(const std::string& file) {
  SafetensorsFile all = read_safetensors(file);
  all.tensors.push_back({"backbone.large", Tensor(DType::f32, {kMany})});
  write_safetensors(file, all.tensors, all.metadata);
}

TEST_F(LostInput, OfALanguageModel) {
  const std::string model = copy("tests/golden/mamba1-f32");
  const std::string file = model + "/model.safetensors";
  enlarge(file);
  const Weights weights = read_weights(describe_model(model));
  EXPECT_EXIT(lose(file, [&] { return sum(weights); }), ::testing::ExitedWithCode(1),
              "^scute: error: .*model.safetensors: .*cut short while it was read\n$");
}

TEST_F(LostInput, OfACobra) {
  const std::string model = copy("tests/golden/cobra/model");
  const std::string file = model + "/vision/siglip/model.safetensors";
  enlarge(file);
  const Weights tower = read_checkpoint(model + "/vision/siglip", *describe_cobra(model).files);
  EXPECT_EXIT(lose(file, [&] { return sum(tower); }), ::testing::ExitedWithCode(1),
              "^scute: error: .*siglip/model.safetensors: .*cut short while it was read\n$");
}

TEST_F(LostInput, OfARegressor) {
  const std::string file = folder_.path("slim.pt");
  TorchValue root = read_torch("tests/golden/regressor/slim.pt");
  std::get<TorchValue::Dict>(root.value)
      .emplace_back("optimizer", TorchValue{Tensor(DType::f32, {kMany})});
  write_torch(file, root);
  const RegressorCheckpoint checkpoint = read_regressor_checkpoint(file);
  EXPECT_EXIT(lose(file, [&] { return sum(checkpoint.weights); }), ::testing::ExitedWithCode(1),
              "^scute: error: .*slim.pt: .*cut short while it was read\n$");
}

TEST_F(LostInput, OfFeatures) {
  const std::string file = folder_.path("a.feats.npy");
  write_npy(file, Tensor(DType::f32, {kMany / 64, 64}));
  const Tensor features = read_npy(file);
  EXPECT_EXIT(lose(file, [&] { return sum(features); }), ::testing::ExitedWithCode(1),
              "^scute: error: .*a.feats.npy: .*cut short while it was read\n$");
}

}  // namespace
}  // namespace scute::cli_lost_input_test
