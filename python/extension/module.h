// What each file of the extension adds to the module scute._core.
#pragma once

#include <nanobind/nanobind.h>

namespace scute::python {

void bind_histogram(nanobind::module_& module);
void bind_statistics(nanobind::module_& module);
void bind_command_line(nanobind::module_& module);

}  // namespace scute::python
