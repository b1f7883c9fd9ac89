#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "scute/base/error.h"
#include "scute/io/safetensors.h"
#include "scute/language/hessians.h"

namespace scute {
namespace {

constexpr const char* kHessianFormat = "scute-hessians";

}  // namespace

void write_hessians(const std::string& path, const Hessians& hessians) {
  std::vector<NamedTensor> tensors;
  for (const auto& [name, gram] : hessians.sites) {
    tensors.push_back(
        {name + "/hessian", Tensor::of<double>({gram.size, gram.size}, gram.square())});
  }
  write_safetensors(path, tensors,
                    {{"format", kHessianFormat}, {"version", "1"}, {"meta", hessians.meta.dump()}});
}

Hessians read_hessians(const std::string& path, const ModelDescription& model) {
  SafetensorsFile file = read_safetensors(path);
  if (const auto format = file.metadata.find("format");
      format == file.metadata.end() || format->second != kHessianFormat) {
    fail(path, "Hessians that scute quantize --save-hessians wrote", "another file");
  }
  if (const auto version = file.metadata.find("version");
      version == file.metadata.end() || version->second != "1") {
    fail(path, "Hessians of version 1", "another version");
  }
  Hessians out;
  const auto meta = file.metadata.find("meta");
  out.meta = Json::parse(meta == file.metadata.end() ? "{}" : meta->second, path);
  const std::string hash = hash_model(model), found = [&] {
    const Json* value = out.meta.find("model_sha256");
    return value != nullptr && value->is_string() ? value->as_string(path) : "none";
  }();
  if (hash != found) {
    fail(path, fmt::format("Hessians of {} (SHA-256 {})", model.name, hash.substr(0, 12)),
         fmt::format("those of a model with SHA-256 {}", found.substr(0, 12)));
  }
  constexpr std::string_view kEnding = "/hessian";
  for (const NamedTensor& item : file.tensors) {
    const Tensor& tensor = item.tensor;
    if (!item.name.ends_with(kEnding) || tensor.dtype() != DType::f64 || tensor.rank() != 2 ||
        tensor.dim(0) != tensor.dim(1)) {
      fail(path, "square F64 matrices named SITE/hessian",
           fmt::format("{} {}", item.name, to_string(tensor.shape())));
    }
    const auto all = tensor.matrix<double>();
    for (int64_t i = 0; i < all.rows; ++i) {
      for (int64_t j = 0; j <= i; ++j) {
        // NaN is not equal to itself either.
        if (all.row(i)[j] == all.row(j)[i] && (i != j || all.row(i)[i] >= 0)) continue;
        fail(path, fmt::format("{} to be a sum of x·xᵀ", item.name),
             fmt::format("{} at ({}, {}) and {} at ({}, {})", all.row(i)[j], i, j, all.row(j)[i], j,
                         i));
      }
    }
    Gram gram(tensor.dim(0));
    for (int64_t i = 0; i < gram.size; ++i) {
      std::copy(all.row(i) + i, all.row(i) + gram.size, gram.triangle().row(i) + i);
    }
    out.sites.emplace(item.name.substr(0, item.name.size() - kEnding.size()), std::move(gram));
  }
  return out;
}

}  // namespace scute
