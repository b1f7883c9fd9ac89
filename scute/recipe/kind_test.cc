#include "scute/recipe/kind.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "scute/base/error.h"
#include "scute/io/testing.h"

namespace scute::kind_test {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

/// A folder for one test, removed at the end.
class Kind : public ::testing::Test {
 protected:
  std::string path(const std::string& name = "") const {
    return name.empty() ? folder_.path() : folder_ / name;
  }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path(name)) << text;
  }
  static std::string why(const std::string& path) {
    try {
      kind_of(path);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

 private:
  fixtures::Folder folder_;
};

TEST_F(Kind, LanguageModelsByAnyOfTheirKeys) {
  for (const char* config : {R"({"d_model": 64, "n_layer": 2})", R"({"model_type": "mamba2"})",
                             R"({"architectures": ["MambaForCausalLM"]})"}) {
    write("config.json", config);
    EXPECT_EQ(kind_of(path()), ModelKind::language) << config;
  }
}

TEST_F(Kind, FilesOfLlamaCppAreCalledByTheirFormat) {
  write("model.gguf", "GGUF\x03");
  EXPECT_THAT(why(path("model.gguf")), AllOf(HasSubstr("GGUF"), HasSubstr("converted from")));
  // Of folders without a config the language models' reader says more.
  EXPECT_EQ(kind_of(path()), ModelKind::language);
  fs::remove(path("model.gguf"));
  EXPECT_THAT(why(path()), HasSubstr("config.json"));
  fs::create_directories(path("release"));
  EXPECT_EQ(kind_of(path()), ModelKind::language);
}

TEST_F(Kind, CobraByItsVisionBackbone) {
  write("config.json", R"({"model": {"vision_backbone_id": "dinosiglip-vit-so-384px"}})");
  EXPECT_EQ(kind_of(path()), ModelKind::cobra);
  EXPECT_EQ(kind_of("tests/golden/cobra/model"), ModelKind::cobra);
}

TEST_F(Kind, RegressorsByTheirEnding) {
  write("c.pt", "");
  EXPECT_EQ(kind_of(path("c.pt")), ModelKind::regressor);
  // A folder of that name is looked into.
  fs::create_directories(path("folder.pt"));
  write("folder.pt/config.json", R"({"d_model": 1})");
  EXPECT_EQ(kind_of(path("folder.pt")), ModelKind::language);
}

/// What is missing in a folder of weights says the reader of language models.
TEST_F(Kind, WeightsAloneAreALanguageModel) {
  write("model.safetensors", "");
  EXPECT_EQ(kind_of(path()), ModelKind::language);
}

TEST_F(Kind, NothingThere) {
  EXPECT_THAT(why(path("none")), AllOf(HasSubstr(path("none")), HasSubstr("no such folder")));
  EXPECT_THAT(why(path("none.pt")), HasSubstr("no such file"));
}

TEST_F(Kind, AFileIsToldItsFolder) {
  write("config.json", R"({"d_model": 1})");
  write("model.safetensors", "");
  EXPECT_THAT(why(path("model.safetensors")), HasSubstr("a file; give its folder, " + path()));
  fs::remove(path("config.json"));
  EXPECT_THAT(why(path("model.safetensors")),
              AllOf(HasSubstr("a file; give its folder"), Not(HasSubstr("folder, " + path()))));
}

TEST_F(Kind, FoldersOfNoKindAndOfTwo) {
  EXPECT_THAT(why(path()), AllOf(HasSubstr(path()), HasSubstr("config.json, found none")));
  write("config.json", R"({"name": "something else"})");
  EXPECT_THAT(why(path()), AllOf(HasSubstr("config.json"), HasSubstr("found neither")));
  write("config.json", R"({"d_model": 1, "model": {"vision_backbone_id": "x"}})");
  EXPECT_THAT(why(path()), AllOf(HasSubstr("one kind of model"), HasSubstr("keep one of them")));
  write("config.json", R"({"d_model": )");
  EXPECT_THAT(why(path()), HasSubstr("config.json"));
}

TEST_F(Kind, HasAName) {
  EXPECT_EQ(name_of(ModelKind::language), "language model");
  EXPECT_EQ(name_of(ModelKind::cobra), "Cobra");
  EXPECT_EQ(name_of(ModelKind::regressor), "regressor");
}

}  // namespace
}  // namespace scute::kind_test
