// Statistics as values that pickle keeps.
#pragma once

#include <nanobind/nanobind.h>

#include "scute/observe/statistics_file.h"

namespace scute::python {

/// (metadata: dict[str, str], tensors: list of (name, shape, type, bytes)), as a statistics file
/// has them.
nanobind::tuple state_of(const StatisticsSet& set);
/// The inverse; everything is checked as a file is. Error on anything else.
StatisticsSet set_of(nanobind::handle state);

/// One statistic as such a set, and back.
StatisticsSet set_of_one(Statistic statistic);
Statistic one_of(StatisticsSet set);

}  // namespace scute::python
