// A regressor exported for hardware: its C header, compiled and run, against its test vectors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>

#include "scute/base/json.h"
#include "scute/io/file.h"
#include "scute/kernels/reference_fixed_point.h"
#include "scute/regressor/export/test_mem.h"
#include "scute/regressor/predict.h"
#include "scute/regressor/writer.h"
#include "tests/program.h"

namespace scute::cli_export_test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing_mem::read_mem;

constexpr const char* kCheckpoints = "tests/golden/regressor/";
constexpr const char* kFeatures = "tests/golden/regressor_features";

/// Runs every window of raw/proj.input and compares what each site sees with raw/SITE.
constexpr const char* kDriver = R"HEADER(
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long window, calls, codes_seen, wrong;

static FILE *open_site(const char *site) {
  char name[300];
  FILE *file;
  char *colon;
  snprintf(name, sizeof name, "raw/%s", site);
  colon = strchr(name, ':');
  if (colon) *colon = '.';
  file = fopen(name, "rb");
  if (!file) exit(3);
  return file;
}

static void compare(int block, const char *site, const int16_t *codes, long count) {
  char name[200];
  int16_t expected;
  long i;
  FILE *file;
  name[0] = 0;
  if (block >= 0) snprintf(name, sizeof name, "blocks.%d.", block);
  strncat(name, site, 100);
  file = open_site(name);
  fseek(file, window * count * 2, SEEK_SET);
  for (i = 0; i < count; ++i) {
    if (fread(&expected, 2, 1, file) != 1 || expected != codes[i]) {
      if (wrong == 0) fprintf(stderr, "window %ld, %s, code %ld\n", window, name, i);
      ++wrong;
    }
  }
  fclose(file);
  ++calls;
  codes_seen += count;
}

#define SCUTE_TRACE(block, site, codes, count) compare(block, site, codes, count)
#include "scute_regressor.h"

int main(void) {
  static int16_t frames[SCUTE_K * SCUTE_DIN];
  int16_t position[2];
  FILE *file = open_site("proj.input");
  while (fread(frames, sizeof frames, 1, file) == 1) {
    if (scute_regressor_run(frames, position) != 0) return 4;
    if (scute_regressor_metres(position[0]) != position[0] * SCUTE_METRES_PER_CODE) return 5;
    ++window;
  }
  fclose(file);
  printf("%ld windows %ld calls %ld codes %ld wrong\n", window, calls, codes_seen, wrong);
  return 0;
}
)HEADER";

/// Writes what the header's functions give as int32 to arithmetic.bin.
constexpr const char* kArithmetic = R"HEADER(
#include <stdio.h>
#include "scute_regressor.h"

static FILE *file;
static void put(int64_t value) {
  const int32_t word = (int32_t)value;
  if (fwrite(&word, 4, 1, file) != 1) file = 0;
}

int main(void) {
  int a, b;
  const int64_t large = (int64_t)1 << 52;
  file = fopen("arithmetic.bin", "wb");
  for (a = 0; a <= 14; ++a) for (b = -32768; b <= 32767; ++b) put(scute_sigmoid(b, a));
  for (a = -60; a <= 60; ++a) for (b = 1; b <= 12; ++b) put(scute_quotient(a, b));
  for (a = -60; a <= 60; ++a) for (b = -3; b <= 5; ++b) put(scute_shift(a, b));
  put(scute_saturate(scute_shift(large, -40), 16));
  put(scute_saturate(scute_shift(-large, 2), 16));
  put(scute_saturate(128, 8));
  put(scute_saturate(-129, 8));
  put(scute_saturate(scute_shift(1, -63), 16));
  put(scute_saturate(scute_shift(-1, -15), 16));
  put(scute_shift(large, 54));
  put(scute_shift(-large, 100));
  put(scute_root(3));
  put(scute_root(8));
  put(scute_root(134217727));
  put(scute_root(0));
  return file && fclose(file) == 0 ? 0 : 1;
}
)HEADER";

class RegressorExports : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return folder_.path(name); }
  static std::string checkpoint(const std::string& name) {
    return std::string(kCheckpoints) + name + ".pt";
  }
  /// Exports to "out".
  Ended run(const std::string& model, std::vector<std::string> more) const {
    std::vector<std::string> words{"export", model, "--out", path("out"), "--quiet"};
    words.insert(words.end(), more.begin(), more.end());
    return scute_program(words);
  }
  Json manifest() const {
    return Json::parse(read_text(path("out/manifest.json")), "manifest.json");
  }
  /// raw/SITE: the codes of vectors/SITE.mem without what fills lines. Their number.
  int64_t write_raw() const {
    fs::create_directories(path("raw"));
    int64_t sum = 0;
    const Json all = manifest();
    for (const Json& one : all.at("files", "manifest").as_array("files")) {
      const std::string& name = one.at("file", "file").as_string("file");
      if (!name.starts_with("vectors/")) continue;
      const auto& shape = one.at("shape", name).as_array(name);
      const int64_t rows = shape.at(0).as_int(name), columns = shape.at(1).as_int(name);
      const int64_t width = (columns + 3) / 4 * 4;
      const auto lanes = read_mem(read_text(path("out/" + name)), name);
      EXPECT_EQ(std::ssize(lanes), rows * width) << name;
      std::ofstream raw(path("raw/" + fs::path(name).stem().string()), std::ios::binary);
      for (int64_t r = 0; r < rows; ++r) {
        raw.write(reinterpret_cast<const char*>(lanes.data() + r * width), columns * 2);
      }
      sum += rows * columns;
    }
    return sum;
  }
  /// Expects that the header, compiled, sees at every site what the vectors say.
  void expect_header_computes(int64_t windows, int64_t sites) const {
    const int64_t codes = write_raw();
    std::ofstream(path("driver.c")) << kDriver;
    const Ended compiled = shell(
        "cc -std=c99 -O2 -Wall -Wextra -Wpedantic -Werror -Iout driver.c -o driver", path(""));
    ASSERT_EQ(compiled.code, 0) << compiled.err;
    const Ended ran = shell("./driver", path(""));
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_EQ(ran.out, std::to_string(windows) + " windows " + std::to_string(windows * sites) +
                           " calls " + std::to_string(codes) + " codes 0 wrong\n")
        << ran.err;
  }
  void expect_export_computes(const std::string& model, const std::vector<std::string>& flags,
                              int64_t windows) const {
    std::vector<std::string> more = flags;
    more.insert(more.end(), {"--vectors", std::to_string(windows), "--json", "--force"});
    const Ended ended = run(model, more);
    ASSERT_EQ(ended.code, 0) << ended.err;
    const Json answer = Json::parse(ended.out, "answer");
    EXPECT_EQ(answer.at("vectors", "answer").as_int("vectors"), windows);
    expect_header_computes(windows, answer.at("sites", "answer").as_int("sites"));
  }

  TemporaryFolder folder_;
};

TEST_F(RegressorExports, TheHeaderComputesTheQ88Vectors) {
  for (const char* name :
       {"slim", "slim_dwconv", "slim_positions", "slim_positions_odd", "slim_gate_off",
        "slim_one_frame", "slim_remainder", "slim_maximum", "slim_average", "calibrated_python"}) {
    SCOPED_TRACE(name);
    expect_export_computes(checkpoint(name), {"--q8.8"}, 5);
  }
}

TEST_F(RegressorExports, TheHeaderComputesThePerLayerVectors) {
  for (const char* bits : {"8", "16"}) {
    for (const char* name : {"slim", "slim_dwconv", "slim_positions_odd", "slim_gate_off",
                             "slim_maximum", "slim_average"}) {
      SCOPED_TRACE(std::string(name) + ", bits " + bits);
      expect_export_computes(checkpoint(name),
                             {"--per-layer", "--bits", bits, "--feat-root", kFeatures}, 6);
    }
  }
}

TEST_F(RegressorExports, TheHeaderSaturatesAsTheVectorsDo) {
  // Ranges that leave out a hundredth of what calibration saw.
  expect_export_computes(checkpoint("slim_dwconv"),
                         {"--per-layer", "--bits", "8", "--feat-root", kFeatures, "--calib-method",
                          "p99", "--calib-headroom", "1", "--target", "train"},
                         20);
}

TEST_F(RegressorExports, TheHeadersArithmeticIsTheKernels) {
  ASSERT_EQ(run(checkpoint("slim"), {"--q8.8"}).code, 0);
  std::ofstream(path("arithmetic.c")) << kArithmetic;
  const Ended ran = shell(
      "cc -std=c99 -O2 -Wall -Wextra -Werror -Iout arithmetic.c -o arithmetic && ./arithmetic",
      path(""));
  ASSERT_EQ(ran.code, 0) << ran.err;
  const std::string bytes = read_text(path("arithmetic.bin"));
  const auto* next = reinterpret_cast<const int32_t*>(bytes.data());
  for (int fraction = 0; fraction <= 14; ++fraction) {
    for (int x = -32768; x <= 32767; ++x) {
      ASSERT_EQ(*next++, fixed_sigmoid(static_cast<int16_t>(x), fraction)) << x << " " << fraction;
    }
  }
  for (int n = -60; n <= 60; ++n) {
    for (int d = 1; d <= 12; ++d) {
      ASSERT_EQ(*next++, reference::rounded_quotient(n, d)) << n << " / " << d;
    }
  }
  for (int n = -60; n <= 60; ++n) {
    for (int shift = -3; shift <= 5; ++shift) {
      ASSERT_EQ(*next++, std::nearbyint(std::ldexp(n, -shift))) << n << ", shift " << shift;
    }
  }
  const std::vector<int32_t> ends{32767, -32768, 127, -128, 32767, -32768, 0, 0, 1, 2, 11585, 1};
  for (const int32_t end : ends) EXPECT_EQ(*next++, end);
  EXPECT_EQ(reinterpret_cast<const char*>(next), bytes.data() + bytes.size());
}

TEST_F(RegressorExports, ACheckpointsOwnFormatsNeedNoData) {
  const RegressorCheckpoint float_model = read_regressor_checkpoint(checkpoint("slim_dwconv"));
  const FeatureFolder folder = read_feature_folder(
      kFeatures, {FeatureRole::train, float_model.config.features, float_model.config.window});
  const auto seen = measure_regressor(build_regressor(float_model), folder, 0, Threads(1));
  const RegressorTensors tensors(float_model.config, float_model.weights);
  CalibratedRegressor calibrated;
  calibrated.how.backend = RegressorBackend::integer;
  calibrated.how.all = true;
  calibrated.how.bits = 8;
  for (const auto mode :
       {RegressorQuantization::Mode::per_layer, RegressorQuantization::Mode::dynamic}) {
    calibrated.how.mode = mode;
    calibrated.formats = decide_formats(float_model.config, tensors, calibrated.how, seen, {});
    write_calibrated_regressor(path("stored.pt"), float_model, calibrated);
    const Ended ended = run(path("stored.pt"), {"--per-layer", "--force"});
    if (mode == RegressorQuantization::Mode::dynamic) {
      EXPECT_EQ(ended.code, 2);  // scales that no shift multiplies by: decided anew, from data
      EXPECT_THAT(ended.err, HasSubstr("--feat-root DIR"));
      continue;
    }
    ASSERT_EQ(ended.code, 0) << ended.err;
    const Json input = manifest().at("sites", "").at("head:input", "");
    EXPECT_EQ(input.at("bits", "").as_int(""), 8);
    EXPECT_EQ(std::ldexp(1.0, -static_cast<int>(input.at("n", "").as_int(""))),
              double{calibrated.formats->layer("head").input.scale});
    const Ended other = run(path("stored.pt"), {"--per-layer", "--bits", "16", "--force"});
    EXPECT_EQ(other.code, 2);
    EXPECT_THAT(other.err, HasSubstr("expected 8"));
  }
}

TEST_F(RegressorExports, TheHeaderComputesATrainedModel) {
  const std::string model = "../shared/models/regressor/ckpt_refactor/logo_2100/best_epe_mean.pt";
  const std::string features = "../shared/golden/regressor/features";
  if (!fs::exists(model) || !fs::exists(features)) GTEST_SKIP() << "no " << model;
  expect_export_computes(model, {"--q8.8", "--feat-root", features}, 20);
  expect_export_computes(model, {"--per-layer", "--feat-root", features}, 20);
  expect_export_computes(model, {"--per-layer", "--bits", "8", "--feat-root", features}, 20);
}

TEST_F(RegressorExports, TheSameCommandWritesTheSameBytes) {
  const std::vector<std::string> flags{"--per-layer", "--feat-root", kFeatures};
  ASSERT_EQ(run(checkpoint("slim_dwconv"), flags).code, 0);
  fs::rename(path("out"), path("first"));
  std::vector<std::string> again = flags;
  again.insert(again.end(), {"--threads", "1"});
  ASSERT_EQ(run(checkpoint("slim_dwconv"), again).code, 0);
  EXPECT_EQ(shell("diff -r first out", path("")).out, "");
}

TEST_F(RegressorExports, AFormerExportIsReplacedAndNothingElse) {
  const std::string model = checkpoint("slim_dwconv");
  ASSERT_EQ(run(model, {"--q8.8"}).code, 0);
  ASSERT_EQ(run(model, {"--q8.8"}).code, 0) << "what nobody changed is replaced";
  std::ofstream(path("out/manifest.json"), std::ios::app) << "\n";
  const Ended again = run(model, {"--q8.8"});
  EXPECT_EQ(again.code, 1);
  EXPECT_THAT(again.err, HasSubstr("--force"));
  EXPECT_EQ(run(model, {"--q8.8", "--vectors", "1", "--force"}).code, 0);
  EXPECT_EQ(manifest().at("vectors", "").at("windows", "").as_int(""), 1);

  std::ofstream(path("out/vectors/notes.txt")) << "mine";
  const Ended kept = run(model, {"--q8.8", "--force"});
  EXPECT_EQ(kept.code, 1);
  EXPECT_THAT(kept.err, HasSubstr("notes.txt"));
  EXPECT_TRUE(fs::exists(path("out/vectors/notes.txt")));

  fs::remove_all(path("out"));
  fs::create_directories(path("out"));
  std::ofstream(path("out/thesis.tex")) << "years of work";
  EXPECT_EQ(run(model, {"--q8.8", "--force"}).code, 1);
  EXPECT_TRUE(fs::exists(path("out/thesis.tex")));
}

TEST_F(RegressorExports, WrongUsageIsExplained) {
  const std::string slim = checkpoint("slim");
  const std::map<std::vector<std::string>, std::string> wrong{
      {{slim}, "one of --q8.8 and --per-layer"},
      {{slim, "--q8.8", "--per-layer"}, "one of --q8.8 and --per-layer"},
      {{slim, "--q8.8", "--bits", "8"}, "16, which is what Q8.8 has"},
      {{slim, "--per-layer", "--bits", "12"}, "8 or 16"},
      {{slim, "--per-layer"}, "--feat-root DIR"},
      {{slim, "--dequantized"}, "--dequantized: a flag of language models"},
      {{"examples/tiny-mamba1", "--q8.8"}, "--q8.8: a flag of regressors"},
      {{slim, "--q8.8", "--vectors", "0"}, "--vectors"},
      {{slim, "--per-layer", "--calib-headroom", "0.5"}, "--calib-headroom"}};
  for (const auto& [words, message] : wrong) {
    const Ended ended = run(words[0], {words.begin() + 1, words.end()});
    EXPECT_EQ(ended.code, 2) << message;
    EXPECT_THAT(ended.err, HasSubstr(message));
    EXPECT_FALSE(fs::exists(path("out")));
  }
}

TEST_F(RegressorExports, WorkThatFailsLeavesNothing) {
  const std::map<std::vector<std::string>, std::string> failing{
      {{checkpoint("origin"), "--q8.8"}, "origin.pt: expected a slim model"},
      {{checkpoint("none"), "--q8.8"}, "none.pt"},
      {{checkpoint("module"), "--q8.8"}, "module.pt"},
      {{checkpoint("slim"), "--per-layer", "--feat-root", "examples"}, "examples"},
      {{checkpoint("slim_positions"), "--per-layer", "--feat-root", kFeatures}, "261 features"}};
  for (const auto& [words, message] : failing) {
    const Ended ended = run(words[0], {words.begin() + 1, words.end()});
    EXPECT_EQ(ended.code, 1) << message;
    EXPECT_THAT(ended.err, HasSubstr(message));
  }
  EXPECT_TRUE(folder_.names().empty());
}

}  // namespace
}  // namespace scute::cli_export_test
