#include "scute/regressor/position_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <map>
#include <sstream>
#include <string>

#include "scute/base/error.h"
#include "scute/base/json.h"
#include "scute/io/file.h"
#include "scute/io/npy.h"
#include "scute/io/testing.h"

namespace scute::position_files_test {
namespace {

using fixtures::elements;
using fixtures::error_of;
using fixtures::Folder;
using fixtures::get;
using fixtures::put;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Five windows of two sequences; the second one, all of it 0.1 m off, is the better one.
PositionSet example() {
  return {fixtures::floats({5, 2}, {0, 0, 1, 0, 2, 0, 5, 5, 6, 5}),
          {{"Grid,\"1\"", 0, 3}, {"Grid2", 3, 2}}};
}
Tensor predictions() {
  return fixtures::floats({5, 2}, {0.3f, 0.4f, 1, 0, 2, -1, 5.1f, 5, 6, 5.1f});
}

TEST(PositionFiles, HoldPredictionsErrorsAndNumPysFigures) {
  const Folder folder;
  write_position_files(folder / "a/stage", example(), predictions().matrix<float>());
  const std::vector<NamedTensor> arrays = read_npz(folder / "a/stage/val_preds.npz");
  std::vector<std::string> names;
  for (const NamedTensor& array : arrays) {
    names.push_back(array.name);
    EXPECT_EQ(array.tensor.dtype(), DType::f32) << array.name;
  }
  EXPECT_THAT(names, ElementsAre("y_true", "y_pred", "err", "mean", "median", "p80", "p90"));
  EXPECT_EQ(elements<float>(arrays[0].tensor), elements<float>(example().actual));
  EXPECT_EQ(elements<float>(arrays[1].tensor), elements<float>(predictions()));
  const auto errors = elements<float>(arrays[2].tensor);
  ASSERT_EQ(errors.size(), 5u);
  EXPECT_FLOAT_EQ(errors[0], 0.5f);
  EXPECT_EQ(errors[2], 1.f);
  for (size_t i = 3; i < arrays.size(); ++i) EXPECT_EQ(arrays[i].tensor.shape(), Shape{});
  // Errors 0 0.1 0.1 0.5 1: ranks 3.2 and 3.6 from 0.
  EXPECT_NEAR(elements<float>(arrays[3].tensor)[0], 1.7 / 5, 1e-6);
  EXPECT_NEAR(elements<float>(arrays[4].tensor)[0], 0.1, 1e-6);
  EXPECT_NEAR(elements<float>(arrays[5].tensor)[0], 0.6, 1e-6);
  EXPECT_NEAR(elements<float>(arrays[6].tensor)[0], 0.8, 1e-6);
}

TEST(PositionFiles, TableOfWindowsReadsBackToTheSameFloats) {
  const Folder folder;
  const PositionSet set = example();
  const Tensor predicted = predictions();
  write_position_files(folder.path(), set, predicted.matrix<float>());
  std::istringstream lines(get(folder / "pred_vs_true.csv"));
  std::string line;
  ASSERT_TRUE(std::getline(lines, line));
  EXPECT_EQ(line, "y_true_x,y_true_y,y_pred_x,y_pred_y,err_m");
  const auto errors = position_errors(predicted.matrix<float>(), set.actual.matrix<float>());
  for (int64_t r = 0; r < 5; ++r) {
    ASSERT_TRUE(std::getline(lines, line));
    const float* a = set.actual.matrix<float>().row(r);
    const float* p = predicted.matrix<float>().row(r);
    const char* at = line.c_str();
    for (const float expected : {a[0], a[1], p[0], p[1], errors[static_cast<size_t>(r)]}) {
      char* end = nullptr;
      EXPECT_EQ(std::strtof(at, &end), expected) << line;
      at = *end == ',' ? end + 1 : end;
    }
    EXPECT_EQ(*at, '\0') << line;
  }
  EXPECT_FALSE(std::getline(lines, line));
}

TEST(PositionFiles, SummaryRanksSequencesByTheirMean) {
  const Folder folder;
  write_position_files(folder / "out", example(), predictions().matrix<float>());
  const std::string text = get(folder / "out/eval_summary.csv");
  EXPECT_THAT(text, ::testing::StartsWith("rank,name,count,mean,median,p80,p90,out_dir\n"
                                          "1,Grid2,2,0.0999"));
  EXPECT_THAT(text, HasSubstr("\n2,\"Grid,\"\"1\"\"\",3,0.5,0.5,0.8,0.9," + (folder / "out\n")));
}

TEST(PositionFiles, ASequenceWithNaNIsTheLastAndOneWithoutWindowsIsLeftOut) {
  const Folder folder;
  PositionSet set = example();
  set.parts = {{"broken", 0, 2}, {"empty", 2, 0}, {"good", 2, 3}};
  Tensor predicted = predictions();
  predicted.mutable_values<float>()[1] = std::numeric_limits<float>::quiet_NaN();
  write_position_files(folder.path(), set, predicted.matrix<float>());
  const std::string text = get(folder / "eval_summary.csv");
  EXPECT_THAT(text, HasSubstr("\n1,good,3,0.3999"));
  EXPECT_THAT(text, HasSubstr("\n2,broken,2,nan,nan,nan,nan,"));
  EXPECT_EQ(text.find("empty"), std::string::npos);
}

TEST(PositionFiles, RefuseWhatDoesNotFitAndWriteNothing) {
  const Folder folder;
  PositionSet gap = example(), more = example();
  gap.parts[1].first = 4;
  more.parts[1].count = 3;
  const Tensor predicted = predictions(), few = fixtures::floats({1, 2}, {0, 0});
  const auto refused = [&](const PositionSet& set, const Tensor& tensor) {
    return error_of([&] { write_position_files(folder / "new", set, tensor.matrix<float>()); });
  };
  EXPECT_EQ(refused(gap, predicted), "Grid2: expected windows from 3 on, found 2 from 4 on");
  EXPECT_EQ(refused(more, predicted), "sequences: expected 5 windows in all, found 6");
  EXPECT_THAT(refused(example(), few), HasSubstr("1 × 2 for 5 × 2"));
  EXPECT_FALSE(std::filesystem::exists(folder / "new"));
}

TEST(PositionFiles, NumPyReadsTheArchive) {
  const std::string python = "/usr/bin/python3";
  if (std::system((python + " -c 'import numpy' 2>/dev/null").c_str()) != 0) {
    GTEST_SKIP() << "no python3 with numpy";
  }
  const Folder folder;
  write_position_files(folder.path(), example(), predictions().matrix<float>());
  put(folder / "check.py", R"(
import sys
import numpy as np
z = np.load(sys.argv[1])
assert sorted(z.files) == ["err", "mean", "median", "p80", "p90", "y_pred", "y_true"], z.files
assert all(z[k].dtype == np.float32 for k in z.files)
err = np.sqrt(((z["y_pred"] - z["y_true"]) ** 2).sum(1))
assert (err == z["err"]).all()
assert z["mean"].shape == () and abs(z["mean"] - err.mean()) < 1e-7
for key, q in ("median", 50), ("p80", 80), ("p90", 90):
    assert z[key].shape == () and abs(z[key] - np.percentile(err, q)) < 1e-7, key
)");
  const std::string command =
      python + " '" + folder / "check.py" + "' '" + folder / "val_preds.npz" + "'";
  EXPECT_EQ(std::system(command.c_str()), 0);
}

const std::string kReference = "../shared/golden/regressor/features_reference";

/// The reference's predictions and true positions; empty when it is not here.
std::map<std::string, Tensor> reference() {
  std::map<std::string, Tensor> arrays;
  if (!std::filesystem::exists(kReference + ".npz")) return arrays;
  for (const NamedTensor& named : read_npz(kReference + ".npz")) {
    arrays.emplace(named.name, named.tensor);
  }
  return arrays;
}

TEST(PositionFilesGolden, HoldTheFiguresNumPyGivesForTheReference) {
  const auto arrays = reference();
  if (arrays.empty()) GTEST_SKIP() << "no reference here";
  const Folder folder;
  const std::string file = kReference + ".json";
  const Json json = Json::parse(read_text(file), file);
  // NumPy adds n ≤ 140 f32 of at most 2 m pairwise: the sum is off by at most 9 roundings of half
  // an ulp each, 9 · 2⁻²⁴ of it, 3e-7 m for a mean of 0.5 m. Its percentiles are f32: 1e-7.
  constexpr double kF32 = 3e-7;
  for (const auto& [name, expected] : json.as_object(file)) {
    const size_t slash = name.find('/');
    const std::string stage = name.substr(0, slash), split = name.substr(slash + 1);
    const Tensor& predicted = arrays.at("pred__" + stage + "__" + split);
    const Tensor& actual = arrays.at("true__" + split);
    write_position_files(folder.path(), {actual, {{"all", 0, actual.dim(0)}}},
                         predicted.matrix<float>());
    for (const NamedTensor& array : read_npz(folder / "val_preds.npz")) {
      if (array.tensor.rank() != 0) continue;
      EXPECT_NEAR(array.tensor.values<float>()[0], expected.at(array.name, file).as_double(file),
                  kF32)
          << name << " " << array.name;
    }
    EXPECT_EQ(actual.dim(0), expected.at("n", file).as_int(file)) << name;
    EXPECT_FALSE(find_grid(predicted.matrix<float>()).grid) << name;
  }
  EXPECT_EQ(json.as_object(file).size(), 8u);
}

TEST(PositionFilesGolden, RoundedOutputsOfTheReferenceStandOnAGrid) {
  const auto arrays = reference();
  if (arrays.empty()) GTEST_SKIP() << "no reference here";
  for (const float inverse : {16.f, 256.f}) {
    Tensor rounded(DType::f32, {140, 2});
    const auto from = arrays.at("pred__float__eval").values<float>();
    for (size_t i = 0; i < from.size(); ++i) {
      rounded.mutable_values<float>()[i] = std::nearbyint(from[i] * inverse) / inverse;
    }
    const OutputGrid found = find_grid(rounded.matrix<float>());
    EXPECT_TRUE(found.grid) << inverse;
    EXPECT_NEAR(found.step_x * inverse, 1, 1e-3);
    EXPECT_NEAR(found.step_y * inverse, 1, 1e-3);
  }
}

TEST(PositionFilesGolden, PairingSharpensTheRatioToFloat) {
  const auto arrays = reference();
  if (arrays.empty()) GTEST_SKIP() << "no reference here";
  const auto actual = arrays.at("true__eval").matrix<float>();
  const auto model = arrays.at("pred__int8_fixed_lsq__eval").matrix<float>();
  const auto baseline = arrays.at("pred__float__eval").matrix<float>();
  const PositionComparison found = compare(model, baseline, actual);
  // 0.0720030 / 0.0581713, the reference's means.
  EXPECT_NEAR(found.ratio, 1.237775, 2e-5);
  const PositionErrors a = measure(model, actual), b = measure(baseline, actual);
  const double unpaired =
      found.ratio * std::hypot(a.standard_error / a.mean, b.standard_error / b.mean);
  EXPECT_LT(found.ratio_standard_error, unpaired);
  EXPECT_GT(found.ratio_standard_error, 0.01);
  EXPECT_GT(found.rms_deviation, found.difference);
}

}  // namespace
}  // namespace scute::position_files_test
