// scute eval, generate and bench on Cobra, from outside.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>

#include "scute/base/json.h"
#include "scute/io/safetensors.h"
#include "scute/tensor/tensor.h"
#include "tests/program.h"

namespace scute::cobra_cli_eval_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

const std::string kModel = "tests/golden/cobra/model";
const std::string kPictures = "tests/golden/cobra/pictures";  // five, and one broken

using Words = std::vector<std::string>;

Ended eval(const std::string& model, Words more) {
  Words words{"eval", model};
  words.insert(words.end(), more.begin(), more.end());
  return scute_program(words);
}

Json answer_of(const Ended& ended) {
  EXPECT_EQ(ended.code, 0) << ended.err;
  return Json::parse(ended.out, "answer");
}

double mean(const Json& answer, const std::string& stage, const std::string& figure) {
  return answer.at("stages", "").at(stage, "").at(figure, "").at("mean", "").as_double("");
}

void expect_error(const Ended& ended, int code, const std::string& hint) {
  EXPECT_EQ(ended.code, code) << ended.err;
  EXPECT_THAT(ended.err, AllOf(StartsWith("scute: error: "), HasSubstr(hint)));
  EXPECT_EQ(std::count(ended.err.begin(), ended.err.end(), '\n'), 1) << ended.err;
  EXPECT_EQ(ended.out, "");
}

/// The model with weights of 4 bits.
class CobraEval : public testing::Test {
 protected:
  void SetUp() override {
    low_bit_ = folder_.path("w4a16");
    const Ended made =
        scute_program({"quantize", kModel, "--w-bits", "4", "--a-bits", "16", "--out", low_bit_});
    ASSERT_EQ(made.code, 0) << made.err;
  }
  TemporaryFolder folder_;
  std::string low_bit_;
};

TEST_F(CobraEval, RecordsAreListedAndComparedPictureByPicture) {
  const std::string log = folder_.path("logs/log.jsonl");
  for (const std::string& model : {kModel, low_bit_}) {
    const Ended ended =
        eval(model, {"--images", kPictures, "--against", kModel, "--log", log, "--quiet"});
    ASSERT_EQ(ended.code, 0) << ended.err;
  }
  const Ended list = scute_program({"log", "--log", log, "--wide"});
  EXPECT_THAT(list.out, AllOf(HasSubstr("divergence"), HasSubstr("same token"), HasSubstr("W4A16"),
                              HasSubstr("nats")));
  const Json answer = answer_of(scute_program({"log", "--log", log, "--compare", "1,2", "--json"}));
  const auto& results = answer.at("results", "").as_array("");
  ASSERT_GE(results.size(), 8u);  // two of the next token, two of each of four stages
  for (const Json& one : results) {
    const std::string name = one.at("metric", "").as_string("");
    EXPECT_TRUE(one.at("paired", "").as_bool("")) << name;
    EXPECT_EQ(one.at("n", "").as_int(""), 5) << name;
    if (name == "same_argmax") continue;
    EXPECT_NE(one.at("verdict", "").as_string(""), "better") << name;
  }
  // Against another reference, or on other pictures, nothing is comparable.
  const Ended other =
      eval(kModel, {"--images", kPictures, "--against", low_bit_, "--log", log, "--quiet"});
  ASSERT_EQ(other.code, 0) << other.err;
  EXPECT_THAT(scute_program({"log", "--log", log, "--compare", "1,3"}).out,
              HasSubstr("not comparable: other reference"));
}

TEST_F(CobraEval, AFloatModelAgainstItselfIsNowhereOff) {
  const Json answer =
      answer_of(eval(kModel, {"--images", kPictures, "--against", kModel, "--json"}));
  for (const char* stage : {"vision.dino", "vision.siglip", "projector", "logits"}) {
    EXPECT_EQ(mean(answer, stage, "relative_error"), 0) << stage;
    EXPECT_NEAR(mean(answer, stage, "cosine"), 1, 1e-12) << stage;
  }
  EXPECT_EQ(answer.at("same_argmax", "").at("mean", "").as_double(""), 1);
  EXPECT_EQ(answer.at("divergence", "").at("mean", "").as_double(""), 0);
  const Json& pictures = answer.at("pictures", "");
  EXPECT_EQ(pictures.at("used", "").as_int(""), 5);
  EXPECT_EQ(pictures.at("listed", "").as_int(""), 6);
  EXPECT_EQ(pictures.at("corrupt", "").as_array("").size(), 1U);
}

TEST_F(CobraEval, WhereAllPicturesAgreeThereIsABoundAndNoError) {
  const Words words{"--images", kPictures, "--against", kModel};
  Words json = words;
  json.push_back("--json");
  const Json same = answer_of(eval(kModel, json)).at("same_argmax", "");
  EXPECT_TRUE(same.at("standard_error", "").is_null());
  EXPECT_NEAR(same.at("bound", "").as_double(""), 0.4, 1e-12);  // 1 − 3/5
  Words wide = words;
  wide.push_back("--wide");
  EXPECT_THAT(eval(kModel, wide).out,
              HasSubstr("the same for 100.0 % of the pictures (at least 40.0 %, 95 % confidence)"));
}

TEST_F(CobraEval, TheFirstSiteThatIsNotFiniteIsNamed) {
  namespace fs = std::filesystem;
  const std::string broken = folder_.path("broken"), log = folder_.path("log.jsonl");
  fs::copy(kModel, broken, fs::copy_options::recursive);
  const std::string weights = "/vision/dino/model.safetensors";
  SafetensorsFile file = read_safetensors(kModel + weights);
  for (NamedTensor& item : file.tensors) {
    if (item.name.find("blocks.0.attn.proj.weight") == std::string::npos) continue;
    std::vector<float> values = to_vector(item.tensor);
    values[0] = std::numeric_limits<float>::quiet_NaN();
    item.tensor = Tensor::of<float>(item.tensor.shape(), values).rounded_to(item.tensor.dtype());
  }
  fs::remove(broken + weights);
  write_safetensors(broken + weights, file.tensors, file.metadata);
  const Ended ended =
      eval(broken, {"--images", kPictures, "--against", kModel, "--json", "--log", log});
  EXPECT_EQ(ended.code, 1);
  EXPECT_THAT(ended.err, HasSubstr("NaN first at vision.dino.blocks.0.mlp.fc1:input"));
  EXPECT_THAT(ended.out, AllOf(Not(HasSubstr("NaN")), Not(HasSubstr("Infinity"))));
  EXPECT_TRUE(Json::parse(ended.out, "").at("divergence", "").at("mean", "").is_null());
  EXPECT_THAT(scute_program({"log", "--log", log}).out, HasSubstr("not finite"));
}

TEST_F(CobraEval, FourBitsAreOffByADozenPercent) {
  const Ended ended =
      eval(low_bit_, {"--images", kPictures, "--against", kModel, "--json", "--quiet"});
  EXPECT_THAT(ended.err, HasSubstr("6_broken.png"));
  const Json answer = answer_of(ended);
  for (const char* stage : {"vision.dino", "vision.siglip", "projector", "logits"}) {
    // A weight of a normal column rounded to 15 steps between ± 2.5 deviations errs by 5 to 10 % of
    // its deviation; a few layers add up.
    EXPECT_GT(mean(answer, stage, "relative_error"), 0.03) << stage;
    EXPECT_LT(mean(answer, stage, "relative_error"), 0.5) << stage;
    EXPECT_GT(mean(answer, stage, "cosine"), 0.85) << stage;
  }
  EXPECT_GT(answer.at("divergence", "").at("mean", "").as_double(""), 0);
}

TEST_F(CobraEval, TheTableNamesProtocolAndWorstPicture) {
  const Ended ended = eval(low_bit_, {"--images", kPictures, "--against", kModel, "--wide"});
  EXPECT_EQ(ended.code, 0);
  EXPECT_THAT(ended.out, HasSubstr("model       w4a16 against model, f32\n"));
  EXPECT_THAT(ended.out, HasSubstr("5 pictures of " + kPictures + " (sha256 "));
  EXPECT_THAT(ended.out, HasSubstr("1 could not be read; 16 random ids each, seed 42"));
  EXPECT_THAT(ended.out, HasSubstr("worst picture"));
  EXPECT_THAT(ended.out, HasSubstr("nats"));
}

TEST_F(CobraEval, DoesNotDependOnThreadsAndWritesItems) {
  const auto items = [&](const char* threads) {
    const std::string file = folder_.path(std::string("items") + threads + ".jsonl");
    const Ended ended = eval(low_bit_, {"--images", kPictures, "--against", kModel, "--threads",
                                        threads, "--items-out", file});
    EXPECT_EQ(ended.code, 0) << ended.err;
    EXPECT_THAT(ended.out, HasSubstr("wrote " + file));
    std::ifstream in(file);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  const std::string one = items("1");
  EXPECT_EQ(std::count(one.begin(), one.end(), '\n'), 5);
  EXPECT_EQ(one, items("3"));
}

TEST_F(CobraEval, TextIsChosenByFlags) {
  const auto source = [&](Words more) {
    Words words{"--images", kPictures, "--against", kModel, "--json", "--max-pictures", "2"};
    words.insert(words.end(), more.begin(), more.end());
    const Json answer = answer_of(eval(low_bit_, words));
    EXPECT_EQ(answer.at("pictures", "").at("used", "").as_int(""), 2);
    return answer.at("text", "").at("source", "").as_string("");
  };
  const std::string prompts = folder_.path("prompts.txt");
  std::ofstream(prompts) << "What is this?\n";
  EXPECT_EQ(source({"--prompts", prompts}), "file");
  EXPECT_EQ(source({"--no-random-text"}), "none");
  EXPECT_EQ(source({"--text-len", "3", "--seed", "7"}), "random");
}

TEST(CobraEvalUsage, SaysWhatIsMissing) {
  expect_error(eval(kModel, {"--images", kPictures}), 2, "expected --against MODEL");
  expect_error(eval(kModel, {"--against", kModel}), 2, "expected --images DIR");
  expect_error(eval(kModel, {"--images", kPictures, "--against", kModel, "--perplexity", "x"}), 2,
               "--perplexity");
  expect_error(eval(kModel, {"--images", "nowhere", "--against", kModel}), 1, "nowhere");
  expect_error(eval(kModel, {"--images", kPictures, "--against", "examples/tiny-mamba1"}), 1,
               "examples/tiny-mamba1");
}

TEST(CobraEvalUsage, BothHelpsKnowOfIt) {
  const Ended general = scute_program({"eval", "--help"});
  EXPECT_THAT(general.out, HasSubstr("Cobra"));
  const Ended own = eval(kModel, {"--help"});
  EXPECT_EQ(own.code, 0);
  EXPECT_THAT(own.out,
              AllOf(HasSubstr("--images"), HasSubstr("--against"), Not(HasSubstr("--perplexity"))));
  const size_t example = own.out.find("  scute eval ");
  ASSERT_NE(example, std::string::npos);
  const Ended ran = shell(own.out.substr(example));
  EXPECT_EQ(ran.code, 0) << ran.err;
}

Json generated(Words more) {
  Words words{"generate", kModel, "--max-tokens", "6", "--json", "--quiet"};
  words.insert(words.end(), more.begin(), more.end());
  return answer_of(scute_program(words));
}

TEST(CobraGenerate, AnswersAboutAPicture) {
  const Json answer =
      generated({"--image", kPictures + "/1_wide.png", "--prompt", "What is <image> this?"});
  EXPECT_EQ(answer.at("prompt", "").as_string(""),
            "<|user|>\nWhat is  this?<|endoftext|>\n<|assistant|>\n");
  EXPECT_EQ(answer.at("image_tokens", "").as_int(""), 16);
  EXPECT_EQ(answer.at("options", "").at("temperature", "").as_double(""), 0);
  EXPECT_LE(answer.at("ids", "").as_array("").size(), 6U);
}

TEST(CobraGenerate, IsGreedyUntilToldOtherwise) {
  const Words base{"--prompt", "Hi"};
  EXPECT_EQ(generated(base).at("ids", ""),
            generated({"--prompt", "Hi", "--seed", "9"}).at("ids", ""));
  for (const Words& more : {Words{"--temperature", "5"}, Words{"--top-p", "0.99"}}) {
    Words words{"--prompt", "Hi", "--seed", "9"};
    words.insert(words.end(), more.begin(), more.end());
    EXPECT_GT(generated(words).at("options", "").at("temperature", "").as_double(""), 0);
  }
  EXPECT_NE(generated(base).at("ids", ""),
            generated({"--prompt", "Hi", "--seed", "9", "--temperature", "5"}).at("ids", ""));
}

TEST(CobraGenerate, StreamsItsText) {
  const Ended ended = scute_program({"generate", kModel, "--image", kPictures + "/5_true.bmp",
                                     "--prompt", "Hi", "--max-tokens", "4"});
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, Not(IsEmpty()));
  EXPECT_THAT(ended.err,
              AllOf(HasSubstr("16 vectors before the prompt"), HasSubstr("after a prompt of 18")));
}

TEST(CobraGenerate, RefusesWhatIsNoPicture) {
  expect_error(
      scute_program({"generate", kModel, "--image", kModel + "/config.json", "--prompt", "x"}), 1,
      "config.json: expected a JPEG, PNG, WebP or BMP");
  expect_error(
      scute_program({"generate", kModel, "--image", kPictures + "/6_broken.png", "--prompt", "x"}),
      1, "6_broken.png");
  expect_error(scute_program({"generate", "examples/tiny-mamba1", "--image",
                              kPictures + "/1_wide.png", "--prompt", "x"}),
               2, "--image: a flag of Cobra");
  expect_error(scute_program({"generate", kModel, "--image", kPictures + "/1_wide.png"}), 2,
               "--prompt");
}

TEST(CobraBench, MeasuresSmallTowersInEveryForm) {
  const std::vector<std::pair<Words, std::string>> forms{
      {{}, "f32"}, {{"--compute", "bf16"}, "bf16"}, {{"--int8"}, "int8"}};
  std::vector<int64_t> weights;
  for (const auto& form : forms) {
    Words words{"bench",  "--random", "tiny-cobra-vision", "--pictures", "3", "--batches", "2",
                "--json", "--quiet"};
    words.insert(words.end(), form.first.begin(), form.first.end());
    const Json answer = answer_of(scute_program(words));
    EXPECT_EQ(answer.at("compute", "").as_string(""), form.second);
    const double seconds = answer.at("seconds", "").as_double("");
    EXPECT_GT(seconds, 0);
    EXPECT_NEAR(answer.at("pictures_per_second", "").as_double("") * seconds, 6, 1e-6);
    EXPECT_GT(answer.at("tower_pictures_per_second", "").as_double(""), 6 / seconds);
    EXPECT_GT(answer.at("peak_bytes", "").as_int(""), answer.at("weight_bytes", "").as_int(""));
    for (const char* part :
         {"patch_embed", "qkv_attention", "proj_norm", "fc1_gelu", "fc2_norm", "projector"}) {
      EXPECT_GT(answer.at("processor_seconds", "").at(part, "").as_double(""), 0) << part;
    }
    weights.push_back(answer.at("weight_bytes", "").as_int(""));
  }
  EXPECT_GT(weights[0], weights[1]);
  EXPECT_GT(weights[1], weights[2]);
}

TEST(CobraBench, NamesAllSizes) {
  expect_error(scute_program({"bench", "--random", "cobra+3b-visio"}), 2,
               "did you mean cobra+3b-vision?");
  const Ended help = scute_program({"bench", "--random", "cobra+3b-vision", "--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_THAT(help.out, AllOf(HasSubstr("--int8"), HasSubstr("--pictures")));
}

}  // namespace
}  // namespace scute::cobra_cli_eval_test
