// Any bytes as a statistics file: refused with an Error, or a set that survives being written and
// read again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "scute/base/error.h"
#include "scute/io/safetensors.h"
#include "scute/observe/distribution.h"
#include "scute/observe/statistics_file.h"

namespace scute::fuzz_statistics {
namespace {

std::vector<scute::NamedTensor> tensors_of(const scute::SafetensorsHeader& header,
                                           std::span<const std::byte> bytes) {
  std::vector<scute::NamedTensor> out;
  for (const auto& entry : header.entries) {
    const auto part = bytes.subspan(static_cast<size_t>(entry.begin),
                                    static_cast<size_t>(entry.end - entry.begin));
    out.push_back({entry.name, scute::Tensor::of_bytes(entry.dtype, entry.shape, part)});
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  scute::StatisticsSet set;
  try {
    const auto header = scute::parse_safetensors(bytes, static_cast<int64_t>(size), "fuzz");
    set = scute::from_tensors(tensors_of(header, bytes), header.metadata, "fuzz");
  } catch (const scute::Error&) {
    return 0;
  }
  // What scute wrote it must read, so an Error from here on ends the program.
  const auto again = scute::from_tensors(scute::to_tensors(set), scute::to_metadata(set), "fuzz");
  if (again.sites != set.sites) std::abort();
  for (const auto& [site, statistic] : set.sites) {
    const auto finite = statistic.count - statistic.nans - statistic.infs;
    if (finite == 0) continue;
    const scute::Distribution distribution(statistic);
    if (distribution.quantile(0) > distribution.quantile(1)) std::abort();
  }
  return 0;
}

}  // namespace scute::fuzz_statistics
