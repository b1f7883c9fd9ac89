// Published names of tensors to ours, and tensors that hold several of ours: internal to this
// folder.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "scute/tensor/weights.h"

namespace scute {

/// What a name begins with, published and ours.
struct NamePair {
  std::string_view from, to;
};

/// Of every tensor whose name begins with `prefix`, what follows it: the first pair that fits
/// counts; what none fits stays as it is.
void rename_after(Weights& weights, std::string_view prefix, std::span<const NamePair> pairs);
/// The same after "backbone.layers.{i}." of every layer, and after "backbone." for the embedding
/// and the last norm, which have the same few names in all families.
void rename_layers(Weights& weights, std::span<const NamePair> pairs);

/// The inverses, where several pairs fit by the first; the second of the layers alone.
void publish_after(Weights& weights, std::string_view prefix, std::span<const NamePair> pairs);
void publish_layers(Weights& weights, std::span<const NamePair> pairs);

/// A name "backbone.layers.{i}.rest"; layer −1 for another.
struct LayerName {
  int64_t layer = -1;
  std::string_view rest;
};
LayerName layer_name(std::string_view name);

/// Replaces FROM.weight, and FROM.bias if there is one, by tensors of so many rows each, in this
/// order; without `rows` equal parts. Nothing when there is no FROM. Error unless the rows can be
/// divided so.
void split_rows(Weights& weights, const std::string& from, std::span<const std::string> to,
                std::span<const int64_t> rows = {});
/// Replaces FROM.weight, a stack (X, rows, columns), by matrices named EXPERTS{e}.TO for each of
/// `to`, equal parts of the rows.
void split_stack(Weights& weights, const std::string& from, const std::string& experts,
                 std::span<const std::string> to);
/// The inverses, for parts of one type; they copy. Nothing when the first part is not there.
void join_rows(Weights& weights, std::span<const std::string> from, const std::string& to);
void join_stack(Weights& weights, const std::string& experts, std::span<const std::string> from,
                const std::string& to);
/// Renames a tensor that a checkpoint may hold several times. Error when there is one of that name
/// already, and not the same values.
void rename_copy(Weights& weights, const std::string& from, const std::string& to);

}  // namespace scute
