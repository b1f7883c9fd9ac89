// Reading back what only scute writes into a regressor's checkpoint.
#include <fmt/format.h>

#include <cmath>

#include "scute/base/error.h"
#include "scute/models/regressor/integer_regressor.h"
#include "scute/regressor/writer.h"

namespace scute {
namespace {

using Dict = TorchValue::Dict;

/// Values of the key `scute`; errors name the file and the place.
class StoredPart {
 public:
  StoredPart(const TorchValue& value, std::string where)
      : value_(value), where_(std::move(where)) {}

  StoredPart at(std::string_view key) const {
    const TorchValue* found = value_.find(key);
    if (found == nullptr) fail(where_, fmt::format("the key \"{}\"", key), "none");
    return {*found, fmt::format("{}.{}", where_, key)};
  }
  bool has(std::string_view key) const { return value_.find(key) != nullptr; }
  template <class T>
  const T& get(std::string_view expected) const {
    const auto* value = std::get_if<T>(&value_.value);
    if (value == nullptr) fail(where_, expected, "another value");
    return *value;
  }
  /// A scale: positive, and within floats.
  float scale() const {
    const double value = get<double>("a number");
    const auto out = static_cast<float>(value);
    if (!(out > 0) || !std::isfinite(out))
      fail(where_, "a scale above 0", fmt::format("{}", value));
    return out;
  }
  const std::string& where() const { return where_; }

 private:
  const TorchValue& value_;
  std::string where_;
};

RegressorFormats::Layer read_layer(const StoredPart& part) {
  const int64_t bits = part.at("bits").get<int64_t>("an integer");
  if (bits != 8 && bits != 16) fail(part.where(), "8 or 16 bits", fmt::format("{}", bits));
  const StoredPart weight = part.at("weight");
  const Tensor& scales = weight.get<Tensor>("a tensor");
  if (scales.dtype() != DType::f32 || scales.rank() != 1) {
    fail(weight.where(), "scales, a row of F32",
         fmt::format("{} {}", name_of(scales.dtype()), to_string(scales.shape())));
  }
  const auto values = scales.values<float>();
  const double bias = part.at("bias").get<double>("a number");
  if (!(bias >= 0) || !(bias < 0x1p100)) {
    fail(part.where(), "a scale of biases, or 0", fmt::format("{}", bias));
  }
  return {{{static_cast<int>(bits), true}, part.at("input").scale(), 0},
          {values.begin(), values.end()},
          static_cast<float>(bias)};
}

StatisticsSet read_statistics_part(const StoredPart& part) {
  std::vector<NamedTensor> tensors;
  std::map<std::string, std::string> metadata;
  const StoredPart of_tensors = part.at("tensors"), texts = part.at("metadata");
  for (const auto& [name, value] : of_tensors.get<Dict>("a dictionary")) {
    const StoredPart one(value, fmt::format("{}.{}", of_tensors.where(), name));
    tensors.push_back({name, one.get<Tensor>("a tensor")});
  }
  for (const auto& [key, value] : texts.get<Dict>("a dictionary")) {
    const StoredPart one(value, fmt::format("{}.{}", texts.where(), key));
    metadata[key] = one.get<std::string>("a text");
  }
  return from_tensors(std::move(tensors), std::move(metadata), part.where());
}

/// Where the scales come from; files of before have neither.
void read_origin(const StoredPart& part, RegressorCheckpoint& out) {
  if (part.has("source_sha256")) {
    out.source_sha256 = part.at("source_sha256").get<std::string>("a text");
  }
  if (part.has("ranges")) {
    const StoredPart ranges = part.at("ranges");
    out.plan = Plan::from_json(Json::parse(ranges.get<std::string>("a text"), ranges.where()),
                               ranges.where());
  }
  if (part.has("statistics")) out.statistics = read_statistics_part(part.at("statistics"));
}

}  // namespace

void read_scute_part(const TorchValue& value, const std::string& path, RegressorCheckpoint& out) {
  const StoredPart part(value, path + ": scute");
  const auto& format = part.at("format").get<std::string>("a text");
  const int64_t version = part.at("version").get<int64_t>("an integer");
  if (format != "scute-regressor" || version != 1) {
    fail(part.where(), "format scute-regressor, version 1",
         fmt::format("{}, version {}", format, version));
  }
  read_origin(part, out);
  if (part.at("backend").get<std::string>("a text") != "integer") return;
  out.quantization.backend = RegressorBackend::integer;
  if (!part.has("layers")) return;
  RegressorFormats formats;
  const StoredPart layers = part.at("layers"), values = part.at("values");
  for (const auto& [name, layer] : layers.get<Dict>("a dictionary")) {
    formats.layers[name] =
        read_layer(StoredPart(layer, fmt::format("{}.{}", layers.where(), name)));
  }
  for (const auto& [name, scale] : values.get<Dict>("a dictionary")) {
    const StoredPart one(scale, fmt::format("{}.{}", values.where(), name));
    formats.values[name] = {{16, true}, one.scale(), 0};
  }
  // Whether they fit the model is for it to say: formats that are missing or senseless are named.
  const RegressorTensors tensors(out.config, out.weights);
  IntegerRegressor(out.config, tensors, formats);
  out.formats = std::move(formats);
}

}  // namespace scute
