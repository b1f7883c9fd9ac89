#include "scute/language/low_bit_matrix_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "scute/base/error.h"

namespace scute {
namespace {

template <class T>
bool all_finite(const Tensor& tensor) {
  return std::ranges::all_of(tensor.values<T>(), [](T x) {
    if constexpr (std::is_arithmetic_v<T>) {
      return std::isfinite(x);
    } else {
      return std::isfinite(to_float(x));
    }
  });
}

bool all_finite(const Tensor& tensor) {
  switch (tensor.dtype()) {
    case DType::f64:
      return all_finite<double>(tensor);
    case DType::f32:
      return all_finite<float>(tensor);
    case DType::f16:
      return all_finite<f16>(tensor);
    case DType::bf16:
      return all_finite<bf16>(tensor);
    default:
      return true;
  }
}

}  // namespace

void require_tensor(const Weights& weights, const std::string& name, bool wanted,
                    std::string_view why) {
  if (weights.contains(name) == wanted) return;
  fail(weights.source(),
       fmt::format("{}{}, which config.json calls {}", wanted ? "the tensor " : "no tensor ", name,
                   why),
       wanted ? "none" : "one");
}

void check_low_bit_matrix(const Weights& weights, const std::string& name, int bits,
                          bool eight_bit_input, std::string_view format) {
  require_tensor(weights, name + ".weight_packed", bits == 4, format);
  require_tensor(weights, name + ".weight", bits != 4, format);
  require_tensor(weights, name + ".weight_scale", bits != 16, format);
  require_tensor(weights, name + ".input_scale", eight_bit_input, format);
  if (bits == 4) return;
  const DType type = weights.at(name + ".weight").dtype();
  if ((type == DType::i8) != (bits == 8)) {
    fail(weights.source(),
         fmt::format("{}.weight of {}, which config.json calls {}", name,
                     bits == 8 ? "8-bit codes" : "floats", format),
         std::string(name_of(type)));
  }
}

/// A large tensor's pages leave memory as they are looked at: a table of floats may be most of a
/// low-bit model.
void check_finite(const Weights& weights) {
  constexpr int64_t kTogether = int64_t{1} << 21;
  for (const std::string& name : weights.names()) {
    const Tensor& tensor = weights.at(name);
    const Tensor all = tensor.reshaped({tensor.size()});
    for (int64_t first = 0; first < all.size(); first += kTogether) {
      const Tensor some = all.rows(first, std::min(kTogether, all.size() - first));
      if (!all_finite(some)) {
        fail(weights.source(), "finite numbers in " + name, "NaN or infinity");
      }
      if (all.size() > kTogether) some.give_back();
    }
  }
}

}  // namespace scute
