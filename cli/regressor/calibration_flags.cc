#include "cli/regressor/calibration_flags.h"

#include <fmt/format.h>

#include "scute/base/error.h"
#include "scute/regressor/evaluation.h"

namespace scute::cli {
namespace {

constexpr int64_t kMost = 1 << 20;
constexpr const char* kRoles = "train|eval|test|auto";

}  // namespace

void FeatureFlags::declare(Options& options) {
  options.text("--feat-root", root, "DIR", "folder of features, json/*.json and npy/*.npy");
  options.flag("--no-normalize", no_normalize,
               "features as they are stored: normalized already, stats_train.npz is not used");
}

void declare_target(Options& options, std::string& role) {
  options.custom("--target", kRoles, role, "role of the windows that are scored or exported",
                 [&role](const std::string& given) {
                   parse_feature_role(given);
                   role = given;
                 });
}

void CalibrationFlags::declare(Options& options, const std::string& bits_otherwise) {
  options.custom("--quant-bits,--bits", "8|16", bits_otherwise,
                 "bits of the layers' inputs and weights", [this](const std::string& given) {
                   if (given != "8" && given != "16") {
                     fail("--quant-bits", "8 or 16", fmt::format("\"{}\"", given));
                   }
                   bits = given == "8" ? 8 : 16;
                 });
  options.custom("--calib-method", "METHOD", kMethod,
                 "range of a layer's input: maxabs, p99 or mse", [this](const std::string& given) {
                   parse_regressor_method(given);
                   method = given;
                 });
  options.number(
      "--calib-headroom", headroom, 1, 16,
      fmt::format("factor on measured ranges ({}); at 16 bits its margin is fourfold", kHeadroom));
  MeasuredWindowFlags::declare(options);
}

void MeasuredWindowFlags::declare(Options& options) {
  options.custom("--calib-target", kRoles, kRole, "role of the windows that are measured",
                 [this](const std::string& given) {
                   parse_feature_role(given);
                   role = given;
                 });
  options.integer("--quant-calib-batches", batches, {0, kMost}, fmt::format("{}", kBatches),
                  "batches that are measured; 0: all");
  options.integer("--batch-size", batch_size, {1, kMost}, fmt::format("{}", kBatchSize),
                  "windows of a batch; results do not depend on it otherwise");
}

}  // namespace scute::cli
