#include "scute/regressor/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "scute/base/error.h"
#include "scute/io/testing.h"
#include "scute/models/regressor/test_regressors.h"
#include "scute/regressor/checkpoint_keys.h"
#include "scute/regressor/test_scales.h"

namespace scute::checkpoint_test {
namespace {

using fixtures::error_of;
using fixtures::Folder;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Dict = TorchValue::Dict;
using Backend = RegressorQuantization::Backend;
using Mode = RegressorQuantization::Mode;

constexpr const char* kGolden = "tests/golden/regressor/";

/// A file's content, and changes to it.
struct Content {
  TorchValue root;
  explicit Content(const std::string& name) : root(read_torch(kGolden + name + ".pt")) {}

  Dict& dict(const std::string& key) {
    for (auto& [name, value] : std::get<Dict>(root.value)) {
      if (name == key) return std::get<Dict>(value.value);
    }
    throw std::runtime_error("no " + key);
  }
  Dict& state() { return dict("state_dict"); }
  static void erase(Dict& dict, const std::string& key) {
    ASSERT_EQ(std::erase_if(dict, [&](const auto& item) { return item.first == key; }), 1U) << key;
  }
  static void set(Dict& dict, const std::string& key, TorchValue value) {
    for (auto& [name, old] : dict) {
      if (name == key) {
        old = std::move(value);
        return;
      }
    }
    dict.emplace_back(key, std::move(value));
  }
  RegressorCheckpoint parse() const { return parse_regressor_checkpoint(root, "m.pt"); }
  std::string error() const {
    return error_of([&] { parse(); });
  }
};

TorchValue text(const char* value) { return {std::string(value)}; }
TorchValue integer(int64_t value) { return {value}; }
TorchValue tensor(Shape shape, float value = 1) {
  Tensor out(DType::f32, std::move(shape));
  std::ranges::fill(out.mutable_values<float>(), value);
  return {out};
}

TEST(RegressorCheckpoint, WhatWrapsAModelIsDroppedAndSaid) {
  Content wrapped("slim");
  for (auto& [name, value] : wrapped.state()) name = "module._orig_mod." + name;
  const RegressorCheckpoint got = wrapped.parse();
  EXPECT_EQ(got.weights.names(), Content("slim").parse().weights.names());
  ASSERT_EQ(got.remarks.size(), 1U);
  EXPECT_THAT(got.remarks[0], HasSubstr("module._orig_mod."));
  EXPECT_TRUE(Content("slim").parse().remarks.empty());
}

TEST(RegressorCheckpoint, WhatIsNotReadMayStandBeside) {
  Content more("slim");
  auto& root = std::get<Dict>(more.root.value);
  Content::set(root, "history", {OpaqueValue{"collections.defaultdict"}});
  Content::set(more.dict("cfg"), "save_dir", {OpaqueValue{"pathlib.PosixPath"}});
  EXPECT_EQ(more.error(), "");
  Content::set(more.dict("cfg"), "Din", {OpaqueValue{"pathlib.PosixPath"}});
  EXPECT_THAT(more.error(), HasSubstr("cfg.Din"));
  Content none("slim");
  none.state()[0].second = {nullptr};
  EXPECT_THAT(none.error(), AllOf(HasSubstr(none.state()[0].first), HasSubstr("None, no tensor")));
}

TEST(RegressorCheckpoint, TheReaderKnowsAllOfAFloatFile) {
  const RegressorCheckpoint got = read_regressor_checkpoint(std::string(kGolden) + "slim.pt");
  EXPECT_EQ(got.path, "tests/golden/regressor/slim.pt");
  EXPECT_EQ(got.training.epoch, 7);
  EXPECT_EQ(got.training.best_metric, "epe_mean");
  EXPECT_EQ(got.training.best_value, 0.125);
  EXPECT_TRUE(got.scales.empty());
  EXPECT_EQ(scales_of(got, "proj"), nullptr);
  RegressorQuantization none;
  none.mode = Mode::fixed;
  EXPECT_EQ(got.quantization, none);
  EXPECT_EQ(std::get<std::string>(got.cfg.find("feat_root")->value), "features");
  EXPECT_EQ(std::get<bool>(got.arch.find("pe_off")->value), true);
}

TEST(RegressorCheckpoint, ScalesOfEveryKeyStyleAreKept) {
  const Content python("calibrated_python"), extension("calibrated_extension");
  const RegressorCheckpoint a = python.parse(), b = extension.parse();
  // proj, patches, in_proj and out_proj of one block, pool, head
  ASSERT_EQ(a.scales.size(), 6U);
  ASSERT_EQ(b.scales.size(), 6U);
  const auto stored = [](const Content& content, const std::string& key) {
    return fixtures::elements<float>(
        std::get<Tensor>(content.root.find("state_dict")->find(key)->value));
  };
  const RegressorScales* in_proj = scales_of(a, "blocks.0.in_proj");
  ASSERT_NE(in_proj, nullptr);
  EXPECT_EQ(in_proj->backend, Backend::lsq);
  EXPECT_EQ(in_proj->input, stored(python, "backbone.blocks.0.in_proj.qconv.qa.scale"));
  EXPECT_EQ(in_proj->input.size(), 6U);
  EXPECT_EQ(in_proj->weight, stored(python, "backbone.blocks.0.in_proj.qconv.qw.scale"));
  EXPECT_EQ(in_proj->weight.size(), 24U);
  EXPECT_EQ(in_proj->input_zero, 0.0F);
  EXPECT_EQ(in_proj->weight_zero, 0.0F);
  EXPECT_EQ(a.quantization.backend, Backend::lsq);
  EXPECT_TRUE(a.quantization.all);

  const RegressorScales* patches = scales_of(b, "patch_embedding");  // its keys have no "impl"
  ASSERT_NE(patches, nullptr);
  EXPECT_EQ(patches->backend, Backend::extension);
  EXPECT_EQ(patches->input, stored(extension, "backbone.patch_embedding.qconv.a_scale"));
  EXPECT_EQ(patches->weight, stored(extension, "backbone.patch_embedding.qconv.w_scale"));
  EXPECT_FALSE(patches->weight_zero.has_value());
  EXPECT_EQ(scales_of(b, "proj")->input, stored(extension, "proj.qconv.impl.a_scale"));
  EXPECT_EQ(scales_of(b, "head")->input_zero, 3.0F);
  EXPECT_EQ(b.quantization.backend, Backend::extension);
  EXPECT_EQ(b.quantization.mode, Mode::dynamic);
  EXPECT_EQ(b.quantization.bits, 8);
}

TEST(RegressorCheckpoint, OldFilesHaveScalarScalesAndOneFlagForProjAndHead) {
  const RegressorCheckpoint got = Content("calibrated_old").parse();
  EXPECT_EQ(got.scales.size(), 5U);
  EXPECT_EQ(scales_of(got, "patch_embedding"), nullptr);
  EXPECT_EQ(scales_of(got, "proj")->input.size(), 1U);
  EXPECT_EQ(scales_of(got, "proj")->weight.size(), 5U);  // stored as (5, 1)
  EXPECT_TRUE(got.quantization.proj);
  EXPECT_TRUE(got.quantization.head);
  EXPECT_FALSE(got.quantization.mode.has_value());
  EXPECT_FALSE(got.training.epoch.has_value());

  Content both("calibrated_old");
  Content::set(both.dict("arch"), "q_head", {false});
  EXPECT_TRUE(both.parse().quantization.proj);
  EXPECT_FALSE(both.parse().quantization.head) << "the newer flag comes first";
}

TEST(RegressorCheckpoint, Fixed88IsFixed) {
  for (const char* name : {"fixed", "fixed88"}) {
    Content content("slim");
    Content::set(content.dict("arch"), "quant_mode", text(name));
    EXPECT_EQ(content.parse().quantization.mode, Mode::fixed);
  }
}

TEST(RegressorCheckpoint, PartialAndMismatchedFilesAreRefusedWithEveryTensor) {
  Content content("slim");
  Content::erase(content.state(), "proj.conv.bias");
  Content::set(content.state(), "head.conv.weight", tensor({2, 6, 1}));
  Content::set(content.state(), "backbone.extra", tensor({3}));
  EXPECT_THAT(
      content.error(),
      AllOf(HasSubstr("m.pt: "), HasSubstr("3 problems"), HasSubstr("missing proj.bias (5)"),
            HasSubstr("head.weight has the shape (2, 6, 1), not (2, 5, 1)"),
            HasSubstr("unknown tensor backbone.extra (3)")));

  Content other("slim");  // a slim file under another config
  Content::set(other.dict("cfg"), "n_layer", integer(3));
  EXPECT_THAT(other.error(), HasSubstr("missing backbone.blocks.2.norm.weight (6)"));
  Content::set(other.dict("cfg"), "n_layer", integer(1));
  EXPECT_THAT(other.error(), HasSubstr("unknown tensor backbone.blocks.1.norm.weight (6)"));

  Content undetected("slim");
  Content::set(undetected.dict("arch"), "use_dwconv", {true});
  EXPECT_THAT(undetected.error(), HasSubstr("missing backbone.blocks.0.dw_conv.weight (12, 1, 5)"));
  Content unused("slim_dwconv");
  Content::set(unused.dict("arch"), "use_dwconv", {false});
  EXPECT_THAT(unused.error(), HasSubstr("unknown tensor backbone.blocks.0.dw_conv.weight"));
}

TEST(RegressorCheckpoint, BlocksOfTwoVariantsAreRefused) {
  Content content("slim");
  Content::set(content.state(), "backbone.blocks.0.A_log", tensor({12, 16}));
  EXPECT_THAT(
      content.error(),
      AllOf(HasSubstr("unknown tensor backbone.blocks.0.ssm.dt_proj.weight"),
            HasSubstr("missing backbone.blocks.0.x_proj.weight"), HasSubstr("5 more such")));
  Content neither("slim");
  Content::erase(neither.state(), "backbone.blocks.0.ssm.dt_proj.weight");
  EXPECT_THAT(neither.error(), AllOf(HasSubstr("(slim)"), HasSubstr("(origin)")));
}

TEST(RegressorCheckpoint, OnlyAllBlocksAtTheirBeginningAreUntrained) {
  Content content("untrained_origin");
  EXPECT_THAT(content.error(), AllOf(HasSubstr("corrupt checkpoint"), HasSubstr("strict=False")));
  const TorchValue begun = *content.root.find("state_dict")->find("backbone.blocks.1.D");
  Content::set(content.state(), "backbone.blocks.1.D", tensor({12}, 1.001F));
  EXPECT_EQ(content.error(), "");
  Content::set(content.state(), "backbone.blocks.1.D", begun);
  Tensor A_log =
      std::get<Tensor>(content.root.find("state_dict")->find("backbone.blocks.0.A_log")->value);
  Tensor moved = Tensor::of<float>(A_log.shape(), A_log.values<float>());
  moved.mutable_values<float>()[17] += 1e-4F;
  Content::set(content.state(), "backbone.blocks.0.A_log", {moved});
  EXPECT_EQ(content.error(), "");
}

TEST(RegressorCheckpoint, WeightsThatAreNotFiniteAreRefused) {
  for (const float bad : {NAN, INFINITY}) {
    Content content("slim");
    Content::set(content.state(), "proj.conv.bias", tensor({5}, bad));
    EXPECT_THAT(content.error(), AllOf(HasSubstr("finite weights"), HasSubstr("proj.bias")));
  }
}

TEST(RegressorCheckpoint, ScalesThatMakeNoSenseAreRefused) {
  const std::string a = "proj.qconv.qa.scale", w = "proj.qconv.qw.scale";
  const auto error = [](const std::function<void(Dict&)>& change) {
    Content content("calibrated_python");
    change(content.state());
    return content.error();
  };
  EXPECT_EQ(error([&](Dict& d) { Content::set(d, a, tensor({})); }), "") << "one for all";
  EXPECT_EQ(error([&](Dict& d) { Content::set(d, a, tensor({7, 1})); }), "");
  EXPECT_THAT(error([&](Dict& d) { Content::set(d, a, tensor({6})); }),
              AllOf(HasSubstr("scales of proj"), HasSubstr("(7) or (7, 1)"), HasSubstr("(6)")));
  EXPECT_THAT(error([&](Dict& d) { Content::set(d, a, tensor({1, 7})); }), HasSubstr("(1, 7)"));
  EXPECT_THAT(error([&](Dict& d) { Content::set(d, w, {Tensor(DType::i32, {5})}); }),
              HasSubstr("I32"));
  for (const float bad : {0.0F, -0.1F, NAN, INFINITY}) {
    EXPECT_THAT(error([&](Dict& d) { Content::set(d, w, tensor({5}, bad)); }),
                HasSubstr("finite scales above 0"));
  }
  EXPECT_THAT(error([&](Dict& d) { Content::erase(d, w); }), HasSubstr("only one of them"));
  EXPECT_THAT(error([&](Dict& d) { Content::erase(d, a); }), HasSubstr("only one of them"));
  EXPECT_THAT(error([&](Dict& d) { Content::set(d, "proj.qconv.qa.zero_point", tensor({2})); }),
              HasSubstr("one zero point"));
  EXPECT_THAT(error([&](Dict& d) {
                Content::set(d, "backbone.blocks.5.in_proj.qconv.qa.scale", tensor({6}));
              }),
              AllOf(HasSubstr("backbone.blocks.5.in_proj"), HasSubstr("such a layer")));
  EXPECT_THAT(error([&](Dict& d) { Content::set(d, "proj.qconv.a_scale", tensor({7})); }),
              HasSubstr("one key style"));
}

TEST(RegressorCheckpoint, ALayerInTwoStylesIsRefused) {
  Content content("slim");
  Content::set(content.state(), "proj.qconv.conv.bias", tensor({5}));
  EXPECT_THAT(content.error(), AllOf(HasSubstr("each tensor once"), HasSubstr("proj.bias")));
}

TEST(RegressorCheckpoint, SettingsThatMakeNoSenseAreRefusedByName) {
  const auto error = [](const char* dict, const char* key, TorchValue value) {
    Content content("slim");
    Content::set(content.dict(dict), key, std::move(value));
    return content.error();
  };
  EXPECT_EQ(error("cfg", "K", text("9")), "m.pt: cfg.K: expected an integer, found another value");
  EXPECT_THAT(error("cfg", "stride", integer(0)), HasSubstr("(stride)"));
  EXPECT_THAT(error("cfg", "patch_len", integer(10)), HasSubstr("patches of 10 frames"));
  EXPECT_THAT(error("cfg", "Din", integer(int64_t{1} << 62)), HasSubstr("(Din)"));
  EXPECT_THAT(error("arch", "pe_off", integer(1)), HasSubstr("arch.pe_off"));
  EXPECT_THAT(error("arch", "pe_scale", {std::numeric_limits<double>::infinity()}),
              HasSubstr("pe_scale"));
  EXPECT_EQ(error("arch", "pe_scale", integer(2)), "") << "Python writes 2 for 2.0 now and then";
  EXPECT_THAT(error("arch", "quant_bits", integer(4)), HasSubstr("8 or 16, found 4"));
  EXPECT_THAT(error("arch", "quant_mode", text("static")), HasSubstr("found static"));
  EXPECT_THAT(error("arch", "quant_backend", text("cuda")), HasSubstr("python or cpp"));
  EXPECT_EQ(error("arch", "agg_pool", text("median")), "") << "everything else is flat";
  Content gone("slim");
  Content::erase(gone.dict("arch"), "gate_off");
  EXPECT_EQ(gone.error(), "m.pt: arch.gate_off: expected a value, found none");
}

TEST(RegressorCheckpoint, OtherFilesAreRefused) {
  EXPECT_THAT(error_of([] { parse_regressor_checkpoint(TorchValue(), "m.pt"); }),
              HasSubstr("a dictionary with state_dict, cfg and arch"));
  Content bare("slim");
  Content::erase(std::get<Dict>(bare.root.value), "cfg");
  EXPECT_THAT(bare.error(), HasSubstr("no dictionary cfg"));
  Content content("slim");
  Content::set(content.state(), "proj.conv.bias", integer(3));
  EXPECT_THAT(content.error(), HasSubstr("proj.conv.bias: a plain value, no tensor"));
  const std::string error =
      error_of([] { read_regressor_checkpoint(std::string(kGolden) + "module.pt"); });
  EXPECT_THAT(error, AllOf(HasSubstr("module.pt"),
                           HasSubstr("class refactor.core.mamba_regressor.MambaRegressor")));
}

TEST(RegressorCheckpoint, HalfPrecisionWeightsAreWidened) {
  Content content("slim");
  for (auto& [name, value] : content.state()) {
    value = TorchValue{std::get<Tensor>(value.value).rounded_to(DType::f16)};
  }
  const RegressorCheckpoint got = content.parse();
  const Tensor window(DType::f32, {1, 9, 7});
  const Tensor y = testing_regressors::predict_windows(build_regressor(got), window, Threads(1));
  EXPECT_TRUE(std::isfinite(y.values<float>()[0]));
}

TEST(RegressorKeys, OnlyLayersThatMayBeWrappedAre) {
  using Part = RegressorKey::Part;
  const auto parsed = parse_regressor_key("backbone.blocks.12.out_proj.qconv.impl.a_zp");
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->layer, "backbone.blocks.12.out_proj");
  EXPECT_EQ(parsed->part, Part::input_zero);
  EXPECT_EQ(parsed->backend, Backend::extension);
  EXPECT_EQ(parse_regressor_key("head.conv.weight")->layer, "head");
  EXPECT_EQ(parse_regressor_key("head.qconv.conv.weight")->layer, "head");
  for (const char* key :
       {"backbone.patch_embedding.weight", "backbone.norm_f.weight", "tail.conv.weight",
        "backbone.blocks..in_proj.conv.weight", "backbone.blocks.x.in_proj.conv.weight",
        "backbone.blocks.0.ssm.dt_proj.conv.weight", "backbone.blocks.0", ".conv.weight", "",
        "proj.qconv", "backbone.blocks.0.in_proj.extra.conv.weight"}) {
    EXPECT_FALSE(parse_regressor_key(key).has_value()) << key;
  }
}

}  // namespace
}  // namespace scute::checkpoint_test
