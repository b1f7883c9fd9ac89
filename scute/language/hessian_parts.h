// Hessians measured by several processes, each its share of the sums.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "scute/base/shard.h"
#include "scute/language/hessians.h"

namespace scute {

/// Adding is not associative in floating point: what is dealt out are the sums that windows go to
/// in turn (kHessianSums), which every number of processes adds in the same order. So more
/// processes than sums have nothing to do.
struct HessianPart {
  Shard shard;
  std::map<int64_t, SiteGrams> sums;  ///< by number
  Json meta;                          ///< of the whole, as Hessians::meta
};

/// Error when there are more parts than sums.
HessianPart measure_hessian_part(const ModelDescription& model, const CalibrationOptions& options,
                                 const HessianRun& run, const Shard& shard);
/// .safetensors: sum_tensors(), sealed (sealed_tensors.h), metadata "format" scute-hessian-part.
/// Atomic.
void write_hessian_part(const std::string& path, const HessianPart& part);

/// Whether this part is in its file already. Error when the file is of another measurement or
/// another part, or the folder has parts of another number.
bool has_hessian_part(const std::string& folder, const Shard& shard, const Json& meta);

/// Whether the parts in a folder are of Hessians; false when there are none.
bool holds_hessian_parts(const std::string& folder);
/// The sum of all parts of a folder: the bytes of one process. Error naming what is missing, broken
/// or of another measurement.
Hessians merge_hessian_parts(const std::string& folder);

}  // namespace scute
