// Whether AMX does on this machine what Gemm promises.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "scute/base/random.h"
#include "scute/kernels/gemm_amx.h"
#include "scute/kernels/gemm_highway.h"

namespace scute {
namespace {

/// What differs between two products of the same numbers, or "". Both add up K products in some
/// order, each with an error below K·2⁻²⁴·Σ|x·w|.
std::string difference(const Gemm::Impl& tested, const Gemm::Impl& trusted,
                       const std::vector<float>& x, const std::vector<float>& magnitudes,
                       int64_t rows, int64_t outputs) {
  const int64_t inputs = std::ssize(x) / rows;
  const auto size = static_cast<size_t>(rows * outputs);
  std::vector<float> found(size), expected(size), alone(static_cast<size_t>(outputs));
  tested.multiply(0, {x.data(), rows, inputs}, {found.data(), rows, outputs});
  trusted.multiply(0, {x.data(), rows, inputs}, {expected.data(), rows, outputs});
  for (size_t i = 0; i < size; ++i) {
    const float tolerance = 2.0f * static_cast<float>(inputs) * 0x1p-24f * magnitudes[i];
    if (!(std::abs(found[i] - expected[i]) <= tolerance)) {
      return fmt::format("{}: expected {}, found {} (tolerance {})", tested.name(), expected[i],
                         found[i], tolerance);
    }
  }
  for (int64_t r = 0; r < rows; ++r) {
    tested.multiply(0, {x.data() + r * inputs, 1, inputs}, {alone.data(), 1, outputs});
    if (!std::equal(alone.begin(), alone.end(), found.begin() + r * outputs)) {
      return fmt::format("{}: expected row {} of {} as it is alone, found other bits",
                         tested.name(), r, rows);
    }
  }
  return "";
}

}  // namespace

std::string gemm_self_test() {
  constexpr int64_t kTestRows = 37, kInputs = 200, kOutputs = 83;
  Random random(1);
  const auto draw = [&random](int64_t n) {
    std::vector<float> values(static_cast<size_t>(n));
    for (float& v : values) v = to_float(to_bf16(static_cast<float>(random.normal())));
    return values;
  };
  const auto absolute = [](std::vector<float> values) {
    for (float& v : values) v = std::abs(v);
    return values;
  };
  const auto x = draw(kTestRows * kInputs), w = draw(kOutputs * kInputs);
  const auto tensor = [](const std::vector<float>& values) {
    return Tensor::of<float>({kOutputs, kInputs}, values);
  };
  std::vector<float> magnitudes(static_cast<size_t>(kTestRows * kOutputs));
  make_highway_gemm(tensor(absolute(w)), Compute::f32)
      ->multiply(0, {absolute(x).data(), kTestRows, kInputs},
                 {magnitudes.data(), kTestRows, kOutputs});
  const auto tested = make_amx_gemm(tensor(w));
  if (tested == nullptr) return "";
  return difference(*tested, *make_highway_gemm(tensor(w), Compute::bf16), x, magnitudes, kTestRows,
                    kOutputs);
}

}  // namespace scute
