#include "scute/quantize/weight.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "scute/base/error.h"
#include "scute/quantize/group_scale.h"
#include "scute/quantize/tiles.h"

namespace scute {
namespace {

using Granularity = WeightFormat::Granularity;

constexpr int64_t kPerWord = 8;  // 4-bit codes in 32 bits

int64_t largest_divisor(int64_t n, int64_t most) {
  int64_t divisor = std::clamp<int64_t>(most, 1, n);
  while (n % divisor != 0) --divisor;
  return divisor;
}

/// What came from a file may have shapes that do not fit each other.
void check_shapes(const QuantizedWeight& weight) {
  const std::string_view where = "quantized weight";
  if (weight.codes.rank() != 2) {
    fail(where, "codes of outputs × inputs", to_string(weight.codes.shape()));
  }
  weight.format.check(weight.inputs(), where);
  const bool one = weight.format.granularity == Granularity::per_tensor;
  const int64_t groups = weight.inputs() / weight.format.group_inputs(weight.inputs());
  const Shape shape = one ? Shape{1, 1} : Shape{weight.outputs(), groups};
  if (weight.scales.shape() != shape) {
    fail(where, fmt::format("scales {}", to_string(shape)), to_string(weight.scales.shape()));
  }
}

void check_channel_scales(const QuantizedWeight& weight) {
  const Shape shape{weight.outputs(), 1};
  if (weight.channel_scales.shape() != shape) {
    fail("quantized weight", fmt::format("channel scales {}", to_string(shape)),
         to_string(weight.channel_scales.shape()));
  }
}

/// Codes and scales of a weight, element by element.
struct Elements {
  explicit Elements(const QuantizedWeight& weight)
      : inputs(weight.inputs()),
        group(weight.format.group_inputs(inputs)),
        groups(weight.format.granularity == Granularity::per_tensor ? 0 : inputs / group),
        codes(weight.codes.values<int8_t>().data()),
        scales(weight.scales.values<float>().data()) {}

  float value(int64_t output, int64_t input) const {
    return static_cast<float>(codes[output * inputs + input]) *
           scales[output * groups + (groups == 0 ? 0 : input / group)];
  }

  int64_t inputs, group;
  int64_t groups;  ///< scales from one output to the next: 0 when there is but one
  const int8_t* codes;
  const float* scales;
};

QuantizedWeight second_level(const QuantizedWeight& weight) {
  check_channel_scales(weight);
  WeightFormat format;
  QuantizedWeight out = empty_weight(weight.outputs(), weight.inputs(), format);
  out.scales = weight.channel_scales;
  const Elements elements(weight);
  const auto channel_scales = weight.channel_scales.values<float>();
  int8_t* codes = out.codes.mutable_values<int8_t>().data();
  for (int64_t o = 0; o < weight.outputs(); ++o) {
    const Grid grid = weight_grid(8, channel_scales[static_cast<size_t>(o)]);
    for (int64_t k = 0; k < elements.inputs; ++k) {
      *codes++ = static_cast<int8_t>(grid.code(elements.value(o, k)));
    }
  }
  return out;
}

void round_row(const float* weights, const float* scales, const QuantizedWeight& out,
               int8_t* codes) {
  const int64_t group = out.format.group_inputs(out.inputs());
  for (int64_t k = 0; k < out.inputs(); ++k) {
    codes[k] =
        static_cast<int8_t>(weight_grid(out.format.bits, scales[k / group]).code(weights[k]));
  }
}

}  // namespace

int64_t WeightFormat::fitting_group(int64_t inputs, int64_t group) {
  // Below that a group's f16 scale is more than a bit a weight.
  constexpr int64_t kLeast = 16;
  if (group < 1 || inputs <= group || inputs % group == 0) return group;
  const int64_t both = inputs | group, power = both & -both;
  return power >= kLeast ? power : group;
}

WeightFormat WeightFormat::four_bit(int64_t inputs, int64_t group, bool two_level) {
  WeightFormat format;
  format.bits = 4;
  format.granularity = inputs <= group ? Granularity::per_channel : Granularity::per_group;
  format.group = group;
  format.two_level = two_level;
  return format;
}

void WeightFormat::check(int64_t inputs, std::string_view where) const {
  if (bits != 4 && bits != 8) fail(where, "weights of 4 or 8 bits", fmt::to_string(bits));
  if (inputs < 1) fail(where, "at least one input", fmt::to_string(inputs));
  if (bits == 4 && granularity == Granularity::per_tensor) {
    fail(where, "a scale per channel or group for 4 bits", "one per tensor");
  }
  if (bits == 8 && two_level) fail(where, "4 bits for two levels of scales", "8");
  if (granularity == Granularity::per_group && (group < 1 || inputs % group != 0)) {
    fail(where,
         fmt::format("a group that divides {} inputs, e.g. {}", inputs,
                     largest_divisor(inputs, group)),
         fmt::to_string(group));
  }
}

int64_t WeightFormat::group_inputs(int64_t inputs) const {
  return granularity == Granularity::per_group ? group : inputs;
}

Tensor dequantize(const QuantizedWeight& weight) {
  check_shapes(weight);
  if (weight.format.two_level) return dequantize(second_level(weight));
  Tensor out(DType::f32, {weight.outputs(), weight.inputs()});
  const Elements elements(weight);
  float* values = out.mutable_values<float>().data();
  for (int64_t o = 0; o < weight.outputs(); ++o) {
    for (int64_t k = 0; k < weight.inputs(); ++k) *values++ = elements.value(o, k);
  }
  return out;
}

QuantizedWeight as_int8(const QuantizedWeight& weight) {
  check_shapes(weight);
  if (weight.format.two_level) return second_level(weight);
  if (weight.format.bits != 8 || weight.format.granularity == Granularity::per_group) {
    fail("quantized weight", "8 bits with a scale per output, or two levels",
         fmt::format("{} bits{}", weight.format.bits,
                     weight.format.granularity == Granularity::per_group ? " in groups" : ""));
  }
  QuantizedWeight out = weight;
  out.format.granularity = Granularity::per_channel;
  if (weight.format.granularity == Granularity::per_tensor) {
    out.scales = Tensor(DType::f32, {weight.outputs(), 1});
    std::ranges::fill(out.scales.mutable_values<float>(), weight.scales.values<float>()[0]);
  }
  return out;
}

QuantizedWeight quantize_nearest(const Tensor& weight, const WeightFormat& format,
                                 std::string_view where, const Team& team, float largest) {
  const Tensor real = finite_weight(weight, where);
  const int64_t outputs = real.dim(0), inputs = real.dim(1);
  format.check(inputs, where);
  QuantizedWeight out = empty_weight(outputs, inputs, format);
  const auto all = real.values<float>();
  const auto scales = out.scales.mutable_values<float>();
  int8_t* codes = out.codes.mutable_values<int8_t>().data();
  const bool one = format.granularity == Granularity::per_tensor;
  const auto group = static_cast<size_t>(format.group_inputs(inputs));
  if (one) scales[0] = group_scale(largest > 0 ? std::span(&largest, 1) : all, format.bits);
  const int64_t per_row = one ? 0 : out.scales.dim(1);
  share_tiles(team, outputs, [&](int64_t first, int64_t count) {
    for (int64_t o = first; o < first + count; ++o) {
      const auto row = all.subspan(static_cast<size_t>(o * inputs), static_cast<size_t>(inputs));
      float* of_row = scales.data() + o * per_row;
      for (int64_t g = 0; g < per_row; ++g) {
        of_row[g] = group_scale(row.subspan(static_cast<size_t>(g) * group, group), format.bits);
      }
      round_row(row.data(), of_row, out, codes + o * inputs);
    }
  });
  if (format.two_level) add_channel_scales(out);
  return out;
}

void add_channel_scales(QuantizedWeight& weight) {
  check_shapes(weight);
  weight.channel_scales = Tensor(DType::f32, {weight.outputs(), 1});
  const Elements elements(weight);
  float* scales = weight.channel_scales.mutable_values<float>().data();
  for (int64_t o = 0; o < weight.outputs(); ++o) {
    float most = 0;
    for (int64_t k = 0; k < weight.inputs(); ++k) {
      most = std::max(most, std::abs(elements.value(o, k)));
    }
    scales[o] = group_scale({&most, 1}, 8);
  }
}

Tensor pack_int4(const Tensor& codes) {
  if (codes.rank() != 2) fail("pack_int4", "outputs × inputs", to_string(codes.shape()));
  const auto from = codes.matrix<int8_t>();
  const int64_t inputs = codes.dim(1), words = inputs / kPerWord + (inputs % kPerWord != 0 ? 1 : 0);
  Tensor out(DType::i32, {codes.dim(0), words});
  int32_t* to = out.mutable_values<int32_t>().data();
  for (int64_t o = 0; o < from.rows; ++o, to += words) {
    for (int64_t k = 0; k < inputs; ++k) {
      const int code = from.row(o)[k];
      if (code < -8 || code > 7) fail("pack_int4", "codes of −8 … 7", fmt::to_string(code));
      const uint32_t bits = static_cast<uint32_t>(code + 8) << (4 * (k % kPerWord));
      to[k / kPerWord] = static_cast<int32_t>(static_cast<uint32_t>(to[k / kPerWord]) | bits);
    }
  }
  return out;
}

Tensor unpack_int4(const Tensor& packed, int64_t outputs, int64_t inputs, std::string_view where) {
  if (outputs < 0 || inputs < 0) {
    fail(where, "a shape of outputs × inputs", to_string(Shape{outputs, inputs}));
  }
  const int64_t words = inputs / kPerWord + (inputs % kPerWord != 0 ? 1 : 0);
  if (packed.dtype() != DType::i32 || packed.shape() != Shape{outputs, words}) {
    fail(where,
         fmt::format("I32 {} for {} × {} codes", to_string({outputs, words}), outputs, inputs),
         fmt::format("{} {}", name_of(packed.dtype()), to_string(packed.shape())));
  }
  // As many codes as there is room for in the words: the memory is in proportion to the input's.
  Tensor out(DType::i8, {outputs, inputs});
  const int32_t* from = packed.values<int32_t>().data();
  int8_t* to = out.mutable_values<int8_t>().data();
  const auto word = [&](int64_t o, int64_t w) {
    return static_cast<uint32_t>(from[o * words + w]);
  };
  for (int64_t o = 0; o < outputs && inputs > 0; ++o) {
    for (int64_t k = 0; k < inputs; ++k) {
      const uint32_t nibble = (word(o, k / kPerWord) >> (4 * (k % kPerWord))) & 15;
      *to++ = static_cast<int8_t>(static_cast<int>(nibble) - 8);
    }
    const int64_t used = inputs % kPerWord;
    if (used != 0 && word(o, words - 1) >> (4 * used) != 0) {
      fail(where, "padding bits of zero", fmt::format("others in row {}", o));
    }
  }
  return out;
}

}  // namespace scute
