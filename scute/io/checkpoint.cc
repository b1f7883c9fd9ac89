#include "scute/io/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <set>
#include <system_error>

#include "scute/base/error.h"
#include "scute/base/json.h"
#include "scute/base/names.h"
#include "scute/io/file.h"
#include "scute/io/safetensors.h"
#include "scute/io/torch_zip.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

/// An index names every tensor of a checkpoint; 64 MiB are some 500,000 of them.
constexpr int64_t kMaxIndex = int64_t{64} << 20;
/// Where a .pt keeps its tensors, when not at the top.
constexpr std::array<std::string_view, 3> kWrappers = {"model", "state_dict", "model_state_dict"};

/// A checkpoint's files, and for sharded ones which tensors each must hold.
struct Listing {
  std::vector<std::string> files;                         ///< paths, in reading order
  std::map<std::string, std::set<std::string>> expected;  ///< by path; empty when not sharded
};

bool is_file(const std::string& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

std::string join(const std::string& folder, const std::string& name) {
  return (fs::path(folder) / name).string();
}

/// An index that is not ours must not reach outside its folder.
void check_plain_name(const std::string& name, const std::string& index) {
  if (name.empty() || name == "." || name == ".." ||
      name.find_first_of(std::string_view("/\\\0", 3)) != std::string::npos) {
    fail(index, "shards named by a plain file name", fmt::format("\"{}\"", name));
  }
}

Listing read_index(const std::string& folder, const std::string& index) {
  Listing listing;
  const Json json = Json::parse(read_text(index, kMaxIndex), index);
  const auto& map = json.at("weight_map", index).as_object(index);
  std::set<std::string> names;
  for (const auto& [tensor, value] : map) {
    const std::string& name = value.as_string(fmt::format("{}: {}", index, tensor));
    check_plain_name(name, index);
    names.insert(name);
    listing.expected[join(folder, name)].insert(tensor);
  }
  if (names.empty()) fail(index, "at least one tensor", "none");
  for (const std::string& name : names) {
    listing.files.push_back(join(folder, name));
    if (!is_file(listing.files.back()))
      fail(index, fmt::format("the shard {}", name), "no such file");
  }
  return listing;
}

/// The folder's only *.pt.
Listing find_torch_file(const std::string& folder) {
  Listing listing;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() == ".pt" && is_file(it->path().string())) {
      listing.files.push_back(it->path().string());
    }
  }
  if (error) fail(folder, "a model folder", error.message());
  std::sort(listing.files.begin(), listing.files.end());
  if (listing.files.size() > 1) {
    fail(folder, "one .pt file (or name the one you mean)", joined(listing.files, ", "));
  }
  if (listing.files.empty()) {
    fail(folder,
         "model.safetensors, model.safetensors.index.json, pytorch_model.bin, "
         "pytorch_model.bin.index.json or a .pt file",
         "none of them");
  }
  return listing;
}

Listing list_files(const std::string& folder) {
  if (is_file(folder)) return {{folder}, {}};
  for (const std::string base : {"model.safetensors", "pytorch_model.bin"}) {
    const std::string whole = join(folder, base);
    if (is_file(whole)) return {{whole}, {}};
    if (is_file(whole + ".index.json")) return read_index(folder, whole + ".index.json");
  }
  return find_torch_file(folder);
}

/// Tensors of nested dictionaries, names joined by dots as PyTorch joins modules.
void flatten(const TorchValue::Dict& dict, const std::string& prefix, const std::string& path,
             std::vector<NamedTensor>& out) {
  for (const auto& [key, item] : dict) {
    const std::string name = prefix + key;
    if (const auto* tensor = std::get_if<Tensor>(&item.value)) {
      out.push_back({name, *tensor});
    } else if (const auto* inner = std::get_if<TorchValue::Dict>(&item.value)) {
      flatten(*inner, name + ".", path, out);
    } else {
      fail(path, "tensors", fmt::format("{}, which is none", name));
    }
  }
}

std::vector<NamedTensor> read_torch_tensors(const std::string& path) {
  const TorchValue root = read_torch(path);
  const TorchValue* top = &root;
  for (const std::string_view key : kWrappers) {
    const TorchValue* inner = root.find(key);
    if (inner != nullptr && std::holds_alternative<TorchValue::Dict>(inner->value)) {
      top = inner;
      break;
    }
  }
  const auto* dict = std::get_if<TorchValue::Dict>(&top->value);
  if (dict == nullptr) fail(path, "a dictionary of tensors", "another value");
  std::vector<NamedTensor> tensors;
  flatten(*dict, "", path, tensors);
  return tensors;
}

std::vector<NamedTensor> read_tensors(const std::string& path) {
  if (path.ends_with(".safetensors")) return read_safetensors(path).tensors;
  return read_torch_tensors(path);
}

void check_shard(const std::vector<NamedTensor>& tensors, const std::set<std::string>& expected,
                 const std::string& path) {
  std::set<std::string> found;
  for (const NamedTensor& named : tensors) found.insert(named.name);
  for (const std::string& name : expected) {
    if (!found.contains(name)) fail(path, fmt::format("{}, as the index says", name), "none");
  }
  for (const std::string& name : found) {
    if (!expected.contains(name)) {
      fail(path, "the tensors that the index lists", fmt::format("also {}", name));
    }
  }
}

}  // namespace

std::vector<std::string> checkpoint_files(const std::string& folder) {
  return list_files(folder).files;
}

Weights read_checkpoint(const std::string& folder) {
  const Listing listing = list_files(folder);
  Weights weights(folder);
  for (const std::string& path : listing.files) {
    std::vector<NamedTensor> tensors = read_tensors(path);
    const auto expected = listing.expected.find(path);
    if (expected != listing.expected.end()) check_shard(tensors, expected->second, path);
    for (NamedTensor& named : tensors) weights.add(std::move(named.name), std::move(named.tensor));
  }
  return weights;
}

}  // namespace scute
