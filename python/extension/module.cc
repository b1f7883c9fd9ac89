#include "extension/module.h"

#include <exception>
#include <filesystem>
#include <string_view>

#include "scute/base/error.h"

namespace scute::python {
namespace {

namespace nb = nanobind;

/// Text of the library, which may hold the bytes of any file name.
void set_error(PyObject* type, std::string_view text) {
  const nb::object words = nb::steal(
      PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "backslashreplace"));
  PyErr_SetObject(type, words.ptr());
}

void translate(const std::exception_ptr& thrown, void* error_type) {
  try {
    std::rethrow_exception(thrown);
  } catch (const Error& error) {
    set_error(static_cast<PyObject*>(error_type), error.what());
  } catch (const std::filesystem::filesystem_error& error) {
    set_error(PyExc_OSError, error.what());
  }
}

}  // namespace
}  // namespace scute::python

NB_MODULE(_core, module) {
  namespace nb = nanobind;
  using namespace scute::python;
  // What a user's variables hold at the end of a program is none of nanobind's leaks.
  nb::set_leak_warnings(false);
  module.doc() = "The library of scute: what the package's modules are made of.";
  const nb::object error = nb::steal(PyErr_NewExceptionWithDoc(
      "scute.Error",
      "What a caller can get wrong: a bad file, an unknown name, an impossible option.\n\n"
      "The text is the library's: WHERE: expected …, found ….",
      PyExc_ValueError, nullptr));
  module.attr("Error") = error;
  // The module keeps it alive as long as the process.
  nb::register_exception_translator(translate, error.inc_ref().ptr());
  module.attr("__version__") = SCUTE_VERSION;
  bind_histogram(module);
  bind_statistics(module);
  bind_tail_rule(module);
  bind_decide(module);
  bind_weights(module);
  bind_mixer_kernels(module);
  bind_verb(module);
  bind_generation(module);
  bind_language(module);
  bind_vision(module);
  bind_record(module);
  bind_command_line(module);
}
