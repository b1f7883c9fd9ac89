// What an export for hardware holds, against the integer regressor it stands for.
#include "scute/regressor/export/export.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "scute/base/error.h"
#include "scute/base/hash.h"
#include "scute/models/regressor/test_regressors.h"
#include "scute/regressor/export/mem.h"
#include "scute/regressor/export/steps.h"
#include "scute/regressor/export/test_mem.h"
#include "scute/regressor/export/vectors.h"
#include "scute/regressor/ranges.h"

namespace scute::export_test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing_mem::read_mem;
using testing_regressors::predict_windows;
using Mode = RegressorQuantization::Mode;

RegressorCheckpoint golden(const std::string& name) {
  return read_regressor_checkpoint("tests/golden/regressor/" + name + ".pt");
}

RegressorFormats q88(const RegressorCheckpoint& checkpoint) {
  RegressorQuantization how;
  how.backend = RegressorBackend::integer;
  how.all = true;
  how.mode = Mode::fixed;
  const RegressorTensors tensors(checkpoint.config, checkpoint.weights);
  return decide_formats(checkpoint.config, tensors, how, {}, {});
}

IntegerRegressor build(const RegressorCheckpoint& checkpoint, const RegressorFormats& formats) {
  return IntegerRegressor(checkpoint.config,
                          RegressorTensors(checkpoint.config, checkpoint.weights), formats);
}

RegressorExport exported(const RegressorCheckpoint& checkpoint, const RegressorFormats& formats) {
  return make_regressor_export(checkpoint, formats, normal_windows(checkpoint.config, 3),
                               {"scute export", "q8.8", "random numbers"});
}

const ExportedFile& file(const RegressorExport& all, const std::string& name) {
  for (const ExportedFile& one : all.files) {
    if (one.name == name) return one;
  }
  throw Error("no file " + name);
}

template <class F>
std::string error_of(const F& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(MemText, LaneZeroIsTheLeastSignificantAndRowsFillLines) {
  const std::vector<int16_t> codes{1, -2, 3, 4, 5, 6, -32768, 8, 9, 10};
  EXPECT_EQ(mem_text(MatView<const int16_t>(codes.data(), 2, 5)),
            "00040003fffe0001\n0000000000000005\n"
            "0009000880000006\n000000000000000a\n");
  EXPECT_THAT(read_mem("00040003fffe0001\n", "x"), ElementsAre(1, -2, 3, 4));
  const std::vector<int64_t> wide{-1, 0x123456789aLL};
  EXPECT_EQ(mem_text(std::span<const int64_t>(wide)), "ffffffffffffffff\n000000123456789a\n");
}

TEST(RegressorExport, WeightsAreTheirCodesRowByRow) {
  const RegressorCheckpoint checkpoint = golden("slim_dwconv");
  const RegressorExport all = exported(checkpoint, q88(checkpoint));
  const RegressorTensors tensors(checkpoint.config, checkpoint.weights);
  const Tensor weight = tensors.proj.weight.to_f32();
  const auto rows = weight.matrix<float>();
  const std::vector<int16_t> lanes = read_mem(file(all, "weights/proj.weight.mem").text, "proj");
  ASSERT_EQ(rows.cols, 7);  // two lines a row
  ASSERT_EQ(std::ssize(lanes), rows.rows * 8);
  for (int64_t o = 0; o < rows.rows; ++o) {
    for (int64_t k = 0; k < 8; ++k) {
      const double code = k < 7 ? std::nearbyint(256.0 * double{rows.row(o)[k]}) : 0.0;
      EXPECT_EQ(lanes[static_cast<size_t>(o * 8 + k)], code) << o << ", " << k;
    }
  }
  const auto bias = read_mem(file(all, "weights/head.bias.mem").text, "bias");
  const auto floats = tensors.head.bias.values<float>();
  EXPECT_EQ(bias[0], std::nearbyint(256.0 * double{floats[0]}));
  EXPECT_EQ(bias[1], std::nearbyint(256.0 * double{floats[1]}));
}

TEST(RegressorExport, TablesAreTheirFormulas) {
  const RegressorCheckpoint checkpoint = golden("slim");
  const RegressorExport all = exported(checkpoint, q88(checkpoint));
  const std::string& hex = file(all, "tables/sigmoid_q016_2048.hex").text;
  ASSERT_EQ(hex.size(), 2048U * 5);
  for (int i = 0; i < 2048; ++i) {
    const double value = 65536 / (1 + std::exp(-(i - 1024) / 256.0));
    const auto at = static_cast<size_t>(i) * 5;
    EXPECT_EQ(std::stoi(hex.substr(at, 4), nullptr, 16), std::lround(value)) << i;
    EXPECT_EQ(hex[at + 4], '\n');
  }
  const auto sigmoid = read_mem(file(all, "tables/sigmoid_q016.mem").text, "sigmoid");
  const auto silu = read_mem(file(all, "tables/silu.mem").text, "silu");
  ASSERT_EQ(sigmoid.size(), 4100U);  // 4097 and three that fill the last line
  for (int i = 0; i <= 4096; ++i) {
    const double value = 65536 / (1 + std::exp(-(i - 2048) / 256.0));
    const auto entry = static_cast<uint16_t>(sigmoid[static_cast<size_t>(i)]);
    EXPECT_EQ(entry, std::lround(value)) << i;
    EXPECT_EQ(silu[static_cast<size_t>(i)], std::nearbyint((i - 2048) * (entry / 65536.0))) << i;
  }
}

TEST(RegressorExport, ExpectedPositionsAreThoseOfThePredictor) {
  for (const char* name : {"slim", "slim_positions", "slim_gate_off", "slim_maximum"}) {
    const RegressorCheckpoint checkpoint = golden(name);
    const RegressorFormats formats = q88(checkpoint);
    const RegressorExport all = exported(checkpoint, formats);
    const auto codes = read_mem(file(all, "vectors/head.output.mem").text, name);
    const Tensor windows = normal_windows(checkpoint.config, 3);
    const Tensor y = predict_windows(build(checkpoint, formats), windows, Threads(2));
    for (int64_t w = 0; w < 3; ++w) {
      for (int64_t c = 0; c < 2; ++c) {
        // One line of four lanes a window.
        EXPECT_EQ(codes[static_cast<size_t>(4 * w + c)] / 256.0,
                  double{y.matrix<float>().row(w)[c]});
      }
    }
  }
}

TEST(RegressorExport, ManifestHashesEveryFileAndAChangedWeightChangesIt) {
  RegressorCheckpoint checkpoint = golden("slim");
  const RegressorFormats formats = q88(checkpoint);
  const auto hashes = [](const RegressorExport& all) {
    const Json manifest = Json::parse(all.files.back().text, "manifest");
    std::map<std::string, std::string> out;
    for (const Json& one : manifest.at("files", "manifest").as_array("files")) {
      out[one.at("file", "file").as_string("file")] = one.at("sha256", "file").as_string("sha256");
    }
    return out;
  };
  const RegressorExport before = exported(checkpoint, formats);
  const auto first = hashes(before);
  ASSERT_EQ(first.size() + 1, before.files.size());
  for (const auto& [name, hash] : first) EXPECT_EQ(hash, sha256(file(before, name).text)) << name;
  EXPECT_EQ(exported(checkpoint, formats).files.back().text, before.files.back().text);

  Tensor weight = checkpoint.weights.take("head.weight").to_f32();
  std::vector<float> values(weight.values<float>().begin(), weight.values<float>().end());
  values[0] += 1.0F / 256;  // one code
  checkpoint.weights.add("head.weight", Tensor::of(weight.shape(), std::span<const float>(values)));
  const auto second = hashes(exported(checkpoint, formats));
  EXPECT_NE(second.at("weights/head.weight.mem"), first.at("weights/head.weight.mem"));
  EXPECT_NE(second.at("scute_regressor.h"), first.at("scute_regressor.h"));
  EXPECT_EQ(second.at("weights/proj.weight.mem"), first.at("weights/proj.weight.mem"));
}

TEST(RegressorExport, AccumulatorsHoldTheLargestSum) {
  const RegressorCheckpoint checkpoint = golden("slim");
  const IntegerRegressor model = build(checkpoint, q88(checkpoint));
  const ShiftProduct head = as_shifts(model).head;
  const auto rows = head.weight.matrix<int16_t>();
  int64_t most = 0;
  for (int64_t o = 0; o < rows.rows; ++o) {
    int64_t sum = std::abs(int{head.bias[static_cast<size_t>(o)]}) * int64_t{256};
    for (int64_t k = 0; k < rows.cols; ++k) sum += 32768 * std::abs(int64_t{rows.row(o)[k]});
    most = std::max(most, sum);
  }
  EXPECT_LT(most, int64_t{1} << (head.sum_bits - 1));
  EXPECT_GE(most, int64_t{1} << (head.sum_bits - 2));
}

TEST(RegressorExport, WhatNoShiftComputesIsRefused) {
  const RegressorCheckpoint origin = golden("origin");
  EXPECT_THAT(error_of([&] { exported(origin, q88(origin)); }), HasSubstr("origin"));

  const RegressorCheckpoint slim = golden("slim");
  RegressorFormats formats = q88(slim);
  formats.values["head:output"].scale = 0.003F;
  EXPECT_THAT(error_of([&] { exported(slim, formats); }), HasSubstr("power of two"));

  formats = q88(slim);
  formats.layers["proj"].weight = std::vector<float>(5, 0x1p-8F);
  formats.layers["proj"].weight[3] = 0x1p-9F;
  EXPECT_THAT(error_of([&] { exported(slim, formats); }), HasSubstr("one scale for all weights"));
}

TEST(ShiftFormat, PowersOfTwoAndNothingElse) {
  EXPECT_EQ(shift_format({{16, true}, 0x1p-8F, 0}, "x"), (ShiftFormat{16, 8}));
  EXPECT_EQ(shift_format({{8, true}, 4.0F, 0}, "x"), (ShiftFormat{8, -2}));
  EXPECT_EQ(shift_of(0x1p-40, "x"), 40);
  for (const double factor : {0.0, -0.5, 0.3, std::nan("")}) {
    EXPECT_THAT(error_of([&] { shift_of(factor, "here"); }), HasSubstr("here: expected a factor"));
  }
}

}  // namespace
}  // namespace scute::export_test
