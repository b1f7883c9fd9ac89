// The bytes of a tensor of a GGUF file.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "scute/base/error.h"
#include "scute/base/portable_math.h"
#include "scute/language/gguf/tensors.h"
#include "scute/quantize/block_codes.h"

namespace scute {
namespace {

/// Values converted at a time: 1 MB of f32.
constexpr int64_t kGgufValuesAtOnce = int64_t{1} << 18;

void require_codable(std::span<const float> values, GgufType type, const std::string& name) {
  const float most = type == GgufType::q8_0 ? kMostInQ8 : kMostInQ4;
  for (const float x : values) {
    if (std::isfinite(x) && std::abs(x) < most) continue;
    fail(name, fmt::format("finite weights below {}", most), fmt::to_string(x));
  }
}

void encode_gguf(std::span<const float> values, GgufType type, const std::string& name,
                 std::vector<std::byte>& out) {
  out.resize(static_cast<size_t>(gguf_bytes(type, static_cast<int64_t>(values.size()))));
  switch (type) {
    case GgufType::f32:
      std::memcpy(out.data(), values.data(), out.size());
      return;
    case GgufType::bf16:
      for (size_t i = 0; i < values.size(); ++i) {
        const bf16 x = to_bf16(values[i]);
        std::memcpy(&out[2 * i], &x.bits, 2);
      }
      return;
    case GgufType::q8_0:
      require_codable(values, type, name);
      return round_to_q8_0(values, out);
    case GgufType::q4_0:
      require_codable(values, type, name);
      return round_to_q4_0(values, out);
  }
}

/// Rows of the file, in its order and with its factors.
class GgufRows {
 public:
  GgufRows(const GgufPlan& plan, const Tensor& made)
      : plan_(plan),
        cols_(plan.tensor.shape.size() == 1 ? 1 : plan.tensor.shape.back()),
        source_(made.reshaped({made.size() / cols_, cols_})) {}

  int64_t count() const { return source_.dim(0); }
  int64_t at_once() const { return std::max<int64_t>(1, kGgufValuesAtOnce / cols_); }
  void read(int64_t first, int64_t count, std::vector<float>& out) const {
    out.resize(static_cast<size_t>(count * cols_));
    if (plan_.order.empty()) {
      copy(first, count, out.data());
    } else {
      for (int64_t i = 0; i < count; ++i) {
        copy(plan_.order[static_cast<size_t>(first + i)], 1, &out[static_cast<size_t>(i * cols_)]);
      }
    }
    if (plan_.decay) {
      for (float& x : out) x = static_cast<float>(-portable::exp(static_cast<double>(x)));
    }
    for (int64_t i = 0; i < count && !plan_.factors.empty(); ++i) {
      const bool one = plan_.factors.size() == 1;
      const float factor = plan_.factors[one ? 0 : static_cast<size_t>(first + i)];
      for (int64_t j = 0; j < cols_; ++j) out[static_cast<size_t>(i * cols_ + j)] *= factor;
    }
  }

 private:
  void copy(int64_t first, int64_t count, float* out) const {
    const Tensor rows = source_.rows(first, count).to_f32();
    std::ranges::copy(rows.values<float>(), out);
  }

  const GgufPlan& plan_;
  int64_t cols_;
  Tensor source_;
};

}  // namespace

void write_gguf_tensor(const GgufPlan& plan, GgufWriter& writer) {
  const GgufTensor& tensor = plan.tensor;
  std::vector<float> values;
  std::vector<std::byte> bytes;
  if (plan.parts.empty()) {
    values.resize(static_cast<size_t>(element_count(tensor.shape, tensor.name)));
    encode_gguf(values, tensor.type, tensor.name, bytes);
    writer.write(bytes);
  }
  for (const DeferredTensor* part : plan.parts) {
    const Tensor made = part->make();
    const GgufRows rows(plan, made);
    for (int64_t first = 0; first < rows.count(); first += rows.at_once()) {
      rows.read(first, std::min(rows.at_once(), rows.count() - first), values);
      encode_gguf(values, tensor.type, tensor.name, bytes);
      writer.write(bytes);
    }
  }
}

}  // namespace scute
