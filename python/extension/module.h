// What each file of the extension adds to the module scute._core.
#pragma once

#include <nanobind/nanobind.h>

namespace scute::python {

void bind_histogram(nanobind::module_& module);
void bind_statistics(nanobind::module_& module);
void bind_tail_rule(nanobind::module_& module);
void bind_decide(nanobind::module_& module);
void bind_weights(nanobind::module_& module);
void bind_mixer_kernels(nanobind::module_& module);
void bind_verb(nanobind::module_& module);
void bind_generation(nanobind::module_& module);
void bind_language(nanobind::module_& module);
void bind_vision(nanobind::module_& module);
void bind_record(nanobind::module_& module);
void bind_command_line(nanobind::module_& module);

}  // namespace scute::python
