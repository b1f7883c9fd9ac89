#include "extension/state.h"

#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <tuple>

#include "scute/base/checked.h"
#include "scute/base/error.h"

namespace scute::python {
namespace {

namespace nb = nanobind;

constexpr const char* kWhere = "pickle";
constexpr const char* kOne = "statistic";

using Metadata = std::map<std::string, std::string>;
using TensorState = std::tuple<std::string, std::vector<int64_t>, std::string, nb::bytes>;

DType dtype_named(const std::string& name) {
  for (const DType type : {DType::f32, DType::i32, DType::i64}) {
    if (name_of(type) == name) return type;
  }
  fail(kWhere, "F32, I32 or I64", name);
}

NamedTensor tensor_of(const TensorState& state) {
  const auto& [name, shape, type, bytes] = state;
  const DType dtype = dtype_named(type);
  const int64_t size = checked_mul(element_count(shape, name), size_of(dtype), name);
  if (static_cast<uint64_t>(size) != bytes.size()) {
    fail(name, std::to_string(size) + " bytes", std::to_string(bytes.size()));
  }
  return {name, Tensor::of_bytes(dtype, shape,
                                 {static_cast<const std::byte*>(bytes.data()), bytes.size()})};
}

}  // namespace

nb::tuple state_of(const StatisticsSet& set) {
  std::vector<TensorState> tensors;
  for (const NamedTensor& named : to_tensors(set)) {
    const auto bytes = named.tensor.bytes();
    tensors.emplace_back(named.name, named.tensor.shape(), name_of(named.tensor.dtype()),
                         nb::bytes(bytes.data(), bytes.size()));
  }
  return nb::make_tuple(to_metadata(set), tensors);
}

StatisticsSet set_of(nb::handle state) {
  std::tuple<Metadata, std::vector<TensorState>> parts;
  if (!nb::try_cast(state, parts)) {
    fail(kWhere, "the state of statistics", nb::cast<std::string>(nb::inst_name(state)));
  }
  std::vector<NamedTensor> tensors;
  for (const TensorState& tensor : std::get<1>(parts)) tensors.push_back(tensor_of(tensor));
  return from_tensors(std::move(tensors), std::get<0>(parts), kWhere);
}

StatisticsSet set_of_one(Statistic statistic) {
  StatisticsSet out;
  out.fine = statistic.histogram.fine();
  out.sites.emplace(kOne, std::move(statistic));
  return out;
}

Statistic one_of(StatisticsSet set) {
  const auto found = set.sites.find(kOne);
  if (found == set.sites.end()) fail(kWhere, "the state of one statistic", "of others");
  return std::move(found->second);
}

}  // namespace scute::python
