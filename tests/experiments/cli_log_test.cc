// scute log from outside: on a log with two experiments of ours, one of another tool, a torn line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "scute/base/json.h"
#include "tests/program.h"

namespace scute::cli_log_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

constexpr const char* kFirst =
    R"({"timestamp":"2026-11-21 11:02:03","command":"scute run examples/tiny | x","config":)"
    R"({"model":"examples/tiny","w_bits":8,"a_bits":8,"percentile_alpha":0.9995,)"
    R"("group_heads":true,"policy":"quamba","note":"=1+1, \"quoted\""},"activation_stats":)"
    R"({"layer_0.x_proj:input":{"before_percentile":{"min":-0.27,"max":4.81,"range":5.08},)"
    R"("after_percentile":{"min":-0.27,"max":2.51,"range":2.78},"clipped_ratio":0.00049,)"
    R"("clipped_ratio_nominal":0.0005,"range_reduction":0.4527},"layer_3.x_proj:input":)"
    R"({"before_percentile":{"min":-1,"max":1,"range":2},"after_percentile":{"min":-1,"max":1,)"
    R"("range":2},"range_reduction":0.0}},"reorder_summary":{"enabled":true,)"
    R"("avg_range_reduction":42.125,"total_layers":6},"results":{"accuracy":0.5,"perplexity":41.5,)"
    R"("tasks":{"last_word":{"accuracy":0.5,"accuracy_stderr":0.1666,"perplexity":41.5,)"
    R"("perplexity_stderr":8.0,"hits":5,"n":10,"file":"w.jsonl","sha256":"ab","max_context":2048},)"
    R"("perplexity":{"perplexity":27.17,"perplexity_stderr":0.61,"n":64,"predictions":32704,)"
    R"("window":512,"stride":512,"context":1,"file":"h.txt","sha256":"cd"}}},"id":"0123456789ab",)"
    R"("timing":{"collect":4.1,"total":15.3},"files":{"items":"items/a.jsonl"}})";
// As other tools write: blanks, no id, minimum always 0, a bare NaN.
constexpr const char* kOther =
    R"({"timestamp": "2025-11-24 08:56:07", "command": "main.py models/Mamba-130m", "config": )"
    R"({"model": "models/Mamba-130m", "w_bits": 8, "a_bits": 8, "percentile_alpha": null}, )"
    R"("activation_stats": {"layer_0.x_proj:input": {"before_percentile": {"min": 0.0, "max": 2.4, )"
    R"("range": 2.4}, "after_percentile": {"min": 0.0, "max": 2.2, "range": 2.2}, )"
    R"("range_reduction": NaN}}, "results": {"accuracy": 0.43179, "perplexity": 18.6399}})";

std::string with(std::string text, const std::string& what, const std::string& instead) {
  const size_t at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return text.replace(at, what.size(), instead);
}

class CliLog : public testing::Test {
 protected:
  CliLog() {
    // Alpha, id and what follows differ; the items are better by 4 of 10 (p = 0.125).
    std::string third = with(kFirst, "0.9995", "1.0");
    third = with(third, "0123456789ab", "fedcba987654");
    third = with(third, "\"after_percentile\":{\"min\":-0.27,\"max\":2.51,\"range\":2.78}",
                 "\"after_percentile\":{\"min\":-0.27,\"max\":4.81,\"range\":5.08}");
    third =
        with(third, "\"accuracy\":0.5,\"accuracy_stderr\"", "\"accuracy\":0.9,\"accuracy_stderr\"");
    third = with(third, "items/a.jsonl", "items/b.jsonl");
    put(std::string(kFirst) + "\n" + kOther + "\n{\"torn\":[1,\n" + third + "\n");
    std::filesystem::create_directories(folder_.path("items"));
    for (const char* name : {"a", "b"}) {
      std::ofstream items(folder_.path("items") + "/" + name + ".jsonl");
      for (int i = 0; i < 10; ++i) {
        const bool hit = i < (*name == 'a' ? 5 : 9);
        // nll 3.725693427…: exp of it is 41.5.
        items << R"({"kind":"last_word","index":)" << i << R"(,"predictions":1,"nll":)"
              << "3.7256934272366524,\"hit\":" << (hit ? "true" : "false") << "}\n";
      }
    }
  }

  void put(const std::string& text) const { std::ofstream(log_, std::ios::binary) << text; }
  Ended log(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {"log", "--log", log_});
    return scute_program(arguments);
  }
  Json json(std::vector<std::string> arguments) const {
    arguments.push_back("--json");
    const Ended ended = log(arguments);
    EXPECT_EQ(ended.code, 0) << ended.err;
    return Json::parse(ended.out, "answer");
  }
  std::vector<int64_t> numbers(const std::vector<std::string>& arguments) const {
    std::vector<int64_t> out;
    const Json answer = json(arguments);
    for (const Json& one : answer.at("experiments", "").as_array("")) {
      out.push_back(one.at("number", "").as_int(""));
    }
    return out;
  }

  const TemporaryFolder folder_;
  const std::string log_ = folder_.path("log.jsonl");
};

TEST_F(CliLog, ListsEveryCompleteLineAndReportsTheTornOne) {
  const Ended ended = log({"--wide"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out,
              testing::ContainsRegex("1  2026-11-21 11:02:03  examples/tiny +W8A8  "
                                     "quamba 0.9995, grouped  50.00 ± 16.66 %  27.170 ± 0.610 +"
                                     "22.6  0123456789ab"));
  EXPECT_THAT(ended.out, testing::ContainsRegex("2  2025-11-24 08:56:07  models/Mamba-130m  W8A8  "
                                                "- +43.18 % +18.640 w +-  -"));
  EXPECT_THAT(ended.out, HasSubstr("fedcba987654"));
  EXPECT_THAT(ended.err, AllOf(HasSubstr("line 3"), HasSubstr("torn"), HasSubstr("skipped")));
  EXPECT_THAT(numbers({}), testing::ElementsAre(1, 2, 3));
  EXPECT_THAT(json({}).at("remarks", "").as_array(""), SizeIs(1));
}

/// A crash during the first record leaves just that: a log without an experiment, which goes on.
TEST_F(CliLog, OfATornLineAloneIsEmpty) {
  put("{\"timestamp\":\"2026-11-21 11:0");
  const Ended ended = log({});
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.err, AllOf(HasSubstr("line 1"), HasSubstr("torn"), HasSubstr("no experiment")));
  EXPECT_THAT(json({}).at("experiments", "").as_array(""), SizeIs(0));
  // What is no record is no log.
  put("once upon a time");
  EXPECT_EQ(log({}).code, 1);
  put("{\"timestamp\":\"2026-11-21 11:0\nonce upon a time\n");
  EXPECT_EQ(log({}).code, 1);
}

TEST_F(CliLog, FiltersAndLastKeepTheNumbers) {
  using testing::ElementsAre;
  EXPECT_THAT(numbers({"--last", "1"}), ElementsAre(3));
  EXPECT_THAT(numbers({"--filter", "mamba-130M"}), ElementsAre(2));
  EXPECT_THAT(numbers({"--filter", "percentile_alpha: 1"}), ElementsAre(3));
  EXPECT_THAT(numbers({"--filter", "percentile_alpha: null"}), ElementsAre(2));
  EXPECT_THAT(numbers({"--filter", "group_heads: true"}), ElementsAre(1, 3));
  EXPECT_THAT(numbers({"--filter", "group_heads: true", "--filter", "percentile_alpha: 0.9995"}),
              ElementsAre(1));
  EXPECT_THAT(numbers({"--filter", "tiny", "--last", "1"}), ElementsAre(3));
  EXPECT_THAT(numbers({"--log-file", log_, "--last=2"}), ElementsAre(2, 3));
  EXPECT_THAT(numbers({"--filter", "nothing like it"}), SizeIs(0));
}

TEST_F(CliLog, WithoutAMatchItSaysWhatThereIs) {
  Ended ended = log({"--filter", "percentile_alfa: 1.0"});
  EXPECT_EQ(ended.code, 0);
  EXPECT_EQ(ended.out, "");
  EXPECT_THAT(ended.err, AllOf(HasSubstr("did you mean percentile_alpha?"), HasSubstr("w_bits")));
  ended = log({"--filter", "percentile_alpha: default"});
  EXPECT_THAT(ended.err, HasSubstr("percentile_alpha is 0.9995, null, 1.0 there"));
}

TEST_F(CliLog, ShowIsTheSummaryOrTheRecord) {
  const Ended ended = log({"show", "1", "--wide"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  for (const char* part :
       {"Experiment summary", "W8A8", "percentile alpha: 0.9995", "(2 sites)",
        "before clipping:  [-0.27, 4.81]  range 5.08", "after clipping:   [-0.27, 2.51]",
        "0.049 % of the values, 0.05 % nominally", "reduced by 22.6 %", "reduced by 45.3 %",
        "Reorder effect", "42.1", "50.00 ± 16.66 % (5 of 10 last words)", "27.170 ± 0.610",
        "items/a.jsonl", "15 s"}) {
    EXPECT_THAT(ended.out, HasSubstr(part));
  }
  EXPECT_THAT(ended.out, testing::StartsWith(std::string(80, '=') + "\n"));
  EXPECT_THAT(log({"show", "2"}).out, AllOf(HasSubstr("none given"), HasSubstr("43.18 %"),
                                            Not(HasSubstr("Reorder")), HasSubstr("[0, 2.4]")));
  EXPECT_THAT(log({"show", "-1"}).out, HasSubstr("fedcba987654"));
  EXPECT_THAT(log({"show", "fedc"}).out, HasSubstr("fedcba987654"));
  EXPECT_EQ(json({"show", "1"}), Json::parse(kFirst, "first"));
  const Ended none = log({"show", "4"});
  EXPECT_EQ(none.code, 1);
  EXPECT_THAT(none.err, HasSubstr("a number from 1 to 3"));
}

TEST_F(CliLog, CompareMarksDifferencesAndSaysWhetherTheyAreNoise) {
  // In 80 columns the verdicts, which are asked for, stand below the table.
  EXPECT_THAT(log({"--compare", "1,-1"}).out,
              HasSubstr("\n  accuracy: the second is no more than noise (p = 0.12): about 14 "
                        "passages would\n    tell\n"));
  const Ended ended = log({"--compare", "1,-1", "--wide"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, testing::ContainsRegex("\n\\*  percentile_alpha +0.9995 +1\n"));
  EXPECT_THAT(ended.out, testing::ContainsRegex("\n   w_bits +8 +8\n"));
  // McNemar: 4 gained, none lost: 2/16. n·(2.8016·SE/d)² = 10·(2.8016·0.1633/0.4)² = 13.1.
  EXPECT_THAT(ended.out, testing::ContainsRegex("accuracy +50.00 % +90.00 % +\\+40.00 ± 16.33 "
                                                "points  no more than noise \\(p = 0.12\\): about "
                                                "14 passages would tell"));
  EXPECT_THAT(ended.out, HasSubstr("the same in all 10 passages"));
  EXPECT_THAT(ended.out, testing::ContainsRegex("\n\\*  layer_0.x_proj:input"));
  EXPECT_THAT(ended.out, testing::ContainsRegex("\n   layer_3.x_proj:input"));
  EXPECT_THAT(ended.out, HasSubstr("ranges differ at 1 of 2 sites"));

  const Json answer = json({"--compare", "0123,3"});
  const Json& accuracy = answer.at("results", "").as_array("").at(1);
  EXPECT_EQ(accuracy.at("metric", "").as_string(""), "accuracy");
  EXPECT_EQ(accuracy.at("verdict", "").as_string(""), "noise");
  EXPECT_TRUE(accuracy.at("paired", "").as_bool(""));
  EXPECT_EQ(accuracy.at("n_needed", "").as_int(""), 14);
  EXPECT_TRUE(answer.at("ranges", "").as_array("").at(0).at("differs", "").as_bool(""));

  EXPECT_THAT(log({"--compare", "1,2"}).out,
              AllOf(HasSubstr("not comparable: the log does not say"), HasSubstr("-6.82")));
}

TEST_F(CliLog, WhatAPersonTypesIsUnderstood) {
  const std::string shown = log({"show", "2"}).out, compared = log({"compare", "1", "3"}).out;
  ASSERT_THAT(shown, HasSubstr("models/Mamba-130m"));
  ASSERT_THAT(compared, HasSubstr("ranges differ at 1 of 2 sites"));
  EXPECT_EQ(log({"2"}).out, shown);
  EXPECT_EQ(log({"show", "1", "--zero-based"}).out, shown);
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"1", "3"},
                                             {"1,3"},
                                             {"compare", "1,-1"},
                                             {"--compare", "1", "3"},
                                             {"--compare=1,3"},
                                             {"--compare", "0,2", "--zero-based"},
                                             {"compare", "0123", "fedc"}}) {
    EXPECT_EQ(log(words).out, compared) << words[0];
  }
  EXPECT_THAT(log({"--compare", "0,1"}).err,
              AllOf(HasSubstr("from 1, found 0"), HasSubstr("--zero-based")));
  EXPECT_EQ(log({"list"}).out, log({}).out);
  EXPECT_EQ(log({"--last", "1"}).out, log({"show", "3"}).out);
  EXPECT_EQ(log({"--filter", "mamba-130m", "--last", "1"}).out, shown);
}

TEST_F(CliLog, CsvReadsBackInPython) {
  const Ended ended = log({"--csv"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  std::ofstream(folder_.path("t.csv"), std::ios::binary) << ended.out;
  std::ofstream(folder_.path("t.py")) << R"(
import csv
rows = list(csv.DictReader(open("t.csv", newline="", encoding="utf-8"), strict=True))
assert [r["number"] for r in rows] == ["1", "2", "3"], rows
assert rows[0]["note"] == "'=1+1, \"quoted\"", rows[0]["note"]
assert rows[0]["percentile_alpha"] == "0.9995" and rows[1]["percentile_alpha"] == ""
assert rows[1]["group_heads"] == "" and rows[0]["group_heads"] == "true"
assert float(rows[0]["perplexity"]) == 27.17 and float(rows[0]["perplexity_stderr"]) == 0.61
assert rows[0]["perplexity_n"] == "64" and rows[0]["last_word_n"] == "10"
assert rows[1]["accuracy"] == "0.43179" and rows[1]["last_word_perplexity"] == "18.6399"
assert rows[2]["id"] == "fedcba987654" and rows[2]["timestamp"] == "2026-11-21 11:02:03"
assert all(None not in r and None not in r.values() for r in rows)
print("read")
)";
  EXPECT_EQ(shell("/usr/bin/python3 t.py", folder_.path()).out, "read\n");
}

TEST_F(CliLog, MarkdownIsOneTableWithBarsEscaped) {
  put(with(kFirst, "\"model\":\"examples/tiny\"", "\"model\":\"a|b\\u001b[31m\\n\"") + "\n");
  const Ended ended = log({"--markdown"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_EQ(std::ranges::count(ended.out, '\n'), 3);
  EXPECT_THAT(ended.out, HasSubstr("| a\\|b\\\\x1b\\[31m\\\\x0a |"));
  EXPECT_THAT(log({"show", "1"}).out, Not(HasSubstr("\x1b")));
}

TEST_F(CliLog, MarkdownComputesAndLoadsNothing) {
  put(with(kFirst, "\"model\":\"examples/tiny\"", "\"model\":\"=1+1\"") + "\n");
  EXPECT_THAT(log({"--markdown"}).out, HasSubstr("| '=1+1 |"));
  put(with(kFirst, "\"model\":\"examples/tiny\"", "\"model\":\"![x](http://x) $a$\"") + "\n");
  EXPECT_THAT(log({"--markdown"}).out, HasSubstr("| !\\[x\\](http://x) \\$a\\$ |"));
}

TEST_F(CliLog, MlflowIsWrittenOnceAndNeverOverForeignFiles) {
  const std::string store = folder_.path("store");
  Ended ended = log({"--mlflow", store});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("3 runs written, 0 there already"));
  ended = log({"--mlflow", store, "--last", "1"});
  EXPECT_THAT(ended.err, HasSubstr("0 runs written, 1 there already"));
  std::string experiment;
  for (const auto& entry : std::filesystem::directory_iterator(store)) {
    if (entry.path().filename() != "0") experiment = entry.path();
  }
  std::filesystem::remove(experiment + "/tags/scute.log");
  ended = log({"--mlflow", store});
  EXPECT_EQ(ended.code, 1);
  EXPECT_THAT(ended.err, HasSubstr("scute.log"));
}

TEST_F(CliLog, EmptyAndMissingLogsSayHowToMakeOne) {
  put("");
  Ended ended = log({});
  EXPECT_EQ(ended.code, 0);
  EXPECT_THAT(ended.err, HasSubstr("no experiment yet; scute run adds one"));
  EXPECT_THAT(json({}).at("experiments", "").as_array(""), SizeIs(0));
  std::filesystem::remove(log_);
  ended = log({});
  EXPECT_EQ(ended.code, 1);
  EXPECT_THAT(ended.err, AllOf(HasSubstr("scute run writes"), HasSubstr("--log")));
}

TEST_F(CliLog, WrongUsageIsRefused) {
  for (const std::vector<std::string>& wrong :
       std::vector<std::vector<std::string>>{{"show"},
                                             {"list", "1"},
                                             {"1", "2", "3"},
                                             {"compare", "1"},
                                             {"activations"},
                                             {"--zero-based"},
                                             {"--compare", "0,1"},
                                             {"show", "1", "2"},
                                             {"show", "1", "--compare", "1,2"},
                                             {"--compare", "1"},
                                             {"--compare", "1,2,3"},
                                             {"--csv", "--json"},
                                             {"--compare", "1,2", "--csv"},
                                             {"show", "1", "--filter", "x"},
                                             {"--last", "0"},
                                             {"--percentile-alpha", "0.5"},
                                             {"--lsat", "1"},
                                             {"activations", "x.npz", "--percentile-alpha", "2"}}) {
    const Ended ended = log(wrong);
    EXPECT_EQ(ended.code, 2) << wrong[0] << " " << ended.err;
    EXPECT_EQ(ended.out, "");
  }
  EXPECT_EQ(log({"--compare", "1,9"}).code, 1);
}

TEST_F(CliLog, ActivationsAgreeWithNumpy) {
  std::ofstream(folder_.path("make.py")) << R"(
import numpy as np
x = np.random.default_rng(1).standard_normal(10000)
np.savez_compressed("activations_m_paNone_20260101_000000.npz", a=x,
                    b=np.float32(x[:7]), c=np.array([np.nan, -3.0, np.inf, 1.0]))
s = np.sort(np.abs(x))
print(repr(float(s[9994])), repr(float(np.mean(np.abs(x) > s[9994]))))
)";
  const Ended made = shell("/usr/bin/python3 make.py", folder_.path());
  ASSERT_EQ(made.code, 0) << made.err;
  const std::string file = folder_.path("activations_m_paNone_20260101_000000.npz");
  const Json answer = json({"activations", file});
  const auto& sites = answer.at("sites", "").as_array("");
  ASSERT_THAT(sites, SizeIs(3));
  const auto& cuts = sites[0].at("cuts", "").as_array("");
  ASSERT_THAT(cuts, SizeIs(3));
  EXPECT_EQ(cuts[0].at("threshold", "").as_double(""), std::stod(made.out));
  EXPECT_EQ(cuts[0].at("clipped_ratio", "").as_double(""), 0.0005);
  EXPECT_EQ(cuts[2].at("clipped_ratio", "").as_double(""), 0);
  EXPECT_EQ(sites[2].at("nan", "").as_int(""), 1);
  EXPECT_EQ(sites[2].at("inf", "").as_int(""), 1);
  EXPECT_EQ(sites[2].at("min", "").as_double(""), -3);
  const Ended words = log({"activations", file, "--percentile-alpha", "99.95,1"});
  EXPECT_EQ(words.code, 0) << words.err;
  EXPECT_THAT(words.out, AllOf(HasSubstr("0.9995"), HasSubstr("1 NaN and 1 Inf left out")));
  const Ended none = log({"activations", folder_.path("none.npz")});
  EXPECT_EQ(none.code, 1);
}

}  // namespace
}  // namespace scute::cli_log_test
