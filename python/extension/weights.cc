// Weights rounded by the library, for those who multiply elsewhere.
#include <nanobind/nanobind.h>

#include "extension/arrays.h"
#include "extension/module.h"
#include "scute/base/error.h"
#include "scute/quantize/weight.h"

namespace scute::python {
namespace {

namespace nb = nanobind;

constexpr const char* kWhere = "weight";

/// What scute quantize makes of a matrix without Hessians.
QuantizedWeight quantized(nb::handle weight, int bits, bool per_tensor, int64_t group,
                          bool two_level) {
  const FloatArray given(weight, kWhere);
  if (given.shape().size() != 2) fail(kWhere, "outputs x inputs", to_string(given.shape()));
  std::vector<float> values(static_cast<size_t>(given.size()));
  given.copy(0, given.size(), values.data());
  const Shape shape = given.shape();
  const nb::gil_scoped_release released;
  WeightFormat format{.bits = bits};
  if (bits == 4) {
    format =
        WeightFormat::four_bit(shape[1], WeightFormat::fitting_group(shape[1], group), two_level);
  } else if (per_tensor) {
    format.granularity = WeightFormat::Granularity::per_tensor;
  }
  format.check(shape[1], kWhere);
  return quantize_nearest(Tensor::of<float>(shape, values), format, kWhere);
}

nb::object rounded_weight(nb::handle weight, int bits, bool per_tensor, int64_t group,
                          bool two_level) {
  return to_numpy(dequantize(quantized(weight, bits, per_tensor, group, two_level)));
}

nb::tuple weight_codes(nb::handle weight, int bits, bool per_tensor, int64_t group) {
  const QuantizedWeight found = as_int8(quantized(weight, bits, per_tensor, group, bits == 4));
  return nb::make_tuple(to_numpy(found.codes), to_numpy(found.scales));
}

}  // namespace

void bind_weights(nb::module_& module) {
  module.def(
      "rounded_weight", &rounded_weight, nb::arg("weight"), nb::arg("bits"), nb::arg("per_tensor"),
      nb::arg("group"), nb::arg("two_level"),
      nb::sig("def rounded_weight(weight: numpy.typing.ArrayLike, bits: int, per_tensor: bool, "
              "group: int, two_level: bool) -> numpy.typing.NDArray[numpy.float32]"),
      "The numbers that are multiplied by, outputs x inputs, float32, of a matrix as `scute "
      "quantize`\n"
      "rounds it to nearest: 8 bits with a scale an output (or one), 4 bits in groups of inputs,\n"
      "two_level beside 8-bit activations.");
  module.def(
      "weight_codes", &weight_codes, nb::arg("weight"), nb::arg("bits"), nb::arg("per_tensor"),
      nb::arg("group"),
      nb::sig("def weight_codes(weight: numpy.typing.ArrayLike, bits: int, per_tensor: bool, "
              "group: int) -> tuple[numpy.typing.NDArray[numpy.int8], "
              "numpy.typing.NDArray[numpy.float32]]"),
      "The same as an integer product with 8-bit inputs has it: codes outputs x inputs, and a\n"
      "scale an output, outputs x 1.");
}

}  // namespace scute::python
