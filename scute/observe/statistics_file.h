// A set of statistics as named tensors and metadata, and back; where they come from does not
// matter.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "scute/base/json.h"
#include "scute/observe/statistic.h"
#include "scute/tensor/tensor.h"

namespace scute {

/// The statistics of many sites, and where they come from.
struct StatisticsSet {
  int fine = 8;
  std::map<std::string, Statistic> sites;
  Json meta;  ///< provenance; may be null
};

/// Per site, in the order of the map: NAME/bins I32 ascending bucket ids, NAME/counts I64, and
/// where the site has them NAME/channel_absmax, NAME/channel_meanabs, NAME/element_absmax F32.
std::vector<NamedTensor> to_tensors(const StatisticsSet& set);

/// "format" = "scute-statistics", "version" = "1", "fine", "sites" = JSON {site: {count, min, max,
/// zeros, nans, infs, bits_or, samples}}, "meta" = JSON.
std::map<std::string, std::string> to_metadata(const StatisticsSet& set);

/// The inverse. Everything is checked: ids in range and strictly ascending, counts positive and
/// adding up, zeros, NaN, Inf, extremes and bit patterns in agreement with the buckets, nothing
/// missing, nothing left over. Error "WHERE: SITE/KEY: expected …, found …". Metadata keys that are
/// not ours are ignored.
StatisticsSet from_tensors(std::vector<NamedTensor> tensors,
                           std::map<std::string, std::string> metadata, std::string_view where);

/// Signed percentiles under the keys that .pt files of this field use: p0.001 p0.01 p0.1 p1.0 p10.0
/// p25.0 p50.0 p75.0 p90.0 p99.0 p99.9 p99.99 p99.999 (inverted cdf). Empty when nothing finite was
/// seen.
std::vector<std::pair<std::string, double>> percentile_table(const Statistic& statistic);

/// What merge() does when both sets saw the same data.
enum class Repeats { refuse, allow };

/// Adds `other`; merging in any order and grouping gives the same bytes. Error, and nothing merged,
/// naming what differs: fine, the list of sites (…:steps may be missing in one: short windows show
/// none), or the meta members model_sha256, tokenizer_sha256, normalization_sha256, seqlen,
/// state_every, compute, observer. Also when both saw the same data (Repeats::refuse): a common
/// windows_sha256, equal members of data, or two members of data with equal "files" and a common
/// element in "windows".
///
/// The merged meta, keys sorted: members equal in all parts as they are; samples and tokens added;
/// data the members of both sorted by their text; windows_sha256 a sorted array; parts the metas of
/// all sets that were merged, sorted by their text. Others are found in parts only.
void merge(StatisticsSet& into, const StatisticsSet& other, Repeats repeats = Repeats::refuse);

}  // namespace scute
