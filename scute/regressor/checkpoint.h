// The regressor's .pt checkpoints, in all five key styles.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "scute/decide/plan.h"
#include "scute/io/input.h"
#include "scute/io/torch_zip.h"
#include "scute/models/regressor/regressor.h"
#include "scute/observe/statistics_file.h"
#include "scute/tensor/weights.h"

namespace scute {

/// How a checkpoint says it is quantized (`arch`). Whether it is, its scales say.
struct RegressorQuantization {
  using Backend = RegressorBackend;  ///< lsq and integer are stored as "python", extension as "cpp"
  /// fixed: scales of 1/256 at 16 bits (stored as "fixed", formerly "fixed88"); dynamic: measured;
  /// per_layer: measured, then widened to a power of two for each layer, Qm.n.
  enum class Mode { fixed, dynamic, per_layer };

  Backend backend = Backend::lsq;
  std::optional<Mode> mode;  ///< old files have none
  int bits = 16;
  bool all = false;              ///< quantize_all
  bool proj = false;             ///< q_proj, or the older q_proj_head
  bool head = false;             ///< q_head, or the older q_proj_head
  bool block_linear = false;     ///< q_block_linear: in_proj and out_proj of every block
  bool backbone_linear = false;  ///< q_backbone_linear: patch_embedding and output_layer_pool

  bool operator==(const RegressorQuantization&) const = default;
};

/// Scales and zero points stored with one layer, as they are: finite, scales above 0.
struct RegressorScales {
  /// proj, head, patch_embedding, output_layer_pool, blocks.{i}.{in_proj,out_proj}
  std::string layer;
  /// Which key style they came in: `qa.scale`/`qw.scale` or `a_scale`/`w_scale`.
  RegressorQuantization::Backend backend = RegressorQuantization::Backend::lsq;
  std::vector<float> input;   ///< one for all input channels, or one each
  std::vector<float> weight;  ///< one for all outputs, or one each
  std::optional<float> input_zero, weight_zero;

  bool operator==(const RegressorScales&) const = default;
};

/// What is known of the training; files saved after calibration lost it, their `cfg` has defaults.
struct RegressorTraining {
  std::optional<int64_t> epoch;
  std::string best_metric;  ///< "" when not stored
  std::optional<double> best_value;
};

/// What a .pt file holds; its tensors are mapped.
struct RegressorCheckpoint {
  std::string path;
  std::optional<InputFile> file;  ///< that it was read from; none of one that was parsed
  RegressorConfig config;
  RegressorQuantization quantization;
  std::vector<RegressorScales> scales;  ///< in the file's order; empty: a float model
  /// Of a model in integers alone, which scute wrote (regressor_writer.h).
  std::optional<RegressorFormats> formats;
  /// SHA-256 of the file that the float weights were taken from, where scute wrote this one; "".
  std::string source_sha256;
  /// Where its scales come from, where scute wrote it with them.
  std::optional<Plan> plan;
  std::optional<StatisticsSet> statistics;
  RegressorTraining training;
  std::vector<std::string> remarks;  ///< what is unusual about its names, a sentence each
  TorchValue cfg, arch;              ///< as stored, for whoever writes the checkpoint again
  Weights weights;  ///< under the names of models/regressor_tensors.h, all there and no other
};

/// Error naming what is wrong: another file, a pickled module (its class), a config that makes no
/// sense, every tensor that is missing, unknown or of another shape, weights that are not finite,
/// scales of another number than the layer's channels, or a mixture of two models: blocks of the
/// origin variant that were never trained.
RegressorCheckpoint read_regressor_checkpoint(const std::string& path);
/// The same for what such a file holds; `path` is named in errors.
RegressorCheckpoint parse_regressor_checkpoint(const TorchValue& root, const std::string& path);

/// SHA-256 of the file whose float weights these are: that of the source where scute wrote the
/// checkpoint, so that statistics and plans of the float model stay its own; else the file's.
std::string hash_regressor(const RegressorCheckpoint& checkpoint);
/// SHA-256 of the file that it was read from.
std::string hash_checkpoint_file(const RegressorCheckpoint& checkpoint);

/// The float network, whatever the checkpoint says of scales; `rounding`: of some layers.
Regressor build_regressor(const RegressorCheckpoint& checkpoint,
                          const RegressorRounding& rounding = {});

}  // namespace scute
