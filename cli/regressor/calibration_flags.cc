#include "cli/regressor/calibration_flags.h"

#include <fmt/format.h>

#include "scute/base/error.h"

namespace scute::cli {
namespace {

constexpr int64_t kMost = 1 << 20;
constexpr const char* kRoles = "train|eval|test|auto";

using Mode = RegressorQuantization::Mode;

RegressorBackend parse_backend(const std::string& text) {
  if (text == "lsq" || text == "python") return RegressorBackend::lsq;
  if (text == "extension" || text == "cpp") return RegressorBackend::extension;
  if (text == "integer") return RegressorBackend::integer;
  fail("--quant-backend", "lsq, extension or integer", fmt::format("\"{}\"", text));
}

Mode parse_mode(const std::string& text) {
  if (text == "dynamic") return Mode::dynamic;
  if (text == "fixed88") return Mode::fixed;
  if (text == "per-layer") return Mode::per_layer;
  const char* hint = text == "fixed" ? "; scales of 1/256 at 16 bits are fixed88" : "";
  fail("--quant-mode", "dynamic, fixed88 or per-layer", fmt::format("\"{}\"{}", text, hint));
}

}  // namespace

void FeatureFlags::declare(Options& options) {
  options.text("--feat-root", root, "DIR", "folder of features, json/*.json and npy/*.npy");
  options.last_reads();
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

void declare_formats(Options& options, RegressorFlags& flags) {
  options.flag("--quantize-all", flags.all, "round every layer that the backend rounds");
  options.flag("--q-proj", flags.proj, "round proj");
  options.flag("--q-head", flags.head, "round head");
  options.flag("--q-block-linear", flags.block_linear, "round in_proj and out_proj");
  options.flag("--q-backbone-linear", flags.backbone_linear,
               "round patch_embedding and the pooled output layer");
  options.custom("--quant-backend", "NAME", "the checkpoint's, or integer",
                 "lsq or extension (fake quantization of the originals), or integer",
                 [&flags](const std::string& text) { flags.backend = parse_backend(text); });
  options.custom("--quant-mode", "MODE", "dynamic",
                 "dynamic (measured), fixed88 (Q8.8) or per-layer (measured Qm.n)",
                 [&flags](const std::string& text) { flags.mode = parse_mode(text); });
  options.not_with({"--q-proj", "--q-head", "--q-block-linear", "--q-backbone-linear"},
                   "--quantize-all");
}

const std::vector<std::string>& calibration_flags() {
  static const std::vector<std::string> names{"--calib-method", "--calib-headroom",
                                              "--calib-target", "--quant-calib-batches"};
  return names;
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
                  "pictures or windows of a batch");
}

}  // namespace scute::cli
