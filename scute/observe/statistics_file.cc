#include "scute/observe/statistics_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <span>

#include "scute/base/checked.h"
#include "scute/base/error.h"
#include "scute/observe/distribution.h"

namespace scute {
namespace {

constexpr std::string_view kFormat = "scute-statistics";
constexpr std::string_view kVersion = "1";

struct VectorField {
  const char* key;
  std::vector<float> Statistic::*member;
};
constexpr std::array<VectorField, 3> kVectors{{{"channel_absmax", &Statistic::channel_absmax},
                                               {"channel_meanabs", &Statistic::channel_meanabs},
                                               {"element_absmax", &Statistic::element_absmax}}};

template <class T>
Tensor vector_tensor(const std::vector<T>& values) {
  return Tensor::of<T>({static_cast<int64_t>(values.size())}, values);
}

Json site_json(const Statistic& s) {
  Json out = Json::object();
  out["count"] = static_cast<int64_t>(s.count);
  out["min"] = static_cast<double>(s.min);
  out["max"] = static_cast<double>(s.max);
  out["zeros"] = static_cast<int64_t>(s.zeros);
  out["nans"] = static_cast<int64_t>(s.nans);
  out["infs"] = static_cast<int64_t>(s.infs);
  out["bits_or"] = static_cast<int64_t>(s.bits_or);
  out["samples"] = static_cast<int64_t>(s.samples);
  return out;
}

/// The tensors of a file by name; what is not taken is left over.
class TensorBag {
 public:
  TensorBag(std::vector<NamedTensor> tensors, std::string_view where) : where_(where) {
    for (NamedTensor& named : tensors) {
      const std::string name = named.name;
      if (!tensors_.emplace(name, std::move(named.tensor)).second) {
        fail(where_, "each tensor once", name + " twice");
      }
    }
  }
  bool contains(const std::string& name) const { return tensors_.contains(name); }
  template <class T>
  Tensor take(const std::string& name) {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) fail(where_, fmt::format("the tensor {}", name), "none");
    Tensor out = std::move(found->second);
    tensors_.erase(found);
    if (out.dtype() != dtype_of<T>() || out.rank() != 1) {
      fail(fmt::format("{}: {}", where_, name), fmt::format("a list of {}", name_of(dtype_of<T>())),
           fmt::format("{} of shape {}", name_of(out.dtype()), to_string(out.shape())));
    }
    return out;
  }
  void finish() const {
    if (!tensors_.empty()) {
      fail(where_, "only tensors of the sites in its metadata", tensors_.begin()->first);
    }
  }

 private:
  std::string where_;
  std::map<std::string, Tensor> tensors_;
};

/// Reads and checks one site.
class SiteReader {
 public:
  SiteReader(std::string_view file, const std::string& name, int fine)
      : where_(fmt::format("{}: {}", file, name)), name_(name), fine_(fine), out_(fine) {}

  void read_json(const Json& json) {
    out_.count = count(json, "count");
    out_.zeros = count(json, "zeros");
    out_.nans = count(json, "nans");
    out_.infs = count(json, "infs");
    out_.samples = count(json, "samples");
    out_.bits_or =
        narrow<uint32_t>(json.at("bits_or", where_).as_int(at("bits_or")), at("bits_or"));
    out_.min = real(json, "min");
    out_.max = real(json, "max");
    if (out_.min > out_.max) {
      fail(at("min"), fmt::format("at most the max, {}", out_.max), fmt::to_string(out_.min));
    }
    if ((out_.count == 0) != (out_.samples == 0) || out_.samples > out_.count) {
      fail(at("samples"), fmt::format("1 … count = {}, or 0 when that is 0", out_.count),
           fmt::to_string(out_.samples));
    }
  }

  /// Returns the bytes of histogram pages that these ids need.
  int64_t read_buckets(TensorBag& bag) {
    bins_ = bag.take<int32_t>(name_ + "/bins");
    counts_ = bag.take<int64_t>(name_ + "/counts");
    const auto ids = bins_.values<int32_t>();
    const auto counts = counts_.values<int64_t>();
    if (ids.size() != counts.size()) {
      fail(at("counts"), fmt::format("{} counts, as many as bins", ids.size()),
           fmt::to_string(counts.size()));
    }
    const std::string counts_at = at("counts");  // made once: there are as many as buckets
    int64_t sum = 0, last = -1, last_page = -1, pages = 0;
    for (size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] <= last || ids[i] >= int64_t{1} << (9 + fine_)) {
        fail(at("bins"), fmt::format("strictly ascending ids from 0 to {}", (1 << (9 + fine_)) - 1),
             fmt::format("{} after {}", ids[i], last));
      }
      if (counts[i] <= 0) fail(counts_at, "positive counts", fmt::to_string(counts[i]));
      sum = checked_add(sum, counts[i], counts_at);
      last = ids[i];
      if (last >> fine_ != last_page) ++pages;
      last_page = last >> fine_;
    }
    if (static_cast<uint64_t>(sum) != out_.count) {
      fail(at("counts"), fmt::format("a sum of {}, the site's count", out_.count),
           fmt::to_string(sum));
    }
    return pages << (fine_ + 3);
  }

  void read_vectors(TensorBag& bag) {
    for (const VectorField& field : kVectors) {
      const std::string tensor_name = fmt::format("{}/{}", name_, field.key);
      if (!bag.contains(tensor_name)) continue;
      const Tensor tensor = bag.take<float>(tensor_name);
      const auto values = tensor.values<float>();
      for (const float value : values) {
        if (!(value >= 0)) {
          fail(at(field.key), "magnitudes, at least 0", fmt::to_string(value));
        }
      }
      (out_.*field.member).assign(values.begin(), values.end());
    }
  }

  /// Fills the histogram and compares it with what the metadata say.
  Statistic finish() {
    const auto ids = bins_.values<int32_t>();
    const auto counts = counts_.values<int64_t>();
    for (size_t i = 0; i < ids.size(); ++i) {
      out_.histogram.add(static_cast<uint32_t>(ids[i]), static_cast<uint64_t>(counts[i]));
    }
    check_special();
    check_extremes();
    check_absmax("channel_absmax", out_.channel_absmax);
    check_absmax("element_absmax", out_.element_absmax);
    return std::move(out_);
  }

 private:
  std::string at(std::string_view key) const { return fmt::format("{}/{}", where_, key); }
  uint64_t count(const Json& json, std::string_view key) const {
    const int64_t value = json.at(key, where_).as_int(at(key));
    if (value < 0) fail(at(key), "at least 0", fmt::to_string(value));
    return static_cast<uint64_t>(value);
  }
  float real(const Json& json, std::string_view key) const {
    const double value = json.at(key, where_).as_double(at(key));
    // Compared before the conversion, which is undefined for values beyond the range of float.
    if (!(std::abs(value) <= 0x1.fffffep127))
      fail(at(key), "a finite float", fmt::to_string(value));
    const auto narrowed = static_cast<float>(value);
    if (static_cast<double>(narrowed) != value) {
      fail(at(key), "a float", fmt::format("{}, which has more digits", value));
    }
    return narrowed + 0.0f;
  }
  void require(bool holds, std::string_view key, std::string_view expected, uint64_t found) const {
    if (!holds) fail(at(key), expected, fmt::to_string(found));
  }

  /// zeros, nans, infs and bits_or against the buckets. The bucket of Inf also holds the NaNs whose
  /// payload lies below the bucket's bits, and the bucket of 0 values below 2^(−126 − fine).
  void check_special() const {
    const uint32_t mask = (uint32_t{1} << fine_) - 1;
    uint64_t zeros = 0, infinities = 0, others = 0;
    uint32_t bits = 0;
    for (const auto& [id, n] : out_.histogram.by_id()) {
      const uint32_t exponent = id >> fine_ & 255;
      bits |= id;
      if (exponent == 255) ((id & mask) == 0 ? infinities : others) += n;
      if (exponent == 0 && (id & mask) == 0) zeros += n;
    }
    require(out_.bits_or >> (23 - fine_) == bits, "bits_or", "the bits of all bucket ids together",
            out_.bits_or);
    require(
        out_.exact() ? out_.zeros == zeros : out_.zeros <= zeros, "zeros",
        fmt::format("{}{}, what the buckets of zero hold", out_.exact() ? "" : "at most ", zeros),
        out_.zeros);
    require(out_.infs <= infinities, "infs", fmt::format("at most {}", infinities), out_.infs);
    require(out_.nans == infinities + others - out_.infs, "nans",
            fmt::format("{}, what the buckets of NaN hold", infinities + others - out_.infs),
            out_.nans);
  }

  /// min and max must lie in the outermost buckets of the finite values.
  void check_extremes() const {
    const uint32_t sign = uint32_t{1} << (8 + fine_);
    std::vector<Histogram::Bucket> finite = out_.histogram.ascending();
    std::erase_if(finite, [&](const auto& b) { return (b.id >> fine_ & 255) == 255; });
    if (finite.empty()) {
      if (out_.min != 0 || out_.max != 0) fail(at("min"), "0 without finite values", "another");
      return;
    }
    const auto inside = [&](float value, uint32_t id) {
      if (value == 0) return (id & ~sign) == 0;  // either sign of zero
      return std::bit_cast<uint32_t>(value) >> (23 - fine_) == id;
    };
    if (!inside(out_.min, finite.front().id)) {
      fail(at("min"), "a value of the lowest bucket", fmt::to_string(out_.min));
    }
    if (!inside(out_.max, finite.back().id)) {
      fail(at("max"), "a value of the highest bucket", fmt::to_string(out_.max));
    }
  }

  void check_absmax(const char* key, const std::vector<float>& values) const {
    if (values.empty() || out_.infs > 0) return;
    const float largest = *std::ranges::max_element(values);
    const float wanted = std::max(std::abs(out_.min), std::abs(out_.max));
    if (largest != wanted) {
      fail(at(key), fmt::format("a largest value of {}, as min and max say", wanted),
           fmt::to_string(largest));
    }
  }

  std::string where_, name_;
  int fine_;
  Statistic out_;
  Tensor bins_, counts_;
};

const std::string& entry(const std::map<std::string, std::string>& metadata, const char* key,
                         std::string_view where) {
  const auto found = metadata.find(key);
  if (found == metadata.end()) fail(where, fmt::format("the metadata key \"{}\"", key), "none");
  return found->second;
}

int parse_fine(const std::string& text, std::string_view where) {
  int fine = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), fine);
  if (problem != std::errc() || end != text.data() + text.size() || fine < 1 || fine > 16) {
    fail(where, "fine in 1 … 16", text);
  }
  return fine;
}

}  // namespace

std::vector<NamedTensor> to_tensors(const StatisticsSet& set) {
  std::vector<NamedTensor> out;
  for (const auto& [name, statistic] : set.sites) {
    std::vector<int32_t> ids;
    std::vector<int64_t> counts;
    for (const auto& [id, count] : statistic.histogram.by_id()) {
      ids.push_back(static_cast<int32_t>(id));
      counts.push_back(static_cast<int64_t>(count));
    }
    out.push_back({name + "/bins", vector_tensor(ids)});
    out.push_back({name + "/counts", vector_tensor(counts)});
    for (const VectorField& field : kVectors) {
      const auto& values = statistic.*field.member;
      if (!values.empty()) out.push_back({name + "/" + field.key, vector_tensor(values)});
    }
  }
  return out;
}

std::map<std::string, std::string> to_metadata(const StatisticsSet& set) {
  Json sites = Json::object();
  for (const auto& [name, statistic] : set.sites) sites.append_member(name, site_json(statistic));
  return {{"format", std::string(kFormat)},
          {"version", std::string(kVersion)},
          {"fine", std::to_string(set.fine)},
          {"sites", sites.dump()},
          {"meta", set.meta.dump()}};
}

StatisticsSet from_tensors(std::vector<NamedTensor> tensors,
                           std::map<std::string, std::string> metadata, std::string_view where) {
  if (const auto& format = entry(metadata, "format", where); format != kFormat) {
    fail(where, fmt::format("the format \"{}\"", kFormat), format);
  }
  if (const auto& version = entry(metadata, "version", where); version != kVersion) {
    fail(where, fmt::format("version {}", kVersion), version);
  }
  StatisticsSet out;
  out.fine = parse_fine(entry(metadata, "fine", where), where);
  out.meta = Json::parse(entry(metadata, "meta", where), fmt::format("{}: meta", where));

  // A dozen bytes of file can ask for a page of 2^(fine+3) bytes. Real files need less than 1000
  // bytes of pages per byte; 256 MiB are free.
  int64_t budget = int64_t{1} << 28;
  for (const NamedTensor& named : tensors) {
    budget = checked_add(budget, static_cast<int64_t>(named.tensor.bytes().size()) * 1000, where);
  }
  TensorBag bag(std::move(tensors), where);
  const Json sites = Json::parse(entry(metadata, "sites", where), fmt::format("{}: sites", where));
  for (const auto& [name, json] : sites.as_object(where)) {
    SiteReader reader(where, name, out.fine);
    reader.read_json(json);
    budget -= reader.read_buckets(bag);
    if (budget < 0) fail(where, "buckets in fewer exponents", "more than its size justifies");
    reader.read_vectors(bag);
    out.sites.emplace(name, reader.finish());
  }
  bag.finish();
  return out;
}

std::vector<std::pair<std::string, double>> percentile_table(const Statistic& statistic) {
  constexpr std::array<std::pair<const char*, double>, 13> kPercentiles{{{"p0.001", 0.00001},
                                                                         {"p0.01", 0.0001},
                                                                         {"p0.1", 0.001},
                                                                         {"p1.0", 0.01},
                                                                         {"p10.0", 0.1},
                                                                         {"p25.0", 0.25},
                                                                         {"p50.0", 0.5},
                                                                         {"p75.0", 0.75},
                                                                         {"p90.0", 0.9},
                                                                         {"p99.0", 0.99},
                                                                         {"p99.9", 0.999},
                                                                         {"p99.99", 0.9999},
                                                                         {"p99.999", 0.99999}}};
  std::vector<std::pair<std::string, double>> out;
  if (statistic.finite() == 0) return out;
  const Distribution distribution(statistic);
  for (const auto& [key, share] : kPercentiles) out.emplace_back(key, distribution.quantile(share));
  return out;
}

}  // namespace scute
