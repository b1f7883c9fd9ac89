#include "scute/io/checkpoint_listing.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <optional>
#include <system_error>

#include "scute/base/error.h"
#include "scute/base/json.h"
#include "scute/base/names.h"
#include "scute/io/file.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

/// An index names every tensor of a checkpoint; 64 MiB are some 500,000 of them.
constexpr int64_t kMaxIndex = int64_t{64} << 20;

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

CheckpointListing read_index(const std::string& folder, const std::string& index) {
  CheckpointListing listing;
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

/// What training leaves beside the weights.
bool is_no_weight_file(std::string_view name) {
  constexpr std::array<std::string_view, 8> kBegins = {
      "optimizer",     "scheduler",     "scaler",      "rng_state",
      "training_args", "random_states", "statistics.", "hessians."};
  return std::ranges::any_of(kBegins,
                             [&](std::string_view begin) { return name.starts_with(begin); });
}

/// Names in the folder that may be weights or indexes of them; hidden ones are other programs'
/// notes (macOS leaves ._model.safetensors).
std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> out;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.starts_with('.') || is_no_weight_file(name)) continue;
    if (is_file(it->path().string())) out.push_back(name);
  }
  if (error) fail(folder, "a model folder", error.message());
  std::ranges::sort(out);
  return out;
}

std::vector<std::string> with_ending(const std::vector<std::string>& names,
                                     std::span<const std::string_view> endings) {
  std::vector<std::string> out;
  std::ranges::copy_if(names, std::back_inserter(out), [&](const std::string& name) {
    return std::ranges::any_of(endings, [&](auto ending) { return name.ends_with(ending); });
  });
  return out;
}

/// model-00002-of-00005.safetensors.
struct ShardName {
  std::string begin, end;
  int64_t number = 0, of = 0;
};
std::optional<ShardName> parse_shard(const std::string& name) {
  const size_t of = name.rfind("-of-"),
               dash = of == name.npos ? name.npos : name.rfind('-', of - 1);
  if (dash == name.npos || of == 0 || dash == of) return {};
  const auto number = [&](size_t at, int64_t& out) {
    const auto [end, error] = std::from_chars(name.data() + at, name.data() + name.size(), out);
    return error == std::errc() ? static_cast<size_t>(end - name.data()) : name.npos;
  };
  ShardName out;
  if (number(dash + 1, out.number) != of) return {};
  const size_t dot = number(of + 4, out.of);
  if (dot >= name.size() || name[dot] != '.') return {};
  out.begin = name.substr(0, dash);
  out.end = name.substr(dot);
  return out;
}

/// All of them are the shards 1 … n of one checkpoint; Error naming those that are missing.
bool are_shards(const std::string& folder, const std::vector<std::string>& names) {
  std::set<int64_t> found;
  std::optional<ShardName> first;
  for (const std::string& name : names) {
    const auto shard = parse_shard(name);
    if (!shard) return false;
    if (!first) first = shard;
    if (shard->begin != first->begin || shard->end != first->end || shard->of != first->of) {
      return false;
    }
    found.insert(shard->number);
  }
  if (!first || first->of > 100000) return false;
  std::vector<std::string> missing;
  for (int64_t i = 1; i <= first->of; ++i) {
    if (!found.contains(i)) missing.push_back(fmt::format("{}", i));
  }
  if (!missing.empty()) {
    fail(folder, fmt::format("all {} shards {}-…{}", first->of, first->begin, first->end),
         fmt::format("no {}", first_few(missing)));
  }
  return std::ssize(found) == first->of;
}

/// The only file that may be meant, when none has a usual name.
CheckpointListing list_other_names(const std::string& folder) {
  constexpr std::array<std::string_view, 1> kIndex = {".index.json"}, kSafe = {".safetensors"};
  constexpr std::array<std::string_view, 4> kTorch = {".bin", ".pt", ".pth", ".ckpt"};
  const std::vector<std::string> names = names_in(folder);
  if (const auto indexes = with_ending(names, kIndex); indexes.size() == 1) {
    CheckpointListing out = read_index(folder, join(folder, indexes[0]));
    out.remark = fmt::format("the weights are those that {} lists", indexes[0]);
    return out;
  }
  for (const auto endings :
       {std::span<const std::string_view>(kSafe), std::span<const std::string_view>(kTorch)}) {
    const std::vector<std::string> found = with_ending(names, endings);
    if (found.empty()) continue;
    CheckpointListing out;
    for (const std::string& name : found) out.files.push_back(join(folder, name));
    if (are_shards(folder, found)) {
      out.remark = fmt::format("there is no index beside the {} shards {}, …: all are read",
                               found.size(), found[0]);
      return out;
    }
    if (found.size() > 1) {
      fail(folder, "one file of weights, or one with a usual name (model.safetensors)",
           fmt::format("{}: {}", found.size(), first_few(found, 5)));
    }
    if (!found[0].ends_with(".pt")) {
      out.remark = fmt::format("the weights are in {}, the only file of weights here", found[0]);
    }
    return out;
  }
  fail(folder,
       "model.safetensors, model.safetensors.index.json, pytorch_model.bin, "
       "pytorch_model.bin.index.json or one .safetensors, .bin, .pt, .pth or .ckpt file",
       "none of them");
}

}  // namespace

CheckpointListing list_checkpoint(const std::string& folder) {
  if (is_file(folder)) return {{folder}, {}, ""};
  // The last is Mistral's.
  for (const std::string base :
       {"model.safetensors", "pytorch_model.bin", "consolidated.safetensors"}) {
    const std::string whole = join(folder, base);
    if (is_file(whole)) return {{whole}, {}, ""};
    if (is_file(whole + ".index.json")) return read_index(folder, whole + ".index.json");
  }
  return list_other_names(folder);
}

}  // namespace scute
