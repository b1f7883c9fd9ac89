#include "scute/text/prompt.h"

#include <gtest/gtest.h>

namespace scute::prompt_test {
namespace {

TEST(Prompt, IsWrappedAsTheModelWasTrained) {
  EXPECT_EQ(first_prompt(PromptStyle::zephyr, "What is it?"),
            "<|user|>\nWhat is it?<|endoftext|>\n<|assistant|>\n");
  EXPECT_EQ(first_prompt(PromptStyle::plain, "a"), "In: a\nOut: ");
}

TEST(Prompt, TakesOutThePicturesPlaceAndWhiteSpaceAtTheEnds) {
  const auto inside = [](std::string_view message) {
    const std::string text = first_prompt(PromptStyle::plain, message);
    return text.substr(4, text.size() - 4 - std::string_view("\nOut: ").size());
  };
  EXPECT_EQ(inside("<image>\n What is it? \t"), "What is it?");
  EXPECT_EQ(inside("a<image>b <image>"), "ab");
  // After the deletion, once: what the two halves form is not looked at again.
  EXPECT_EQ(inside("<im<image>age>"), "<image>");
  EXPECT_EQ(inside("\xe3\x80\x80x\xc2\xa0\x1f"), "x");  // ideographic and no-break space, US
  EXPECT_EQ(inside("<image>"), "");
  EXPECT_EQ(inside("\xff"), "\xef\xbf\xbd");  // as the tokenizer reads what is no UTF-8
}

TEST(Prompt, StyleFollowsTheLanguageModelsName) {
  EXPECT_EQ(prompt_style("mamba-2.8b-zephyr"), PromptStyle::zephyr);
  EXPECT_EQ(prompt_style("xiuyul/Mamba-2.8B-Zephyr"), PromptStyle::zephyr);
  EXPECT_EQ(prompt_style("mamba-2.8b-slimpj"), PromptStyle::plain);
  EXPECT_EQ(prompt_style("tiny-mamba1"), PromptStyle::plain);
}

}  // namespace
}  // namespace scute::prompt_test
