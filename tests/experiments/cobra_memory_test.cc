// A Cobra's experiment within a given memory: what is recorded does not depend on it.
#include <gtest/gtest.h>

#include <filesystem>

#include "scute/base/json.h"
#include "scute/experiments/run_cobra.h"
#include "scute/io/testing.h"

namespace scute::cobra_memory_test {
namespace {

const std::string kModel = "tests/golden/cobra/model";

/// Of an experiment of its own folder: what was found, and of which options.
std::string found(const std::string& folder, const Setting& setting,
                  std::function<ExperimentPlan(const Setting&)> plan) {
  CobraSubjectOptions options;
  options.model = kModel;
  options.collect.images = "tests/golden/cobra/pictures";
  options.collect.sites = "*";
  options.log = folder + "/log.jsonl";
  RunHow how;
  how.threads = 2;
  how.plan = std::move(plan);
  how.local_time = [](const char*) { return std::string("now"); };
  how.machine = Json::object();
  const Json record = CobraSubject(options, std::move(how)).run(setting).record;
  return record.at("results", "").dump() + record.at("activation_stats", "").dump() +
         record.at("hashes", "").dump();
}

TEST(CobraExperimentWithinMemory, FindsTheSame) {
  const fixtures::Folder folder;
  for (const char* format : {"W8A8", "W4A16"}) {
    Setting setting;
    setting.policy = "minmax";
    setting.quantize.format = LayerFormat::parse(format, "");
    setting.logged.sites = "projector";
    const std::string name = format;
    std::filesystem::create_directories(folder.path(name + "/a"));
    std::filesystem::create_directories(folder.path(name + "/b"));
    int planned = 0;
    const auto tight = [&](const Setting&) {
      ++planned;
      ExperimentPlan out;
      out.collect = {.threads = 1, .by_layers = ByLayers{2, ""}};
      out.quantize.memory = {.at_work = 1, .tensors_in = folder.path("")};
      out.compared_by_layers = ByLayers{3, folder.path("")};
      return out;
    };
    EXPECT_EQ(found(folder.path(name + "/a"), setting, tight),
              found(folder.path(name + "/b"), setting, {}))
        << format;
    EXPECT_EQ(planned, 1);
  }
}

}  // namespace
}  // namespace scute::cobra_memory_test
