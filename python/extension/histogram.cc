// Histogram and Statistic.
#include <fmt/format.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <bit>
#include <cmath>
#include <limits>

#include "extension/counted.h"
#include "extension/module.h"
#include "extension/state.h"
#include "extension/values.h"
#include "scute/base/error.h"

namespace scute::python {
namespace {

namespace nb = nanobind;
using Distribution = scute::Distribution;

constexpr const char* kUpdate = "update";

/// One number for one number, an array of the same shape for an array.
template <class Answer>
nb::object each(nb::handle given, const char* where, const Answer& answer) {
  if (nb::isinstance<nb::float_>(given)) return nb::float_(answer(nb::cast<double>(given)));
  const nb::object array = nb::module_::import_("numpy").attr("asarray")(
      numbers(given, where), nb::arg("dtype") = "float64", nb::arg("order") = "C");
  if (nb::isinstance<nb::int_>(given)) {
    return nb::float_(answer(nb::cast<double>(array.attr("item")())));
  }
  const auto in = nb::cast<nb::ndarray<const double, nb::c_contig>>(array);
  std::vector<double> out(in.size());
  for (size_t i = 0; i < out.size(); ++i) out[i] = answer(in.data()[i]);
  std::vector<size_t> shape;
  for (size_t i = 0; i < in.ndim(); ++i) shape.push_back(in.shape(i));
  return to_numpy(std::move(out), std::move(shape));
}

/// Where a bucket's magnitudes begin.
double edge(uint32_t magnitude, int fine) {
  const uint32_t bits = magnitude << (23 - fine);
  constexpr uint32_t kInfinity = 0x7f800000;
  if (bits == kInfinity) return 0x1p128;
  return static_cast<double>(std::bit_cast<float>(bits));
}

/// edges, ascending, and counts between them; what lies between two used buckets is one empty one.
nb::tuple edges_and_counts(const Histogram& histogram) {
  const int fine = histogram.fine();
  const uint32_t sign = uint32_t{1} << (8 + fine);
  const uint32_t infinity = uint32_t{255} << fine;
  std::vector<double> edges;
  std::vector<int64_t> counts;
  for (const auto& [id, count] : histogram.ascending()) {
    const uint32_t m = id & (sign - 1);
    if (m >= infinity) continue;
    double low = edge(m, fine), high = edge(m + 1, fine);
    if ((id & sign) != 0) {
      std::swap(low, high);
      low = -low;
      high = -high + 0.0;
    }
    if (edges.empty()) {
      edges.push_back(low);
    } else if (edges.back() != low) {
      edges.push_back(low);
      counts.push_back(0);
    }
    edges.push_back(high);
    counts.push_back(static_cast<int64_t>(count));
  }
  return nb::make_tuple(to_numpy(std::move(edges)), to_numpy(std::move(counts)));
}

nb::tuple buckets(const Histogram& histogram) {
  std::vector<int32_t> ids;
  std::vector<int64_t> counts;
  for (const auto& [id, count] : histogram.by_id()) {
    ids.push_back(static_cast<int32_t>(id));
    counts.push_back(static_cast<int64_t>(count));
  }
  return nb::make_tuple(to_numpy(std::move(ids)), to_numpy(std::move(counts)));
}

double finite_or_nan(const Statistic& statistic, float value) {
  return statistic.finite() == 0 ? std::numeric_limits<double>::quiet_NaN()
                                 : static_cast<double>(value);
}

/// Of histograms: how many arrays the values came in does not matter.
bool equal(const HistogramValue& a, const HistogramValue& b) {
  Statistic mine = a.copy(), other = b.copy();
  mine.samples = other.samples = 0;
  return mine == other;
}

bool equal(const StatisticValue& a, const StatisticValue& b) { return a.copy() == b.copy(); }

template <class Value>
void merge_into(Value& into, const Value& other) {
  const Statistic copy = other.copy();
  into.merge(copy);
}

template <class Value>
void bind_counts(nb::class_<Value>& type) {
  const auto number = [&type](const char* name, auto read, const char* doc) {
    type.def_prop_ro(
        name, [read](const Value& h) { return h.read(read); }, doc);
  };
  number(
      "fine", [](const Statistic& s) { return s.histogram.fine(); },
      "Mantissa bits kept: values read back are within a factor 1 ± 2**-(fine + 1).");
  number(
      "total", [](const Statistic& s) { return s.histogram.total(); },
      "All values counted, NaN and Inf included: the same as count.");
  number(
      "count", [](const Statistic& s) { return s.count; },
      "All values counted, NaN and Inf included.");
  number(
      "zeros", [](const Statistic& s) { return s.zeros; }, "Values that are +0 or -0.");
  number(
      "nans", [](const Statistic& s) { return s.nans; }, "Values that are NaN.");
  number(
      "infs", [](const Statistic& s) { return s.infs; }, "Values that are +Inf or -Inf.");
  number(
      "min", [](const Statistic& s) { return finite_or_nan(s, s.min); },
      "The smallest finite value, exactly; NaN when there is none.");
  number(
      "max", [](const Statistic& s) { return finite_or_nan(s, s.max); },
      "The largest finite value, exactly; NaN when there is none.");
  number(
      "samples", [](const Statistic& s) { return s.samples; },
      "How many arrays were counted: calls of update with at least one value.");
  number(
      "bits_or", [](const Statistic& s) { return s.bits_or; },
      "All bit patterns or'ed (as float32).");
  number(
      "exact", [](const Statistic& s) { return s.exact(); },
      "Whether every value is the edge of its bucket, so that quantiles are exact.");
}

template <class Value>
void bind_questions(nb::class_<Value>& type) {
  type.def(
      "quantile",
      [](const Value& h, nb::handle q) {
        const auto distribution = h.distribution();
        return each(q, "quantile", [&](double share) { return distribution->quantile(share); });
      },
      nb::arg("q").none(),
      nb::sig("def quantile(self, q: float | numpy.typing.ArrayLike) -> float | "
              "numpy.typing.NDArray[numpy.float64]"),
      "The smallest value with at least a share q of the finite values at or below it (NumPy's\n"
      "method \"inverted_cdf\"); an array for an array. q in [0, 1]. The rank is exact, the value\n"
      "within a factor 1 ± 2**-(fine + 1), or exact where `exact` is. Error when nothing finite "
      "was\n"
      "counted.");
  type.def(
      "magnitude_quantile",
      [](const Value& h, nb::handle q) {
        const auto distribution = h.distribution();
        return each(q, "magnitude_quantile",
                    [&](double share) { return distribution->magnitude_quantile(share); });
      },
      nb::arg("q").none(),
      nb::sig("def magnitude_quantile(self, q: float | numpy.typing.ArrayLike) -> float | "
              "numpy.typing.NDArray[numpy.float64]"),
      "The same of the magnitudes abs(x).");
  type.def(
      "cdf",
      [](const Value& h, nb::handle x) {
        const auto distribution = h.distribution();
        return each(x, "cdf", [&](double value) {
          return std::isnan(value) ? value : distribution->cdf(value);
        });
      },
      nb::arg("x").none(),
      nb::sig("def cdf(self, x: float | numpy.typing.ArrayLike) -> float | "
              "numpy.typing.NDArray[numpy.float64]"),
      "The share of the finite values at or below x, in [0, 1]; a bucket counts where its middle\n"
      "lies. An array for an array; NaN for NaN.");
  type.def(
      "to_numpy",
      [](const Value& h) {
        return h.read([](const Statistic& s) { return edges_and_counts(s.histogram); });
      },
      nb::sig("def to_numpy(self) -> tuple[numpy.typing.NDArray[numpy.float64], "
              "numpy.typing.NDArray[numpy.int64]]"),
      "(edges, counts): float64 of n + 1 ascending edges and int64 of n counts, as "
      "numpy.histogram\n"
      "gives them. Used buckets have their own edges, gaps between them are one empty bucket. NaN\n"
      "and Inf are left out. A bucket holds its edge next to zero: from 0 up [low, high) as\n"
      "numpy.histogram's, below 0 (low, high], where numpy.histogram(x, edges) counts a value\n"
      "that is such an edge one further right.");
  type.def(
      "buckets",
      [](const Value& h) {
        return h.read([](const Statistic& s) { return buckets(s.histogram); });
      },
      nb::sig("def buckets(self) -> tuple[numpy.typing.NDArray[numpy.int32], "
              "numpy.typing.NDArray[numpy.int64]]"),
      "(ids, counts) of all buckets that are not empty, NaN's too, ids ascending: an id is the "
      "top\n"
      "9 + fine bits of the values as float32.");
}

template <class Value>
std::string shown(const char* name, const Value& value) {
  return value.read([name](const Statistic& s) {
    const auto kept = fmt::format("{}(fine={}, {} values", name, s.histogram.fine(), s.count);
    return s.finite() == 0 ? kept + ")" : fmt::format("{}, {:.6g} .. {:.6g})", kept, s.min, s.max);
  });
}

/// What makes a value of it: merging, comparing, copies, pickle.
template <class Value>
void bind_value(nb::class_<Value>& type, const char* name) {
  type.def("merge", &merge_into<Value>, nb::arg("other"),
           "Adds what another one counted. Error, and nothing merged, when fine or the numbers of\n"
           "channels differ.");
  type.def(
      "copy", [](const Value& h) { return new Value(h); }, "A copy.");
  type.def("__copy__", [](const Value& h) { return new Value(h); });
  type.def(
      "__deepcopy__", [](const Value& h, nb::handle) { return new Value(h); }, nb::arg("memo"));
  type.def(
      "__add__",
      [](const Value& a, const Value& b) {
        auto sum = std::make_unique<Value>(a);
        merge_into(*sum, b);
        return sum.release();
      },
      nb::is_operator());
  type.def(
      "__iadd__",
      [](const nb::object& self, const Value& b) {
        merge_into(nb::cast<Value&>(self), b);
        return self;
      },
      nb::is_operator(),
      nb::sig(fmt::format("def __iadd__(self, arg: {0}, /) -> {0}", name).c_str()));
  type.def(
      "__eq__", [](const Value& a, const Value& b) { return equal(a, b); }, nb::is_operator(),
      nb::sig("def __eq__(self, arg: object, /) -> bool"));
  type.attr("__hash__") = nb::none();
  type.def("__repr__", [name](const Value& h) { return shown(name, h); });
  type.def("__getstate__", [](const Value& h) { return state_of(set_of_one(h.copy())); });
  type.def(
      "__setstate__", [](Value& h, nb::handle state) { new (&h) Value(one_of(set_of(state))); },
      nb::arg("state"));
}

void bind_histogram_type(nb::module_& module) {
  nb::class_<HistogramValue> type(module, "Histogram",
                                  "Exact counts of values by their float32 bits: sign, exponent "
                                  "and the top `fine` bits of the\n"
                                  "mantissa (1 to 16). Merging adds counts, so any order and "
                                  "grouping gives the same histogram;\n"
                                  "two are equal when the same values were counted.");
  type.def(nb::init<int>(), nb::arg("fine") = 8);
  bind_counts(type);
  bind_questions(type);
  bind_value(type, "Histogram");
  type.def(
      "update",
      [](HistogramValue& h, nb::handle x) {
        h.update({x, kUpdate}, kUpdate, {});
      },
      nb::arg("x").none(), nb::sig("def update(self, x: numpy.typing.ArrayLike) -> None"),
      "Counts every element of x: an array of float16, bfloat16, float32 or float64 of any shape\n"
      "and strides, by DLPack or the buffer protocol, in the processor's memory; float64 is "
      "rounded\n"
      "to float32. Without a copy where rows of float32 lie in order. TypeError for anything "
      "else.");
}

void bind_vectors(nb::class_<StatisticValue>& type) {
  const auto vector = [&type](const char* name, std::vector<float> Statistic::*member,
                              const char* doc) {
    type.def_prop_ro(
        name,
        [member](const StatisticValue& value) {
          return to_numpy(value.read([&](const Statistic& s) { return s.*member; }));
        },
        nb::for_getter(nb::sig(
            fmt::format("def {}(self, /) -> numpy.typing.NDArray[numpy.float32]", name).c_str())),
        doc);
  };
  vector("channel_absmax", &Statistic::channel_absmax,
         "max abs(x) of each channel (the last dimension), float32; empty unless per_channel.");
  vector(
      "channel_meanabs", &Statistic::channel_meanabs,
      "The largest over the samples of each channel's mean abs(x), float32; kept where the site's\n"
      "name asks for it (….x_conv_out:input), else empty.");
  vector(
      "element_absmax", &Statistic::element_absmax,
      "max abs(x) of each element of the state, float32; kept where the site's name asks for it\n"
      "(….ssm_state_act:…), else empty.");
}

void bind_statistic_type(nb::module_& module) {
  nb::class_<StatisticValue> type(
      module, "Statistic",
      "What was seen at a site: a Histogram's counts, and with per_channel=True max abs(x) of "
      "each\n"
      "channel, the last dimension. Two are equal when all of it is, the number of samples too.");
  type.def(nb::init<int, bool>(), nb::arg("fine") = 8, nb::arg("per_channel") = false);
  bind_counts(type);
  bind_questions(type);
  bind_value(type, "Statistic");
  bind_vectors(type);
  type.def(
      "update",
      [](StatisticValue& s, nb::handle x) {
        s.update({x, kUpdate}, kUpdate, {.absmax = s.per_channel()});
      },
      nb::arg("x").none(), nb::sig("def update(self, x: numpy.typing.ArrayLike) -> None"),
      "As Histogram.update, as one sample. Error, and nothing counted, when channels are kept and\n"
      "their number changes.");
  type.def_prop_ro("per_channel", &StatisticValue::per_channel,
                   "Whether update keeps channel_absmax.");
  type.def_prop_ro(
      "histogram",
      [](const StatisticValue& value) {
        Statistic counts = value.copy();
        counts.channel_absmax = counts.channel_meanabs = counts.element_absmax = {};
        return new HistogramValue(std::move(counts));
      },
      "A copy of the counts.");
  type.def_static(
      "from_counts",
      [](nb::handle bins, nb::handle counts, int fine, double min, double max, uint64_t zeros,
         uint64_t nans, uint64_t infs, uint32_t bits_or, uint64_t samples,
         std::vector<float> channel_absmax, std::vector<float> channel_meanabs,
         std::vector<float> element_absmax) {
        Statistic out(fine);
        out.zeros = zeros;
        out.nans = nans;
        out.infs = infs;
        out.bits_or = bits_or;
        out.samples = samples;
        out.channel_absmax = std::move(channel_absmax);
        out.channel_meanabs = std::move(channel_meanabs);
        out.element_absmax = std::move(element_absmax);
        return new StatisticValue(counted(bins, counts, min, max, std::move(out)));
      },
      nb::arg("bins"), nb::arg("counts"), nb::kw_only(), nb::arg("fine") = 8, nb::arg("min"),
      nb::arg("max"), nb::arg("zeros") = 0, nb::arg("nans") = 0, nb::arg("infs") = 0,
      nb::arg("bits_or") = 0xffffffffU, nb::arg("samples") = 1,
      nb::arg("channel_absmax") = std::vector<float>{},
      nb::arg("channel_meanabs") = std::vector<float>{},
      nb::arg("element_absmax") = std::vector<float>{},
      "Of what was counted elsewhere, on another device say: ids and counts as `buckets` has them "
      "(ids\n"
      "in any order), and of the same values min and max of the finite ones, the numbers of "
      "zeros,\n"
      "NaN and Inf, all bit patterns or'ed, and the number of arrays. Error when they contradict "
      "each\n"
      "other.");
}

}  // namespace

void bind_histogram(nb::module_& module) {
  bind_histogram_type(module);
  bind_statistic_type(module);
}

}  // namespace scute::python
