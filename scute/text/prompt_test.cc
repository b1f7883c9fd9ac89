#include "scute/text/prompt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scute/base/error.h"

namespace scute {
namespace {

using ::testing::HasSubstr;

std::string message_of(auto&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Prompt, ZephyrWrapsTurnsAsItWasTrained) {
  Prompt prompt(PromptStyle::zephyr);
  prompt.add_human("What is it?");
  EXPECT_EQ(prompt.text(), "<|user|>\nWhat is it?<|endoftext|>\n<|assistant|>\n");
  prompt.add_assistant("A cat.");
  prompt.add_human("Sure?");
  prompt.add_assistant("");
  EXPECT_EQ(prompt.text(),
            "<|user|>\nWhat is it?<|endoftext|>\n<|assistant|>\nA cat.<|endoftext|>"
            "\n<|user|>\nSure?<|endoftext|>\n<|assistant|>\n <|endoftext|>");
  EXPECT_EQ(prompt.turns(), 4u);
}

TEST(Prompt, PlainWrapsTurnsAsInAndOut) {
  Prompt prompt(PromptStyle::plain);
  prompt.add_human("a");
  prompt.add_assistant("b");
  prompt.add_human("c");
  EXPECT_EQ(prompt.text(), "In: a\nOut: b<|endoftext|>\nIn: c\nOut: ");
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

TEST(Prompt, TurnsAlternate) {
  EXPECT_THAT(message_of([] { Prompt(PromptStyle::zephyr).add_assistant("x"); }),
              HasSubstr("begin with the human"));
  Prompt prompt(PromptStyle::zephyr);
  prompt.add_human("x");
  const std::string before = prompt.text();
  EXPECT_THAT(message_of([&] { prompt.add_human("y"); }), HasSubstr("second human turn"));
  EXPECT_EQ(prompt.text(), before);
  prompt.add_assistant("z");
  EXPECT_THAT(message_of([&] { prompt.add_assistant("z"); }), HasSubstr("second answer"));
}

TEST(Prompt, StyleFollowsTheLanguageModelsName) {
  EXPECT_EQ(prompt_style("mamba-2.8b-zephyr"), PromptStyle::zephyr);
  EXPECT_EQ(prompt_style("xiuyul/Mamba-2.8B-Zephyr"), PromptStyle::zephyr);
  EXPECT_EQ(prompt_style("mamba-2.8b-slimpj"), PromptStyle::plain);
  EXPECT_EQ(prompt_style("tiny-mamba1"), PromptStyle::plain);
}

}  // namespace
}  // namespace scute
