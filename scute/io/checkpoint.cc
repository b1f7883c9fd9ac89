#include "scute/io/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <utility>

#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/io/checkpoint_listing.h"
#include "scute/io/safetensors.h"

namespace scute {
namespace {

/// Where a .pt keeps its tensors, when not at the top.
constexpr std::array<std::string_view, 6> kWrappers = {"model",  "state_dict",  "model_state_dict",
                                                       "module", "model_state", "net"};
/// What is put before every name by who wraps a model.
constexpr std::array<std::string_view, 3> kPrefixes = {"module.", "_orig_mod.", "model."};

struct TorchTensors {
  std::vector<NamedTensor> tensors;
  std::string key;  ///< under which they were; "" at the top
};

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
      fail(path, "tensors", fmt::format("{}: {}", name, no_tensor_text(item)));
    }
  }
}

bool has_tensor(const TorchValue::Dict& dict) {
  return std::ranges::any_of(
      dict, [](const auto& item) { return std::holds_alternative<Tensor>(item.second.value); });
}

/// The dictionary under one of the usual keys; null when there is none.
const std::pair<std::string, TorchValue>* wrapped(const TorchValue::Dict& dict) {
  for (const std::string_view key : kWrappers) {
    for (const auto& item : dict) {
      if (item.first == key && std::holds_alternative<TorchValue::Dict>(item.second.value)) {
        return &item;
      }
    }
  }
  return nullptr;
}

TorchTensors read_torch_tensors(const InputFile& file) {
  const std::string& path = file.path();
  const TorchValue root = read_torch(file);
  const auto* dict = std::get_if<TorchValue::Dict>(&root.value);
  if (dict == nullptr) fail(path, "a dictionary of tensors", "another value");
  TorchTensors out;
  while (!has_tensor(*dict)) {
    const auto* inner = wrapped(*dict);
    if (inner == nullptr) break;
    out.key += (out.key.empty() ? "" : ".") + inner->first;
    dict = &std::get<TorchValue::Dict>(inner->second.value);
  }
  flatten(*dict, "", path, out.tensors);
  return out;
}

/// Tensors that the index does not list: copies of listed ones are dropped (a tied head saved
/// twice), others an error. `from`: the file that each is in.
void drop_unlisted(std::vector<std::pair<NamedTensor, std::string>>& extra, Checkpoint& out) {
  const std::vector<std::string> listed = out.weights.names();
  constexpr size_t kMost = 16;  // a tied head is one
  if (extra.size() > kMost) {
    fail(extra[0].second, "the tensors that the index lists",
         fmt::format("{} others, {} first", extra.size(), extra[0].first.name));
  }
  for (const auto& [named, path] : extra) {
    const Tensor& tensor = named.tensor;
    const auto same = std::ranges::find_if(listed, [&](const std::string& name) {
      const Tensor& other = out.weights.at(name);
      return other.dtype() == tensor.dtype() && other.shape() == tensor.shape() &&
             std::ranges::equal(other.bytes(), tensor.bytes());
    });
    if (same == listed.end()) {
      fail(path, "the tensors that the index lists", fmt::format("also {}", named.name));
    }
    out.remarks.push_back(fmt::format("{}, which the index does not list, is a copy of {}: dropped",
                                      named.name, *same));
  }
}

void add_shard(std::vector<NamedTensor> tensors, const std::set<std::string>& expected,
               const std::string& path, Checkpoint& out,
               std::vector<std::pair<NamedTensor, std::string>>& extra) {
  std::set<std::string> found;
  for (const NamedTensor& named : tensors) found.insert(named.name);
  for (const std::string& name : expected) {
    if (!found.contains(name)) fail(path, fmt::format("{}, as the index says", name), "none");
  }
  for (NamedTensor& named : tensors) {
    if (expected.contains(named.name)) {
      out.weights.add(std::move(named.name), std::move(named.tensor));
    } else {
      extra.emplace_back(std::move(named), path);
    }
  }
}

void drop_prefix(Checkpoint& out) {
  const std::vector<std::string> names = out.weights.names();
  const std::string prefix = wrapper_prefix(names);
  if (prefix.empty()) return;
  for (const std::string& name : names) out.weights.rename(name, name.substr(prefix.size()));
  out.remarks.push_back(prefix_remark(prefix));
}

}  // namespace

std::vector<std::string> checkpoint_files(const std::string& folder) {
  return list_checkpoint(folder).files;
}

bool holds_checkpoint(const std::string& folder) {
  try {
    return !list_checkpoint(folder).files.empty();
  } catch (const Error&) {
    return false;
  }
}

Checkpoint open_checkpoint(const std::string& folder, InputFiles& files,
                           std::string_view usual_key) {
  const CheckpointListing listing = list_checkpoint(folder);
  Checkpoint out{Weights(folder), {}};
  if (!listing.remark.empty()) out.remarks.push_back(listing.remark);
  std::vector<std::pair<NamedTensor, std::string>> extra;
  std::string key;
  for (const std::string& path : listing.files) {
    std::vector<NamedTensor> tensors;
    if (path.ends_with(".safetensors")) {
      tensors = read_safetensors(files.open(path)).tensors;
    } else {
      TorchTensors read = read_torch_tensors(files.open(path));
      tensors = std::move(read.tensors);
      key = std::move(read.key);
    }
    const auto expected = listing.expected.find(path);
    if (expected != listing.expected.end()) {
      add_shard(std::move(tensors), expected->second, path, out, extra);
      continue;
    }
    for (NamedTensor& named : tensors) {
      out.weights.add(std::move(named.name), std::move(named.tensor));
    }
  }
  if (key != usual_key && !key.empty())
    out.remarks.push_back(fmt::format("the weights are under the key {}", key));
  drop_unlisted(extra, out);
  drop_prefix(out);
  return out;
}

Checkpoint open_checkpoint(const std::string& folder) {
  InputFiles files;
  return open_checkpoint(folder, files);
}

Weights read_checkpoint(const std::string& folder, InputFiles& files) {
  return open_checkpoint(folder, files).weights;
}

Weights read_checkpoint(const std::string& folder) {
  InputFiles files;
  return read_checkpoint(folder, files);
}

std::string wrapper_prefix(std::span<const std::string> names) {
  std::string out;
  if (names.empty()) return out;
  const auto all_begin = [&](const std::string& with) {
    return std::ranges::all_of(names, [&](const std::string& name) {
      return name.size() > with.size() && name.starts_with(with);
    });
  };
  for (bool found = true; found;) {
    found = false;
    for (const std::string_view prefix : kPrefixes) {
      if (!all_begin(out + std::string(prefix))) continue;
      out += prefix;
      found = true;
    }
  }
  return out;
}

std::string prefix_remark(const std::string& prefix) {
  return fmt::format("every tensor's name begins with {}, which was dropped", prefix);
}

std::string no_tensor_text(const TorchValue& value) {
  if (std::holds_alternative<std::nullptr_t>(value.value)) {
    return "None, no tensor under this name";
  }
  if (const auto* opaque = std::get_if<OpaqueValue>(&value.value)) {
    return fmt::format("an object of class {}, no tensor", opaque->of);
  }
  return "a plain value, no tensor";
}

}  // namespace scute
