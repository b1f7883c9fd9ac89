#include "extension/counted.h"

#include <fmt/format.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

#include <limits>
#include <string>

#include "extension/arrays.h"
#include "extension/state.h"
#include "scute/base/error.h"

namespace scute::python {
namespace {

namespace nb = nanobind;

using Integers = nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig>;

Integers integers(nb::handle values) {
  const nb::module_ numpy = nb::module_::import_("numpy");
  const nb::object given = numbers(values, "counts");
  const bool whole = nb::cast<std::string>(given.attr("dtype").attr("kind")) != "f" ||
                     nb::cast<int64_t>(given.attr("size")) == 0;
  const nb::object array = numpy.attr("ascontiguousarray")(given, nb::arg("dtype") = "int64");
  Integers out;
  if (!whole || !nb::try_cast(array, out, false)) {
    fail("counts", "lists of integers", "other arrays");
  }
  return out;
}

Histogram histogram_of(const Integers& ids, const Integers& counts, int fine) {
  if (ids.shape(0) != counts.shape(0)) {
    fail("counts", fmt::format("{}, as many as bins", ids.shape(0)),
         std::to_string(counts.shape(0)));
  }
  Histogram out(fine);
  for (size_t i = 0; i < ids.shape(0); ++i) {
    const int64_t id = ids.data()[i], count = counts.data()[i];
    if (id < 0 || id > std::numeric_limits<int32_t>::max() || count < 0) {
      fail("counts", "ids and counts that are not negative",
           fmt::format("{} values of bucket {}", count, id));
    }
    out.add(static_cast<uint32_t>(id), static_cast<uint64_t>(count));
  }
  return out;
}

}  // namespace

Statistic counted(nb::handle ids, nb::handle counts, double min, double max, Statistic out) {
  out.histogram = histogram_of(integers(ids), integers(counts), out.histogram.fine());
  out.count = out.histogram.total();
  if (out.nans + out.infs <= out.count && out.finite() > 0) {
    out.min = static_cast<float>(min) + 0.0f;
    out.max = static_cast<float>(max) + 0.0f;
  }
  const StatisticsSet set = set_of_one(std::move(out));
  return one_of(from_tensors(to_tensors(set), to_metadata(set), "counts"));
}

}  // namespace scute::python
