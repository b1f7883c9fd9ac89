#include "scute/language/hessian_parts.h"

#include <fmt/format.h>

#include <algorithm>

#include "scute/base/error.h"
#include "scute/base/json_difference.h"
#include "scute/io/sealed_tensors.h"
#include "scute/language/hessian_checkpoint.h"
#include "scute/recipe/part_names.h"

namespace scute {
namespace {

constexpr const char* kHessianPartFormat = "scute-hessian-part";
constexpr std::string_view kHessianEnding = ".safetensors";

std::string metadata_of(const SafetensorsFile& file, const char* key, const std::string& path) {
  const auto found = file.metadata.find(key);
  if (found == file.metadata.end()) {
    fail(path, fmt::format("the metadata key \"{}\" of a part of Hessians", key), "none");
  }
  return found->second;
}

/// What a part says that it is of; Error when it is no part, or broken.
Json key_of(const SafetensorsFile& file, const Shard& shard, const std::string& path) {
  if (metadata_of(file, "format", path) != kHessianPartFormat) {
    fail(path, "a part of Hessians", "another file");
  }
  check_sealed_tensors(file, path);
  const std::string found = metadata_of(file, "part", path);
  if (found != shard.text()) fail(path, "part " + shard.text(), "part " + found);
  return Json::parse(metadata_of(file, "key", path), path);
}

/// The parts of a folder, opened and checked.
struct OpenParts {
  explicit OpenParts(const std::string& name);
  SiteGrams take(int64_t sum);

  std::string folder;
  Json meta;
  std::map<int64_t, std::map<std::string, Tensor>> sums;
};

OpenParts::OpenParts(const std::string& name) : folder(name) {
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
  Json key;
  for (int64_t i = 0; i < found.of; ++i) {
    const std::string path = part_file(folder, {i, found.of}, kHessianEnding);
    const SafetensorsFile file = read_safetensors(path);
    const Json own = key_of(file, {i, found.of}, path);
    if (i == 0) {
      key = own;
      meta = Json::parse(metadata_of(file, "meta", path), path);
    }
    if (own != key) {
      fail(path, "the same measurement as part 0", "another: " + difference_text(own, key));
    }
    for (auto& [sum, sites] : sums_of(file, path)) sums[sum].merge(sites);
  }
}

SiteGrams OpenParts::take(int64_t sum) {
  SiteGrams out;
  for (const auto& [site, tensor] : sums[sum]) {
    out.emplace(site, gram_of(tensor, folder + ": " + site));
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
  std::map<int64_t, const SiteGrams*> sums;
  for (const auto& [number, sites] : part.sums) sums[number] = &sites;
  write_sealed_tensors(path, sum_tensors(sums),
                       {{"format", kHessianPartFormat},
                        {"version", "1"},
                        {"part", part.shard.text()},
                        {"key", hessian_key(part.meta).dump()},
                        {"meta", part.meta.dump()}});
}

bool has_hessian_part(const std::string& folder, const Shard& shard, const Json& meta) {
  const FoundParts found = find_parts_of(folder, kHessianEnding, shard);
  if (!found.parts.contains(shard.index)) return false;
  const std::string path = part_file(folder, shard, kHessianEnding);
  const Json own = key_of(read_safetensors(path), shard, path), key = hessian_key(meta);
  if (own != key) {
    fail(path, "this part: the same model, data and options",
         "another: " + difference_text(own, key));
  }
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
