#include "scute/cobra/generate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "scute/base/error.h"
#include "scute/evaluate/generate.h"
#include "scute/io/safetensors.h"

namespace scute::generate_test {
namespace {

using testing::HasSubstr;
using Senses = CobraSpeaker::Senses;

const std::string kFolder = "../shared/models/tiny-cobra";
const std::string kPictures = "../shared/images";
const GenerateOptions kGreedy{.sampling = {.temperature = 0}, .max_tokens = 8};

class CobraAnswers : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(kFolder)) GTEST_SKIP() << "SKIPPED: ../shared not present";
    description_ = describe_cobra(kFolder);
  }
  CobraDescription description_;
};

TEST_F(CobraAnswers, FirstTokenIsTheLikeliestOfTheGoldenLogits) {
  std::map<std::string, Tensor> golden;
  for (NamedTensor& named : read_safetensors(kFolder + "/golden.safetensors").tensors) {
    golden.emplace(std::move(named.name), std::move(named.tensor));
  }
  const CobraSpeaker speaker(description_, Compute::f32, Senses::pictures);
  const auto ids = golden.at("text_ids").matrix<int32_t>();
  const auto logits = golden.at("logits_last").matrix<float>();
  const std::vector<std::string> paths = list_pictures(kPictures);
  ASSERT_EQ(std::ssize(paths), ids.rows);
  for (int64_t i = 0; i < ids.rows; ++i) {
    const Tensor picture = speaker.look(read_picture(paths[static_cast<size_t>(i)]));
    EXPECT_EQ(picture.shape(), (Shape{16, 256}));
    const std::span<const int32_t> text(ids.row(i), static_cast<size_t>(ids.cols));
    const float* row = logits.row(i);
    EXPECT_EQ(generate(speaker.language(), picture.matrix<float>(), text, kGreedy).ids.front(),
              std::max_element(row, row + logits.cols) - row)
        << paths[static_cast<size_t>(i)];
  }
}

TEST_F(CobraAnswers, DependOnThePicture) {
  const CobraSpeaker speaker(description_, Compute::f32, Senses::pictures);
  const std::vector<int32_t> one{5};
  const auto answer = [&](const char* name) {
    const Tensor picture = speaker.look(read_picture(kPictures + "/" + name));
    return generate(speaker.language(), picture.matrix<float>(), one, kGreedy).ids;
  };
  EXPECT_EQ(answer("dune.jpg"), answer("dune.jpg"));
  const std::vector<std::vector<int32_t>> all{answer("dune.jpg"), answer("aqua.jpg"),
                                              answer("blinds.png"),
                                              generate(speaker.language(), one, kGreedy).ids};
  EXPECT_TRUE(std::ranges::any_of(all, [&](const auto& ids) { return ids != all.front(); }));
}

TEST_F(CobraAnswers, TextAloneNeedsNoTowers) {
  const CobraSpeaker whole(description_, Compute::f32, Senses::pictures);
  const CobraSpeaker deaf(description_, Compute::f32, Senses::text);
  const std::vector<int32_t> ids{7, 1, 300};
  EXPECT_EQ(generate(deaf.language(), ids, kGreedy).ids,
            generate(whole.language(), ids, kGreedy).ids);
  EXPECT_THROW(deaf.look(read_picture(kPictures + "/dune.jpg")), Error);
}

TEST_F(CobraAnswers, ClipOfTheTextIsKeptWithoutTowers) {
  CobraDescription clipped = description_;
  clipped.ranges["llm"] = {-0.01F, 0.01F};
  clipped.ranges["vision.dino"] = {-1, 1};  // of what is not loaded
  const std::vector<int32_t> ids{7, 1, 300};
  const auto answer = [&](const CobraDescription& model, Senses senses) {
    return generate(CobraSpeaker(model, Compute::f32, senses).language(), ids, kGreedy).ids;
  };
  EXPECT_EQ(answer(clipped, Senses::text), answer(clipped, Senses::pictures));
  EXPECT_NE(answer(clipped, Senses::text), answer(description_, Senses::text));
}

TEST_F(CobraAnswers, PromptIsWhatTheModelWasTrainedOn) {
  const auto tokenizer = load_tokenizer(description_.language);
  ASSERT_TRUE(tokenizer);
  const CobraPrompt prompt = cobra_prompt(description_, *tokenizer, " What is <image> this? ");
  EXPECT_THAT(prompt.text, HasSubstr("What is  this?"));
  EXPECT_EQ(prompt.ids, tokenizer->encode(prompt.text));
  EXPECT_EQ(prompt.cut, 0);
  CobraDescription zephyr = description_;
  zephyr.language_id = "mamba-2.8b-zephyr";
  EXPECT_EQ(cobra_prompt(zephyr, *tokenizer, "Hi").text,
            "<|user|>\nHi<|endoftext|>\n<|assistant|>\n");
}

TEST_F(CobraAnswers, LongPromptIsCutAtTheModelsLength) {
  const auto tokenizer = load_tokenizer(description_.language);
  ASSERT_TRUE(tokenizer);
  description_.text_length = 3;
  const CobraPrompt prompt = cobra_prompt(description_, *tokenizer, "What is on this picture?");
  const auto all = tokenizer->encode(prompt.text);
  EXPECT_EQ(prompt.ids, std::vector<int32_t>(all.begin(), all.begin() + 3));
  EXPECT_EQ(prompt.cut, std::ssize(all) - 3);
}

}  // namespace
}  // namespace scute::generate_test
