// What every verb shares: version, errors, signals.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <signal.h>

#include <chrono>
#include <thread>

#include "cli/doctor.h"
#include "scute/base/json.h"
#include "tests/program.h"

namespace scute::cli_program_test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

TEST(Program, VersionSaysCommitCompilerAndInstructionSets) {
  EXPECT_THAT(
      scute_program({"--version"}).out,
      testing::MatchesRegex("scute [0-9.]+( \\(commit [0-9a-f]+\\))?\ncompiler +(GCC|Clang) "
                            "[^\n]+\ninstruction sets [A-Z0-9_]+, [^\n]+\n"));
}

TEST(Program, WithJsonAnErrorIsAnObjectToo) {
  for (const auto& [words, code] :
       {std::pair<std::vector<std::string>, int>{{"eval", "nowhere", "--json"}, 1},
        {{"collect", "examples/tiny-mamba1", "--json", "--nope"}, 2}}) {
    const Ended ended = scute_program(words);
    EXPECT_EQ(ended.code, code);
    const Json error = Json::parse(ended.err, "standard error");
    EXPECT_EQ(error.at("exit_code", "").as_int(""), code);
    EXPECT_THAT(error.at("error", "").as_string(""), HasSubstr(code == 1 ? "nowhere" : "--nope"));
  }
}

TEST(Program, ASignalEndsAnyVerbWithItsCodeAndAWord) {
  Child child({"bench", "--random", "mamba-130m", "--quiet"});
  std::this_thread::sleep_for(std::chrono::milliseconds(700));  // it takes tens of seconds
  child.send(SIGINT);
  const auto sent = std::chrono::steady_clock::now();
  const Ended ended = child.wait();
  EXPECT_LT(std::chrono::steady_clock::now() - sent, std::chrono::seconds(2));
  EXPECT_EQ(ended.code, 130);
  EXPECT_THAT(ended.err, StartsWith("scute: interrupted"));
}

TEST(Program, ColoursAreForTerminalsAndForThoseWhoAsk) {
  const std::string line = "scute eval nowhere";
  EXPECT_THAT(shell(line).err, StartsWith("scute: error: "));
  for (const char* how : {" --color always", " --color=always"}) {
    EXPECT_THAT(shell("NO_COLOR=1 " + line + how).err, StartsWith("\x1b[31mscute: error:\x1b[0m "));
  }
  // script gives it a terminal.
  const auto on_terminal = [&](const std::string& words) {
    return shell("script -qec '" + words + "' /dev/null </dev/null").out;
  };
  EXPECT_THAT(on_terminal(line), HasSubstr("\x1b[31m"));
  EXPECT_THAT(on_terminal("NO_COLOR=1 " + line), testing::Not(HasSubstr("\x1b[")));
  EXPECT_THAT(on_terminal(line + " --color never"), testing::Not(HasSubstr("\x1b[")));
  EXPECT_THAT(shell("scute doctor examples/tiny-mamba1 --color always").out,
              StartsWith("\x1b[32mok  \x1b[0m"));
  EXPECT_EQ(shell(line + " --color sometimes").code, 2);
  EXPECT_EQ(shell("scute sites examples/tiny-mamba1 --color").code, 2);
}

TEST(Program, FilesInTheWrongPlaceAreCalledWhatTheyAre) {
  const TemporaryFolder folder;
  const std::string model = "examples/tiny-mamba1", statistics = folder.path("s.safetensors");
  const std::string text = "examples/text/calibration.jsonl";
  ASSERT_EQ(scute_program({"collect", model, "--data", text, "--samples", "1", "--seqlen", "16",
                           "--quiet", "--out", statistics})
                .code,
            0);
  const auto expect = [](const std::vector<std::string>& words, const std::string& hint) {
    const Ended ended = scute_program(words);
    EXPECT_NE(ended.code, 0);
    EXPECT_THAT(ended.err, HasSubstr(hint));
  };
  expect({"collect", text, "--data", model, "--out", folder.path("x.safetensors")},
         "JSON lines; did you mean --data FILE?");
  expect({"collect", "examples/text/heldout.txt", "--data", model, "--out",
          folder.path("x.safetensors")},
         "text; did you mean --data FILE?");
  expect({"eval", statistics, "--perplexity", text}, "collected; did you mean --stats FILE");
  expect({"trace", model + "/model.safetensors"}, "a file; give its folder, " + model);
  const std::string found =
      "expected a plan that scute decide wrote (JSON), found statistics that "
      "scute collected";
  expect({"quantize", model, "--plan", statistics, "--out", folder.path("q")}, found);
  expect({"report", "--stats", statistics, "--plan", statistics, "--out", folder.path("r.html")},
         found);
}

TEST(Doctor, NamesTheTokenizerThatAModelWithoutOneTakes) {
  const auto words = [](int64_t rows) {
    cli::Findings findings;
    findings.note_tokenizer(nullptr, rows);
    cli::Output out(cli::Output::To::text);
    EXPECT_EQ(findings.show(false, out), 0);
    return out.text();
  };
  for (const int64_t rows : {50277, 50280, 50288}) {
    EXPECT_THAT(words(rows), HasSubstr("GPT-NeoX-20B")) << rows;
  }
  EXPECT_THAT(words(32000), testing::Not(HasSubstr("NeoX")));
  EXPECT_THAT(words(32000), HasSubstr("docs/getting_models.md"));
}

}  // namespace
}  // namespace scute::cli_program_test
