// The scute program from outside: verbs, flags, answers, exit codes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <signal.h>

#include <chrono>
#include <fstream>
#include <sstream>
#include <thread>

#include "scute/base/json.h"
#include "scute/decide/plan.h"
#include "scute/io/file.h"
#include "scute/io/npy.h"
#include "scute/io/safetensors.h"
#include "scute/io/test_npy.h"
#include "scute/recipe/statistics_io.h"
#include "tests/program.h"

namespace scute::cli_test {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

constexpr const char* kModel = "examples/tiny-mamba1";
constexpr const char* kText = "examples/text/calibration.jsonl";

const std::vector<std::string> kVerbs{
    "demo",  "collect", "decide",   "quantize", "trace",  "scales", "export", "eval", "sites",
    "merge", "dump",    "generate", "bench",    "doctor", "run",    "sweep",  "log",  "report"};

/// `scute collect` of a few short samples into `out`, with further flags.
Ended collect_into(const std::string& out, std::vector<std::string> more = {}) {
  std::vector<std::string> words{"collect", kModel,     "--data", kText,   "--samples",
                                 "4",       "--seqlen", "32",     "--out", out};
  words.insert(words.end(), more.begin(), more.end());
  return scute_program(words);
}

std::string first_lines(const std::string& file, int lines, size_t most) {
  std::ifstream in(file);
  std::string line, out;
  while (lines-- > 0 && std::getline(in, line)) out += line.substr(0, most) + "\n";
  return out;
}

/// A copy of the repository's examples with little text, so that every example of every verb runs
/// in seconds.
void make_small_examples(const TemporaryFolder& folder) {
  fs::create_directories(folder.path("examples/text"));
  for (const char* model : {"tiny-mamba1", "tiny-mamba2"}) {
    fs::create_directory_symlink(fs::absolute(fs::path("examples") / model),
                                 folder.path("examples/" + std::string(model)));
  }
  fs::create_directory_symlink(fs::absolute("tests"), folder.path("tests"));
  const std::string text = folder.path("examples/text/");
  std::ofstream documents(text + "calibration.jsonl");
  std::ifstream all(kText);
  std::string line;
  for (int i = 0; i < 40 && std::getline(all, line); ++i) {
    Json document;
    document["text"] = Json::parse(line, kText).at("text", kText).as_string(kText).substr(0, 100);
    documents << document.dump() << "\n";
  }
  std::ofstream(text + "last_word.jsonl") << first_lines("examples/text/last_word.jsonl", 4, 1e6);
  std::ofstream(text + "heldout.txt") << first_lines("examples/text/heldout.txt", 60, 1e6);
  fs::copy_file("examples/text/README.md", text + "README.md");
}

TEST(Program, AloneAndWithHelpListsItsVerbs) {
  const Ended alone = scute_program({});
  EXPECT_EQ(alone.code, 0);
  EXPECT_EQ(alone.out, scute_program({"--help"}).out);
  for (const std::string& verb : kVerbs) EXPECT_THAT(alone.out, HasSubstr("\n  " + verb + " "));
  EXPECT_EQ(scute_program({"sweeep"}).code, 2);
}

TEST(Program, HelpOfEveryVerbShowsDefaultsAndAnExampleThatWorks) {
  const TemporaryFolder folder;
  make_small_examples(folder);
  for (const std::string& verb : kVerbs) {
    const Ended help = scute_program({verb, "--help"});
    ASSERT_EQ(help.code, 0) << verb;
    EXPECT_THAT(help.out, StartsWith("scute " + verb + ": "));
    EXPECT_EQ(help.out, scute_program({"help", verb}).out);
    const size_t at = help.out.find("\nexample:\n");
    ASSERT_NE(at, std::string::npos) << verb;
    std::istringstream lines(help.out.substr(at + 10));
    for (std::string line; std::getline(lines, line);) {
      EXPECT_THAT(line, StartsWith("  scute "));
      // What is longer than 80 columns goes on behind a backslash.
      for (std::string more; line.ends_with('\\') && std::getline(lines, more);) {
        line.replace(line.size() - 1, 1, more);
      }
      // The weights of bench's examples would take half of all tests' time.
      if (line.find("mamba-130m") != std::string::npos) line += " --random mamba-tiny";
      if (line.find("mamba-130m") != std::string::npos && line.find("--t") == std::string::npos) {
        line += " --seqlen 32";
      }
      // Five seconds each; one measures it alone.
      if (const size_t last = line.rfind(" --roofline"); last > 60 && last != std::string::npos) {
        line.erase(last);
      }
      if (line.find("3b-vision") != std::string::npos) line += " --random tiny-cobra-vision";
      const Ended ended = shell(line, folder.path());
      EXPECT_EQ(ended.code, 0) << line << "\n" << ended.err;
      EXPECT_THAT(ended.out, Not(IsEmpty())) << line;
    }
  }
  EXPECT_THAT(scute_program({"collect", kModel, "--help"}).out, HasSubstr("[512]"));
  EXPECT_THAT(scute_program({"decide", "--help"}).out, HasSubstr("[auto]"));
}

TEST(Program, WrongUsageIsTwoAndNamesTheNearest) {
  const auto expect_usage = [](const std::vector<std::string>& words, const std::string& hint) {
    const Ended ended = scute_program(words);
    EXPECT_EQ(ended.code, 2) << hint;
    EXPECT_THAT(ended.err, StartsWith("scute: error: "));
    EXPECT_THAT(ended.err, HasSubstr(hint));
    EXPECT_EQ(std::count(ended.err.begin(), ended.err.end(), '\n'), 1) << ended.err;
    EXPECT_EQ(ended.out, "");
  };
  const TemporaryFolder folder;
  const std::string out = folder.path("s.safetensors");
  expect_usage({"colect"}, "did you mean collect");
  expect_usage({"collect", kModel, "--sampels", "3"}, "--samples");
  expect_usage({"collect", kModel, "--out", out}, "--data");
  expect_usage({"collect", kModel, "--data", kText, "--out", folder.path("s.npz")}, ".safetensors");
  expect_usage({"collect", kModel, "--data", kText, "--out", out, "--samples", "0"}, "at least 1");
  expect_usage({"collect", kModel, "--data", kText, "--out", out, "--samples", "4x"}, "4x");
  expect_usage({"collect", kModel, "--data", kText, "--out", out, "--fine", "17"}, "from 1 to 16");
  expect_usage({"collect", kModel, "--data", kText, "--out", out, "--compute", "f64"}, "bf16");
  expect_usage({"collect", kModel, "--data", kText, "--out", out, "--device", "cuda"}, "no GPU");
  expect_usage({"decide", "s.safetensors", "--policy", "best"}, "minmax");
  expect_usage({"decide", "s.safetensors", "--per-site", "a=best"}, "minmax");
  expect_usage({"decide", "s.safetensors", "--per-site", "a"}, "SITE=POLICY");
  expect_usage({"decide", "s.safetensors", "--bits", "1"}, "from 2 to 16");
  expect_usage({"eval", kModel}, "--perplexity");
  expect_usage({"eval", kModel, "--perplexity", "f", "--window", "8", "--stride", "9"}, "window");
  expect_usage({"dump", kModel, "--out", out}, "--ids");
  expect_usage({"sites", kModel, "find"}, "find NAME");
  expect_usage({"bench", "--random", "mamba-1m"}, "mamba-130m");
  EXPECT_THAT(folder.names(), IsEmpty());
}

TEST(Collect, WritesStatisticsAndSaysWhatItDid) {
  const TemporaryFolder folder;
  const std::string out = folder.path("s.safetensors");
  const Ended ended = collect_into(out, {"--json"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  const Json answer = Json::parse(ended.out, "answer");
  EXPECT_EQ(answer.at("samples", "").as_int(""), 4);
  EXPECT_EQ(answer.at("tokens", "").as_int(""), 4 * 32);
  EXPECT_EQ(answer.at("documents", "").as_int(""), 352);
  EXPECT_EQ(answer.at("bytes", "").as_int(""), file_size(out));
  const StatisticsSet set = read_statistics(out);
  EXPECT_EQ(answer.at("sites", "").as_int(""), static_cast<int64_t>(set.sites.size()));
  EXPECT_EQ(set.sites.at("layer_0.in_proj:input").count, 4u * 32 * 256);
  EXPECT_FALSE(set.sites.contains("lm_head:output"));
  EXPECT_THAT(folder.names(), ElementsAre("s.safetensors"));
}

TEST(Collect, KnowsTheOtherNamesOfItsFlags) {
  const TemporaryFolder folder;
  const std::string one = folder.path("1.safetensors"), two = folder.path("2.safetensors");
  ASSERT_EQ(collect_into(one, {"--seed", "7"}).code, 0);
  ASSERT_EQ(scute_program({"collect", "--ckpt", kModel, "--data", kText, "--calib_data_num=4",
                           "--calib-seqlen", "32", "--shuffle=7", "--out", two, "--threads", "2"})
                .code,
            0);
  EXPECT_EQ(read_text(one), read_text(two));
  ASSERT_EQ(collect_into(two, {"--shuffle", "none"}).code, 0);
  EXPECT_NE(read_text(one), read_text(two));
}

TEST(Collect, SaysWhenThereAreFewerDocumentsThanSamples) {
  const TemporaryFolder folder;
  const std::string text = folder.path("few.txt");
  std::ofstream(text) << "A first paragraph of some words.\n\nA second one.\n";
  const std::vector<std::string> words{"collect",  kModel, "--data", text,
                                       "--seqlen", "4",    "--out",  folder.path("s.safetensors")};
  const Ended ended = scute_program(words);
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("2 documents for 512 samples: all used once"));
  EXPECT_THAT(ended.out, HasSubstr("--windows-per-document"));
}

TEST(Collect, KeepsActivationsBesideTheStatistics) {
  const TemporaryFolder folder;
  const Ended ended = collect_into(folder.path("s.pt"), {"--save-activations", "100", "--json"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  const std::string file = Json::parse(ended.out, "answer").at("activations", "").as_string("");
  EXPECT_THAT(file,
              testing::MatchesRegex(".*/activations_tiny-mamba1_pa1_[0-9]{8}_[0-9]{6}[.]npz"));
  for (const NamedTensor& array : read_npz(file)) {
    EXPECT_LE(array.tensor.size(), 100) << array.name;
    EXPECT_EQ(array.tensor.dtype(), DType::f32);
  }
}

TEST(Collect, SilentSitesAreNamedAndTheOthersWritten) {
  const TemporaryFolder folder;
  const std::string out = folder.path("s.safetensors");
  // Windows of 32 tokens show no state at a 64th token.
  const Ended ended =
      collect_into(out, {"--sites", "layer_0.ssm_state_act:steps,layer_0.z_act:input"});
  EXPECT_EQ(ended.code, 1);
  EXPECT_THAT(ended.err, HasSubstr("layer_0.ssm_state_act:steps"));
  EXPECT_EQ(read_statistics(out).sites.size(), 1u);
}

TEST(Collect, PartsMergeToTheWhole) {
  const TemporaryFolder folder;
  const std::string whole = folder.path("whole.safetensors"), a = folder.path("a.safetensors"),
                    b = folder.path("b.safetensors"), merged = folder.path("m.safetensors");
  ASSERT_EQ(collect_into(whole).code, 0);
  ASSERT_EQ(collect_into(a, {"--take", "1"}).code, 0);
  ASSERT_EQ(collect_into(b, {"--skip", "1", "--take", "3"}).code, 0);
  const Ended ended = scute_program({"merge", a, b, "--out", merged});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("4 samples"));
  EXPECT_TRUE(read_statistics(merged).sites == read_statistics(whole).sites);
  ASSERT_EQ(collect_into(b, {"--fine", "7"}).code, 0);
  const Ended refused = scute_program({"merge", a, b, "--out", merged});
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("fine"));
}

TEST(Collect, InterruptedRunsKeepWhatWasFinishedAndCanBeContinued) {
  const TemporaryFolder folder;
  const std::string out = folder.path("s.safetensors");
  const std::vector<std::string> words{"collect",   kModel, "--data",    kText, "--seqlen", "96",
                                       "--samples", "300",  "--threads", "1",   "--out",    out};
  Ended ended;
  // How long loading takes is not known: an interruption before the first sample writes nothing.
  for (int tenths = 5; tenths < 100; tenths *= 2) {
    Child child(words);
    std::this_thread::sleep_for(std::chrono::milliseconds(100 * tenths));
    child.send(SIGINT);
    ended = child.wait();
    ASSERT_NE(ended.code, 0) << "finished before it was interrupted";
    EXPECT_EQ(ended.code, 130) << ended.err;
    if (fs::exists(out)) break;
    EXPECT_THAT(ended.err, HasSubstr("nothing written"));
  }
  const StatisticsSet part = read_statistics(out);  // refuses anything half-written
  const int64_t samples = part.meta.at("samples", out).as_int(out);
  EXPECT_THAT(ended.err, HasSubstr("interrupted after " + std::to_string(samples) + " of 300"));
  EXPECT_THAT(ended.err, HasSubstr("--skip " + std::to_string(samples)));
  EXPECT_THAT(folder.names(), ElementsAre("s.safetensors"));

  std::istringstream lines(ended.err);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("  scute ")) continue;
    EXPECT_EQ(shell(line).code, 0) << line;
  }
  auto whole = words;
  whole.back() = folder.path("whole.safetensors");
  ASSERT_EQ(scute_program(whole).code, 0);
  EXPECT_TRUE(read_statistics(folder.path("s-all.safetensors")).sites ==
              read_statistics(whole.back()).sites);
}

TEST(Decide, PrintsATableAndWritesAPlan) {
  const TemporaryFolder folder;
  const std::string statistics = folder.path("s.safetensors"), plan = folder.path("p.json");
  ASSERT_EQ(collect_into(statistics).code, 0);
  const Ended ended = scute_program(
      {"decide", statistics, "--policy", "quamba", "--out", plan, "--bits", "6", "--wide"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  for (const char* word : {"range before", "reduced %", "clipped %", "SQNR dB", "min-max", "best",
                           "layer_5.x_proj:input", "93 sites"}) {
    EXPECT_THAT(ended.out, HasSubstr(word));
  }
  const Plan read = Plan::from_json(Json::parse(read_text(plan), plan), plan);
  EXPECT_EQ(read.sites.at("layer_0.x_proj:input").grid.bits, 6);
  EXPECT_EQ(read.meta.at("statistics_sha256", plan).as_string(plan), hash_file(statistics));
  EXPECT_EQ(read.meta.at("model_sha256", plan).as_string(plan).size(), 64u);
  EXPECT_THAT(read.meta.at("command", plan).as_string(plan), StartsWith("scute decide "));
  // Sites in the order people count, embedding first, head last.
  EXPECT_LT(ended.out.find("embedding:output"), ended.out.find("layer_0."));
  EXPECT_LT(ended.out.find("layer_5."), ended.out.find("lm_head:input"));
}

TEST(Decide, OptionsReachThePolicies) {
  const TemporaryFolder folder;
  const std::string statistics = folder.path("s.safetensors");
  ASSERT_EQ(collect_into(statistics).code, 0);
  const auto plan = [&](std::vector<std::string> more) {
    std::vector<std::string> words{"decide", "--stats", statistics, "--json"};
    words.insert(words.end(), more.begin(), more.end());
    const Ended ended = scute_program(words);
    EXPECT_EQ(ended.code, 0) << ended.err;
    return Json::parse(ended.out, "answer").at("plan", "");
  };
  const auto number = [](const Json& p, const char* key) {
    return p.at("layer_1.z_act:input", "").at(key, "").as_double("");
  };
  const Json minmax = plan({"--policy", "minmax"});
  const Json share = plan({"--policy", "percentile", "--percentile-alpha", "0.99"});
  const Json percent = plan({"--policy", "percentile:99"});
  EXPECT_LT(number(share, "hi"), number(minmax, "hi"));
  EXPECT_EQ(number(share, "hi"), number(percent, "hi"));
  EXPECT_EQ(number(share, "percentile"), 99);
  const Json one = plan({"--policy", "percentile:99", "--per-site", "*.z_act:*=minmax"});
  EXPECT_EQ(number(one, "hi"), number(minmax, "hi"));
  EXPECT_EQ(one.at("layer_1.B_act:input", ""), share.at("layer_1.B_act:input", ""));
  const Json sides = plan({"--policy", "percentile:99", "--asymmetric"});
  EXPECT_NE(number(sides, "lo"), -number(sides, "hi"));
  const Ended none = scute_program({"decide", statistics, "--per-site", "nothing*=minmax"});
  EXPECT_EQ(none.code, 1);
  EXPECT_THAT(none.err, HasSubstr("nothing*"));
}

TEST(Eval, GivesProtocolCountHashAndStandardError) {
  const TemporaryFolder folder;
  const std::string items = folder.path("items.jsonl");
  std::vector<std::string> words{
      "eval",          kModel, "--perplexity", "examples/text/heldout.txt",     "--window",    "64",
      "--max-windows", "3",    "--last-word",  "examples/text/last_word.jsonl", "--max-items", "5",
      "--items-out",   items,  "--wide"};
  const Ended text = scute_program(words);
  ASSERT_EQ(text.code, 0) << text.err;
  for (const char* word : {"±", "3 windows of", "189 predictions", "5 passages", "SHA-256",
                           "windows of 64 tokens every 64"}) {
    EXPECT_THAT(text.out, HasSubstr(word));
  }
  words.push_back("--json");
  const Json answer = Json::parse(scute_program(words).out, "answer");
  EXPECT_EQ(answer.at("perplexity", "").at("sha256", "").as_string(""),
            hash_file("examples/text/heldout.txt"));
  double nll = 0;
  int windows = 0, hits = 0, passages = 0;
  std::istringstream lines(read_text(items));
  for (std::string line; std::getline(lines, line);) {
    const Json item = Json::parse(line, items);
    const bool window = item.at("kind", items).as_string(items) == "window";
    if (window) nll += item.at("nll", items).as_double(items);
    (window ? windows : passages) += 1;
    if (!window) hits += item.at("hit", items).as_bool(items);
  }
  EXPECT_EQ(windows, 3);
  EXPECT_EQ(passages, 5);
  EXPECT_EQ(answer.at("last_word", "").at("hits", "").as_int(""), hits);
  // The same sum in the same order.
  EXPECT_DOUBLE_EQ(answer.at("perplexity", "").at("mean_nll", "").as_double(""), nll / 189);
}

TEST(Sites, AreListedAndExplained) {
  const Ended list = scute_program({"sites", kModel, "layer_0.*", "--json"});
  const Json sites = Json::parse(list.out, "answer").at("sites", "");
  EXPECT_EQ(sites.as_array("").front().at("name", "").as_string(""), "layer_0.in_proj:input");
  EXPECT_THAT(scute_program({"sites", kModel, "find", "layer_0.z_act:output"}).out,
              StartsWith("layer_0.z_act:output is layer_0.z_act:input"));
  const Ended wrong = scute_program({"sites", kModel, "find", "layer_0.xproj:input"});
  EXPECT_EQ(wrong.code, 1);
  EXPECT_THAT(wrong.err, HasSubstr("layer_0.x_proj:input"));
}

TEST(Dump, WritesLogitsAndSites) {
  const TemporaryFolder folder;
  const std::string ids = folder.path("ids.npy"), out = folder.path("d.safetensors");
  write_npy(ids, Tensor::of<int64_t>({2, 5}, std::vector<int64_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}));
  const Ended ended = scute_program(
      {"dump", kModel, "--ids", ids, "--sites", "layer_2.x_proj:input", "--out", out});
  ASSERT_EQ(ended.code, 0) << ended.err;
  std::vector<std::string> found;
  for (const NamedTensor& tensor : read_safetensors(out).tensors) {
    found.push_back(tensor.name + " " + to_string(tensor.tensor.shape()));
  }
  EXPECT_THAT(found, testing::UnorderedElementsAre("ids (2, 5)", "logits (2, 5, 4096)",
                                                   "site/layer_2.x_proj:input (2, 5, 512)"));
}

TEST(Doctor, FindsWhatIsWrong) {
  const Ended fine = scute_program({"doctor", kModel, "--data", kText});
  EXPECT_EQ(fine.code, 0) << fine.out;
  EXPECT_THAT(fine.out, HasSubstr("all values finite"));
  EXPECT_THAT(fine.out, Not(HasSubstr("FAIL")));
  const Ended ill = scute_program({"doctor", "examples/text", "--data", "nothing.txt", "--json"});
  EXPECT_EQ(ill.code, 1);
  EXPECT_FALSE(Json::parse(ill.out, "answer").at("ok", "").as_bool(""));
}

}  // namespace
}  // namespace scute::cli_test
