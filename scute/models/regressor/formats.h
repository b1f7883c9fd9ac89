// How a quantized regressor rounds: layer by layer in the float network, or everywhere.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "scute/models/regressor/config.h"
#include "scute/quantize/grid.h"

namespace scute {

/// Whose arithmetic a rounded layer follows (README.md).
enum class RegressorBackend {
  lsq,        ///< both factors rounded to floats: clamp, round half to even; the product in floats
  extension,  ///< the same with scales 1e-8 larger, times the reciprocal in double, then cut; 8-bit
              ///< inputs of 1 × 1 layers asymmetric, codes above 127 wrapping round as they do
              ///< there
  integer,    ///< codes multiplied and summed exactly
};

/// Rounding of one layer of the float network. Its name is its input site without ":input".
struct LayerRounding {
  RegressorBackend backend = RegressorBackend::integer;
  int bits = 8;               ///< 8 or 16
  std::vector<float> input;   ///< scale: one for all, or (not integer) one per input channel
  std::vector<float> weight;  ///< scale: one for all, or one per output
  float input_zero = 0;       ///< extension, 8 bits
};
/// By layer; what is not there stays in floats.
using RegressorRounding = std::map<std::string, LayerRounding, std::less<>>;

/// Every number format of a regressor in integers alone, by name. All grids are symmetric.
struct RegressorFormats {
  /// Of one product.
  struct Layer {
    Grid input;                 ///< 8 or 16 bits; those of the weights too
    std::vector<float> weight;  ///< scale: one for all, or one per output
    /// Scale of the biases' 16-bit codes, a multiple of that of the sums; 0: whole numbers of sums.
    float bias = 0;
  };
  /// proj, patch_embedding, blocks.{i}.{in_proj, ssm.dt_proj, out_proj} and, of origin blocks,
  /// blocks.{i}.{in_proj, x_proj, dt_proj, out_proj}, output_layer, head; blocks.{i}.dw_conv or
  /// conv1d where there is one (16 bits).
  std::map<std::string, Layer, std::less<>> layers;
  /// 16 bits each; those before a sigmoid (*) are powers of two from 2^−14 to 1:
  ///   norm_f:input                     the residual stream, through all blocks
  ///   blocks.{i}.u_act:input *, u_act:output, z_act:input *, z_act:output
  ///   blocks.{i}.ssm.dt_proj:output *  of slim blocks
  ///   norm_f:output                    of pooled models
  ///   head:output                      the position, metres
  std::map<std::string, Grid, std::less<>> values;

  /// Error naming the format that is missing or makes no sense.
  const Layer& layer(std::string_view name) const;
  const Grid& value(std::string_view name) const;

  bool operator==(const RegressorFormats&) const;
};

/// The fractional bits of a grid whose scale is 2^−14 … 1, a power of two; Error naming `name`
/// otherwise.
int fraction_of(const Grid& grid, std::string_view name);

/// One scale spread over `count`, or the `count` scales themselves; Error naming `name` otherwise,
/// and for scales that are not positive and finite.
std::vector<float> spread_scales(std::span<const float> scales, int64_t count,
                                 std::string_view name);

}  // namespace scute
