#include "scute/recipe/probe.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "scute/base/error.h"

namespace scute {

void require_finite(const std::vector<NamedTensor>& probes) {
  for (const NamedTensor& item : probes) {
    const auto values = item.tensor.values<float>();
    if (!std::ranges::all_of(values, [](float x) { return std::isfinite(x); })) {
      fail(item.name, "finite values", "NaN or infinity");
    }
  }
}

ProbeComparison compare_probes(const std::vector<NamedTensor>& a,
                               const std::vector<NamedTensor>& b) {
  ProbeComparison out;
  require_finite(a);
  require_finite(b);
  if (a.size() != b.size()) {
    fail("probe", fmt::format("{} tensors", a.size()), fmt::format("{}", b.size()));
  }
  for (size_t i = 0; i < a.size(); ++i) {
    const Tensor &x = a[i].tensor, &y = b[i].tensor;
    if (x.shape() != y.shape()) fail(a[i].name, to_string(x.shape()), to_string(y.shape()));
    const auto u = x.values<float>(), v = y.values<float>();
    double difference = 0, magnitude = 0;
    for (size_t k = 0; k < u.size(); ++k) {
      difference =
          std::max(difference, std::abs(static_cast<double>(u[k]) - static_cast<double>(v[k])));
      magnitude = std::max(magnitude, std::abs(static_cast<double>(u[k])));
    }
    out.values += x.size();
    if (a[i].name == "logits") out.tokens += x.dim(0);
    out.identical = out.identical && std::ranges::equal(x.bytes(), y.bytes());
    out.largest = std::max(out.largest, magnitude > 0 ? difference / magnitude : difference);
  }
  return out;
}

ProbeComparison require_same_bits(const std::vector<NamedTensor>& memory,
                                  const std::vector<NamedTensor>& stored, const std::string& path) {
  const ProbeComparison out = compare_probes(memory, stored);
  if (!out.identical) {
    fail(path, "a model whose outputs are those of the one in memory",
         fmt::format("a difference of {:.3g} of the largest", out.largest));
  }
  return out;
}

}  // namespace scute
