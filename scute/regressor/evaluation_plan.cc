// What flags, checkpoint and defaults say together.
#include <fmt/format.h>

#include <algorithm>

#include "scute/base/error.h"
#include "scute/regressor/evaluation.h"
#include "scute/regressor/quantize.h"

namespace scute {
namespace {

using Mode = RegressorQuantization::Mode;

}  // namespace

RegressorPlan plan_regressor(const RegressorCheckpoint& checkpoint, const RegressorFlags& flags) {
  RegressorPlan out;
  const bool has_scales = !checkpoint.scales.empty() || checkpoint.formats;
  out.how = checkpoint.quantization;
  if (!has_scales) {
    out.how = {};
    out.how.backend = RegressorBackend::integer;
    out.how.bits = checkpoint.quantization.bits;
    out.how.all = !flags.layers();
  } else if (!checkpoint.formats) {
    // Files written in either style say what they hold; `arch` may say otherwise.
    if (out.how.backend != RegressorBackend::integer) {
      out.how.backend = checkpoint.scales.front().backend;
    }
  }
  out.stored = has_scales && !flags.calibrates();
  if (flags.backend) out.how.backend = *flags.backend;
  if (out.stored) return out;

  out.how.mode =
      flags.mode.value_or(has_scales ? out.how.mode.value_or(Mode::dynamic) : Mode::dynamic);
  if (flags.bits) out.how.bits = *flags.bits;
  // Stored mode "fixed" at 8 bits has no formula any more (README.md): measure.
  if (!flags.mode && out.how.mode == Mode::fixed && out.how.bits == 8) out.how.mode = Mode::dynamic;
  if (out.how.mode == Mode::fixed) {
    if (flags.bits == 8) {
      out.remarks.push_back("fixed88 is Q8.8: 16 bits are used, not the 8 asked for");
    }
    out.how.bits = 16;
    if (flags.method || flags.headroom || flags.batches || flags.role) {
      out.remarks.push_back("fixed88 measures nothing: the calibration flags change nothing");
    }
  }
  if (flags.layers()) {
    out.how.all = flags.all;
    out.how.proj = flags.proj;
    out.how.head = flags.head;
    out.how.block_linear = flags.block_linear;
    out.how.backbone_linear = flags.backbone_linear;
  } else if (rounded_layers(checkpoint.config, out.how).empty()) {
    out.how.all = true;
  }
  if (rounded_layers(checkpoint.config, out.how).empty()) {
    fail(checkpoint.path, "flags that choose at least one layer of this model", "none");
  }
  out.ranges.method = flags.method.value_or(RegressorMethod::maxabs);
  out.ranges.headroom = flags.headroom.value_or(out.ranges.headroom);
  out.batches = flags.batches.value_or(out.batches);
  out.role = flags.role.value_or(out.role);
  return out;
}

std::string describe(const RegressorPlan& plan) {
  if (plan.stored) return describe_stored(plan.how);
  return describe(plan.how,
                  fmt::format("{} x {}", name_of(plan.ranges.method), plan.ranges.headroom));
}

}  // namespace scute
