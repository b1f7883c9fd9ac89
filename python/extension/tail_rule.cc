// The percentile pipeline's rules, for tables of percentiles that have no counts.
#include "extension/module.h"
#include "scute/decide/policy.h"

namespace scute::python {

namespace nb = nanobind;

void bind_tail_rule(nb::module_& module) {
  module.def(
      "tail_rule",
      [](double p25, double p50, double p75, double p90, double p99, double p99_9, double p99_99,
         double p99_999) {
        const TailChoice choice = tail_rule({p25, p50, p75, p90, p99, p99_9, p99_99, p99_999});
        return nb::make_tuple(choice.percentile, choice.rule);
      },
      nb::arg("p25"), nb::arg("p50"), nb::arg("p75"), nb::arg("p90"), nb::arg("p99"),
      nb::arg("p99_9"), nb::arg("p99_99"), nb::arg("p99_999"),
      nb::sig("def tail_rule(p25: float, p50: float, p75: float, p90: float, p99: float, "
              "p99_9: float, p99_99: float, p99_999: float) -> tuple[float, int]"),
      "(percentile, rule): what the policy \"tail\" picks, 99, 99.9, 99.99 or 99.999, and by which "
      "of its\n"
      "seven rules.");
}

}  // namespace scute::python
