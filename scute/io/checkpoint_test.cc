#include "scute/io/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scute/io/safetensors.h"
#include "scute/io/testing.h"
#include "scute/io/torch_zip.h"

namespace scute::checkpoint_test {
namespace {

using fixtures::elements;
using fixtures::error_of;
using fixtures::floats;
using fixtures::Folder;
using fixtures::put;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kGolden = "../shared/golden/models/";

std::string refusal(const Folder& folder) {
  return error_of([&] { read_checkpoint(folder.path()); });
}
void write_shards(const Folder& folder) {
  write_safetensors(folder / "s1.safetensors", {{"a", floats({1}, {1})}, {"b", floats({1}, {2})}},
                    {});
  write_safetensors(folder / "s2.safetensors", {{"c", floats({1}, {3})}}, {});
}
void write_index(const Folder& folder, std::string_view map) {
  put(folder / "model.safetensors.index.json",
      R"({"metadata":{},"weight_map":)" + std::string(map) + "}");
}

TEST(Checkpoint, ReadsAShardedFolder) {
  const Folder folder;
  write_shards(folder);
  write_index(folder, R"({"a":"s1.safetensors","c":"s2.safetensors","b":"s1.safetensors"})");
  const Weights weights = read_checkpoint(folder.path());
  EXPECT_THAT(weights.names(), ElementsAre("a", "b", "c"));
  EXPECT_THAT(elements<float>(weights.at("c")), ElementsAre(3));
  EXPECT_THAT(checkpoint_files(folder.path()),
              ElementsAre(folder / "s1.safetensors", folder / "s2.safetensors"));
}

TEST(Checkpoint, RefusesShardsThatDifferFromTheIndex) {
  const Folder folder;
  write_shards(folder);
  write_index(folder, R"({"a":"s1.safetensors","c":"s2.safetensors"})");
  EXPECT_THAT(refusal(folder), AllOf(HasSubstr("s1.safetensors"), HasSubstr("also b")));
  write_index(folder, R"({"a":"s1.safetensors","b":"s2.safetensors","c":"s2.safetensors"})");
  EXPECT_NE(refusal(folder), "");
  write_index(
      folder,
      R"({"a":"s1.safetensors","b":"s1.safetensors","c":"s2.safetensors","d":"s2.safetensors"})");
  EXPECT_THAT(refusal(folder), HasSubstr("expected d"));
  write_index(folder, R"({"a":"s1.safetensors","b":"s1.safetensors","c":"s3.safetensors"})");
  EXPECT_THAT(refusal(folder), HasSubstr("s3.safetensors"));
}

TEST(Checkpoint, RefusesIndexesThatLeaveTheFolder) {
  const Folder folder;
  write_shards(folder);
  for (const char* name : {"../s1.safetensors", "/etc/passwd", "x/s1.safetensors", "..", ".", "",
                           "x\\\\s1.safetensors", "s1.safetensors\\u0000.bin"}) {
    write_index(folder, R"({"a":")" + std::string(name) + "\"}");
    EXPECT_THAT(refusal(folder), HasSubstr("plain file name")) << name;
  }
}

TEST(Checkpoint, RefusesMalformedIndexes) {
  const Folder folder;
  for (const char* map : {"{}", "[]", "3", R"({"a":1})", R"({"a":"x","a":"x"})", "{"}) {
    write_index(folder, map);
    EXPECT_NE(refusal(folder), "") << map;
  }
}

TEST(Checkpoint, PrefersSafetensorsAndReadsOneFile) {
  const Folder folder;
  write_torch(folder / "pytorch_model.bin", {TorchValue::Dict{{"old", {floats({1}, {1})}}}});
  EXPECT_THAT(read_checkpoint(folder.path()).names(), ElementsAre("old"));
  write_safetensors(folder / "model.safetensors", {{"new", floats({1}, {1})}}, {});
  EXPECT_THAT(read_checkpoint(folder.path()).names(), ElementsAre("new"));
  EXPECT_THAT(read_checkpoint(folder / "pytorch_model.bin").names(), ElementsAre("old"));
}

TEST(Checkpoint, UnwrapsAndFlattensTorchDictionaries) {
  const Folder folder;
  const TorchValue w = {floats({1}, {1})};
  const TorchValue state = {TorchValue::Dict{{"w", w}}};
  for (const std::string wrapper : {"model", "state_dict", "model_state_dict"}) {
    write_torch(folder / "a.pt", {TorchValue::Dict{{wrapper, state}, {"epoch", {int64_t{3}}}}});
    EXPECT_THAT(read_checkpoint(folder.path()).names(), ElementsAre("w"));
  }
  write_torch(folder / "a.pt", {TorchValue::Dict{{"model", {TorchValue::Dict{{"llm", state}}}}}});
  EXPECT_THAT(read_checkpoint(folder.path()).names(), ElementsAre("llm.w"));
  write_torch(folder / "a.pt", {TorchValue::Dict{{"w", w}, {"epoch", {int64_t{3}}}}});
  EXPECT_THAT(refusal(folder), HasSubstr("epoch"));
  write_torch(folder / "a.pt", {TorchValue::List{}});
  EXPECT_NE(refusal(folder), "");
}

TEST(Checkpoint, ReadsTheOnlyFileOfAnotherName) {
  const TorchValue dict = {TorchValue::Dict{{"w", {floats({1}, {1})}}}};
  for (const std::string name : {"model.pth", "last.ckpt", "weights.bin", "weights.pt"}) {
    const Folder folder;
    write_torch(folder / name, dict);
    put(folder / ("._" + name), "macOS leaves these");
    write_torch(folder / "optimizer.pt", dict);
    put(folder / "training_args.bin", "of the trainer");
    const Checkpoint got = open_checkpoint(folder.path());
    EXPECT_THAT(got.weights.names(), ElementsAre("w")) << name;
    if (name == "weights.pt") {
      EXPECT_THAT(got.remarks, ::testing::IsEmpty());
    } else {
      EXPECT_THAT(got.remarks, ElementsAre(HasSubstr(name)));
    }
  }
  const Folder folder;
  write_safetensors(folder / "merged.safetensors", {{"w", floats({1}, {1})}}, {});
  EXPECT_THAT(open_checkpoint(folder.path()).remarks, ElementsAre(HasSubstr("merged.safetensors")));
  EXPECT_TRUE(holds_checkpoint(folder.path()));
  write_safetensors(folder / "other.safetensors", {{"w", floats({1}, {1})}}, {});
  EXPECT_THAT(refusal(folder), AllOf(HasSubstr("merged"), HasSubstr("other.safetensors")));
  EXPECT_FALSE(holds_checkpoint(folder.path()));
}

TEST(Checkpoint, KnowsMistralsNameAmongOthers) {
  const Folder folder;
  write_safetensors(folder / "consolidated.safetensors", {{"w", floats({1}, {1})}}, {});
  write_safetensors(folder / "other.safetensors", {{"x", floats({1}, {1})}}, {});
  const Checkpoint got = open_checkpoint(folder.path());
  EXPECT_THAT(got.weights.names(), ElementsAre("w"));
  EXPECT_THAT(got.remarks, ::testing::IsEmpty());
}

TEST(Checkpoint, ReadsShardsWithoutTheirIndex) {
  const Folder folder;
  const std::string first = "model-00001-of-00002.safetensors";
  write_safetensors(folder / first, {{"a", floats({1}, {1})}}, {});
  EXPECT_THAT(refusal(folder), AllOf(HasSubstr("all 2 shards"), HasSubstr("no 2")));
  write_safetensors(folder / "model-00002-of-00002.safetensors", {{"b", floats({1}, {2})}}, {});
  const Checkpoint got = open_checkpoint(folder.path());
  EXPECT_THAT(got.weights.names(), ElementsAre("a", "b"));
  EXPECT_THAT(got.remarks, ElementsAre(AllOf(HasSubstr("no index"), HasSubstr(first))));
  write_safetensors(folder / "model-00003-of-00004.safetensors", {{"c", floats({1}, {2})}}, {});
  EXPECT_NE(refusal(folder), "");  // of two checkpoints
}

TEST(Checkpoint, ACopyThatTheIndexDoesNotListIsDropped) {
  const Folder folder;
  write_safetensors(folder / "s1.safetensors", {{"a", floats({2}, {1, 2})}}, {});
  write_safetensors(folder / "s2.safetensors",
                    {{"b", floats({2}, {3, 4})}, {"tied", floats({2}, {1, 2})}}, {});
  write_index(folder, R"({"a":"s1.safetensors","b":"s2.safetensors"})");
  const Checkpoint got = open_checkpoint(folder.path());
  EXPECT_THAT(got.weights.names(), ElementsAre("a", "b"));
  EXPECT_THAT(got.remarks, ElementsAre(AllOf(HasSubstr("tied"), HasSubstr("copy of a"))));
}

TEST(Checkpoint, WrappersAndTheirPrefixesAreDropped) {
  const Folder folder;
  const auto remarks = [&](const std::string& prefix, const std::string& key) {
    TorchValue state = {
        TorchValue::Dict{{prefix + "a.w", {floats({1}, {1})}}, {prefix + "b", {floats({1}, {2})}}}};
    if (!key.empty()) state = {TorchValue::Dict{{"step", {int64_t{3}}}, {key, state}}};
    write_torch(folder / "a.pt", state);
    const Checkpoint got = open_checkpoint(folder.path());
    EXPECT_THAT(got.weights.names(), ElementsAre("a.w", "b")) << prefix;
    return got.remarks;
  };
  EXPECT_THAT(remarks("", ""), ::testing::IsEmpty());
  EXPECT_THAT(remarks("module.", ""), ElementsAre(HasSubstr("begins with module.,")));
  EXPECT_THAT(remarks("_orig_mod.", "model"),
              ElementsAre(HasSubstr("key model"), HasSubstr("_orig_mod.")));
  EXPECT_THAT(remarks("module._orig_mod.", "state_dict"),
              ElementsAre(HasSubstr("key state_dict"), HasSubstr("module._orig_mod.")));
  EXPECT_EQ(wrapper_prefix(std::vector<std::string>{"model.a", "b"}), "");
  EXPECT_EQ(wrapper_prefix(std::vector<std::string>{"model."}), "");
  EXPECT_EQ(wrapper_prefix({}), "");
}

TEST(Checkpoint, NamesWhatIsNoTensor) {
  const Folder folder;
  const TorchValue w = {floats({1}, {1})};
  write_torch(folder / "a.pt", {TorchValue::Dict{{"w", w}, {"bias", {nullptr}}}});
  EXPECT_THAT(refusal(folder), AllOf(HasSubstr("bias: None"), HasSubstr("no tensor under")));
  EXPECT_EQ(no_tensor_text({OpaqueValue{"x.Y"}}), "an object of class x.Y, no tensor");
}

TEST(Checkpoint, SaysWhatItLookedFor) {
  const Folder folder;
  EXPECT_THAT(refusal(folder), AllOf(HasSubstr("model.safetensors"), HasSubstr(".pt")));
  EXPECT_THAT(error_of([&] { read_checkpoint(folder / "none"); }), HasSubstr("No such file"));
  const TorchValue dict = {TorchValue::Dict{{"w", {floats({1}, {1})}}}};
  write_torch(folder / "a.pt", dict);
  write_torch(folder / "b.pt", dict);
  EXPECT_THAT(refusal(folder), AllOf(HasSubstr("a.pt"), HasSubstr("b.pt")));
}

TEST(Checkpoint, ReadsTheGoldenModels) {
  if (!std::filesystem::exists(kGolden)) GTEST_SKIP() << "SKIPPED: ../shared not present";
  EXPECT_EQ(checkpoint_files(kGolden + "mamba1-hf-bf16-sharded").size(), 3u);
  EXPECT_EQ(
      read_checkpoint(kGolden + "mamba1-hf-bf16-sharded").at("backbone.embeddings.weight").dtype(),
      DType::bf16);
  EXPECT_EQ(read_checkpoint(kGolden + "mamba1-orig-fp16").at("backbone.embedding.weight").dtype(),
            DType::f16);
  EXPECT_GT(read_checkpoint(kGolden + "mamba2-hf-groups2").size(), 5u);
  EXPECT_EQ(read_checkpoint(kGolden + "mamba2-orig-fp32").at("backbone.norm_f.weight").rank(), 1);
}

}  // namespace
}  // namespace scute::checkpoint_test
