#include "extension/json.h"

#include <fmt/format.h>
#include <nanobind/stl/string.h>

#include <string>

namespace scute::python {
namespace {

namespace nb = nanobind;

constexpr int kDeepest = 128;  // as Json::parse

std::string utf8(nb::handle text, const char* where) {
  Py_ssize_t size = 0;
  const char* bytes = PyUnicode_AsUTF8AndSize(text.ptr(), &size);
  if (bytes == nullptr) {
    PyErr_Clear();
    throw nb::value_error(fmt::format("{}: expected text that is valid Unicode", where).c_str());
  }
  return {bytes, static_cast<size_t>(size)};
}

Json read_json(nb::handle value, const char* where, int depth);

Json dict_of(nb::handle value, const char* where, int depth) {
  Json out = Json::object();
  for (const auto& [key, item] : nb::borrow<nb::dict>(value)) {
    if (!nb::isinstance<nb::str>(key)) {
      throw nb::type_error(fmt::format("{}: expected keys that are str", where).c_str());
    }
    out.append_member(utf8(key, where), read_json(item, where, depth + 1));
  }
  return out;
}

Json read_json(nb::handle value, const char* where, int depth) {
  if (depth > kDeepest) {
    throw nb::value_error(
        fmt::format("{}: expected values nested at most {} deep", where, kDeepest).c_str());
  }
  if (value.is_none()) return {};
  if (nb::isinstance<nb::bool_>(value)) return nb::cast<bool>(value);
  if (nb::isinstance<nb::str>(value)) return utf8(value, where);
  if (nb::isinstance<nb::dict>(value)) return dict_of(value, where, depth);
  if (nb::isinstance<nb::list>(value) || nb::isinstance<nb::tuple>(value)) {
    Json out = Json::array();
    for (const nb::handle item : value) out.push_back(read_json(item, where, depth + 1));
    return out;
  }
  int64_t whole = 0;
  if (PyIndex_Check(value.ptr()) != 0 && nb::try_cast(nb::int_(value), whole)) return whole;
  if (nb::isinstance<nb::float_>(value) || nb::hasattr(value, "__float__")) {
    return nb::cast<double>(nb::float_(value));
  }
  throw nb::type_error(
      fmt::format("{}: expected dict, list, str, int, float, bool or None, found {}", where,
                  nb::cast<std::string>(nb::inst_name(value)))
          .c_str());
}

}  // namespace

nb::object to_python(const Json& json) {
  constexpr const char* kWhere = "json";
  if (json.is_null()) return nb::none();
  if (json.is_bool()) return nb::bool_(json.as_bool(kWhere));
  if (json.is_int()) return nb::int_(json.as_int(kWhere));
  if (json.is_number()) return nb::float_(json.as_double(kWhere));
  if (json.is_string()) {
    const std::string& text = json.as_string(kWhere);
    return nb::steal(PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()),
                                          "backslashreplace"));
  }
  if (json.is_array()) {
    nb::list out;
    for (const Json& item : json.as_array(kWhere)) out.append(to_python(item));
    return out;
  }
  nb::dict out;
  for (const auto& [key, item] : json.as_object(kWhere)) {
    out[to_python(Json(key))] = to_python(item);
  }
  return out;
}

Json to_json(nb::handle value, const char* where) { return read_json(value, where, 0); }

}  // namespace scute::python
