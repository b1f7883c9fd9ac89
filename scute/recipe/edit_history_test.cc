#include "scute/recipe/edit_history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "scute/base/error.h"

namespace scute::edit_history_test {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

Json parsed(const char* text) { return Json::parse(text, "test"); }

TEST(EditHistory, WhatChangedIsTakenBackInEveryByte) {
  const std::pair<const char*, const char*> kCases[] = {
      {R"({"a":1,"b":{"lo":-1.5,"hi":2}})", R"({"a":1,"b":{"lo":-3,"hi":2,"remark":"x"}})"},
      {R"({"edits":[],"z":1})", R"({"edits":[{"what":"x"}],"z":1})"},
      {R"({"z":1})", R"({"z":1,"edits":["x"]})"},
      {R"({"edits":["x"]})", R"({"edits":["x","y","z"]})"},
      {R"({"lost":1,"a":2})", R"({"a":2})"},
      {R"({"b":1,"a":2})", R"({"a":2,"b":1})"},
      {R"({"a":[1,2]})", R"({"a":[2,1]})"},
      {R"({"a":[1,2]})", R"({"a":[1]})"},
      {R"({"a":{"x":1}})", R"({"a":7})"},
      {R"({"s/t~u":{"":1,"~1":2}})", R"({"s/t~u":{"":3,"~1":4}})"},
      {R"({"a":"short","b":null})", R"({"a":"other","b":0})"},
      {R"({"a":1})", R"({"a":1})"},
      {"null", R"({"a":1})"}};
  for (const auto& [before, after] : kCases) {
    const Json changes = changes_between(parsed(before), parsed(after));
    Json document = parsed(after);
    // As it comes from a file.
    take_back_changes(document, parsed(changes.dump().c_str()), "f");
    EXPECT_EQ(document.dump(), parsed(before).dump()) << changes.dump();
  }
  EXPECT_EQ(changes_between(parsed("{\"a\":1}"), parsed("{\"a\":1}")).dump(), "{}");
}

TEST(EditHistory, WhatAnotherToolChangedSinceIsNotOverwritten) {
  const Json changes =
      changes_between(parsed(R"({"s":{"hi":2},"edits":[]})"),
                      parsed(R"({"s":{"hi":3,"why":"edited"},"edits":["x"],"new":{"a":1}})"));
  for (const auto& [now, hint] :
       {std::pair{R"({"s":{"hi":4,"why":"edited"},"edits":["x"],"new":{"a":1}})",
                  "f: /s/hi: expected what the edit left there, 3, found 4"},
        {R"({"s":{"hi":3,"why":"other"},"edits":["x"],"new":{"a":1}})", "f: /s/why"},
        {R"({"s":{"hi":3,"why":"edited"},"edits":["x","y"],"new":{"a":1}})", "f: /edits"},
        {R"({"s":{"hi":3,"why":"edited"},"edits":["x"],"new":{"a":2}})", "f: /new"},
        {R"({"s":{"hi":3},"edits":["x"],"new":{"a":1}})", "f: /s/why"},
        {R"({"edits":["x"],"new":{"a":1}})", "f: /s/hi"}}) {
    Json document = parsed(now);
    EXPECT_THAT([&] { take_back_changes(document, changes, "f"); },
                ThrowsMessage<Error>(HasSubstr(hint)))
        << now;
  }
  // What the edit did not touch may have changed.
  Json document =
      parsed(R"({"mine":0,"s":{"hi":3,"comment":"c","why":"edited"},"edits":["x"],"new":{"a":1}})");
  take_back_changes(document, changes, "f");
  EXPECT_EQ(document.dump(), R"({"mine":0,"s":{"hi":2,"comment":"c"},"edits":[]})");
}

TEST(EditHistory, TensorsComeBackInTheirOwnType) {
  const std::vector<f16> halves{{0x3c01}, {0x1234}};
  const std::vector<float> floats{0.1F, 3e-30F};
  const Tensor before = Tensor::of<f16>({2, 1}, halves), after = Tensor::of<float>({2, 1}, floats);
  const Json change = tensor_change(before, after);
  const Tensor back = taken_back(change, after, "t");
  EXPECT_EQ(back.dtype(), DType::f16);
  EXPECT_EQ(back.shape(), after.shape());
  EXPECT_TRUE(std::ranges::equal(back.bytes(), before.bytes()));
  const Tensor other = Tensor::of<float>({2, 1}, std::vector<float>{0.1F, 4e-30F});
  EXPECT_THAT([&] { taken_back(change, other, "t"); },
              ThrowsMessage<Error>(HasSubstr("changed since by another tool")));
  for (const auto& [key, value] :
       {std::pair{"before", "00zz0000"}, {"before", "00"}, {"type", "I8"}}) {
    Json broken = change;
    broken[key] = value;
    EXPECT_THROW(taken_back(broken, after, "t"), Error) << value;
  }
}

TEST(EditHistory, StepsAreAListAndTheLastLeavesNone) {
  Json recipe = parsed(R"({"edits":[]})");
  EditStep step;
  step.documents["plan.json"] = parsed(R"({"/a":{"before":1,"after":2}})");
  step.tensors.push_back(
      {"m.scale", "m:input", "vision/dino", "scale", parsed(R"({"before":"00"})")});
  add_step(recipe, step, "r");
  add_step(recipe, {}, "r");
  EXPECT_EQ(step_count(recipe, "r"), 2);
  EXPECT_TRUE(remove_step(recipe, "r").documents.empty());
  const EditStep first = remove_step(recipe, "r");
  EXPECT_EQ(first.documents.at("plan.json"), step.documents.at("plan.json"));
  EXPECT_EQ(first.tensors.at(0).folder, "vision/dino");
  EXPECT_EQ(recipe.dump(), R"({"edits":[]})");
  EXPECT_THAT([&] { remove_step(recipe, "r"); },
              ThrowsMessage<Error>(HasSubstr("r: expected an edit that can be taken back")));
  recipe["edits"].push_back("of an older scute");
  EXPECT_THAT([&] { remove_step(recipe, "r"); }, ThrowsMessage<Error>(HasSubstr("older scute")));
}

/// A recipe comes with a model from anywhere: what it names stays in the folder.
TEST(EditHistory, NamesOutsideOfTheFolderAreRefused) {
  for (const char* file : {"../plan.json", "/etc/passwd", "llm/../../plan.json"}) {
    Json recipe = Json::object();
    EditStep step;
    step.documents[file] = Json::object();
    add_step(recipe, step, "r");
    EXPECT_THAT([&] { remove_step(recipe, "r"); },
                ThrowsMessage<Error>(HasSubstr("names of files in the folder")));
    Json tensors = Json::object();
    EditStep other;
    other.tensors.push_back({"t", "s", file, "n", Json::object()});
    add_step(tensors, other, "r");
    EXPECT_THROW(remove_step(tensors, "r"), Error);
  }
  for (const char* text : {R"({"undo":1})", R"({"undo":[1]})", R"({"undo":[{}]})",
                           R"({"undo":[{"sites":[],"documents":[],"tensors":{}}]})"}) {
    Json broken = parsed(text);
    EXPECT_THROW(remove_step(broken, "r"), Error) << text;
  }
}

}  // namespace
}  // namespace scute::edit_history_test
