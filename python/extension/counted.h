// Statistics of what was counted elsewhere, on another device say.
#pragma once

#include <nanobind/nanobind.h>

#include "scute/observe/statistic.h"

namespace scute::python {

/// `out` has all but the counts and the extremes; ids and counts are arrays of integers, ids in any
/// order. What they say together is checked as a file is; Error when it is contradictory.
Statistic counted(nanobind::handle ids, nanobind::handle counts, double min, double max,
                  Statistic out);

}  // namespace scute::python
