// export --gguf from outside, and GGUF files where a model is expected.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "cli/verbs.h"
#include "scute/io/file.h"
#include "scute/language/gguf/test_gguf.h"
#include "tests/program.h"

namespace scute::cli_gguf_test {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;
using testing_gguf::read_gguf;

TEST(CliGguf, SaysWhatItWroteAndHowItDiffers) {
  const TemporaryFolder folder;
  const std::string out = folder.path("tiny.gguf");
  const Ended ended =
      scute_program({"export", "examples/tiny-mamba1", "--gguf", "q8_0", "--out", out, "--json"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  const Json answer = Json::parse(ended.out, "answer");
  EXPECT_EQ(answer.at("architecture", "").as_string(""), "mamba");
  EXPECT_EQ(answer.at("type", "").as_string(""), "q8_0");
  EXPECT_EQ(answer.at("bytes", "").as_int(""), file_size(out));
  const auto file = read_gguf(out);
  EXPECT_EQ(std::ssize(file.tensors), answer.at("tensors", "").as_int(""));
  EXPECT_EQ(file.key<std::string>("general.name"), "tiny-mamba1");
  EXPECT_EQ(file.key<std::string>("tokenizer.ggml.model"), "gpt2");
  EXPECT_EQ(file.key<std::string>("tokenizer.ggml.pre"), "gpt-2");
  EXPECT_EQ(file.key<std::vector<std::string>>("tokenizer.ggml.tokens").size(), 4096U);
  EXPECT_THAT(ended.err, HasSubstr("its normalizer (NFC) has no place in GGUF"));
  const Ended quiet =
      scute_program({"export", "examples/tiny-mamba1", "--gguf", "f32", "--out", out, "-q"});
  EXPECT_EQ(quiet.code, 0) << quiet.err;
  EXPECT_EQ(quiet.err, "");
  EXPECT_THAT(quiet.out, AllOf(HasSubstr("architecture mamba"), Not(HasSubstr("stayed f32"))));
}

TEST(CliGguf, OfALowBitModelIsItsDequantizedWeights) {
  const TemporaryFolder folder;
  const auto run = [](const std::vector<std::string>& words) {
    const Ended ended = scute_program(words);
    EXPECT_EQ(ended.code, 0) << ended.err;
  };
  run({"quantize", "examples/tiny-mamba2", "--w-bits", "4", "--a-bits", "16", "--out",
       folder.path("low"), "-q"});
  run({"export", folder.path("low"), "--dequantized", "--out", folder.path("plain")});
  run({"export", folder.path("low"), "--gguf", "f32", "--out", folder.path("a.gguf")});
  run({"export", folder.path("plain"), "--gguf", "f32", "--out", folder.path("b.gguf")});
  const auto low = read_gguf(folder.path("a.gguf")), plain = read_gguf(folder.path("b.gguf"));
  ASSERT_EQ(low.order, plain.order);
  for (const auto& [name, tensor] : low.tensors) {
    EXPECT_EQ(tensor.bytes, plain.tensors.at(name).bytes) << name;
  }
}

TEST(CliGguf, RefusesInOneLine) {
  const TemporaryFolder folder;
  const std::string zamba = std::string(SCUTE_FAMILIES) + "/zamba2";
  const Ended unnamed =
      scute_program({"export", zamba, "--gguf", "f32", "--out", folder.path("z.gguf")});
  EXPECT_EQ(unnamed.code, 1);
  EXPECT_THAT(unnamed.err, AllOf(HasSubstr("zamba2: --gguf: expected one of the format's"),
                                 HasSubstr("granitehybrid"), HasSubstr("found zamba2")));
  EXPECT_EQ(std::ranges::count(unnamed.err, '\n'), 1);
  const auto wrong = [&](std::vector<std::string> words) {
    words.insert(words.begin(), "export");
    const Ended ended = scute_program(words);
    EXPECT_EQ(ended.code, 2) << ended.err;
    return ended.err;
  };
  const std::string model = "examples/tiny-mamba1", out = folder.path("a.gguf");
  EXPECT_THAT(wrong({model, "--gguf", "q5_1", "--out", out}),
              HasSubstr("--gguf: expected f32, bf16, q8_0 or q4_0, found q5_1"));
  EXPECT_THAT(wrong({model, "--gguf", "f32", "--out", folder.path("a.bin")}),
              HasSubstr("a name ending in .gguf"));
  EXPECT_THAT(wrong({"--gguf", "f32", "--out", out}), HasSubstr("expected MODEL"));
  EXPECT_THAT(wrong({model, "--random", "mamba-tiny", "--gguf", "f32", "--out", out}),
              HasSubstr("either MODEL or --random SIZE"));
  EXPECT_THAT(wrong({model, "--out", out}),
              HasSubstr("--dequantized (of low-bit models) or --gguf"));
  EXPECT_TRUE(folder.names().empty());
}

/// Also where the file is as scute wrote it.
TEST(CliGguf, GivenAsAModelIsNamedByEveryVerb) {
  const TemporaryFolder folder;
  const std::string file = folder.path("x.gguf");
  ASSERT_EQ(
      scute_program({"export", "--random", "mamba-tiny", "--gguf", "bf16", "--out", file}).code, 0);
  int tried = 0;
  for (const cli::Verb& verb : cli::verbs()) {
    const bool models = std::ranges::any_of(
        verb.forms, [](const auto& form) { return form.kind == ModelKind::language; });
    if (!models) continue;
    std::vector<std::string> words{std::string(verb.name)};
    if (verb.name == "sweep") words.emplace_back("--models");
    words.push_back(file);
    if (verb.name == "scales") words.insert(words.end(), {"--set", "a=1"});
    const Ended ended = scute_program(words);
    EXPECT_EQ(ended.code, 1) << verb.name;
    std::string said = ended.out + ended.err;  // doctor's findings are its answer, in columns
    std::ranges::replace(said, '\n', ' ');
    // Not std::ranges::unique: Clang 14 cannot read GCC 12's subrange.
    said.erase(
        std::unique(said.begin(), said.end(), [](char a, char b) { return a == ' ' && b == ' '; }),
        said.end());
    EXPECT_THAT(said,
                HasSubstr("found a GGUF file, llama.cpp's weights, which scute does not read"))
        << verb.name;
    ++tried;
  }
  EXPECT_GE(tried, 13);
  const Ended against = scute_program({"eval", "examples/tiny-mamba1", "--perplexity",
                                       "examples/text/heldout.txt", "--against", file});
  EXPECT_THAT(against.err, HasSubstr("a GGUF file"));
}

}  // namespace
}  // namespace scute::cli_gguf_test
