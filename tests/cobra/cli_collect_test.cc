// scute collect and sites on a Cobra, as typed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "scute/base/json.h"
#include "scute/io/file.h"
#include "scute/io/torch_zip.h"
#include "scute/recipe/statistics_io.h"
#include "tests/program.h"

namespace scute::cli_collect_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const std::string kModel = "tests/golden/cobra/model";
const std::string kPictures = "tests/golden/cobra/pictures";  // five, and one that is cut off

class CobraProgram : public testing::Test {
 protected:
  Ended collect(std::vector<std::string> more) const {
    std::vector<std::string> arguments{"collect", "--model", kModel, "--images", kPictures};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return scute_program(arguments);
  }
  Json answer(std::vector<std::string> more) const {
    more.push_back("--json");
    const Ended ended = collect(more);
    EXPECT_EQ(ended.code, 0) << ended.err;
    return Json::parse(ended.out, "answer");
  }
  std::string stats() const { return folder.path("out/stats.pt"); }

  TemporaryFolder folder;
};

TEST_F(CobraProgram, CollectsIntoAFolderThatItMakesAndNamesTheCorruptPicture) {
  const Ended ended =
      collect({"--out", stats(), "--export-best-json", folder.path("best.json"), "--wide"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, AllOf(HasSubstr("5 measured of 6"), HasSubstr("1 could not be read"),
                               HasSubstr("6_broken.png"), HasSubstr("seed 42")));
  const StatisticsSet statistics = read_statistics(stats());
  EXPECT_EQ(statistics.meta.at("pictures_corrupt", "m").as_int("m"), 1);

  // What tools of this field look for, at the top and nothing else.
  const TorchValue root = read_torch(stats());
  std::vector<std::string> keys;
  for (const auto& [key, value] : std::get<TorchValue::Dict>(root.value)) keys.push_back(key);
  EXPECT_THAT(keys, testing::UnorderedElementsAre("llm", "meta", "projector", "vision.dino",
                                                  "vision.siglip"));
  const TorchValue* dino = root.find("vision.dino");
  for (const char* key : {"min", "max", "numel", "percentiles", "bins", "counts"}) {
    EXPECT_NE(dino->find(key), nullptr) << key;
  }
  EXPECT_NE(dino->find("percentiles")->find("p99.999"), nullptr);

  // The same as decide says of the file.
  const Ended decided =
      scute_program({"decide", "--stats", stats(), "--out", folder.path("d.json")});
  ASSERT_EQ(decided.code, 0) << decided.err;
  const auto plan = [&](const char* name) {
    Json json = Json::parse(read_text(folder.path(name)), name);
    json["meta"] = Json();
    return json;
  };
  EXPECT_EQ(plan("best.json"), plan("d.json"));
}

TEST_F(CobraProgram, ThePercentileOverrideIsExported) {
  const Ended ended = collect({"--out", stats(), "--export-best-json", folder.path("best.json"),
                               "--percentile-override", "99.9"});
  ASSERT_EQ(ended.code, 0) << ended.err;
  const Json plan = Json::parse(read_text(folder.path("best.json")), "best.json");
  EXPECT_EQ(plan.at("projector", "p").at("percentile", "p").as_double("p"), 99.9);
}

TEST_F(CobraProgram, FlagsCountMoreThanTheEnvironmentAndThatMoreThanTheFile) {
  write_file(folder.path("pct.json"),
             R"({"batches": 1, "batch_size": 2, "targets": ["vision.dino"], "text_len": 8})");
  EXPECT_EQ(answer({"--config", folder.path("pct.json"), "--out", stats()})
                .at("pictures", "a")
                .as_int("a"),
            2);
  const std::string line = "scute collect --model " + kModel + " --images " + kPictures +
                           " --config " + folder.path("pct.json") + " --json --out " + stats();
  const auto pictures = [](const Ended& ended) {
    EXPECT_EQ(ended.code, 0) << ended.err;
    return Json::parse(ended.out, "answer").at("pictures", "answer").as_int("answer");
  };
  EXPECT_EQ(pictures(shell("SCUTE_PCT_BATCH_SIZE=3 " + line)), 3);
  EXPECT_EQ(pictures(shell("SCUTE_PCT_BATCH_SIZE=3 " + line + " --batch-size 1")), 1);
  const Ended bad = shell("SCUTE_PCT_BATCH_SIZE=many " + line);
  EXPECT_NE(bad.code, 0);
  EXPECT_THAT(bad.err, HasSubstr("SCUTE_PCT_BATCH_SIZE"));
}

TEST_F(CobraProgram, PicturesBeyondTheBatchesAreSaid) {
  const Ended ended = collect({"--batches", "1", "--out", stats()});
  ASSERT_EQ(ended.code, 0) << ended.err;
  EXPECT_THAT(ended.out, AllOf(HasSubstr("4 measured of 6"), HasSubstr("2 unused"),
                               HasSubstr("--batches 2 measures them all")));
}

TEST_F(CobraProgram, WhatIsUnusualAboutWeightFilesIsSaid) {
  namespace fs = std::filesystem;
  const std::string model = folder.path("m");
  fs::copy(kModel, model, fs::copy_options::recursive);
  fs::rename(model + "/vision/dino/model.safetensors", model + "/vision/dino/tower.safetensors");
  const auto remarks = AllOf(HasSubstr("vision/dino: "), HasSubstr("tower.safetensors"));
  EXPECT_THAT(scute_program({"doctor", model}).out, remarks);
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"collect", "--images", kPictures, "--out", stats()},
           {"eval", "--images", kPictures, "--against", kModel},
           {"quantize", "--w-bits", "8", "--a-bits", "16", "--out", folder.path("q")}}) {
    std::vector<std::string> line = words;
    line.insert(line.begin() + 1, model);
    const Ended ended = scute_program(line);
    EXPECT_EQ(ended.code, 0) << ended.err;
    EXPECT_THAT(ended.err, AllOf(HasSubstr("scute: remark: m: "), remarks)) << words[0];
  }
  const Ended quiet =
      scute_program({"collect", model, "--images", kPictures, "--out", stats(), "--quiet"});
  EXPECT_THAT(quiet.err, testing::Not(HasSubstr("tower.safetensors")));
}

TEST_F(CobraProgram, WrongUsageSaysWhatWasExpected) {
  const auto refused = [&](const Ended& ended, int code, const std::string& words) {
    EXPECT_EQ(ended.code, code);
    EXPECT_THAT(ended.err, HasSubstr(words));
    EXPECT_FALSE(std::filesystem::exists(stats()));
  };
  refused(scute_program({"collect", kModel, "--out", stats()}), 2,
          "--images: expected a folder with pictures");
  refused(collect({"--out", folder.path("stats.csv")}), 2, ".safetensors or .pt");
  refused(collect({"--targets", "vision.clip", "--out", stats()}), 2, "vision.clip");
  refused(collect({"--percentile-override", "0.999", "--out", stats()}), 2, "50 to 100");
  refused(scute_program({"collect", kModel, "--data", "x.jsonl", "--out", stats()}), 2,
          "--data: a flag of language models; " + kModel + " is a Cobra");
  refused(scute_program({"collect", kModel, "--images", folder.path("none"), "--out", stats()}), 1,
          "none");
  refused(
      scute_program({"collect", "examples/tiny-mamba1", "--images", kPictures, "--out", stats()}),
      2, "--images: a flag of Cobra; examples/tiny-mamba1 is a language model");
}

TEST_F(CobraProgram, ASilentBucketIsNamedAndTheOthersAreWritten) {
  const Ended ended = collect({"--no-random-text", "--out", stats()});
  EXPECT_EQ(ended.code, 1);
  EXPECT_THAT(ended.err, AllOf(HasSubstr("none at llm"), HasSubstr("the file holds the others")));
  EXPECT_EQ(read_statistics(stats()).sites.count("vision.dino"), 1U);
}

TEST_F(CobraProgram, NeitherInputsNorSomebodysFilesAreReplaced) {
  namespace fs = std::filesystem;
  EXPECT_EQ(
      collect({"--out", stats(), "--export-best-json", folder.path("out/../out/stats.pt")}).code,
      2);
  const std::string weights = folder.path("latest-checkpoint.pt");
  fs::copy(kModel + "/checkpoints/latest-checkpoint.pt", weights);
  const Ended other = collect({"--out", weights});
  EXPECT_EQ(other.code, 1);
  EXPECT_THAT(other.err, HasSubstr("another file, which stays"));
  EXPECT_EQ(read_text(weights), read_text(kModel + "/checkpoints/latest-checkpoint.pt"));
  ASSERT_EQ(collect({"--out", stats()}).code, 0);
  ASSERT_EQ(collect({"--out", stats()}).code, 0) << "statistics are replaced";
  const Ended same = scute_program({"decide", "--stats", stats(), "--out", stats()});
  EXPECT_EQ(same.code, 2);
  EXPECT_THAT(same.err, HasSubstr("an output that is not read"));

  // A model that scute did not write, though its files have the same names; and a model's own part.
  fs::copy(kModel, folder.path("model"), fs::copy_options::recursive);
  fs::remove_all(folder.path("model/checkpoints"));
  fs::remove(folder.path("model/golden.safetensors"));
  const auto quantize = [&](const std::string& from, const std::string& to) {
    return scute_program({"quantize", from, "--stats", stats(), "--out", to, "--force"});
  };
  EXPECT_THAT(quantize(kModel, folder.path("model")).err, HasSubstr("recipe.json"));
  EXPECT_TRUE(fs::exists(folder.path("model/vision/dino/model.safetensors")));
  const Ended part = quantize(folder.path("model"), folder.path("model/vision"));
  EXPECT_EQ(part.code, 1);
  EXPECT_TRUE(fs::exists(folder.path("model/vision/dino/model.safetensors")));
}

TEST_F(CobraProgram, AFileThatMayNotGrowIsAnErrorAndNothingIsLeft) {
  const Ended ended =
      scute_program({"collect", kModel, "--images", kPictures, "--out", folder.path("s.pt")},
                    {.folder = "", .standard_output = "", .largest_file = 1000});
  EXPECT_EQ(ended.code, 1);
  EXPECT_THAT(ended.err, HasSubstr("s.pt"));
  EXPECT_TRUE(folder.names().empty());
}

TEST_F(CobraProgram, FlagsOfTextsAreNotForCobra) {
  const Ended ended = scute_program({"dump", kModel, "--text", "examples/text/README.md", "--sites",
                                     "*", "--out", folder.path("x.safetensors")});
  EXPECT_EQ(ended.code, 2);
  EXPECT_THAT(ended.err, AllOf(HasSubstr("--text: a flag of language models"), HasSubstr("a Cobra"),
                               HasSubstr("scute dump " + kModel + " --help")));
}

TEST_F(CobraProgram, SitesExplainsABucketAndNamesTheNearest) {
  const Ended ended = scute_program({"sites", kModel, "find", "vision.siglip"});
  EXPECT_EQ(ended.code, 0);
  EXPECT_THAT(ended.out, AllOf(HasSubstr("16 patches × 48 a picture"),
                               HasSubstr("vision.siglip.blocks.1.mlp.fc2:input")));
  const Ended missing = scute_program({"sites", kModel, "find", "vision.sigli"});
  EXPECT_EQ(missing.code, 1);
  EXPECT_THAT(missing.err, HasSubstr("names that contain it: vision.siglip,"));
}

TEST_F(CobraProgram, TheHelpOfThisFormWorksAsPrinted) {
  const Ended help = scute_program({"collect", "--images", "DIR", "--help"});
  EXPECT_EQ(help.code, 0);
  for (const char* flag : {"--batches", "--targets", "--prompts", "--no-random-text",
                           "--max-samples-per-batch", "--config", "--percentile-override"}) {
    EXPECT_THAT(help.out, HasSubstr(flag));
  }
  const std::string example = help.out.substr(help.out.find("example:\n") + 9);
  std::filesystem::create_directory_symlink(std::filesystem::absolute("tests"),
                                            folder.path("tests"));
  const Ended ended = shell(example, folder.path());
  EXPECT_EQ(ended.code, 0) << ended.err;
  EXPECT_GT(file_size(folder.path("outputs/percentile_stats.pt")), 100000);
}

}  // namespace
}  // namespace scute::cli_collect_test
