#include "scute/regressor/writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "scute/base/error.h"
#include "scute/base/random.h"
#include "scute/io/testing.h"
#include "scute/models/regressor/test_regressors.h"
#include "scute/regressor/predict.h"
#include "scute/regressor/ranges.h"

namespace scute::writer_test {
namespace {

using ::testing::HasSubstr;
using Mode = RegressorQuantization::Mode;

const std::string kModels = "tests/golden/regressor/";

Tensor random_windows(const RegressorConfig& config) {
  Tensor out(DType::f32, {6, config.window, config.features});
  Random random(11);
  for (float& x : out.mutable_values<float>()) x = static_cast<float>(random.normal());
  return out;
}

/// Of the model's own random windows.
RegressorStatistics statistics_of(const RegressorCheckpoint& checkpoint) {
  const Regressor model = build_regressor(checkpoint);
  const Tensor windows = random_windows(checkpoint.config);
  FeatureFolder folder;
  FeatureSequence sequence;
  const int64_t frames = windows.dim(0) * windows.dim(1);
  sequence.frames = windows.reshaped({frames, windows.dim(2)});
  sequence.positions = Tensor(DType::f32, {frames + 1, 2});
  for (int64_t b = 1; b <= windows.dim(0); ++b) sequence.ends.push_back(b * windows.dim(1));
  folder.sequences.push_back(std::move(sequence));
  return measure_regressor(model, folder, 0, Threads(1));
}

CalibratedRegressor calibrate(const RegressorCheckpoint& checkpoint, RegressorBackend backend,
                              Mode mode, int bits, bool all) {
  CalibratedRegressor out;
  out.how.backend = backend;
  out.how.mode = mode;
  out.how.bits = bits;
  out.how.all = all;
  out.how.proj = out.how.block_linear = !all;
  const RegressorTensors tensors(checkpoint.config, checkpoint.weights);
  const RegressorStatistics seen = statistics_of(checkpoint);
  if (all && backend == RegressorBackend::integer) {
    out.formats = decide_formats(checkpoint.config, tensors, out.how, seen, {});
  } else {
    out.rounding = decide_rounding(checkpoint.config, tensors, out.how, seen, {});
  }
  return out;
}

Tensor positions(const AnyRegressor& model, const Tensor& windows) {
  return std::visit(
      [&](const auto& m) { return testing_regressors::predict_windows(m, windows, Threads(1)); },
      model);
}

std::vector<std::string> keys_of(const std::string& path) {
  std::vector<std::string> out;
  const TorchValue root = read_torch(path);
  for (const auto& [key, value] : std::get<TorchValue::Dict>(root.find("state_dict")->value)) {
    out.push_back(key);
  }
  return out;
}

class Writer : public ::testing::TestWithParam<const char*> {};

TEST_P(Writer, AWrittenCheckpointIsTheSameNetwork) {
  const fixtures::Folder folder;
  const std::string path = folder / "calibrated.pt";
  const RegressorCheckpoint checkpoint = read_regressor_checkpoint(kModels + GetParam());
  const Tensor windows = random_windows(checkpoint.config);
  for (const auto backend :
       {RegressorBackend::lsq, RegressorBackend::extension, RegressorBackend::integer}) {
    for (const auto& [mode, bits] : {std::pair{Mode::dynamic, 8},
                                     {Mode::dynamic, 16},
                                     {Mode::fixed, 16},
                                     {Mode::per_layer, 8}}) {
      for (const bool all : {true, false}) {
        const CalibratedRegressor calibrated = calibrate(checkpoint, backend, mode, bits, all);
        write_calibrated_regressor(path, checkpoint, calibrated);
        const RegressorCheckpoint again = read_regressor_checkpoint(path);
        EXPECT_EQ(again.quantization, calibrated.how);
        EXPECT_EQ(again.formats.has_value(), calibrated.formats.has_value());
        const RegressorTensors tensors(checkpoint.config, checkpoint.weights);
        const AnyRegressor model =
            calibrated.formats
                ? AnyRegressor(IntegerRegressor(checkpoint.config, tensors, *calibrated.formats))
                : AnyRegressor(build_regressor(checkpoint, calibrated.rounding));
        const Tensor expected = positions(model, windows);
        const Tensor got = positions(build_stored_regressor(again), windows);
        EXPECT_TRUE(std::ranges::equal(expected.values<float>(), got.values<float>()))
            << static_cast<int>(backend) << " " << bits << " " << all;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Writer,
                         ::testing::Values("slim.pt", "slim_dwconv.pt", "slim_maximum.pt",
                                           "slim_one_frame.pt", "origin.pt",
                                           "origin_positions.pt"));

TEST(RegressorWriter, KeysAreThoseOfTheOriginals) {
  const fixtures::Folder folder;
  const std::string path = folder / "calibrated.pt";
  const RegressorCheckpoint checkpoint = read_regressor_checkpoint(kModels + "slim_dwconv.pt");
  write_calibrated_regressor(path, checkpoint,
                             calibrate(checkpoint, RegressorBackend::lsq, Mode::dynamic, 8, true));
  EXPECT_THAT(
      keys_of(path),
      ::testing::IsSupersetOf(
          {"proj.qconv.conv.weight", "proj.qconv.conv.bias", "proj.qconv.qa.scale",
           "proj.qconv.qa.zero_point", "proj.qconv.qw.scale", "proj.qconv.qw.zero_point",
           "backbone.patch_embedding.qconv.conv.weight", "backbone.blocks.0.in_proj.qconv.qa.scale",
           "backbone.output_layer_pool.conv.weight", "backbone.blocks.0.ssm.dt_proj.weight",
           "backbone.output_layer_flat.weight"}));
  write_calibrated_regressor(
      path, checkpoint, calibrate(checkpoint, RegressorBackend::extension, Mode::dynamic, 8, true));
  EXPECT_THAT(keys_of(path),
              ::testing::IsSupersetOf({"head.qconv.impl.conv.weight", "head.qconv.impl.a_scale",
                                       "head.qconv.impl.a_zp", "head.qconv.impl.w_scale",
                                       "backbone.patch_embedding.qconv.a_scale",
                                       "backbone.patch_embedding.qconv.conv.weight"}));
}

/// A dictionary with one member changed, or without it.
TorchValue edited(const TorchValue& dict, std::string_view key, std::optional<TorchValue> value) {
  TorchValue::Dict out = std::get<TorchValue::Dict>(dict.value);
  std::erase_if(out, [&](const auto& member) { return member.first == key; });
  if (value) out.emplace_back(std::string(key), *value);
  return TorchValue(std::move(out));
}

TEST(RegressorWriter, WhatMakesNoSenseIsRefusedByName) {
  const RegressorCheckpoint checkpoint = read_regressor_checkpoint(kModels + "slim.pt");
  const TorchValue good =
      scute_part(calibrate(checkpoint, RegressorBackend::integer, Mode::dynamic, 8, true));
  const auto refusal = [&](const TorchValue& part) -> std::string {
    RegressorCheckpoint out = checkpoint;
    try {
      read_scute_part(part, "model.pt", out);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(refusal(good), "");
  EXPECT_THAT(refusal(edited(good, "version", TorchValue(int64_t{2}))), HasSubstr("version 1"));
  EXPECT_THAT(refusal(edited(good, "format", {})), HasSubstr("format"));
  EXPECT_THAT(refusal(edited(good, "values", {})), HasSubstr("values"));
  const TorchValue& values = *good.find("values");
  EXPECT_THAT(refusal(edited(good, "values", edited(values, "head:output", {}))),
              HasSubstr("head:output"));
  EXPECT_THAT(refusal(edited(good, "values", edited(values, "head:output", TorchValue(-1.0)))),
              HasSubstr("head:output"));
  EXPECT_THAT(
      refusal(edited(good, "values", edited(values, "blocks.0.u_act:input", TorchValue(0.3)))),
      HasSubstr("power of two"));
  const TorchValue& layers = *good.find("layers");
  EXPECT_THAT(refusal(edited(good, "layers", edited(layers, "proj", {}))), HasSubstr("proj"));
  const TorchValue bits = edited(*layers.find("proj"), "bits", TorchValue(int64_t{7}));
  EXPECT_THAT(refusal(edited(good, "layers", edited(layers, "proj", bits))),
              HasSubstr("8 or 16 bits"));
  const TorchValue weight =
      edited(*layers.find("proj"), "weight", TorchValue(Tensor(DType::f32, {3})));
  EXPECT_THAT(refusal(edited(good, "layers", edited(layers, "proj", weight))), HasSubstr("proj"));
}

}  // namespace
}  // namespace scute::writer_test
