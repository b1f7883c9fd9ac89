// trace, scales, export, dump, doctor and bench of a Cobra, as a user types them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "scute/base/json.h"
#include "scute/io/file.h"
#include "scute/io/safetensors.h"
#include "tests/program.h"

namespace scute::cobra_cli_low_bit_test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kModel = "tests/golden/cobra/model";
constexpr const char* kPictures = "tests/golden/cobra/pictures";

/// A W8A8 Cobra, made once; tests that change it take a copy.
class LowBitCobraProgram : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = new TemporaryFolder;
    const Ended collected =
        scute_program({"collect", kModel, "--images", kPictures, "--sites", "layer_*", "--out",
                       shared_->path("stats.safetensors"), "--quiet"});
    ASSERT_EQ(collected.code, 0) << collected.err;
    const Ended made = scute_program(
        {"quantize", kModel, "--stats", shared_->path("stats.safetensors"), "--out", low()});
    ASSERT_EQ(made.code, 0) << made.err;
  }
  static void TearDownTestSuite() {
    delete shared_;
    shared_ = nullptr;
  }
  static std::string low() { return shared_->path("low"); }
  std::string copy() const {
    fs::copy(low(), folder_.path("low"), fs::copy_options::recursive);
    return folder_.path("low");
  }

  TemporaryFolder folder_;
  static TemporaryFolder* shared_;
};
TemporaryFolder* LowBitCobraProgram::shared_ = nullptr;

TEST_F(LowBitCobraProgram, TraceShowsPartsThenLayers) {
  const Ended all = scute_program({"trace", low(), "--wide"});
  ASSERT_EQ(all.code, 0) << all.err;
  EXPECT_THAT(all.out, HasSubstr("Cobra, vision.dino, vision.siglip, projector, llm; llm: Mamba"));
  EXPECT_THAT(all.out, HasSubstr("vision.dino, W8A8\n"));
  EXPECT_THAT(all.out, HasSubstr("layer 1, W8A8\n"));
  const Ended one = scute_program({"trace", low(), "--layer", "projector"});
  EXPECT_THAT(one.out, AllOf(HasSubstr("towers → projector.0"), Not(HasSubstr("attn.qkv"))));
  const Ended layer = scute_program({"trace", low(), "--layer", "0", "--json"});
  const Json json = Json::parse(layer.out, "");
  EXPECT_EQ(json.at("layers", "").as_array("").size(), 1u);
  const Ended none = scute_program({"trace", low(), "--layer", "vision.dinos"});
  EXPECT_EQ(none.code, 1);
  EXPECT_THAT(none.err, HasSubstr("vision.siglip"));
  const Ended floats = scute_program({"trace", kModel});
  EXPECT_EQ(floats.code, 1);
  EXPECT_THAT(floats.err, HasSubstr("a low-bit Cobra (scute quantize)"));
}

TEST_F(LowBitCobraProgram, ReportShowsItsScalesAndClips) {
  const std::string page = folder_.path("cobra.html");
  const Ended ended = scute_program({"report", "--checkpoint", low(), "--out", page});
  ASSERT_EQ(ended.code, 0) << ended.err;
  const std::string text = read_text(page);
  for (const char* part : {"Cobra, llm Mamba", "vision.dino.blocks.0.attn.qkv.input_scale",
                           "\"name\":\"projector\"", "\"name\":\"0\""}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
}

TEST_F(LowBitCobraProgram, ScalesEditsWhatTraceShows) {
  const std::string model = copy();
  const std::string edit = "vision.dino.blocks.0.attn.qkv:input=2.5";
  const Ended dry = scute_program({"scales", model, "--set", edit, "--dry-run"});
  ASSERT_EQ(dry.code, 0) << dry.err;
  EXPECT_THAT(dry.out, HasSubstr("nothing written"));
  const Ended ended = scute_program({"scales", model, "--set", edit, "vision.siglip*=1.5"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("loaded again: towers, projector and logits of"));
  const Ended traced = scute_program({"trace", model, "--layer", "vision.dino"});
  EXPECT_THAT(traced.out, AllOf(HasSubstr("±2.5"), HasSubstr("edited")));
  EXPECT_THAT(scute_program({"trace", model}).out, HasSubstr("2 edits of ranges by hand"));
  const std::string tensor = "vision.dino.blocks.0.attn.qkv.input_scale";
  EXPECT_THAT(scute_program({"scales", model, "--set", tensor + "=2", "--dry-run"}).out,
              HasSubstr("\nvision.dino.blocks.0.attn.qkv:input "));
  EXPECT_THAT(scute_program({"sites", model, "find", tensor, "--wide"}).out,
              HasSubstr("holds the scale of vision.dino.blocks.0.attn.qkv:input\n"));
  EXPECT_EQ(scute_program({"sites", model, "find", "SigLIP"}).out,
            scute_program({"sites", model, "find", "vision.siglip"}).out)
      << "as --targets";
  const Ended wrong = scute_program({"scales", model, "--set", "vision.dinos=1"});
  EXPECT_EQ(wrong.code, 1);
  EXPECT_THAT(wrong.err, HasSubstr("did you mean vision.dino"));
}

TEST_F(LowBitCobraProgram, ExportIsReadByEveryVerb) {
  const std::string plain = folder_.path("plain");
  const Ended made = scute_program({"export", low(), "--dequantized", "--out", plain, "--json"});
  ASSERT_EQ(made.code, 0) << made.err;
  const Json json = Json::parse(made.out, "");
  EXPECT_GT(json.at("bytes", "").as_int(""), 0);
  EXPECT_GT(json.at("largest_difference", "").as_double(""), 0);
  const Ended eval = scute_program(
      {"eval", plain, "--images", kPictures, "--against", low(), "--max-pictures", "1"});
  EXPECT_EQ(eval.code, 0) << eval.err;
  EXPECT_EQ(scute_program({"export", low(), "--out", plain, "--force"}).code, 2);
  EXPECT_EQ(scute_program({"export", kModel, "--dequantized", "--out", plain, "--force"}).code, 1);
}

TEST_F(LowBitCobraProgram, DumpWritesTheFirstPictureUnlessTold) {
  const std::string file = folder_.path("dump.safetensors");
  const Ended ended = scute_program({"dump", low(), "--images", kPictures, "--sites",
                                     "vision.*.attn.qkv:input,projector", "--out", file});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("1 picture, 16 tokens"));
  const SafetensorsFile one = read_safetensors(file);
  bool projector = false;
  for (const NamedTensor& item : one.tensors) {
    projector = projector || item.name == "site/projector";
    EXPECT_EQ(item.tensor.dim(0), 1) << item.name;
  }
  EXPECT_TRUE(projector);
  const std::string other = folder_.path("image.safetensors");
  const Ended image =
      scute_program({"dump", low(), "--image", std::string(kPictures) + "/1_wide.png", "--sites",
                     "vision.*.attn.qkv:input,projector", "--out", other, "--threads", "1"});
  ASSERT_EQ(image.code, 0) << image.err;
  const SafetensorsFile same = read_safetensors(other);
  ASSERT_EQ(same.tensors.size(), one.tensors.size());
  for (size_t i = 0; i < same.tensors.size(); ++i) {
    EXPECT_TRUE(std::ranges::equal(same.tensors[i].tensor.bytes(), one.tensors[i].tensor.bytes()))
        << same.tensors[i].name;
  }
  const Ended three =
      scute_program({"dump", kModel, "--images", kPictures, "--max-pictures", "3", "--sites",
                     "projector", "--no-random-text", "--out", file, "--json"});
  ASSERT_EQ(three.code, 0) << three.err;
  EXPECT_EQ(Json::parse(three.out, "").at("pictures", "").as_int(""), 3);
  EXPECT_EQ(scute_program({"dump", kModel, "--out", file}).code, 2);
}

TEST_F(LowBitCobraProgram, DoctorNamesPicturesThatCannotBeRead) {
  const Ended ended = scute_program({"doctor", low(), "--images", kPictures});
  EXPECT_EQ(ended.code, 0) << ended.out;
  EXPECT_THAT(ended.out,
              AllOf(HasSubstr("vision.siglip:"), HasSubstr("5 pictures can be read"),
                    HasSubstr("6_broken.png"), HasSubstr("vision.dino W8A8"), HasSubstr("about")));
  const std::string model = copy();
  fs::remove_all(model + "/vision/siglip");
  const Ended missing = scute_program({"doctor", model});
  EXPECT_EQ(missing.code, 1);
  EXPECT_THAT(missing.out, AllOf(HasSubstr("FAIL"), HasSubstr("siglip")));
}

TEST_F(LowBitCobraProgram, BenchMeasuresAFolderInItsFormats) {
  const Ended ended = scute_program({"bench", low(), "--pictures", "1"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, AllOf(HasSubstr("vision.dino W8A8"), HasSubstr("tokens a second")));
  const Json json =
      Json::parse(scute_program({"bench", kModel, "--pictures", "2", "--json"}).out, "");
  EXPECT_GT(json.at("llm_tokens_per_second", "").as_double(""), 0);
  EXPECT_EQ(scute_program({"bench", kModel, "--int8"}).code, 2);
}

}  // namespace
}  // namespace scute::cobra_cli_low_bit_test
