#include "scute/regressor/export/manifest.h"

#include "scute/models/regressor/integer_steps.h"

namespace scute {
namespace {

using Pool = RegressorConfig::Pool;

Json dimensions(const RegressorConfig& config) {
  Json out;
  out["Din"] = config.features;
  out["K"] = config.window;
  out["C"] = config.projected;
  out["P"] = config.patch;
  out["S"] = config.stride;
  out["L"] = config.patches();
  out["D"] = config.width;
  out["I"] = config.inner();
  out["layers"] = config.layers;
  out["taps"] = config.convolution ? config.taps() : 0;
  out["gate"] = config.gate;
  out["positions"] = config.positions;
  out["pool"] = config.pool == Pool::flat      ? "flat"
                : config.pool == Pool::average ? "average"
                                               : "maximum";
  return out;
}

Json product_json(const ShiftProduct& product) {
  Json out;
  out["layer"] = product.name;
  out["outputs"] = product.weight.dim(0);
  out["inputs"] = product.weight.dim(1);
  out["input"] = format_json(product.input);
  out["weight"] = format_json(product.weights);
  if (!product.bias.empty()) {
    out["bias"] = format_json(product.biases);
    out["bias_shift"] = product.bias_shift;
  }
  for (const ShiftFormat& output : product.outputs) out["output"].push_back(format_json(output));
  for (const int shift : product.shifts) out["shift"].push_back(shift);
  out["accumulator_bits"] = product.sum_bits;
  return out;
}

Json norm_json(const ShiftNorm& norm) {
  Json out;
  out["norm"] = norm.name;
  out["input"] = format_json(norm.input);
  out["output"] = format_json(norm.output);
  out["epsilon"] = norm.epsilon;
  out["root_bits"] = FixedNorm::kRootBits;
  return out;
}

Json convolution_json(const ShiftConvolution& conv) {
  Json out;
  out["layer"] = conv.name;
  out["taps"] = conv.taps;
  out["before"] = conv.before;
  out["input"] = format_json(conv.input);
  out["weight"] = format_json(conv.weights);
  out["bias"] = format_json(conv.biases);
  out["bias_shift"] = conv.bias_shift;
  out["output"] = format_json(conv.output);
  out["shift"] = conv.shift;
  return out;
}

Json silu_json(const std::string& name, const ShiftSilu& silu) {
  Json out;
  out["silu"] = name;
  out["input"] = format_json(silu.input);
  out["output"] = format_json(silu.output);
  out["shift"] = silu.shift;
  return out;
}

void add_block(const ShiftBlock& block, bool gate, Json& steps) {
  steps.push_back(norm_json(block.norm));
  steps.push_back(product_json(block.in_proj));
  if (gate) steps.push_back(silu_json(block.name + "z_act", block.z));
  if (block.convolution.taps > 0) steps.push_back(convolution_json(block.convolution));
  steps.push_back(silu_json(block.name + "u_act", block.u));
  Json rescale;
  rescale["rescale"] = block.name + "ssm.dt_proj:input";
  rescale["shift"] = block.dt_shift;
  rescale["bits"] = block.dt_proj.input.bits;
  steps.push_back(std::move(rescale));
  steps.push_back(product_json(block.dt_proj));
  Json scan;
  scan["scan"] = block.name + "ssm";
  scan["leak"] = format_json(block.dt_proj.outputs[0]);
  scan["state"] = format_json(block.u.output);
  steps.push_back(std::move(scan));
  Json joined;
  joined[gate ? "gate" : "rescale"] = block.name + "out_proj:input";
  joined["shift"] = block.out_shift;
  joined["bits"] = block.out_proj.input.bits;
  steps.push_back(std::move(joined));
  steps.push_back(product_json(block.out_proj));
}

/// Every step in the order a window goes through them.
Json steps_json(const ShiftRegressor& model) {
  Json out;
  out.push_back(product_json(model.proj));
  out.push_back(product_json(model.patch_embedding));
  if (!model.position_table.empty()) {
    Json add;
    add["add"] = "position_table";
    add["format"] = format_json(model.residual);
    out.push_back(std::move(add));
  }
  for (const ShiftBlock& block : model.blocks) add_block(block, model.config.gate, out);
  out.push_back(norm_json(model.norm_f));
  if (model.config.pool != Pool::flat) {
    Json pool;
    pool["pool"] = model.config.pool == Pool::average ? "sum" : "maximum";
    pool["shift"] = model.pool_shift;
    pool["bits"] = model.output_layer.input.bits;
    out.push_back(std::move(pool));
  }
  out.push_back(product_json(model.output_layer));
  out.push_back(product_json(model.head));
  return out;
}

}  // namespace

Json format_json(const ShiftFormat& format) {
  Json out;
  out["bits"] = format.bits;
  out["m"] = format.bits - 1 - format.fraction;
  out["n"] = format.fraction;
  return out;
}

Json manifest_json(const ShiftRegressor& model, const RegressorExportNotes& notes,
                   const std::vector<SiteVectors>& vectors, int64_t windows) {
  Json out;
  out["format"] = kExportFormat;
  out["version"] = 1;
  out["tool"] = "scute " SCUTE_VERSION;
  out["command"] = notes.command;
  out["checkpoint"] = Json::object();
  out["mode"] = notes.mode;
  out["dimensions"] = dimensions(model.config);
  out["lane_order"] =
      "lines of 16 hexadecimal digits; 4 lanes of 16 bits, or one of 64; lane 0 least significant; "
      "each row fills whole lines with zero lanes";
  for (const SiteVectors& site : vectors) out["sites"][site.site] = format_json(site.format);
  out["steps"] = steps_json(model);
  out["vectors"]["windows"] = windows;
  out["vectors"]["from"] = notes.windows;
  out["vectors"]["input"] = "vectors/proj.input.mem";
  out["vectors"]["expected"] = "vectors/head.output.mem";
  out["files"] = Json::array();
  return out;
}

}  // namespace scute
