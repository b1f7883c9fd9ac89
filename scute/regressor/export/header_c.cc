#include "scute/regressor/export/header_c.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "scute/models/regressor/integer_steps.h"
#include "scute/regressor/export/hardware.h"

namespace scute {
namespace {

using Pool = RegressorConfig::Pool;

/// "blocks.0.in_proj" as part of a C name.
std::string identifier(std::string_view name) {
  std::string out(name);
  std::ranges::replace(out, '.', '_');
  return out;
}

/// Not inside a comment: what could end it is replaced.
std::string comment_text(std::string_view text) {
  std::string out;
  for (const char c : text) out += c < ' ' || c > '~' || c == '*' ? '?' : c;
  return out;
}

class HeaderWriter {
 public:
  explicit HeaderWriter(const ShiftRegressor& model) : model_(model) {}

  std::string run(std::string_view from) {
    const HardwareTemplate& parts = hardware_template();
    introduce(from);
    dimensions();
    fixed(parts.types);
    text_ += "\n/* ---- numbers ---- */\n";
    array("uint16_t", "sigmoid_table", std::span<const uint16_t>(sigmoid_table()),
          "the logistic function from -8 to 8 in steps of 1/256, Q0.16");
    product_arrays(model_.proj);
    product_arrays(model_.patch_embedding);
    if (!model_.position_table.empty()) {
      array("int16_t", "position_table", model_.position_table, "added to the patches, L x D");
    }
    for (const ShiftBlock& block : model_.blocks) block_arrays(block);
    norm_array(model_.norm_f);
    product_arrays(model_.output_layer);
    product_arrays(model_.head);
    structures();
    fixed(parts.steps);
    fixed(parts.network);
    text_ += "\n#endif /* SCUTE_REGRESSOR_H */\n";
    return std::move(text_);
  }

 private:
  void fixed(std::string_view part) {
    text_ += '\n';
    text_ += part;
  }
  template <class... Arguments>
  void line(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Arguments>(arguments)...);
    text_ += '\n';
  }
  template <class Number>
  void define(const char* name, Number value) {
    line("#define SCUTE_{} {}", name, value);
  }

  void introduce(std::string_view from) {
    line("/* A Mamba regressor in integers: radio features to a position. Written by scute {}",
         SCUTE_VERSION);
    line(" * from {}.", comment_text(from));
    line(" * Self-contained C99; the only floating-point number is in scute_regressor_metres().");
    line(" *");
    line(" * A code c of format Qm.n stands for c * 2^-n. Every product is summed exactly, every");
    line(" * rounding is half to even, what does not fit is cut to the nearest code. */");
    line("#ifndef SCUTE_REGRESSOR_H");
    line("#define SCUTE_REGRESSOR_H\n");
    line("#include <stdint.h>\n");
  }

  void dimensions() {
    const RegressorConfig& config = model_.config;
    const bool convolves = config.convolution;
    define("DIN", config.features);
    define("K", config.window);
    define("C", config.projected);
    define("P", config.patch);
    define("S", config.stride);
    define("L", config.patches());
    define("D", config.width);
    define("I", config.inner());
    define("LAYERS", config.layers);
    define("TAPS", convolves ? config.taps() : 0);
    define("TAPS_BEFORE", convolves ? model_.blocks[0].convolution.before : 0);
    define("GATE", config.gate ? 1 : 0);
    define("POSITIONS", model_.position_table.empty() ? 0 : 1);
    define("POOL_FLAT", 0);
    define("POOL_AVERAGE", 1);
    define("POOL_MAXIMUM", 2);
    define("POOL", config.pool == Pool::flat ? 0 : config.pool == Pool::average ? 1 : 2);
    define("POOL_SHIFT", model_.pool_shift);
    define("OUTPUT_LAYER_BITS", model_.output_layer.input.bits);
    define("INPUT_BITS", model_.proj.input.bits);
    define("INPUT_FRACTION", model_.proj.input.fraction);
    line("#define SCUTE_METRES_PER_CODE 0x1p{}", -model_.position.fraction);
  }

  template <class Numbers>
  void array(const char* type, const std::string& name, const Numbers& numbers,
             std::string_view comment) {
    if (!comment.empty()) line("\n/* {} */", comment);
    line("static const {} scute_{}[{}] = {{", type, name, numbers.size());
    size_t column = 0;
    for (const auto number : numbers) {
      const size_t before = text_.size();
      fmt::format_to(std::back_inserter(text_), "{}{},", column == 0 ? "    " : " ", number);
      column += text_.size() - before;
      if (column < 90) continue;
      text_ += '\n';
      column = 0;
    }
    if (column > 0) text_ += '\n';
    line("}};");
  }

  void product_arrays(const ShiftProduct& product) {
    const std::string name = identifier(product.name);
    array("int16_t", name + "_weight", product.weight.values<int16_t>(),
          fmt::format("{}: {} outputs x {} inputs", product.name, product.weight.dim(0),
                      product.weight.dim(1)));
    if (!product.bias.empty()) array("int16_t", name + "_bias", product.bias, "");
  }

  void norm_array(const ShiftNorm& norm) {
    array("int64_t", identifier(norm.name) + "_gain", norm.gain, norm.name);
  }

  void block_arrays(const ShiftBlock& block) {
    norm_array(block.norm);
    product_arrays(block.in_proj);
    if (block.convolution.taps > 0) {
      const std::string name = identifier(block.convolution.name);
      array("int16_t", name + "_weight", block.convolution.weight,
            fmt::format("{}: {} taps x I", block.convolution.name, block.convolution.taps));
      array("int16_t", name + "_bias", block.convolution.bias, "");
    }
    product_arrays(block.dt_proj);
    product_arrays(block.out_proj);
  }

  /// The initializer of a scute_product for one of the parts.
  static std::string initializer(const ShiftProduct& product, size_t part) {
    const std::string name = identifier(product.name);
    const int64_t outputs = product.weight.dim(0) / std::ssize(product.outputs);
    const int64_t first = outputs * static_cast<int64_t>(part);
    std::string weight = fmt::format("scute_{}_weight", name), bias = "0";
    if (first > 0) weight += fmt::format(" + {} * {}", first, product.weight.dim(1));
    if (!product.bias.empty()) {
      bias = fmt::format("scute_{}_bias", name);
      if (first > 0) bias += fmt::format(" + {}", first);
    }
    return fmt::format(
        "{{.weight = {},\n     .bias = {},\n     .inputs = {}, .outputs = {}, .bias_shift = {}, "
        ".shift = {}, "
        ".bits = {}}}",
        weight, bias, product.weight.dim(1), outputs, product.bias_shift, product.shifts[part],
        product.outputs[part].bits);
  }
  static std::string initializer(const ShiftNorm& norm) {
    return fmt::format("{{.gain = scute_{}_gain, .epsilon = INT64_C({}), .bits = {}}}",
                       identifier(norm.name), norm.epsilon, norm.output.bits);
  }
  static std::string initializer(const ShiftSilu& silu) {
    return fmt::format("{{.fraction = {}, .shift = {}}}", silu.input.fraction, silu.shift);
  }
  static std::string initializer(const ShiftConvolution& conv) {
    if (conv.taps == 0) return "{.weight = 0, .bias = 0, .bias_shift = 0, .shift = 0}";
    const std::string name = identifier(conv.name);
    return fmt::format(
        "{{.weight = scute_{}_weight, .bias = scute_{}_bias,\n     .bias_shift = {}, .shift = {}}}",
        name, name, conv.bias_shift, conv.shift);
  }

  void block_structure(const ShiftBlock& block) {
    line("  {{.norm = {},", initializer(block.norm));
    line("   .in_u = {},", initializer(block.in_proj, 0));
    line("   .in_z = {},", initializer(block.in_proj, 1));
    line("   .dt_proj = {},", initializer(block.dt_proj, 0));
    line("   .out_proj = {},", initializer(block.out_proj, 0));
    line("   .conv = {},", initializer(block.convolution));
    line("   .u = {}, .z = {},", initializer(block.u), initializer(block.z));
    line(
        "   .leak_fraction = {}, .dt_shift = {}, .dt_bits = {}, .out_shift = {}, .out_bits = {}}},",
        block.dt_proj.outputs[0].fraction, block.dt_shift, block.dt_proj.input.bits,
        block.out_shift, block.out_proj.input.bits);
  }

  void structures() {
    text_ += '\n';
    for (const auto& [name, product] :
         {std::pair{"proj", &model_.proj}, std::pair{"patch_embedding", &model_.patch_embedding},
          std::pair{"output_layer", &model_.output_layer}, std::pair{"head", &model_.head}}) {
      line("static const struct scute_product scute_{} =\n    {};", name, initializer(*product, 0));
    }
    line("static const struct scute_norm scute_norm_f =\n    {};", initializer(model_.norm_f));
    line("static const struct scute_block scute_blocks[SCUTE_LAYERS] = {{");
    for (const ShiftBlock& block : model_.blocks) block_structure(block);
    line("}};");
  }

  const ShiftRegressor& model_;
  std::string text_;
};

}  // namespace

std::string regressor_c_header(const ShiftRegressor& model, std::string_view from) {
  return HeaderWriter(model).run(from);
}

}  // namespace scute
