// Json as Python's values, and back.
#pragma once

#include <nanobind/nanobind.h>

#include "scute/base/json.h"

namespace scute::python {

/// dict, list, str, int, float, bool or None.
nanobind::object to_python(const Json& json);
/// The same types and what NumPy has of them. TypeError for anything else, `where` begins its text;
/// a dict's keys must be str.
Json to_json(nanobind::handle value, const char* where);

}  // namespace scute::python
