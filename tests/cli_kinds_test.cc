// The table of verbs and kinds of model: every cell, the empty ones too, and what is said of
// models, verbs and flags that do not go together.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>

#include "cli/verbs.h"
#include "scute/base/json.h"
#include "scute/io/file.h"
#include "tests/program.h"

namespace scute::cli_kinds_test {
namespace {

namespace fs = std::filesystem;
using cli::FlagInfo;
using cli::Form;
using cli::Verb;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

const std::string kLanguage = "examples/tiny-mamba1", kCobra = "tests/golden/cobra/model",
                  kRegressor = "tests/golden/regressor/slim.pt";
const std::map<ModelKind, std::string> kModels{{ModelKind::language, kLanguage},
                                               {ModelKind::cobra, kCobra},
                                               {ModelKind::regressor, kRegressor}};

/// One line on standard error with these parts, and this exit code.
void expect_refused(const std::vector<std::string>& words, int code,
                    const std::vector<std::string>& parts) {
  const Ended ended = scute_program(words);
  EXPECT_EQ(ended.code, code) << ended.err;
  EXPECT_THAT(ended.err, StartsWith("scute: error: "));
  EXPECT_EQ(std::count(ended.err.begin(), ended.err.end(), '\n'), 1) << ended.err;
  for (const std::string& part : parts) EXPECT_THAT(ended.err, HasSubstr(part));
  EXPECT_EQ(ended.out, "");
}

const Form* form_of(const Verb& verb, std::optional<ModelKind> kind) {
  const auto found = std::ranges::find(verb.forms, kind, &Form::kind);
  return found == verb.forms.end() ? nullptr : &*found;
}

bool works_on_models(const Verb& verb) {
  return std::ranges::any_of(verb.forms, [](const Form& form) { return form.kind.has_value(); });
}

std::string first_flag(const FlagInfo& flag) {
  const auto found =
      std::ranges::find_if(flag.names, [](const std::string& name) { return name[0] == '-'; });
  return found == flag.names.end() ? "" : *found;
}

/// One kind may take several values where another takes one.
std::string without_dots(const std::string& label) { return label.substr(0, label.find("...")); }

TEST(Table, EachCellHasASummaryAnExampleAndFlagsWithHelp) {
  for (const Verb& verb : cli::verbs()) {
    ASSERT_FALSE(verb.forms.empty()) << verb.name;
    for (const Form& form : verb.forms) {
      EXPECT_EQ(&form, form_of(verb, form.kind)) << verb.name << ": two forms of one kind";
      EXPECT_THAT(std::string(form.example), StartsWith("scute ")) << verb.name;
      EXPECT_EQ(form.of_no_kind && verb.name != "doctor", false);
      for (const FlagInfo& flag : form.flags()) {
        EXPECT_FALSE(flag.help.empty()) << verb.name << " " << flag.names.front();
        EXPECT_EQ(flag.takes == FlagInfo::Takes::nothing, flag.label.empty()) << flag.names.front();
      }
    }
  }
}

/// With a model's path, each verb shows its form for that kind, or says in one line what there is.
TEST(Table, EveryCellIsAHelpOrAMissingOne) {
  for (const Verb& verb : cli::verbs()) {
    if (!works_on_models(verb) || verb.name == "sweep") continue;
    for (const auto& [kind, model] : kModels) {
      const std::vector<std::string> words{std::string(verb.name), model, "--help"};
      const Form* form = form_of(verb, kind);
      if (form == nullptr) {
        expect_refused(words, 1,
                       {"scute " + std::string(verb.name) + ": expected a ",
                        model + ", a " + std::string(name_of(kind)) + ", for which there are ",
                        "(scute " + model + " says"});
        continue;
      }
      const Ended help = scute_program(words);
      EXPECT_EQ(help.code, 0) << help.err;
      for (const FlagInfo& flag : form->flags()) {
        EXPECT_THAT(help.out, HasSubstr("\n  " + flag.names.front()));
      }
      for (const Form& other : verb.forms) {
        for (const FlagInfo& flag : other.flags()) {
          const std::string name = first_flag(flag);
          const bool shown = help.out.find(name) != std::string::npos;
          if (name.empty() || shown || flag.means == FlagInfo::Means::model) continue;
          // Not in the help: so it must be refused as one of another kind.
          expect_refused({std::string(verb.name), model, name + "=1"}, 2,
                         {name + ": a flag of ", model + " is a " + std::string(name_of(kind))});
        }
      }
    }
  }
}

TEST(Table, FlagsOfOneNameSayTheSameInEveryKind) {
  for (const Verb& verb : cli::verbs()) {
    std::map<std::string, FlagInfo> known;
    for (const Form& form : verb.forms) {
      for (const FlagInfo& flag : form.flags()) {
        for (const std::string& name : flag.names) {
          const auto [at, added] = known.emplace(name, flag);
          if (added) continue;
          // In texts the seed orders documents, which Cobra does not shuffle; it draws ids.
          if (verb.name == "collect" && name == "--seed") continue;
          // A regressor is a file, all other models are folders; so is a GGUF file.
          const bool target = name == "--out" || name == "--output" || name == "--force";
          if ((verb.name == "quantize" || verb.name == "export") && target) continue;
          EXPECT_EQ(at->second.help, flag.help) << verb.name << " " << name;
          EXPECT_EQ(without_dots(at->second.label), without_dots(flag.label)) << name;
          EXPECT_EQ(at->second.names, flag.names) << verb.name << " " << name;
        }
      }
    }
  }
}

TEST(Table, TheOverviewNamesTheKindsOfEachVerb) {
  const std::string out = scute_program({"--help"}).out;
  EXPECT_THAT(out, HasSubstr("\n  eval      L C R  "));
  EXPECT_THAT(out, HasSubstr("\n  decide           "));
  EXPECT_THAT(out, HasSubstr("L C R: for language models, Cobra, regressors"));
}

TEST(Table, AVerbWithSeveralFormsListsThem) {
  const std::string out = scute_program({"eval", "--help"}).out;
  EXPECT_THAT(out, AllOf(HasSubstr("\n  language models  perplexity"), HasSubstr("\n  Cobra  "),
                         HasSubstr("\n  regressors  "), Not(HasSubstr("--feat-root DIR"))));
  EXPECT_THAT(scute_program({"merge", "--help"}).out, HasSubstr("--out"));  // it has one
  EXPECT_EQ(out, scute_program({"eval", "nowhere", "--help"}).out);
}

TEST(Table, AModelAloneShowsWhatThereIsForIt) {
  for (const auto& [kind, model] : kModels) {
    const Ended ended = scute_program({model});
    EXPECT_EQ(ended.code, 0) << ended.err;
    EXPECT_THAT(ended.out, StartsWith(model + " is a " + std::string(name_of(kind)) + "\n"));
    EXPECT_EQ(ended.out, scute_program({"help", model}).out);
    for (const Verb& verb : cli::verbs()) {
      const bool shown = ended.out.find("\n  " + std::string(verb.name) + " ") != std::string::npos;
      EXPECT_EQ(shown, form_of(verb, kind) != nullptr) << model << " " << verb.name;
    }
  }
  expect_refused({"./nowhere"}, 1, {"./nowhere", "no such folder"});
}

TEST(Table, WithoutAModelFlagsAndSizesTellTheForm) {
  EXPECT_THAT(scute_program({"eval", "--feat-root", "D", "--help"}).out, HasSubstr("--quant-bits"));
  EXPECT_THAT(scute_program({"bench", "--random", "tiny-cobra-vision", "--help"}).out,
              HasSubstr("--pictures"));
  EXPECT_THAT(scute_program({"bench", "--random", "mamba-tiny", "--help"}).out,
              HasSubstr("--ttft"));
  expect_refused({"eval", "--feat-root", "D"}, 2, {"expected MODEL, found none"});
}

TEST(Table, TheModelIsFoundWhereverItStands) {
  // A list before it, its flag, a value that looks like one.
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"eval", "--perplexity", "f", kRegressor},
        {"eval", "--perplexity=f", "--ckpt", kRegressor},
        {"eval", "--model=" + kRegressor, "--perplexity", kLanguage}}) {
    expect_refused(words, 2, {"--perplexity: a flag of language models", kRegressor});
  }
  expect_refused({"collect", "--prompts", "f", "--data", "a.txt", "b.txt", kCobra}, 2,
                 {"--data: a flag of language models", kCobra + " is a Cobra"});
}

TEST(WrongKind, FlagsOfAnotherKind) {
  expect_refused({"eval", kLanguage, "--feat-root", "x"}, 2,
                 {"--feat-root: a flag of regressors; " + kLanguage + " is a language model",
                  "(scute eval " + kLanguage + " --help)"});
  expect_refused({"eval", kCobra, "--feat_root=x"}, 2, {"--feat-root: a flag of regressors"});
  expect_refused({"eval", kLanguage, "--feat-rot", "x"}, 2, {"unknown flag --feat-rot"});
}

TEST(WrongKind, ModelsOfDifferentKinds) {
  expect_refused({"eval", kLanguage, "--perplexity", "README.md", "--against", kCobra}, 1,
                 {"--against: expected a language model, as " + kLanguage + " is",
                  kCobra + ", a Cobra", "scute eval " + kLanguage + " --help"});
  expect_refused({"eval", kCobra, "--images", "x", "--against", kLanguage}, 1,
                 {"--against: expected a Cobra", kLanguage + ", a language model"});
  expect_refused({"sweep", "--models", kLanguage + "," + kCobra, "--data", "x"}, 1,
                 {"--models: expected a language model", kCobra + ", a Cobra"});
}

TEST(WrongKind, FoldersAndFilesThatAreNoModel) {
  const TemporaryFolder folder;
  const auto config = [&](const std::string& text) {
    fs::create_directories(folder.path("m"));
    std::ofstream(folder.path("m/config.json")) << text;
  };
  expect_refused({"eval", kLanguage + "/model.safetensors"}, 1,
                 {"a file; give its folder, " + kLanguage});
  expect_refused({"sites", "README.md"}, 1, {"README.md: expected a model", "give its folder"});
  expect_refused({"sites", "nowhere.pt"}, 1, {"nowhere.pt", "no such file"});
  config(R"({"name": "x"})");
  expect_refused({"sites", folder.path("m")}, 1, {"config.json", "\"model_type\"", "neither"});
  config(R"({"d_model": 64, "model": {"vision_backbone_id": "dinosiglip"}})");
  expect_refused({"sites", folder.path("m")}, 1,
                 {"config.json", "one kind of model", "keep one of them"});
}

/// A plan is edited as a file, whatever kind of model it is of.
TEST(WrongKind, ScalesTakesPlansAndModels) {
  const TemporaryFolder folder;
  const std::string plan = folder.path("plan.json");
  std::ofstream(plan) << R"({"a:input": {"lo": -1, "hi": 2}})";
  EXPECT_EQ(scute_program({"scales", plan, "--set", "a:input=3"}).code, 0);
  EXPECT_EQ(Json::parse(read_text(plan), plan).at("a:input", plan).at("hi", plan).as_double(plan),
            3);
  expect_refused({"scales", kRegressor, "--set", "a=1"}, 1,
                 {kRegressor, "expected a quantized checkpoint with its plan inside", "float one"});
}

}  // namespace
}  // namespace scute::cli_kinds_test
