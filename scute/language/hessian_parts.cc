#include "scute/language/hessian_parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "scute/base/error.h"
#include "scute/io/safetensors.h"
#include "scute/recipe/part_names.h"

namespace scute {
namespace {

constexpr const char* kHessianPartFormat = "scute-hessian-part";
constexpr std::string_view kHessianEnding = ".safetensors", kTriangle = "/triangle";

std::string metadata_of(const SafetensorsFile& file, const char* key, const std::string& path) {
  const auto found = file.metadata.find(key);
  if (found == file.metadata.end()) {
    fail(path, fmt::format("the metadata key \"{}\" of a part of Hessians", key), "none");
  }
  return found->second;
}

/// "2/layer_0.in_proj:input/triangle": sum and site.
std::pair<int64_t, std::string> place_of(const std::string& name, const std::string& path) {
  const size_t slash = name.find('/');
  int64_t sum = -1;
  if (slash != std::string::npos && name.ends_with(kTriangle) &&
      slash < name.size() - kTriangle.size()) {
    std::from_chars(name.data(), name.data() + slash, sum);
  }
  if (sum < 0 || sum >= kHessianSums) {
    fail(path, "tensors named SUM/SITE/triangle", name);
  }
  return {sum, name.substr(slash + 1, name.size() - slash - 1 - kTriangle.size())};
}

Gram gram_of(const Tensor& tensor, int64_t size, const std::string& where) {
  const bool fits = tensor.dtype() == DType::f64 && tensor.rank() == 1 &&
                    tensor.size() == TriangleView<double>::count(size);
  if (!fits) fail(where, "the triangle of a square matrix, F64", to_string(tensor.shape()));
  Gram out(size);
  std::ranges::copy(tensor.values<double>(), out.values.begin());
  return out;
}

/// Columns of a triangle of so many values; Error when there is no such triangle.
int64_t columns_of(int64_t values, const std::string& where) {
  int64_t size = 0;
  while (TriangleView<double>::count(size) < values) ++size;
  if (TriangleView<double>::count(size) != values) {
    fail(where, "a triangle's number of values", fmt::format("{}", values));
  }
  return size;
}

/// The parts of a folder, opened and checked.
struct OpenParts {
  explicit OpenParts(const std::string& folder);
  /// The tensors of one sum, by site.
  std::map<std::string, Gram> take(int64_t sum);

  Json meta;
  std::map<int64_t, std::map<std::string, std::pair<std::string, Tensor>>> sums;
};

OpenParts::OpenParts(const std::string& folder) {
  const FoundParts found = find_parts(folder, kHessianEnding);
  std::vector<std::string> missing;
  for (int64_t i = 0; i < std::min(found.of, kHessianSums); ++i) {
    if (!found.parts.contains(i)) missing.push_back(std::to_string(i));
  }
  if (!missing.empty()) {
    fail(folder, fmt::format("all {} parts", found.of),
         fmt::format("missing: {}; run scute quantize --gptq ... --shard I/{} for these",
                     fmt::join(missing, ", "), found.of));
  }
  for (int64_t i = 0; i < found.of; ++i) {
    const std::string path = part_file(folder, {i, found.of}, kHessianEnding);
    SafetensorsFile file = read_safetensors(path);
    if (metadata_of(file, "format", path) != kHessianPartFormat) {
      fail(path, "a part of Hessians", "another file");
    }
    if (metadata_of(file, "part", path) != Shard{i, found.of}.text()) {
      fail(path, "part " + Shard{i, found.of}.text(), metadata_of(file, "part", path));
    }
    const Json own = Json::parse(metadata_of(file, "meta", path), path);
    if (i == 0) meta = own;
    if (own != meta) {
      fail(path, "the same model, data and options as part 0", "others");
    }
    for (NamedTensor& item : file.tensors) {
      const auto [sum, site] = place_of(item.name, path);
      sums[sum].emplace(site, std::pair(path + ": " + item.name, std::move(item.tensor)));
    }
  }
}

std::map<std::string, Gram> OpenParts::take(int64_t sum) {
  std::map<std::string, Gram> out;
  for (auto& [site, found] : sums[sum]) {
    const auto& [where, tensor] = found;
    out.emplace(site, gram_of(tensor, columns_of(tensor.size(), where), where));
  }
  sums.erase(sum);
  return out;
}

}  // namespace

HessianPart measure_hessian_part(const ModelDescription& model, const CalibrationOptions& options,
                                 const HessianRun& run, const Shard& shard) {
  if (shard.of > kHessianSums) {
    fail("--shard",
         fmt::format("at most {} parts of Hessians: windows go to so many sums in turn",
                     kHessianSums),
         shard.text());
  }
  std::vector<int64_t> numbers;
  for (int64_t i = 0; i < shard.count(kHessianSums); ++i) numbers.push_back(shard.nth(i));
  HessianPart out{.shard = shard, .sums = {}, .meta = {}};
  out.sums = measure_sums(model, options, run, numbers, out.meta);
  return out;
}

void write_hessian_part(const std::string& path, const HessianPart& part) {
  std::vector<NamedTensor> tensors;
  for (const auto& [number, sites] : part.sums) {
    for (const auto& [site, gram] : sites) {
      const auto count = static_cast<int64_t>(gram.values.size());
      tensors.push_back({fmt::format("{}/{}{}", number, site, kTriangle),
                         Tensor::of<double>({count}, gram.values)});
    }
  }
  write_safetensors(path, tensors,
                    {{"format", kHessianPartFormat},
                     {"version", "1"},
                     {"part", part.shard.text()},
                     {"meta", part.meta.dump()}});
}

bool has_hessian_part(const std::string& folder, const Shard& shard, const Json& meta) {
  const FoundParts found = find_parts(folder, kHessianEnding);
  if (found.of != 0 && found.of != shard.of) {
    fail(folder, fmt::format("parts of {}", shard.of),
         fmt::format("parts of {}; give another folder", found.of));
  }
  if (!found.parts.contains(shard.index)) return false;
  const std::string path = part_file(folder, shard, kHessianEnding);
  const SafetensorsFile file = read_safetensors(path);
  const bool same = metadata_of(file, "format", path) == kHessianPartFormat &&
                    metadata_of(file, "part", path) == shard.text() &&
                    Json::parse(metadata_of(file, "meta", path), path) == meta;
  if (!same) fail(path, "this part: the same model, data and options", "another one");
  return true;
}

bool holds_hessian_parts(const std::string& folder) {
  const FoundParts found = find_parts(folder, kHessianEnding);
  if (found.parts.empty()) return false;
  const SafetensorsFile file =
      read_safetensors(part_file(folder, {*found.parts.begin(), found.of}, kHessianEnding));
  const auto format = file.metadata.find("format");
  return format != file.metadata.end() && format->second == kHessianPartFormat;
}

Hessians merge_hessian_parts(const std::string& folder) {
  OpenParts parts(folder);
  Hessians out;
  out.meta = parts.meta;
  out.sites = parts.take(0);
  for (int64_t sum = 1; sum < kHessianSums; ++sum) {
    for (const auto& [site, gram] : parts.take(sum)) {
      const auto found = out.sites.find(site);
      if (found == out.sites.end() || found->second.size != gram.size) {
        fail(folder, "the same sites in every sum", site + " in one only");
      }
      found->second += gram;
    }
  }
  return out;
}

}  // namespace scute
