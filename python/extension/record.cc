// The experiment log.
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "extension/json.h"
#include "extension/module.h"
#include "scute/experiments/log.h"

namespace scute::python {
namespace {

namespace nb = nanobind;

nb::dict shown(const LogEntry& entry) {
  nb::dict out;
  out["number"] = entry.number;
  out["id"] = to_python(Json(entry.id));
  out["timestamp"] = to_python(Json(entry.timestamp));
  out["command"] = to_python(Json(entry.command));
  out["config"] = to_python(entry.config);
  out["reorder_summary"] = to_python(entry.reorder_summary);
  out["results"] = to_python(entry.results);
  out["hashes"] = to_python(entry.hashes);
  out["files"] = to_python(entry.files);
  return out;
}

ExperimentLog read_released(const std::string& path) {
  const nb::gil_scoped_release released;
  return read_log(path);
}

/// (entries that all terms match, remarks).
nb::tuple read(const std::string& path, const std::vector<std::string>& terms) {
  const ExperimentLog log = read_released(path);
  nb::list entries;
  for (const LogEntry& entry : log.entries) {
    const bool wanted =
        std::ranges::all_of(terms, [&](const std::string& term) { return matches(entry, term); });
    if (wanted) entries.append(shown(entry));
  }
  return nb::make_tuple(entries, log.remarks);
}

nb::object record(const std::string& path, const std::string& which) {
  const ExperimentLog log = read_released(path);
  return to_python(log.find(which).record(path));
}

void append(const std::string& path, nb::handle given) {
  const Json json = to_json(given, "record");
  const nb::gil_scoped_release released;
  check_log(path);
  append_record(path, json);
}

}  // namespace

void bind_record(nb::module_& module) {
  module.def("read_log", &read, nb::arg("path"), nb::arg("terms"),
             nb::sig("def read_log(path: str, terms: list[str]) -> tuple[list[dict], list[str]]"));
  module.def("log_record", &record, nb::arg("path"), nb::arg("which"),
             nb::sig("def log_record(path: str, which: str) -> dict"));
  module.def("append_record", &append, nb::arg("path"), nb::arg("record"),
             nb::sig("def append_record(path: str, record: dict) -> None"));
}

}  // namespace scute::python
