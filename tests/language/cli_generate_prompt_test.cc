// What scute generate puts before a prompt, and what it refuses to.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "scute/base/json.h"
#include "scute/io/file.h"
#include "tests/program.h"

namespace scute::cli_generate_prompt_test {
namespace {

using testing::HasSubstr;

constexpr const char* kWords = "examples/tiny-mamba1";

/// `model` goes on with a few words; its --json answer.
Json continued(const std::string& model, const std::string& special, const std::string& most) {
  const Ended ended =
      scute_program({"generate", model, "--prompt", "The sea was calm", "--max-tokens", most,
                     "--special-tokens", special, "--seed", "3", "--json", "-q"});
  EXPECT_EQ(ended.code, 0) << ended.err;
  return Json::parse(ended.out, "answer");
}

TEST(GeneratePrompt, BeginsWithTheTokenizersSpecialTokensWhenAskedFor) {
  const TemporaryFolder folder;
  const std::string model = folder.path("model"), file = model + "/tokenizer.json";
  std::filesystem::copy(kWords, model);
  Json tokenizer = Json::parse(read_text(file), file);
  tokenizer["post_processor"] = Json::parse(
      R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
          {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
          "special_tokens": {"<s>": {"id": "<s>", "ids": [65], "tokens": ["<s>"]},
                             "</s>": {"id": "</s>", "ids": [66], "tokens": ["</s>"]}}})",
      "test");
  std::filesystem::remove(file);
  std::ofstream(file) << tokenizer.dump();
  const Json without = continued(model, "off", "8"), with = continued(model, "on", "8");
  EXPECT_EQ(with.at("prompt_tokens", "").as_int(""), without.at("prompt_tokens", "").as_int("") + 1)
      << "the text goes on, so its last token is left out";
  EXPECT_NE(with.at("text", "").as_string(""), without.at("text", "").as_string(""));
  EXPECT_TRUE(with.at("options", "").at("special_tokens", "").as_bool(""));
  EXPECT_EQ(without.at("options", "").find("special_tokens"), nullptr);
  EXPECT_EQ(continued(model, "on", "5000").at("stopped", "").as_string(""), "end-of-text")
      << "what ends a text is known all the same";
}

TEST(GeneratePrompt, SpecialTokensThatNoFileNamesAreAnError) {
  const Ended none =
      scute_program({"generate", kWords, "--prompt", "The sea", "--special-tokens", "on"});
  EXPECT_EQ(none.code, 1);
  EXPECT_THAT(none.err, HasSubstr("expected a post_processor that adds special tokens"));
}

TEST(GeneratePrompt, AChatTemplateIsRefusedWithWhatToDo) {
  const Ended ended = scute_program({"generate", kWords, "--prompt", "The sea", "--chat"});
  EXPECT_EQ(ended.code, 2);
  EXPECT_THAT(ended.err, HasSubstr("--chat: expected a prompt as the model reads it"));
  EXPECT_THAT(ended.err, HasSubstr("Write the turns with their tokens as the template would"));
  EXPECT_EQ(std::count(ended.err.begin(), ended.err.end(), '\n'), 1) << ended.err;
}

}  // namespace
}  // namespace scute::cli_generate_prompt_test
