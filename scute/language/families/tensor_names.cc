#include "scute/language/families/tensor_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <numeric>

#include "scute/base/error.h"

namespace scute {
namespace {

constexpr std::string_view kLayers = "backbone.layers.";
/// Of the body, as every family but state-spaces calls them.
constexpr auto kOutsideLayers = std::to_array<NamePair>({{"embeddings.", "embedding."},
                                                         {"embed_tokens.", "embedding."},
                                                         {"final_layernorm.", "norm_f."},
                                                         {"norm.", "norm_f."}});

std::string renamed(std::string_view rest, std::span<const NamePair> pairs) {
  for (const NamePair& pair : pairs) {
    if (!rest.starts_with(pair.from)) continue;
    return fmt::format("{}{}", pair.to, rest.substr(pair.from.size()));
  }
  return std::string(rest);
}

/// Adds parts of a tensor's rows; without `rows` equal ones.
void add_parts(Weights& weights, const Tensor& whole, const std::string& where,
               std::span<const std::string> names, std::span<const int64_t> rows) {
  const int64_t all = whole.size() == 0 || whole.rank() == 0 ? 0 : whole.dim(0),
                count = std::ssize(names);
  if (rows.empty() && (all == 0 || all % count != 0)) {
    fail(where, fmt::format("rows that {} tensors share equally", count), to_string(whole.shape()));
  }
  const int64_t sum = std::accumulate(rows.begin(), rows.end(), int64_t{0});
  if (!rows.empty() && all != sum) {
    fail(where, fmt::format("{} rows", sum), to_string(whole.shape()));
  }
  int64_t first = 0;
  for (size_t i = 0; i < names.size(); ++i) {
    const int64_t own = rows.empty() ? all / count : rows[i];
    weights.add(names[i], whole.rows(first, own));
    first += own;
  }
}

std::vector<NamePair> inverse_pairs(std::span<const NamePair> pairs) {
  std::vector<NamePair> out;
  for (const NamePair& pair : pairs) out.push_back({pair.to, pair.from});
  return out;
}

void rename_in_layers(Weights& weights, std::span<const NamePair> pairs) {
  for (const std::string& name : weights.names()) {
    const auto [layer, rest] = layer_name(name);
    if (layer < 0) continue;
    const std::string to = renamed(rest, pairs);
    if (to != rest) weights.rename(name, fmt::format("{}{}.{}", kLayers, layer, to));
  }
}

/// Rows of all parts, one after the other, in a new tensor whose first axis is as long as theirs
/// together.
Tensor joined_rows(const std::vector<Tensor>& parts, const std::string& where) {
  int64_t rows = 0;
  std::vector<std::byte> bytes;
  for (const Tensor& part : parts) {
    if (part.rank() == 0 || part.dtype() != parts.front().dtype()) {
      fail(where, "parts of one type", std::string(name_of(part.dtype())));
    }
    rows += part.dim(0);
    bytes.insert(bytes.end(), part.bytes().begin(), part.bytes().end());
  }
  Shape shape = parts.front().shape();
  shape.front() = rows;
  return Tensor::of_bytes(parts.front().dtype(), shape, bytes);
}

}  // namespace

void rename_after(Weights& weights, std::string_view prefix, std::span<const NamePair> pairs) {
  for (const std::string& name : weights.names()) {
    if (!name.starts_with(prefix)) continue;
    const std::string_view rest = std::string_view(name).substr(prefix.size());
    const std::string to = renamed(rest, pairs);
    if (to != rest) weights.rename(name, fmt::format("{}{}", prefix, to));
  }
}

void rename_layers(Weights& weights, std::span<const NamePair> pairs) {
  rename_after(weights, "backbone.", kOutsideLayers);
  rename_in_layers(weights, pairs);
}

void publish_after(Weights& weights, std::string_view prefix, std::span<const NamePair> pairs) {
  rename_after(weights, prefix, inverse_pairs(pairs));
}

void publish_layers(Weights& weights, std::span<const NamePair> pairs) {
  rename_in_layers(weights, inverse_pairs(pairs));
}

LayerName layer_name(std::string_view name) {
  if (!name.starts_with(kLayers)) return {};
  LayerName out;
  const std::string_view after = name.substr(kLayers.size());
  const auto [end, error] = std::from_chars(after.data(), after.data() + after.size(), out.layer);
  const auto digits = static_cast<size_t>(end - after.data());
  // "007" and the like are another tensor, not layer 7 again.
  const bool plain = error == std::errc() && out.layer >= 0 && after[0] != '-' &&
                     fmt::to_string(out.layer).size() == digits && digits < after.size() &&
                     after[digits] == '.';
  if (!plain) return {};
  out.rest = after.substr(digits + 1);
  return out;
}

void split_rows(Weights& weights, const std::string& from, std::span<const std::string> to,
                std::span<const int64_t> rows) {
  for (const char* kind : {".weight", ".bias"}) {
    if (!weights.contains(from + kind)) continue;
    const Tensor whole = weights.take(from + kind);
    std::vector<std::string> names;
    for (const std::string& name : to) names.push_back(name + kind);
    add_parts(weights, whole, weights.source() + ": " + from + kind, names, rows);
  }
}

void split_stack(Weights& weights, const std::string& from, const std::string& experts,
                 std::span<const std::string> to) {
  const std::string name = from + ".weight";
  if (!weights.contains(name)) return;
  const Tensor stack = weights.take(name);
  const std::string where = weights.source() + ": " + name;
  if (stack.rank() != 3 || stack.size() == 0) {
    fail(where, "a matrix for each expert, (experts, rows, columns)", to_string(stack.shape()));
  }
  for (int64_t e = 0; e < stack.dim(0); ++e) {
    std::vector<std::string> names;
    for (const std::string& part : to)
      names.push_back(fmt::format("{}{}.{}.weight", experts, e, part));
    add_parts(weights, stack.slice(e), where, names, {});
  }
}

void join_rows(Weights& weights, std::span<const std::string> from, const std::string& to) {
  for (const char* kind : {".weight", ".bias"}) {
    if (!weights.contains(from.front() + kind)) continue;
    std::vector<Tensor> parts;
    for (const std::string& name : from) parts.push_back(weights.take(name + kind));
    weights.add(to + kind, joined_rows(parts, to));
  }
}

void join_stack(Weights& weights, const std::string& experts, std::span<const std::string> from,
                const std::string& to) {
  const auto name = [&](int64_t e, const std::string& part) {
    return fmt::format("{}{}.{}.weight", experts, e, part);
  };
  std::vector<Tensor> parts;
  int64_t count = 0;
  for (; weights.contains(name(count, from.front())); ++count) {
    for (const std::string& part : from) parts.push_back(weights.take(name(count, part)));
  }
  if (count == 0) return;
  const Tensor all = joined_rows(parts, to);
  weights.add(to + ".weight", all.reshaped({count, all.dim(0) / count, all.dim(1)}));
}

void rename_copy(Weights& weights, const std::string& from, const std::string& to) {
  if (from == to) return;
  if (!weights.contains(to)) return weights.rename(from, to);
  const Tensor& one = weights.at(to);
  const Tensor& other = weights.at(from);
  if (one.dtype() != other.dtype() || one.shape() != other.shape() ||
      !std::ranges::equal(one.bytes(), other.bytes())) {
    fail(weights.source(), fmt::format("one tensor {}, or equal copies", to),
         fmt::format("other values in {}", from));
  }
  weights.erase(from);
}

}  // namespace scute
