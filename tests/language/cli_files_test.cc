// Model folders as people have them, through the program.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "scute/io/checkpoint.h"
#include "scute/io/file.h"
#include "scute/io/torch_zip.h"
#include "tests/program.h"

namespace scute::cli_files_test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kGolden = "tests/golden/mamba1-f32";

/// The golden model as a wrapped .ckpt, everything in it under "state_dict".
void wrap(const std::string& folder) {
  const Weights weights = read_checkpoint(kGolden);
  TorchValue::Dict state;
  for (const std::string& name : weights.names()) {
    state.emplace_back("_orig_mod." + name, TorchValue{weights.at(name)});
  }
  fs::create_directories(folder);
  write_torch(folder + "/last.ckpt",
              {TorchValue::Dict{{"state_dict", {std::move(state)}}, {"epoch", {int64_t{3}}}}});
  fs::copy_file(std::string(kGolden) + "/config.json", folder + "/config.json");
}

TEST(CliFiles, RemarksGoToStandardErrorUnlessQuiet) {
  const TemporaryFolder folder;
  wrap(folder.path("m"));
  const std::vector<std::string> collect{"collect", folder.path("m"), "--data",
                                         folder.path("ids.jsonl"), "--out"};
  write_file(folder.path("ids.jsonl"), "{\"ids\": [1, 5, 3, 7, 2, 30, 11, 4]}\n");
  auto loud = collect, quiet = collect;
  loud.insert(loud.end(), {folder.path("s.safetensors"), "--seqlen", "8", "--samples", "1"});
  quiet.insert(quiet.end(),
               {folder.path("t.safetensors"), "--seqlen", "8", "--samples", "1", "--quiet"});
  const Ended said = scute_program(loud);
  EXPECT_EQ(said.code, 0) << said.err;
  EXPECT_THAT(said.err, AllOf(HasSubstr("last.ckpt"), HasSubstr("key state_dict"),
                              HasSubstr("begins with _orig_mod.")));
  EXPECT_THAT(said.out, Not(HasSubstr("_orig_mod.")));
  const Ended nothing = scute_program(quiet);
  EXPECT_EQ(nothing.code, 0);
  EXPECT_EQ(nothing.err, "");
}

TEST(CliFiles, DoctorListsKeysThatCountForNothing) {
  const TemporaryFolder folder;
  fs::create_directories(folder.path("m"));
  fs::copy_file(std::string(kGolden) + "/model.safetensors", folder.path("m/model.safetensors"));
  write_file(folder.path("m/config.json"),
             R"({"model_type": "mamba", "hidden_size": 24, "num_hidden_layers": 2, "vocab_size": 40,
                 "state_size": 5, "conv_kernel": 3, "d_model": 24, "n_layer": 3, "ssm_cfg": {}})");
  const Ended end = scute_program({"doctor", folder.path("m"), "--wide"});
  EXPECT_EQ(end.code, 0) << end.out;
  EXPECT_THAT(end.out, HasSubstr("Hugging Face's dialect: d_model, n_layer, ssm_cfg"));
}

}  // namespace
}  // namespace scute::cli_files_test
