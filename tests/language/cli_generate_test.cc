// scute generate, and the figures of scute bench that it is measured by, from outside.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <signal.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <thread>

#include "cli/terminal/character_stream.h"
#include "scute/base/json.h"
#include "scute/io/file.h"
#include "scute/io/safetensors.h"
#include "scute/io/test_npy.h"
#include "scute/language/model_folder.h"
#include "tests/program.h"

namespace scute::cli_generate_test {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

constexpr const char* kModel = "examples/tiny-mamba1";
constexpr const char* kPrompt = "The sea was calm";

Ended generate_text(std::vector<std::string> more, const Surroundings& surroundings = {}) {
  std::vector<std::string> words{"generate", kModel};
  words.insert(words.end(), more.begin(), more.end());
  return scute_program(words, surroundings);
}

Json answer_of(const Ended& ended) {
  EXPECT_EQ(ended.code, 0) << ended.err;
  return Json::parse(ended.out, "answer");
}

std::vector<int32_t> ids_of(const Json& answer) {
  std::vector<int32_t> out;
  for (const Json& id : answer.at("ids", "").as_array("")) {
    out.push_back(static_cast<int32_t>(id.as_int("")));
  }
  return out;
}

double number(const Json& answer, const char* group, const char* key) {
  return answer.at(group, "").at(key, "").as_double("");
}

void expect_usage(const std::vector<std::string>& words, const std::string& hint) {
  const Ended ended = scute_program(words);
  EXPECT_EQ(ended.code, 2) << hint;
  EXPECT_THAT(ended.err, StartsWith("scute: error: "));
  EXPECT_THAT(ended.err, HasSubstr(hint));
  EXPECT_EQ(std::count(ended.err.begin(), ended.err.end(), '\n'), 1) << ended.err;
  EXPECT_EQ(ended.out, "");
}

TEST(CharacterStream, HoldsBackWhatIsNoWholeCharacterYet) {
  cli::CharacterStream stream;
  EXPECT_EQ(stream.add("a\xe2"), "a");
  EXPECT_EQ(stream.add("\x82"), "");
  EXPECT_EQ(stream.add("\xac-"), "\xe2\x82\xac-");  // the euro sign
  EXPECT_EQ(stream.add("\xf0\x9f\x98"), "");
  EXPECT_EQ(stream.add("\x80"), "\xf0\x9f\x98\x80");  // four bytes
  EXPECT_EQ(stream.finish(), "");
}

TEST(CharacterStream, BytesThatCannotBecomeACharacterAreReplacedAtOnce) {
  cli::CharacterStream stream;
  EXPECT_EQ(stream.add("\xff"), "\xef\xbf\xbd");
  EXPECT_EQ(stream.add("\x80z"), "\xef\xbf\xbdz");
  EXPECT_EQ(stream.add("\xe2\x82"), "");
  EXPECT_EQ(stream.add("z"), "\xef\xbf\xbdz");
  EXPECT_EQ(stream.add("z\xc3"), "z");
  EXPECT_EQ(stream.finish(), "\xef\xbf\xbd");
  EXPECT_EQ(stream.finish(), "");
}

TEST(Generate, GreedyTokensAreTheLikeliestOfAFullPass) {
  for (const std::string model : {"examples/tiny-mamba1", "examples/tiny-mamba2"}) {
    const Json answer = answer_of(scute_program(
        {"generate", model, "--prompt", kPrompt, "--max-tokens", "24", "--greedy", "--json"}));
    const auto ids = ids_of(answer);
    ASSERT_EQ(ids.size(), 24u);
    std::vector<int32_t> all = load_tokenizer(describe_model(model))->encode(kPrompt);
    const size_t prompt = all.size();
    EXPECT_EQ(answer.at("prompt_tokens", "").as_int(""), static_cast<int64_t>(prompt));
    all.insert(all.end(), ids.begin(), ids.end());

    const TemporaryFolder folder;
    const std::string file = folder.path("ids.npy"), out = folder.path("d.safetensors");
    write_npy(file, Tensor::of<int32_t>({static_cast<int64_t>(all.size())}, all));
    ASSERT_EQ(scute_program(
                  {"dump", model, "--ids", file, "--sites", "layer_0.in_proj:input", "--out", out})
                  .code,
              0);
    int found = 0;
    for (const NamedTensor& tensor : read_safetensors(out).tensors) {
      if (tensor.name != "logits") continue;
      ++found;
      const auto values = tensor.tensor.values<float>();
      const size_t vocabulary = values.size() / all.size();
      for (size_t i = 0; i < ids.size(); ++i) {
        const auto row = values.subspan((prompt + i - 1) * vocabulary, vocabulary);
        // Steps and a full pass may add in another order: 1e-3 is some 500 times the spacing of
        // floats at logits of 16 to 32.
        EXPECT_GE(row[static_cast<size_t>(ids[i])], *std::ranges::max_element(row) - 1e-3f) << i;
      }
    }
    EXPECT_EQ(found, 1);
  }
}

TEST(Generate, StreamsTheTextThatJsonHolds) {
  const std::vector<std::string> words{"--prompt", kPrompt, "--max-tokens", "50", "--seed", "3"};
  const Ended streamed = generate_text(words);
  ASSERT_EQ(streamed.code, 0) << streamed.err;
  EXPECT_THAT(streamed.err, HasSubstr("50 tokens after a prompt of 5, ended by max-tokens"));
  EXPECT_THAT(streamed.err, HasSubstr("tokens a second"));

  auto more = words;
  more.insert(more.end(), {"--json", "--quiet"});
  const Ended ended = generate_text(more);
  EXPECT_EQ(ended.err, "");
  const Json answer = answer_of(ended);
  EXPECT_EQ(streamed.out, answer.at("text", "").as_string("") + "\n");
  EXPECT_EQ(answer.at("text", "").as_string(""),
            load_tokenizer(describe_model(kModel))->decode(ids_of(answer)));
  EXPECT_EQ(answer.at("prompt", "").as_string(""), kPrompt);
  EXPECT_EQ(answer.at("stopped", "").as_string(""), "max-tokens");
  EXPECT_EQ(number(answer, "options", "seed"), 3);
  EXPECT_EQ(number(answer, "options", "temperature"), 1);
  EXPECT_GT(answer.at("tokens_per_second", "").as_double(""), 0);
  EXPECT_GE(answer.at("seconds", "").as_double(""),
            answer.at("seconds_to_first_token", "").as_double(""));
}

TEST(Generate, OptionsReachTheTokenSampler) {
  const auto ids = [](std::vector<std::string> more) {
    more.insert(more.end(), {"--prompt", kPrompt, "--max-tokens", "30", "--json", "-q"});
    return ids_of(answer_of(generate_text(more)));
  };
  const auto greedy = ids({"--greedy"});
  EXPECT_EQ(ids({"--temperature", "0", "--seed", "9"}), greedy);
  EXPECT_EQ(ids({"--top-k", "1"}), greedy);
  EXPECT_EQ(ids({"--top_p", "1e-9"}), greedy);
  EXPECT_EQ(ids({"--min-p", "1"}), greedy);
  EXPECT_EQ(ids({"--temperature", "1e-9"}), greedy);
  EXPECT_NE(ids({"--greedy", "--repetition-penalty", "3"}), greedy);
  const auto drawn = ids({});
  EXPECT_NE(drawn, greedy);
  EXPECT_EQ(ids({"--seed", "0"}), drawn);
  EXPECT_NE(ids({"--seed", "1"}), drawn);
}

TEST(Generate, ReadsThePromptFromAFileAsItIs) {
  const TemporaryFolder folder;
  const std::string file = folder.path("prompt.txt");
  std::ofstream(file) << kPrompt << "\n";
  const std::vector<std::string> words{"--max-tokens", "10", "--greedy", "--json", "-q"};
  auto from_file = words, typed = words;
  from_file.insert(from_file.end(), {"--prompt-file", file});
  typed.insert(typed.end(), {"--prompt", std::string(kPrompt) + "\n"});
  const Json answer = answer_of(generate_text(from_file));
  EXPECT_EQ(answer.at("prompt", "").as_string(""), std::string(kPrompt) + "\n");
  EXPECT_EQ(ids_of(answer), ids_of(answer_of(generate_text(typed))));
}

TEST(Generate, ReadsThePromptFromStandardInput) {
  const std::string words = " --max-tokens 10 --greedy -q";
  const Ended piped = shell("printf 'The sea was calm' | scute generate examples/tiny-mamba1 " +
                            std::string("--prompt -") + words);
  ASSERT_EQ(piped.code, 0) << piped.err;
  EXPECT_EQ(piped.out,
            shell("scute generate examples/tiny-mamba1 --prompt 'The sea was calm'" + words).out);
}

TEST(Generate, EndsAtTheTokensThatTheModelsFilesName) {
  const TemporaryFolder folder;
  std::filesystem::copy(kModel, folder.path("model"));
  const auto ids = [&](const std::string& more) {
    return ids_of(answer_of(scute_program({"generate", folder.path("model"), "--prompt", kPrompt,
                                           "--max-tokens", more, "--greedy", "--json", "-q"})));
  };
  const auto all = ids("6");
  ASSERT_EQ(all.size(), 6u);
  const auto write = [&](const char* name, const std::string& value) {
    std::string text = "{\"eos_token_id\": " + value + "}";
    if (std::string_view(name) == "config.json") {
      text = read_text(std::string(kModel) + "/config.json");
      text.replace(text.find('{'), 1, "{\"eos_token_id\": " + value + ",");
    }
    std::filesystem::remove(folder.path(std::string("model/") + name));
    std::ofstream(folder.path(std::string("model/") + name)) << text;
  };
  write("config.json", std::to_string(all[4]));
  EXPECT_EQ(ids("6").size(), 4u) << "the text is what comes before";
  write("generation_config.json", "[0, " + std::to_string(all[2]) + "]");
  EXPECT_EQ(ids("6").size(), 2u) << "generation_config.json counts first";
  write("generation_config.json", "null");
  EXPECT_EQ(ids("6").size(), 4u);
  write("generation_config.json", "4096");
  const Ended bad =
      scute_program({"generate", folder.path("model"), "--prompt", kPrompt, "--max-tokens", "6"});
  EXPECT_EQ(bad.code, 1);
  EXPECT_THAT(bad.err, HasSubstr("generation_config.json: eos_token_id: expected ids from 0 to "));
}

TEST(Generate, EndOfTextEndsItUnlessIgnored) {
  // The model has learned from short texts: one ends every few hundred tokens.
  const std::vector<std::string> words{"--prompt", kPrompt, "--max-tokens", "5000", "--json", "-q"};
  const Json answer = answer_of(generate_text(words));
  EXPECT_EQ(answer.at("stopped", "").as_string(""), "end-of-text");
  EXPECT_THAT(answer.at("text", "").as_string(""), Not(HasSubstr("<|endoftext|>")));
  auto more = words;
  const auto ended = ids_of(answer);
  more[3] = std::to_string(ended.size() + 2);
  more.push_back("--ignore-eos");
  const Json longer = answer_of(generate_text(more));
  EXPECT_EQ(longer.at("stopped", "").as_string(""), "max-tokens");
  EXPECT_THAT(longer.at("text", "").as_string(""), HasSubstr("<|endoftext|>"));
  auto ids = ids_of(longer);
  ASSERT_EQ(ids.size(), ended.size() + 2);
  ids.resize(ended.size());
  EXPECT_EQ(ids, ended);
}

TEST(Generate, AnInterruptionEndsItCleanly) {
  Ended ended;
  // How long loading takes is not known, and before it ends a signal ends the program as usual.
  for (int tenths = 3; tenths < 100; tenths *= 2) {
    Child child(
        {"generate", kModel, "--prompt", kPrompt, "--ignore-eos", "--max-tokens", "1000000000"});
    std::this_thread::sleep_for(std::chrono::milliseconds(100 * tenths));
    child.send(SIGINT);
    ended = child.wait();
    EXPECT_EQ(ended.code, 130);
    if (ended.err.find("ended by") != std::string::npos) break;
  }
  EXPECT_THAT(ended.err, HasSubstr("ended by interruption"));
  EXPECT_THAT(ended.out, EndsWith("\n"));
  EXPECT_GT(ended.out.size(), 1u);
}

TEST(Generate, StopsWhenNobodyReadsOrNobodyCanWrite) {
  const std::string endless = " --ignore-eos --max-tokens 1000000000 -q";
  const Ended ended =
      shell("scute generate examples/tiny-mamba1 --prompt 'The sea'" + endless + " | head -c 20");
  EXPECT_EQ(ended.code, 0);
  EXPECT_EQ(ended.err, "");
  EXPECT_EQ(ended.out.size(), 20u);
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "SKIPPED: no /dev/full";
  Surroundings full;
  full.standard_output = "/dev/full";
  const Ended refused = generate_text({"--prompt", "The sea", "-q"}, full);
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("standard output"));
}

TEST(Generate, BadValuesAreWrongUsage) {
  const auto with = [](std::vector<std::string> more) {
    std::vector<std::string> words{"generate", kModel};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  expect_usage(with({}), "--prompt TEXT or --prompt-file FILE");
  expect_usage(with({"--prompt", ""}), "at least one character");
  expect_usage(with({"--prompt", "a", "--prompt-file", "b"}), "found both");
  expect_usage(with({"--prompt", "a", "--max-tokens", "0"}), "--max-tokens");
  expect_usage(with({"--prompt", "a", "--temperature", "-1"}), "--temperature");
  expect_usage(with({"--prompt", "a", "--temperature", "nan"}), "--temperature");
  expect_usage(with({"--prompt", "a", "--top-k", "-1"}), "--top-k");
  expect_usage(with({"--prompt", "a", "--top-p", "0"}), "--top-p");
  expect_usage(with({"--prompt", "a", "--top-p", "1.5"}), "--top-p");
  expect_usage(with({"--prompt", "a", "--min-p", "2"}), "--min-p");
  expect_usage(with({"--prompt", "a", "--repetition-penalty", "0"}), "--repetition-penalty");
  expect_usage(with({"--prompt", "a", "--seed", "-1"}), "--seed");
}

TEST(Generate, BadFilesAreOneClearLine) {
  const TemporaryFolder folder;
  const std::string empty = folder.path("empty.txt");
  std::ofstream(empty) << "";
  const auto expect_failure = [](const Ended& ended, const std::string& part) {
    EXPECT_EQ(ended.code, 1);
    EXPECT_THAT(ended.err, StartsWith("scute: error: "));
    EXPECT_THAT(ended.err, HasSubstr(part));
    EXPECT_THAT(ended.out, IsEmpty());
  };
  expect_failure(generate_text({"--prompt-file", empty}), "empty.txt: expected text");
  expect_failure(generate_text({"--prompt-file", folder.path("none.txt")}), "none.txt");
  std::filesystem::copy_file(std::string(kModel) + "/config.json", folder.path("config.json"));
  expect_failure(scute_program({"generate", folder.path(), "--prompt", "a"}), "--tokenizer");
}

TEST(Bench, SizeAndLatenciesAddUp) {
  const Json answer = answer_of(
      scute_program({"bench", "--random", "mamba-tiny", "--size", "--ttft", "--tpot", "--ttlt",
                     "--prompt-len", "64", "--gen-len", "200", "--repeat", "3", "--json", "-q"}));
  // Two layers of 128 channels: 3 inputs of the convolution, 16 states each, 4 bytes.
  const Json& state = answer.at("size", "").at("state_bytes", "");
  EXPECT_EQ(state.at("convolution", "").as_int(""), 2 * 128 * 3 * 4);
  EXPECT_EQ(state.at("recurrent", "").as_int(""), 2 * 128 * 16 * 4);
  EXPECT_GT(answer.at("size", "").at("weight_bytes", "").at("total", "").as_int(""), 256 * 64 * 2);
  for (const char* name : {"ttft", "tpot", "ttlt"}) {
    EXPECT_GT(number(answer, name, "least_ms"), 0) << name;
    EXPECT_LE(number(answer, name, "least_ms"), number(answer, name, "median_ms")) << name;
    EXPECT_LE(number(answer, name, "median_ms"), number(answer, name, "most_ms")) << name;
    EXPECT_THAT(answer.at(name, "").at("definition", "").as_string(""), HasSubstr("64")) << name;
  }
  // 200 tokens after the prompt: an answer that left them out, or the prompt, would not be longer.
  EXPECT_GT(number(answer, "ttlt", "least_ms"), number(answer, "ttft", "least_ms"));
  EXPECT_GT(number(answer, "ttlt", "least_ms"), 20 * number(answer, "tpot", "least_ms"));
}

TEST(Bench, ShowsOnlyTheFiguresAskedForWithTheirDefinition) {
  const Ended ended = scute_program({"bench", kModel, "--ttft", "--prompt-len", "20", "--batch",
                                     "3", "--threads", "2", "--repeat", "2"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("3 sequences on 2 threads"));
  EXPECT_THAT(ended.out, HasSubstr("median of 2 from"));
  EXPECT_THAT(ended.out, HasSubstr("through 20 random tokens"));
  for (const char* other : {"tpot", "ttlt", "size", "histogram"}) {
    EXPECT_THAT(ended.out, Not(HasSubstr(std::string("\n") + other)));
  }
}

TEST(Bench, RatesAreTheFieldsAndHaveTheirWork) {
  const Json answer = answer_of(
      scute_program({"bench", "--random", "mamba-tiny", "-p", "64", "-n", "16", "--batch", "2",
                     "--repeat", "3", "--ttft", "--prompt-len", "64", "--json", "-q"}));
  EXPECT_EQ(answer.at("pp", "").at("name", "").as_string(""), "pp64");
  EXPECT_EQ(answer.at("tg", "").at("name", "").as_string(""), "tg16");
  for (const char* name : {"pp", "tg"}) {
    EXPECT_GT(number(answer, name, "tokens_per_second"), 0) << name;
    EXPECT_GE(number(answer, name, "standard_deviation"), 0) << name;
    EXPECT_EQ(answer.at(name, "").find("limit"), nullptr) << name;  // only with --roofline
  }
  // A prompt of the same length is the same work, whichever figure it gives; weights are read once,
  // and at each step.
  const auto of = [&](const char* name, const char* key) {
    return answer.at(name, "").at(key, "").as_int("");
  };
  EXPECT_EQ(of("pp", "bytes_read"), of("ttft", "bytes_read"));
  EXPECT_EQ(of("tg", "bytes_read"), 16 * of("pp", "bytes_read"));
  const auto products = [&](const char* name) {
    return answer.at(name, "").at("multiply_adds", "").at("f32", "").as_int("");
  };
  EXPECT_EQ(products("pp"), products("ttft"));
  EXPECT_GT(products("pp"), 2 * products("tg"));  // 64 tokens and a head against 16 and 16
  const Ended text = scute_program({"bench", "--random", "mamba-tiny", "-p", "8", "--repeat", "1"});
  EXPECT_THAT(text.out, HasSubstr("\npp8 "));
  EXPECT_THAT(text.out, Not(HasSubstr("±")));  // of one run there is no deviation
}

TEST(Bench, RooflineNeedsNoModelAndGivesSharesOfOne) {
  const Json alone = answer_of(scute_program({"bench", "--roofline", "--json", "-q"}));
  const Json& roofline = alone.at("roofline", "");
  for (const char* limit : {"f32 products", "bf16 products", "int8 products", "reading", "exp"}) {
    EXPECT_GT(roofline.at("limits", "").at(limit, "").as_double(""), 0) << limit;
  }
  for (const Json& rate : roofline.at("rates", "").as_array("")) {
    const auto of = [&](const char* key) { return rate.at(key, "").as_double(""); };
    EXPECT_LE(of("least"), of("median"));
    EXPECT_LE(of("median"), of("most"));
  }
  EXPECT_GT(roofline.at("read_bytes", "").as_int(""),
            roofline.at("last_cache_bytes", "").as_int(""));
  const Json beside = answer_of(scute_program(
      {"bench", kModel, "--roofline", "--ttft", "--prompt-len", "64", "--json", "-q"}));
  const Json& limit = beside.at("ttft", "").at("limit", "");
  const double ratio = limit.at("ms", "").as_double("") / number(beside, "ttft", "median_ms");
  EXPECT_NEAR(limit.at("share", "").as_double(""), ratio, 1e-9);
  const double rate =
      beside.at("roofline", "").at("limits", "").at("f32 products", "").as_double("");
  const auto work =
      static_cast<double>(beside.at("ttft", "").at("multiply_adds", "").at("f32", "").as_int(""));
  EXPECT_NEAR(limit.at("ms", "").as_double(""), work / rate / 1e6, 1e-6);
  expect_usage({"bench", "--roofline", "--samples", "2"}, "--roofline without a model");
}

TEST(Bench, LengthsWithoutTheirFigureAreWrongUsage) {
  expect_usage({"bench", "--random", "mamba-tiny", "--gen-len", "3"}, "--tpot or --ttlt");
  expect_usage({"bench", "--random", "mamba-tiny", "--ttft", "--gen-len", "3"}, "--gen-len");
  expect_usage({"bench", "--random", "mamba-tiny", "--size", "--batch", "3"}, "--batch");
  expect_usage({"bench", "--random", "mamba-tiny", "--ttft", "--prompt-len", "0"}, "--prompt-len");
}

}  // namespace
}  // namespace scute::cli_generate_test
