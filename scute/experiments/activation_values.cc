#include "scute/experiments/activation_values.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>

#include "scute/base/error.h"
#include "scute/io/npy.h"
#include "scute/observe/distribution.h"

namespace scute {
namespace {

template <class T>
std::vector<double> widened(const Tensor& tensor) {
  const auto all = tensor.values<T>();
  std::vector<double> out;
  out.reserve(all.size());
  for (const T value : all) out.push_back(static_cast<double>(value));
  return out;
}

std::vector<double> values_of(const Tensor& tensor, const std::string& where) {
  switch (tensor.dtype()) {
    case DType::f64:
      return widened<double>(tensor);
    case DType::f32:
    case DType::f16:
      return widened<float>(tensor.to_f32());
    case DType::i64:
      return widened<int64_t>(tensor);
    case DType::i32:
      return widened<int32_t>(tensor);
    case DType::i16:
      return widened<int16_t>(tensor);
    case DType::i8:
      return widened<int8_t>(tensor);
    case DType::u8:
      return widened<uint8_t>(tensor);
    case DType::bf16:
    case DType::boolean:
      break;
  }
  fail(where, "numbers", std::string(name_of(tensor.dtype())));
}

/// `sorted`: magnitudes, ascending, at least one.
AlphaCut cut(const std::vector<double>& sorted, double alpha, double min, double max) {
  const auto n = static_cast<double>(sorted.size());
  const auto at = static_cast<size_t>(rank_of_share(alpha, sorted.size()) - 1);
  AlphaCut out{alpha, sorted[at], 0, 0};
  const auto outside = std::ranges::upper_bound(sorted, out.threshold);
  out.clipped = static_cast<double>(sorted.end() - outside) / n;
  // Halves: the range itself may overflow.
  const auto half = [&](double x) { return std::clamp(x, -out.threshold, out.threshold) / 2; };
  const double before = max / 2 - min / 2;
  if (before > 0) out.range_reduction = 1 - (half(max) - half(min)) / before;
  return out;
}

ActivationValues measure(const NamedTensor& array, const std::vector<double>& alphas,
                         const std::string& path) {
  ActivationValues out;
  out.site = array.name;
  std::vector<double> magnitudes = values_of(array.tensor, path + ", " + array.name);
  for (const double x : magnitudes) {
    out.nans += std::isnan(x) ? 1 : 0;
    out.infinities += std::isinf(x) ? 1 : 0;
  }
  std::erase_if(magnitudes, [](double x) { return !std::isfinite(x); });
  out.count = static_cast<int64_t>(magnitudes.size());
  if (magnitudes.empty()) return out;
  const auto [min, max] = std::ranges::minmax(magnitudes);
  out.min = min;
  out.max = max;
  for (double& x : magnitudes) x = std::abs(x);
  std::ranges::sort(magnitudes);
  for (const double alpha : alphas) out.cuts.push_back(cut(magnitudes, alpha, min, max));
  return out;
}

}  // namespace

std::vector<ActivationValues> read_activation_values(const std::string& path,
                                                     const std::vector<double>& alphas) {
  for (const double alpha : alphas) {
    if (!(alpha > 0 && alpha <= 1)) fail("alpha", "a share in (0, 1]", fmt::format("{}", alpha));
  }
  std::vector<ActivationValues> out;
  for (const NamedTensor& array : read_npz(path)) out.push_back(measure(array, alphas, path));
  if (out.empty()) fail(path, "at least one array of numbers", "none");
  return out;
}

std::optional<double> alpha_of_file(const std::string& path) {
  const std::string name = std::filesystem::path(path).filename().string();
  for (size_t at = name.find("_pa"); at != std::string::npos; at = name.find("_pa", at + 1)) {
    double alpha = 0;
    const char* const last = name.data() + name.size();
    const auto [end, error] = std::from_chars(name.data() + at + 3, last, alpha);
    const bool ends = end == last || *end == '_' || std::string_view(end, last) == ".npz";
    if (error == std::errc() && ends && alpha > 0 && alpha <= 1) return alpha;
  }
  return std::nullopt;
}

}  // namespace scute
