// Any bytes as a plan: refused with an Error, or a plan that survives being written and read again.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "scute/base/error.h"
#include "scute/decide/plan.h"
#include "tests/fuzz/bounds.h"

namespace scute::fuzz_plan {

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const scute::fuzz::MemoryBound bound(size);
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::optional<scute::Plan> plan;
  try {
    plan = scute::Plan::from_json(scute::Json::parse(text, "fuzz"), "fuzz");
  } catch (const scute::Error&) {
    return 0;
  }
  for (const auto& [site, decision] : plan->sites) {
    const bool sensible = std::isfinite(decision.lo) && std::isfinite(decision.hi) &&
                          decision.lo <= decision.hi && decision.grid.bits >= 2 &&
                          decision.grid.bits <= 16;
    if (!sensible) std::abort();
  }
  // What scute wrote it must read, so an Error from here on ends the program.
  const scute::Json written = plan->to_json();
  const scute::Plan again = scute::Plan::from_json(written, "fuzz");
  if (again.to_json().dump() != written.dump()) std::abort();
  return 0;
}

}  // namespace scute::fuzz_plan
