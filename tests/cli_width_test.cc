// What is printed fits 80 columns in every verb and for every kind of model, or with --wide is as
// wide as it is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <sstream>

#include "cli/help.h"
#include "cli/terminal/table.h"
#include "cli/terminal/width.h"
#include "cli/verbs.h"
#include "scute/text/columns.h"
#include "tests/flag_rows.h"
#include "tests/flag_runner.h"
#include "tests/program.h"

namespace scute::cli_width_test {
namespace {

using cli::Table;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kNote = "--wide shows all)";

/// As main() does with --wide.
class Wide {
 public:
  Wide() { cli::choose_width(true); }
  ~Wide() { cli::choose_width(false); }
};

/// Only a single long word, the name of a file, may reach further.
void expect_fits(const std::string& text, const std::string& of) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::string word = line.substr(line.rfind(' ') + 1);
    const bool name = word.starts_with("statistics/") && word.ends_with(".safetensors");
    EXPECT_TRUE(columns_of(line) <= cli::kColumns || name) << "scute " << of << "\n" << line;
  }
}

/// Further answers with tables.
constexpr std::pair<std::string_view, std::string_view> kMore[] = {
    {"decide", "MADE/stats2.safetensors --policy quamba"},
    {"decide", "MADE/cobra-all.safetensors"},
    {"decide", "MADE/cobra.safetensors --policy tail"},
    {"decide", "MADE/windows.safetensors --headroom 1.25"},
    {"quantize", "COBRA --plan MADE/cobra-plan.json --out OUT/q"},
    {"quantize",
     "LANGUAGE --stats MADE/stats.safetensors --data IDS --seqlen 32 --search 7 --out OUT/q"},
    {"trace", "MADE/gptq"},
    {"trace", "MADE/proj.pt"},
    {"sites", "LOWCOBRA"},
    {"sites", "LANGUAGE find layer_0.*"},
    {"sites", "COBRA find siglip"},
    {"scales", "OUTLOW --set **=2 --dry-run"},
    {"scales", "OUTCOBRA --set **=2 --dry-run"},
    {"scales", "OUTREGRESSOR --set *input*=2 --dry-run"},
    {"eval", "LOW --against LANGUAGE --perplexity IDS --window 32"},
    {"eval", "LANGUAGE --last-word MADE/passages.jsonl"},
    {"eval", "REGRESSOR --feat-root FEATURES --quant-bits 8"},
    {"eval", "MADE/low.pt --feat-root FEATURES"},
    {"sweep",
     "--models LANGUAGE --data IDS --samples 3 --seqlen 80 --log OUT/log.jsonl --tasks "
     "perplexity --eval-data perplexity=IDS --window 32 --policies minmax,quamba"},
    {"log", "show 1 --log MADE/log.jsonl"},
    {"log", "compare 1 2 --log MADE/log.jsonl"},
    {"log", "activations MADE/activations.npz"},
    {"report", "--log MADE/log.jsonl --checkpoint LOW --out OUT/r.html"},
    {"bench", "LANGUAGE --repeat 1 --size --ttft --tpot --prompt-len 4 --gen-len 2"},
    {"doctor", "WORDS --data MADE/short.jsonl"},
    {"doctor", "COBRA --images PICTURES"},
    {"doctor", "REGRESSOR --feat-root FEATURES"}};

/// Of every form and those above; not what a model writes, which stays as it is.
std::vector<std::pair<std::string_view, std::string_view>> all_lines() {
  std::vector<std::pair<std::string_view, std::string_view>> out;
  for (const FormRows& rows : flag_rows()) {
    const bool other = rows.base.verb == "demo" || rows.base.verb == "generate";
    if (!other) out.emplace_back(rows.base.verb, rows.base.words);
  }
  out.insert(out.end(), std::begin(kMore), std::end(kMore));
  return out;
}

TEST(Width, EveryVerbFits80ColumnsAndWideLeavesNothingOut) {
  int64_t narrowed = 0;
  for (const auto& [verb, words] : all_lines()) {
    const std::string of = std::string(verb) + " " + std::string(words);
    const Effect narrow = run_line(verb, std::string(words));
    EXPECT_EQ(narrow.code, 0) << of << "\n" << narrow.error;
    expect_fits(narrow.files.at(""), of);
    const bool says = narrow.files.at("").find(kNote) != std::string::npos;
    narrowed += says ? 1 : 0;
    if (!says) continue;
    const Wide wide;
    const std::string text = run_line(verb, std::string(words)).files.at("");
    EXPECT_THAT(text, AllOf(Not(HasSubstr(kNote)), Not(HasSubstr("cut at …")))) << of;
    EXPECT_GT(text.size(), 0U);
  }
  EXPECT_GT(narrowed, 5);
}

TEST(Width, EveryHelpFits80Columns) {
  const std::map<ModelKind, std::string> models{
      {ModelKind::language, "examples/tiny-mamba1"},
      {ModelKind::cobra, "tests/golden/cobra/model"},
      {ModelKind::regressor, "tests/golden/regressor/slim.pt"}};
  expect_fits(scute_program({"--help"}).out, "--help");
  expect_fits(scute_program({"--version"}).out, "--version");
  for (const auto& [kind, model] : models) expect_fits(scute_program({model}).out, model);
  for (const cli::Verb& verb : cli::verbs()) {
    const std::string name(verb.name);
    expect_fits(scute_program({name, "--help"}).out, name + " --help");
    for (const cli::Form& form : verb.forms) {
      if (!form.kind) continue;
      std::vector<std::string> words{name, models.at(*form.kind), "--help"};
      if (name == "sweep") words.insert(words.begin() + 1, "--models");
      const Ended help = scute_program(words);
      EXPECT_EQ(help.code, 0) << help.err;
      expect_fits(help.out, name + " " + models.at(*form.kind));
    }
  }
}

/// The flag stands anywhere and is the same in a pipe; without a table it changes nothing.
TEST(Width, WideIsForEveryVerb) {
  const std::string line = "scute sites tests/golden/cobra/model";
  const Ended narrow = shell(line), wide = shell(line + " --wide");
  EXPECT_THAT(narrow.out, HasSubstr(kNote));
  EXPECT_THAT(wide.out, Not(HasSubstr(kNote)));
  EXPECT_EQ(shell("scute --wide sites tests/golden/cobra/model").out, wide.out);
  EXPECT_EQ(shell("scute --wide --version").out, shell("scute --version").out);
  EXPECT_EQ(shell(line + " --json --wide").out, shell(line + " --json").out);
  EXPECT_THAT(shell("scute --help").out, HasSubstr("--wide"));
  EXPECT_THAT(shell(line + " --wide=3").err, HasSubstr("--wide: expected no value, found \"3\""));
  const Ended terminal = shell("script -qec '" + line + "' /dev/null");
  std::string shown = terminal.out;
  std::erase(shown, '\r');
  EXPECT_EQ(shown, narrow.out);
}

const std::string kSite = "vision.siglip.blocks.11.attn.qkv:input";

TEST(Width, TitlesAreBrokenBeforeAnythingIsLeftOut) {
  Table table({{"site", Table::Align::left},
               {"a title of many words"},
               {"and another one here"},
               {"and one more of them"}});
  table.add({"one", "1", "2", "3"});
  for (int i = 0; i < 3; ++i) table.add({std::string(28, 'x'), "1", "2", "3"});
  const std::string text = table.text();
  expect_fits(text, "table");
  EXPECT_THAT(text, AllOf(Not(HasSubstr(kNote)), HasSubstr(std::string(28, 'x'))));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 9);  // five lines of titles
  const Wide wide;
  EXPECT_THAT(table.text(), HasSubstr("a title of many words  and another one here"));
}

TEST(Width, ColumnsOfTheHighestRankAreLeftOutFirst) {
  Table table({{"site", Table::Align::left},
               {"first", Table::Align::right, 1},
               {"second"},
               {"third", Table::Align::right, 1},
               {"fourth"}});
  table.add({kSite, std::string(15, '1'), std::string(15, '2'), std::string(15, '3'), "4"});
  const std::string text = table.text();
  expect_fits(text, "table");
  EXPECT_THAT(text,
              AllOf(HasSubstr(std::string(15, '2')), HasSubstr("  4\n"), HasSubstr(kSite),
                    HasSubstr("(left out first, third to fit 80 columns; --wide shows all)")));
  const Wide wide;
  EXPECT_THAT(table.text(), AllOf(HasSubstr(std::string(15, '1')), Not(HasSubstr(kNote))));
}

TEST(Width, NamesKeepTheirEndAndSentencesTheirBeginning) {
  Table table(
      {{"site", Table::Align::left},
       {.title = "why", .align = Table::Align::left, .keep = Table::Keep::beginning, .least = 16},
       {"n"}});
  const std::string why = "because the tail reaches far beyond the bulk of what was seen there";
  table.add({"one part", "", ""});
  table.add({kSite, why, std::string(30, '7')});
  table.add({"日本語日本語日本語日本語日本語日本語日本語", "short", "8"});
  const std::string text = table.text();
  expect_fits(text, "table");
  EXPECT_THAT(text, AllOf(HasSubstr("…"), HasSubstr("attn.qkv:input"), HasSubstr("because the"),
                          HasSubstr(std::string(30, '7')), HasSubstr("日本語   short"),
                          HasSubstr("(text cut at … to fit 80 columns; --wide shows all)")));
  const Wide wide;
  EXPECT_THAT(table.text(), AllOf(HasSubstr(kSite), HasSubstr(why), Not(HasSubstr(kNote))));
}

TEST(Width, LongLinesGoOnBelowTheirWords) {
  const std::string words =
      "protocol  whole file tokenized at once, no added tokens; windows of 32 tokens every 32, "
      "tail "
      "dropped";
  EXPECT_EQ(cli::fitted(words + "\n"),
            "protocol  whole file tokenized at once, no added tokens; windows of 32 tokens\n"
            "          every 32, tail dropped\n");
  const std::string command =
      "$ scute generate examples/tiny-mamba1 --prompt 'The president of "
      "the country' --max-tokens 20 --seed 3";
  EXPECT_EQ(cli::fitted(command),
            "$ scute generate examples/tiny-mamba1 --prompt 'The president of the country' \\\n"
            "    --max-tokens 20 --seed 3");
  const std::string list = "sites  " + std::string(40, 'a') + "," + std::string(40, 'b');
  EXPECT_EQ(cli::fitted(list),
            "sites  " + std::string(40, 'a') + ",\n" + std::string(7, ' ') + std::string(40, 'b'));
  EXPECT_EQ(cli::fitted("short\n\nlines\n"), "short\n\nlines\n");
  EXPECT_EQ(cli::fitted(std::string(100, 'x')), std::string(100, 'x'));
  const Wide wide;
  EXPECT_EQ(cli::fitted(words), words);
}

}  // namespace
}  // namespace scute::cli_width_test
