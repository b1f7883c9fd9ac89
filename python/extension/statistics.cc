// The map from sites to statistics that the package's Statistics wraps.
#include <fmt/format.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <chrono>

#include "extension/json.h"
#include "extension/module.h"
#include "extension/state.h"
#include "extension/values.h"
#include "scute/base/error.h"
#include "scute/observe/recorder.h"
#include "scute/recipe/part.h"
#include "scute/recipe/statistics_io.h"

namespace scute::python {
namespace {

namespace nb = nanobind;

void update(SiteStatistics& statistics, const std::string& site, nb::handle x) {
  const FloatArray values(x, site.c_str());
  if (values.size() == 0) return;
  Vectors vectors = vectors_of(site);
  const bool fresh = statistics.find(site) == nullptr;
  const auto statistic = statistics.at(site);
  // Also of what was loaded or merged: its channels would be those of before, unnoticed.
  vectors.absmax |= statistic->per_channel();
  try {
    statistic->update(values, site, vectors);
  } catch (...) {
    if (fresh && statistic->copy().count == 0) statistics.remove(site);
    throw;
  }
}

/// Sites of either that the other lacks are there, empty.
void fill_up(StatisticsSet& set, const StatisticsSet& other) {
  for (const auto& [site, statistic] : other.sites) set.sites.try_emplace(site, set.fine);
}

/// Of the two, the sum. `sites`: they may have different ones.
void add(StatisticsSet& merged, StatisticsSet other, bool repeats, bool sites) {
  if (merged.fine != other.fine) {
    fail("merge", fmt::format("fine {} in both", merged.fine), std::to_string(other.fine));
  }
  if (merged.sites.empty() && merged.meta.is_null()) {
    merged = std::move(other);
  } else if (!other.sites.empty() || !other.meta.is_null()) {
    for (const StatisticsSet* const set : {&merged, &other}) refuse_part(*set, "merge");
    if (sites) {
      fill_up(merged, other);
      fill_up(other, merged);
    }
    merge(merged, other, repeats ? Repeats::allow : Repeats::refuse);
  }
}

void merge_sets(SiteStatistics& into, const SiteStatistics& from, bool repeats, bool sites) {
  StatisticsSet merged = into.copy(), other = from.copy();
  {
    const nb::gil_scoped_release released;
    add(merged, std::move(other), repeats, sites);
  }
  into.replace(std::move(merged));
}

bool equal(const SiteStatistics& a, const SiteStatistics& b) {
  const StatisticsSet mine = a.copy(), other = b.copy();
  return mine.fine == other.fine && mine.meta == other.meta && mine.sites == other.sites;
}

std::vector<std::string> names(const SiteStatistics& statistics) {
  std::vector<std::string> out;
  for (const auto& [site, statistic] : statistics.sites()) out.push_back(site);
  return out;
}

void bind_sites(nb::class_<SiteStatistics>& type) {
  type.def(nb::init<int, bool>(), nb::arg("fine") = 8, nb::arg("per_channel") = false);
  type.def_prop_ro("fine", &SiteStatistics::fine);
  type.def_prop_ro("per_channel", &SiteStatistics::per_channel);
  type.def("names", &names, "Sites in ascending order of their bytes.");
  type.def("find", &SiteStatistics::find, nb::arg("site"),
           nb::sig("def find(self, site: str) -> Statistic | None"));
  type.def(
      "set",
      [](SiteStatistics& s, const std::string& site, const StatisticValue& value) {
        s.set(site, value.copy());
      },
      nb::arg("site"), nb::arg("statistic"));
  type.def("remove", &SiteStatistics::remove, nb::arg("site"), "Whether it was there.");
  type.def("update", &update, nb::arg("site"), nb::arg("x").none(),
           nb::sig("def update(self, site: str, x: numpy.typing.ArrayLike) -> None"));
}

/// What the library's own recorder takes for an array of float32 in order, again and again: what
/// update() is measured against.
double recorder_seconds(nb::handle x, int repeats) {
  const FloatArray values(x, "recorder");
  const auto view = values.view();
  if (!view) fail("recorder", "float32 in order", "another array");
  const nb::gil_scoped_release released;
  const Site site{.name = "x", .shape = {view->cols}};
  Recorder recorder({site});
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  for (int i = 0; i < repeats; ++i) recorder.see(site, *view);
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

void bind_statistics(nb::module_& module) {
  module.def("recorder_seconds", &recorder_seconds, nb::arg("x").none(), nb::arg("repeats"));
  nb::class_<SiteStatistics> type(module, "StatisticsSet", "Sites and their statistics.");
  bind_sites(type);
  type.def_prop_rw(
      "meta", [](const SiteStatistics& s) { return to_python(s.meta); },
      [](SiteStatistics& s, nb::handle value) { s.meta = to_json(value, "meta"); },
      nb::arg("value").none(), nb::for_getter(nb::sig("def meta(self) -> dict | None")),
      nb::for_setter(nb::sig("def meta(self, value: dict | None, /) -> None")));
  type.def("merge", &merge_sets, nb::arg("other"), nb::arg("repeats"), nb::arg("missing"));
  type.def("equals", &equal, nb::arg("other"));
  type.def("copy", [](const SiteStatistics& s) {
    auto copy = std::make_unique<SiteStatistics>(s.fine(), s.per_channel());
    copy->replace(s.copy());
    return copy.release();
  });
  type.def(
      "save",
      [](const SiteStatistics& s, const std::string& path) {
        const StatisticsSet set = s.copy();
        const nb::gil_scoped_release released;
        write_statistics(path, set);
      },
      nb::arg("path"));
  type.def_static(
      "load", [](const std::string& path) { return new SiteStatistics(read_statistics(path)); },
      nb::arg("path"), nb::call_guard<nb::gil_scoped_release>());
  type.def("__getstate__", [](const SiteStatistics& s) {
    return nb::make_tuple(s.per_channel(), state_of(s.copy()));
  });
  type.def(
      "__setstate__",
      [](SiteStatistics& s, const nb::tuple& state) {
        if (state.size() != 2) fail("pickle", "the state of statistics", "another one");
        StatisticsSet set = set_of(state[1]);
        new (&s) SiteStatistics(set.fine, nb::cast<bool>(state[0]));
        s.replace(std::move(set));
      },
      nb::arg("state"));
}

}  // namespace scute::python
