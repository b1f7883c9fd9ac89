// Cobra folders that are not as they should be: what is said; and what their hash covers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scute/io/checkpoint.h"
#include "scute/io/safetensors.h"
#include "scute/io/torch_zip.h"
#include "scute/recipe/kind.h"
#include "tests/cobra/test_models.h"

namespace scute::files_test {
namespace {

using cobra_models::CobraFolder;
using cobra_models::error_of;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

std::string describe_error(const CobraFolder& folder) {
  return error_of([&] { describe_cobra(folder.path()); });
}
std::string load_error(const CobraFolder& folder) {
  return error_of(
      [&] { load_cobra(describe_cobra(folder.path()), Compute::f32, CobraModel::Parts::all); });
}

TEST(CobraFiles, TheReleasedModelNeedsNoOtherConfig) {
  const CobraFolder folder;
  folder.remove("vision");
  folder.remove("llm");
  folder.edit("config.json", "dinosiglip-vit-small-56px", "dinosiglip-vit-so-384px");
  folder.edit("config.json", "small-mamba-zephyr", "mamba-2.8b-zephyr");
  folder.edit("config.json", ",\n  \"image_size\": 56", "");
  const CobraDescription model = describe_cobra(folder.path());
  ASSERT_EQ(model.config.towers.size(), 2U);
  const VisionConfig &dino = model.config.towers[0], &siglip = model.config.towers[1];
  EXPECT_EQ(dino.width, 1024);
  EXPECT_EQ(dino.depth, 24);
  EXPECT_EQ(dino.tokens(), 734);  // 27² and 5
  EXPECT_EQ(siglip.width, 1152);
  EXPECT_EQ(siglip.depth, 27);
  EXPECT_EQ(siglip.hidden, 4304);
  EXPECT_EQ(siglip.tokens(), 729);
  EXPECT_EQ(model.config.projector_config().vision, 2176);
  EXPECT_EQ(model.config.language.width, 2560);
  EXPECT_EQ(model.config.language.layers, 64);
  EXPECT_EQ(model.config.language.vocabulary, 50280);
}

TEST(CobraFiles, UnknownBackboneIsNamedWithTheKnownOnes) {
  const CobraFolder folder;
  folder.edit("config.json", "dinosiglip-vit-small-56px", "clip-vit-l-336px");
  EXPECT_THAT(describe_error(folder),
              AllOf(HasSubstr("config.json"), HasSubstr("vision_backbone_id"),
                    HasSubstr("clip-vit-l-336px"), HasSubstr("dinosiglip-vit-so-384px")));
}

TEST(CobraFiles, UnknownProjectorIsNamedWithTheKnownOnes) {
  const CobraFolder folder;
  folder.edit("config.json", "no-align+fused-gelu-mlp", "no-align+perceiver");
  EXPECT_THAT(describe_error(folder),
              AllOf(HasSubstr("no-align+perceiver"), HasSubstr("linear"), HasSubstr("gelu-mlp"),
                    HasSubstr("fused-gelu-mlp"), HasSubstr("fused-ldpnet")));
}

TEST(CobraFiles, UnknownResizeStrategyIsNamedWithTheKnownOnes) {
  const CobraFolder folder;
  folder.edit("config.json", "resize-naive", "resize-naiv");
  EXPECT_THAT(describe_error(folder), AllOf(HasSubstr("resize-naiv"), HasSubstr("resize-naive"),
                                            HasSubstr("resize-crop"), HasSubstr("letterbox")));
}

TEST(CobraFiles, MissingFoldersAreNamed) {
  const CobraFolder folder;
  EXPECT_THAT(error_of([&] { describe_cobra(folder.file("nowhere")); }), HasSubstr("nowhere"));
  EXPECT_THROW(kind_of(folder.file("nowhere")), Error);
  EXPECT_EQ(kind_of(folder.file("llm")), ModelKind::language);
  folder.remove("llm");
  EXPECT_THAT(describe_error(folder),
              AllOf(HasSubstr("llm/config.json"), HasSubstr("small-mamba-zephyr")));
  folder.remove("vision/dino");
  EXPECT_THAT(describe_error(folder), HasSubstr("vision/dino/config.json"));
  folder.remove("config.json");
  EXPECT_THROW(kind_of(folder.path()), Error);
  EXPECT_THAT(describe_error(folder), AllOf(HasSubstr(folder.path()), HasSubstr("config.json")));
}

TEST(CobraFiles, WithoutCheckpointWhatWasLookedForIsNamed) {
  const CobraFolder folder;
  folder.remove("checkpoints");
  EXPECT_THAT(load_error(folder),
              AllOf(HasSubstr("checkpoints/latest-checkpoint.pt"), HasSubstr("projector")));
}

TEST(CobraFiles, WithoutTowerWeightsWhatWasLookedForIsNamed) {
  const CobraFolder folder;
  folder.remove("vision/siglip/model.safetensors");
  EXPECT_THAT(load_error(folder), AllOf(HasSubstr("vision/siglip"), HasSubstr("model.safetensors"),
                                        HasSubstr("open_clip_model.safetensors")));
}

TEST(CobraFiles, AMisspelledArgumentOfATowerIsNamed) {
  const CobraFolder folder;
  folder.edit("vision/dino/config.json", "num_heads", "num_head");
  EXPECT_THAT(describe_error(folder),
              AllOf(HasSubstr("vision/dino/config.json"), HasSubstr("num_head")));
}

TEST(CobraFiles, AnArgumentThatIsNotComputedIsNamed) {
  const CobraFolder folder;
  folder.edit("vision/siglip/config.json", "\"class_token\": false",
              "\"class_token\": false, \"qk_norm\": true");
  EXPECT_THAT(describe_error(folder),
              AllOf(HasSubstr("vision/siglip/config.json"), HasSubstr("qk_norm")));
}

TEST(CobraFiles, TowersOfDifferentGridsAreRefused) {
  const CobraFolder folder;
  folder.edit("vision/siglip/config.json", "\"patch_size\": 14", "\"patch_size\": 8");
  EXPECT_THAT(describe_error(folder), AllOf(HasSubstr("vision.dino"), HasSubstr("vision.siglip")));
}

TEST(CobraFiles, ATowerOfAnotherShapeIsRefusedByTensor) {
  const CobraFolder folder;
  folder.edit("vision/siglip/config.json", "\"mlp_ratio\": 3.7362", "\"mlp_ratio\": 4.0");
  EXPECT_THAT(load_error(folder), AllOf(HasSubstr("vision/siglip"),
                                        HasSubstr("blocks.0.mlp.fc1.weight"), HasSubstr("192")));
}

TEST(CobraFiles, UsualFilesAreNotRemarkedOn) {
  for (const char* name : {"model", "variants/finetuned", "variants/openclip_gelu"}) {
    EXPECT_THAT(describe_cobra(CobraFolder(name).path()).remarks, IsEmpty()) << name;
  }
}

TEST(CobraFiles, AWeightFileOfAnotherNameIsRemarkedOn) {
  EXPECT_THAT(describe_cobra(CobraFolder("variants/meta_linear").path()).remarks,
              ElementsAre(AllOf(StartsWith("vision/dino: "), HasSubstr("reg4_pretrain.pth"))));
}

TEST(CobraFiles, WhatIsUnusualAboutWeightFilesIsRemarkedOnByPart) {
  const CobraFolder folder;
  const std::string tower = folder.file("vision/siglip/model.safetensors");
  SafetensorsFile wrapped = read_safetensors(tower);
  for (NamedTensor& named : wrapped.tensors) named.name = "module." + named.name;
  write_safetensors(tower, wrapped.tensors, {});
  std::filesystem::rename(folder.file("vision/dino/model.safetensors"),
                          folder.file("vision/dino/tower.safetensors"));
  // The language model in its own folder instead of Cobra's checkpoint, without "backbone.".
  Weights language = cobra_language(describe_cobra(folder.path())).embedded->weights;
  std::vector<NamedTensor> tensors;
  for (const std::string& name : language.names()) {
    const std::string plain = name.starts_with("backbone.") ? name.substr(9) : name;
    tensors.push_back({plain, language.at(name)});
  }
  write_safetensors(folder.file("llm/weights.safetensors"), tensors, {});
  EXPECT_THAT(
      describe_cobra(folder.path()).remarks,
      ElementsAre(AllOf(StartsWith("vision/dino: "), HasSubstr("tower.safetensors")),
                  AllOf(StartsWith("vision/siglip: "), HasSubstr("begins with module.")),
                  AllOf(StartsWith("llm: "), HasSubstr("weights.safetensors")),
                  AllOf(StartsWith("llm: "), HasSubstr("begins with backbone.: it was added"))));
  load_cobra(describe_cobra(folder.path()), Compute::f32, CobraModel::Parts::all);
}

TEST(CobraFiles, ACheckpointUnderAnotherKeyIsRemarkedOn) {
  const CobraFolder folder;
  const std::string path = folder.file("checkpoints/latest-checkpoint.pt");
  const Weights weights = read_checkpoint(path);
  TorchValue::Dict state;
  for (const std::string& name : weights.names()) {
    state.emplace_back("module." + name, TorchValue{weights.at(name).to_f32()});
  }
  write_torch(path, {TorchValue::Dict{{"state_dict", {std::move(state)}}}});
  EXPECT_THAT(describe_cobra(folder.path()).remarks,
              ElementsAre(AllOf(StartsWith("checkpoints/"), HasSubstr("key state_dict")),
                          AllOf(StartsWith("checkpoints/"), HasSubstr("begins with module."))));
  load_cobra(describe_cobra(folder.path()), Compute::f32, CobraModel::Parts::all);
}

TEST(CobraFiles, TheHashCoversEveryConfigAndWeightFileAndNotTheirPlace) {
  for (const char* name : {"model", "variants/openclip_gelu", "variants/meta_linear"}) {
    const CobraFolder folder(name);
    // Described anew: a description is of the files that were there.
    const auto hash = [&] { return hash_cobra(describe_cobra(folder.path())); };
    const std::string before = hash();
    EXPECT_EQ(before.size(), 64U);
    const std::string own = std::string(name) == "variants/meta_linear" ? "dino" : "siglip";
    std::vector<std::string> files{"config.json", "checkpoints/latest-checkpoint.pt",
                                   "llm/config.json", "vision/" + own + "/config.json"};
    for (const auto& entry : std::filesystem::directory_iterator(folder.file("vision/" + own))) {
      files.push_back("vision/" + own + "/" + entry.path().filename().string());
    }
    ASSERT_EQ(files.size(), 6U);
    for (const std::string& file : files) {
      const std::string text = read_text(folder.file(file));
      write_file(folder.file(file), text + " ");
      EXPECT_NE(hash(), before) << name << " " << file;
      write_file(folder.file(file), text);
    }
    EXPECT_EQ(hash(), before) << name;
    std::filesystem::rename(folder.path(), folder.path() + "_moved");
    EXPECT_EQ(hash_cobra(describe_cobra(folder.path() + "_moved")), before) << name;
    std::filesystem::rename(folder.path() + "_moved", folder.path());
  }
}

}  // namespace
}  // namespace scute::files_test
