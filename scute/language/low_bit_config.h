// What config.json says of a low-bit model: quantization_config for other tools, "scute" for what
// that cannot express.
#pragma once

#include <string>
#include <vector>

#include "scute/base/json.h"
#include "scute/language/quantize_options.h"
#include "scute/models/language/config.h"
#include "scute/models/scheme.h"

namespace scute {

/// The "scute" object: {"format": "scute-low-bit", "version": 1, "tool", "layers": ["W8A8", …] (an
/// object with a format for each kind of part where they differ),
/// "rotated_stream", "rotated_out_proj", "rotated_down_proj", "rotated_experts" and
/// "rotated_latent" (absent: false), "folded_head", "state_scale", "state_rounding", "seed"}.
/// `state_scale`: "none" (a float state), "tensor", "channel" or "grouped". "cache": "bf16" or
/// "int8", of attention's keys and values; absent: "f32".
Json scheme_to_json(const Scheme& scheme, const std::vector<LayerFormats>& layers,
                    const std::string& state_scale);
/// The inverse; Error naming `where` and the key on anything unknown or of a newer version.
Scheme scheme_from_json(const Json& json, const std::string& where);
std::vector<LayerFormats> layers_from_json(const Json& json, const std::string& where);

/// compressed-tensors' block (README.md): one group per weight format, private keys nowhere.
/// `table`: bits of a quantized embedding and head, 0 when they are floats; `table_inputs`: the
/// head rounds its input to 8 bits.
struct TableFormat {
  int bits = 0;
  bool eight_bit_inputs = false;
};
Json quantization_config(const MambaConfig& config, const std::vector<LayerFormats>& layers,
                         const QuantizeOptions& options, const TableFormat& table);

}  // namespace scute
