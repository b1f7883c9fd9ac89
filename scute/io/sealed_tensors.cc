#include "scute/io/sealed_tensors.h"

#include <algorithm>

#include "scute/base/error.h"
#include "scute/base/hash.h"

namespace scute {
namespace {

/// The order of tensors does not count: a file sorts them.
std::string content_hash(const std::vector<NamedTensor>& tensors, const Metadata& metadata) {
  std::vector<const NamedTensor*> sorted;
  for (const NamedTensor& item : tensors) sorted.push_back(&item);
  std::ranges::sort(sorted, {},
                    [](const NamedTensor* item) { return std::string_view(item->name); });
  Sha256 out;
  const auto add = [&out](std::string_view words) {
    out.update(words);
    out.update(std::string_view("\0", 1));  // so that no two lists of words look alike
  };
  for (const auto& [key, value] : metadata) {
    if (key == kContentHash) continue;
    add(key);
    add(value);
  }
  for (const NamedTensor* item : sorted) {
    add(item->name);
    add(name_of(item->tensor.dtype()));
    add(to_string(item->tensor.shape()));
    out.update(item->tensor.bytes());
    item->tensor.give_back();  // of a mapped file
  }
  return out.hex();
}

}  // namespace

void write_sealed_tensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                          const Metadata& metadata) {
  Metadata sealed = metadata;
  sealed[kContentHash] = content_hash(tensors, metadata);
  write_safetensors(path, tensors, sealed);
}

void check_sealed_tensors(const SafetensorsFile& file, const std::string& path) {
  const auto found = file.metadata.find(kContentHash);
  if (found == file.metadata.end()) {
    fail(path, "a file with the hash of its content", "none; write it again with this scute");
  }
  if (found->second != content_hash(file.tensors, file.metadata)) {
    fail(path, "what scute wrote", "other content than its own hash says; write it again");
  }
}

}  // namespace scute
