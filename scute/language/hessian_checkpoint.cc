#include "scute/language/hessian_checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <memory>
#include <string_view>
#include <utility>

#include "scute/base/error.h"
#include "scute/language/hessians.h"

namespace scute {
namespace {

constexpr std::string_view kTriangle = "/triangle";

/// "2/layer_0.in_proj:input/triangle": sum and site.
std::pair<int64_t, std::string> place_of(const std::string& name, const std::string& path) {
  const size_t slash = name.find('/');
  int64_t sum = -1;
  if (slash != std::string::npos && name.ends_with(kTriangle) &&
      slash < name.size() - kTriangle.size()) {
    std::from_chars(name.data(), name.data() + slash, sum);
  }
  if (sum < 0 || sum >= kHessianSums) fail(path, "tensors named SUM/SITE/triangle", name);
  return {sum, name.substr(slash + 1, name.size() - slash - 1 - kTriangle.size())};
}

/// The sum's own memory: it outlives the file that is written.
Tensor borrowed(const Gram& gram) {
  const auto* data = reinterpret_cast<const std::byte*>(gram.values.data());
  return {DType::f64,
          {static_cast<int64_t>(gram.values.size())},
          std::shared_ptr<const void>(std::shared_ptr<const void>(), data),
          data};
}

std::string sum_name(int64_t pass, int64_t sum) { return fmt::format("sum-{}-{}", pass, sum); }
std::string pass_name(int64_t pass) { return fmt::format("pass-{}", pass); }

}  // namespace

std::vector<NamedTensor> sum_tensors(const std::map<int64_t, const SiteGrams*>& sums) {
  std::vector<NamedTensor> out;
  for (const auto& [number, sites] : sums) {
    for (const auto& [site, gram] : *sites) {
      out.push_back({fmt::format("{}/{}{}", number, site, kTriangle), borrowed(gram)});
    }
  }
  return out;
}

std::vector<NamedTensor> sum_tensors(const SiteGrams& sites) { return sum_tensors({{0, &sites}}); }

std::map<int64_t, std::map<std::string, Tensor>> sums_of(const SafetensorsFile& file,
                                                         const std::string& path) {
  std::map<int64_t, std::map<std::string, Tensor>> out;
  for (const NamedTensor& item : file.tensors) {
    const auto [sum, site] = place_of(item.name, path);
    out[sum].emplace(site, item.tensor);
  }
  return out;
}

Gram gram_of(const Tensor& tensor, const std::string& where) {
  int64_t size = 0;
  while (TriangleView<double>::count(size) < tensor.size()) ++size;
  if (tensor.dtype() != DType::f64 || tensor.rank() != 1 ||
      tensor.size() != TriangleView<double>::count(size)) {
    fail(where, "the triangle of a square matrix, F64", to_string(tensor.shape()));
  }
  Gram out(size);
  std::ranges::copy(tensor.values<double>(), out.values.begin());
  tensor.give_back();
  return out;
}

SiteGrams grams_of(const SafetensorsFile& file, const std::string& path) {
  SiteGrams out;
  for (const auto& [sum, sites] : sums_of(file, path)) {
    for (const auto& [site, tensor] : sites) out.emplace(site, gram_of(tensor, path));
  }
  return out;
}

HessianCheckpoint::HessianCheckpoint(WorkKeeping how, Json key)
    : files_(std::move(how), std::move(key)) {
  files_.begin();
}

std::optional<SiteGrams> HessianCheckpoint::finished(int64_t pass) {
  auto found = read(pass_name(pass));
  return found ? std::optional(std::move(found->second)) : std::nullopt;
}

std::optional<std::pair<int64_t, SiteGrams>> HessianCheckpoint::begun(int64_t pass, int64_t sum) {
  auto found = read(sum_name(pass, sum));
  const std::lock_guard lock(guard_);
  kept_[sum] = {steady_seconds(), found ? found->first : 0};
  return found;
}

void HessianCheckpoint::add(int64_t pass, int64_t sum, int64_t windows, const SiteGrams& sites,
                            int64_t together) {
  const WorkKeeping& how = files_.how();
  if (!how.keeps()) return;
  const bool cancelled = how.is_cancelled();
  const double now = steady_seconds();
  const int64_t most = how.windows ? std::max<int64_t>(*how.windows / together, 1)
                                   : std::numeric_limits<int64_t>::max();
  {
    const std::lock_guard lock(guard_);
    Kept& kept = kept_[sum];
    const bool due =
        windows - kept.windows >= most || (how.seconds && now - kept.time >= *how.seconds);
    if (!due && !cancelled) return;
    kept.time = now;
  }
  if (write(sum_name(pass, sum), windows, sites)) {
    const std::lock_guard lock(guard_);
    kept_[sum].windows = windows;
  }
  if (cancelled) fail(how.folder, "all windows", "an interruption");
}

void HessianCheckpoint::end_sum(int64_t pass, int64_t sum, int64_t windows,
                                const SiteGrams& sites) {
  if (!files_.how().keeps()) return;
  {
    const std::lock_guard lock(guard_);
    if (kept_[sum].windows == windows) return;  // by add(), a moment ago
  }
  write(sum_name(pass, sum), windows, sites);
}

void HessianCheckpoint::end_pass(int64_t pass, const SiteGrams& sites) {
  if (!files_.how().keeps()) return;
  if (!write(pass_name(pass), 0, sites)) return;
  for (int64_t sum = 0; sum < kHessianSums; ++sum) files_.remove(sum_name(pass, sum));
}

bool HessianCheckpoint::write(const std::string& stem, int64_t windows, const SiteGrams& sites) {
  return files_.write(stem, sum_tensors(sites), {{"windows", std::to_string(windows)}});
}

std::optional<std::pair<int64_t, SiteGrams>> HessianCheckpoint::read(
    const std::string& stem) const {
  const auto file = files_.read(stem);
  if (!file) return std::nullopt;
  const std::string path = files_.path(stem);
  return std::pair(kept_count(*file, "windows", path), grams_of(*file, path));
}

}  // namespace scute
