#include "scute/language/plan_scales.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "scute/base/error.h"
#include "scute/language/hessians.h"
#include "scute/language/test_models.h"

namespace scute::plan_scales_test {
namespace {

using fixtures::Folder;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::ThrowsMessage;

ModelDescription small_model(const Folder& folder, MixerKind mixer = MixerKind::mamba1) {
  return testing_models::make_model(folder.path(mixer == MixerKind::mamba1 ? "m1" : "m2"), mixer,
                                    testing_models::Dialect::state_spaces);
}

Decision range(double lo, double hi) {
  Decision out;
  out.lo = lo;
  out.hi = hi;
  return out;
}

TEST(PlanScales, TakesTheLargerSideOfARange) {
  const Folder folder;
  const ModelDescription model = small_model(folder);
  Plan plan;
  plan.sites["layer_0.z_act:input"] = range(-2.54, 1);
  plan.sites["layer_1.z_act:input"] = range(0.5, 1.27);
  PlanScales scales(plan, model);
  EXPECT_EQ(scales.range("layer_0.z_act:input"), 2.54);
  EXPECT_FLOAT_EQ(scales.scale("layer_0.z_act:input"), 0.02f);
  EXPECT_FLOAT_EQ(scales.scale("layer_1.z_act:input"), 0.01f);
  EXPECT_NO_THROW(scales.finish());
}

TEST(PlanScales, KeepsTheSitesThatWereAskedForAlone) {
  const Folder folder;
  Plan plan;
  plan.sites["layer_0.z_act:input"] = plan.sites["layer_1.z_act:input"] = range(-1, 1);
  plan.meta["seed"] = 7;
  PlanScales scales(plan, small_model(folder));
  scales.scale("layer_1.z_act:input");
  EXPECT_EQ(scales.used().sites.size(), 1u);
  EXPECT_TRUE(scales.used().sites.contains("layer_1.z_act:input"));
  EXPECT_EQ(scales.used().meta, plan.meta);
}

TEST(PlanScales, ReportsEveryProblemAtOnceAndEachOnce) {
  const Folder folder;
  Plan plan;
  plan.sites["layer_0.z_act:input"] = range(-1, 1);
  plan.sites["layer_0.z_act:input"].grid.bits = 4;
  plan.sites["layer_1.z_act:input"] = range(-1, 1);
  plan.sites["layer_1.z_act:input"].grid.symmetric = false;
  PlanScales scales(plan, small_model(folder));
  for (int twice = 0; twice < 2; ++twice) {
    EXPECT_EQ(scales.range("layer_0.z_act:input"), 1);
    EXPECT_EQ(scales.range("layer_1.z_act:input"), 1);
    EXPECT_EQ(scales.range("layer_0.x_proj:input"), 1);
  }
  EXPECT_THAT([&] { scales.finish(); },
              ThrowsMessage<Error>(AllOf(HasSubstr("3 problems"), HasSubstr("decided for 4 bits"),
                                         HasSubstr("8 bits, asymmetric"),
                                         HasSubstr("missing layer_0.x_proj"))));
}

TEST(PlanScales, NamesFiveProblemsAndCountsTheRest) {
  const Folder folder;
  const Plan empty;
  PlanScales scales(empty, small_model(folder));
  for (const char* site : {"a", "b", "c", "d", "e", "f", "g"}) scales.range(site);
  EXPECT_THAT([&] { scales.finish(); },
              ThrowsMessage<Error>(AllOf(HasSubstr("7 problems"), HasSubstr("missing e and 2 more"),
                                         Not(HasSubstr("missing f")))));
}

TEST(PlanScales, RefusesThePlanOfAnotherModel) {
  const Folder folder;
  const ModelDescription model = small_model(folder);
  Plan plan;
  plan.sites["layer_0.z_act:input"] = range(-1, 1);
  plan.meta["model_sha256"] = hash_model(model);
  EXPECT_NO_THROW(PlanScales(plan, model));
  plan.meta["model_sha256"] = std::string(64, 'a');
  EXPECT_THAT([&] { PlanScales(plan, model); },
              ThrowsMessage<Error>(AllOf(HasSubstr("m1"), HasSubstr("aaaaaaaaaaaa"))));
  plan.meta = Json();
  plan.sites["layer_7.z_act:input"] = range(-1, 1);
  EXPECT_THAT([&] { PlanScales(plan, model); },
              ThrowsMessage<Error>(HasSubstr("layer_7.z_act:input")));
}

TEST(PlanScales, AnEmptyRangeStillHasAScale) {
  const float scale = scale_of_range(0);
  EXPECT_TRUE(std::isnormal(scale));
  EXPECT_GT(scale, 0);
}

/// Random ids, so that no tokenizer is needed.
CalibrationOptions calibration(const Folder& folder) {
  Tensor ids(DType::i32, {5, 20});
  Random random(5);
  for (int32_t& id : ids.mutable_values<int32_t>()) id = static_cast<int32_t>(random.below(256));
  write_npy(folder.path("ids.npy"), ids);
  CalibrationOptions out;
  out.data = {folder.path("ids.npy")};
  out.windows.samples = 5;
  out.windows.seqlen = 20;
  return out;
}

TEST(Hessians, AreMeasuredAtTheInputsOfWhatGptqRounds) {
  const Folder folder;
  for (const MixerKind mixer : {MixerKind::mamba1, MixerKind::mamba2}) {
    const ModelDescription model = small_model(folder, mixer);
    const Hessians found = measure_hessians(model, calibration(folder), {.threads = 2});
    std::vector<std::string> names;
    for (const auto& [site, gram] : found.sites) {
      names.push_back(site);
      EXPECT_EQ(gram.tokens, 100);
      EXPECT_EQ(gram.size, site.find("in_proj") != std::string::npos || site[1] == 'm' ? 64 : 128);
      for (int64_t i = 0; i < gram.size; ++i) EXPECT_GE(gram.triangle().row(i)[i], 0);
    }
    std::vector<std::string> wanted{"layer_0.in_proj:input", "layer_0.out_proj:input",
                                    "layer_1.in_proj:input", "layer_1.out_proj:input",
                                    "lm_head:input"};
    if (mixer == MixerKind::mamba1) {
      wanted.insert(wanted.end(), {"layer_0.x_proj:input", "layer_1.x_proj:input"});
    }
    EXPECT_THAT(names, testing::UnorderedElementsAreArray(wanted));
    EXPECT_EQ(found.meta.at("tokens", ""), Json(100));
    EXPECT_EQ(found.meta.at("model_sha256", ""), Json(hash_model(model)));
  }
}

TEST(Hessians, SurviveTheirFileAndRefuseAnother) {
  const Folder folder;
  const ModelDescription model = small_model(folder);
  const Hessians found = measure_hessians(model, calibration(folder), {.threads = 1});
  const std::string file = folder.path("h.safetensors");
  write_hessians(file, found);
  const Hessians read = read_hessians(file, model);
  ASSERT_EQ(read.sites.size(), found.sites.size());
  for (const auto& [site, gram] : found.sites) EXPECT_EQ(read.sites.at(site).values, gram.values);

  const ModelDescription other = small_model(folder, MixerKind::mamba2);
  EXPECT_THAT([&] { read_hessians(file, other); },
              ThrowsMessage<Error>(AllOf(HasSubstr("h.safetensors"), HasSubstr("m2"))));
  EXPECT_THAT([&] { read_hessians(model.path + "/model.safetensors", model); },
              ThrowsMessage<Error>(HasSubstr("--save-hessians")));
  const Metadata metadata{
      {"format", "scute-hessians"}, {"version", "1"}, {"meta", found.meta.dump()}};
  for (const Shape& shape : {Shape{2, 3}, Shape{4}, Shape{2, 2, 1}}) {
    write_safetensors(file, {{"lm_head:input/hessian", Tensor(DType::f64, shape)}}, metadata);
    EXPECT_THROW(read_hessians(file, model), Error);
  }
  write_safetensors(file, {{"lm_head:input/hessian", Tensor(DType::f32, {2, 2})}}, metadata);
  EXPECT_THROW(read_hessians(file, model), Error);
}

TEST(Hessians, OfAnotherSizeOrMissingAreNamed) {
  const Folder folder;
  const ModelDescription model = small_model(folder);
  Hessians hessians = measure_hessians(model, calibration(folder), {.threads = 1});
  QuantizeOptions options;
  options.format = LayerFormat::parse("W4A16", "");
  options.gptq = true;
  options.group = 32;
  const auto attempt = [&] { quantize(model, Plan{}, nullptr, &hessians, options); };
  EXPECT_NO_THROW(attempt());
  Hessians sound = hessians;
  hessians.sites.at("layer_1.x_proj:input") = Gram(3);
  EXPECT_THAT(attempt, ThrowsMessage<Error>(HasSubstr("128 inputs at layer_1.x_proj:input")));
  hessians = sound;
  hessians.sites.erase("layer_0.out_proj:input");
  EXPECT_THAT(attempt, ThrowsMessage<Error>(HasSubstr("layer_0.out_proj:input")));
  hessians = sound;
  hessians.sites.at("layer_0.in_proj:input").values[5] = std::nan("");
  EXPECT_THAT(attempt, ThrowsMessage<Error>(HasSubstr("layers.0.mixer.in_proj")));
}

TEST(Statistics, OfAnotherSizeThanTheModelAreRefused) {
  const Folder folder;
  const ModelDescription model = small_model(folder);
  StatisticsSet statistics = testing_models::make_statistics(model, folder.path("ids.npy"));
  PlanOptions how;
  how.policy = Policy::parse("minmax");
  const Plan plan = make_plan(statistics.sites, how);
  statistics.meta = Json();  // of an unknown model
  EXPECT_NO_THROW(quantize(model, plan, &statistics, nullptr, {}));
  StatisticsSet cut = statistics;
  for (const char* site : {"layer_0.ssm_state_act:steps", "layer_0.ssm_state_act:input"}) {
    cut.sites.at(site).element_absmax.resize(100);
  }
  EXPECT_THAT([&] { quantize(model, plan, &cut, nullptr, {}); },
              ThrowsMessage<Error>(HasSubstr("2048 magnitudes at layer_0.ssm_state_act")));
}

}  // namespace
}  // namespace scute::plan_scales_test
