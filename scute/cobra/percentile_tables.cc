#include "scute/cobra/percentile_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>

#include "scute/base/error.h"
#include "scute/base/names.h"
#include "scute/cobra/percentile_config.h"
#include "scute/text/utf8.h"

namespace scute {
namespace {

using Dict = TorchValue::Dict;

constexpr std::string_view kCollectAgain = "collect again with scute collect";

const Dict* dict_of(const TorchValue* value) {
  return value == nullptr ? nullptr : std::get_if<Dict>(&value->value);
}

/// A number, or a tensor of one element.
std::optional<double> number_of(const TorchValue& value) {
  if (const auto* real = std::get_if<double>(&value.value)) return *real;
  if (const auto* whole = std::get_if<int64_t>(&value.value)) return static_cast<double>(*whole);
  const auto* tensor = std::get_if<Tensor>(&value.value);
  if (tensor == nullptr || tensor->size() != 1) return std::nullopt;
  if (tensor->dtype() == DType::f64) return tensor->values<double>()[0];
  if (tensor->dtype() == DType::i64) return static_cast<double>(tensor->values<int64_t>()[0]);
  if (is_float(tensor->dtype())) return static_cast<double>(tensor->to_f32().values<float>()[0]);
  return std::nullopt;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// The number in p99, p99.9, p99_9 or P99.9; nothing when the key is none of these.
std::optional<double> percentile_of(std::string_view key) {
  if (key.size() < 2 || (key[0] != 'p' && key[0] != 'P')) return std::nullopt;
  std::string digits(key.substr(1));
  const size_t dot = digits.find_first_of("._");
  if (dot != std::string::npos) digits[dot] = '.';
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i != dot && !is_digit(digits[i])) return std::nullopt;
  }
  if (dot == 0 || dot == digits.size() - 1) return std::nullopt;
  double value = 0;
  const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (problem != std::errc() || !(value >= 0 && value <= 100)) return std::nullopt;
  return value;
}

/// Reads one bucket's dictionary; every error names file, bucket and key.
class BucketReader {
 public:
  BucketReader(const Dict& dict, std::string where) : dict_(dict), where_(std::move(where)) {}

  /// `observer`: the keys that only that form has are looked at as well.
  PercentileTable read(const std::string& bucket, bool observer) {
    if (observer) check_observer(bucket);
    table_.min = real("min");
    table_.max = real("max");
    if (!(std::isfinite(table_.min) && std::isfinite(table_.max))) {
      fail(where_, "finite min and max",
           fmt::format("{} and {}: NaN or infinite activations were recorded; find where the model "
                       "makes them, then {}",
                       table_.min, table_.max, kCollectAgain));
    }
    if (table_.max < table_.min) {
      fail(where_, fmt::format("max at least min, {}", table_.min), fmt::to_string(table_.max));
    }
    read_numel();
    read_percentiles();
    return std::move(table_);
  }

 private:
  const TorchValue* find(std::string_view key) const {
    const auto found = std::ranges::find(dict_, key, &Dict::value_type::first);
    return found == dict_.end() ? nullptr : &found->second;
  }
  const TorchValue& at(std::string_view key) const {
    const TorchValue* value = find(key);
    if (value != nullptr) return *value;
    std::vector<std::string> keys;
    for (const auto& [name, item] : dict_) keys.push_back(name);
    fail(where_, fmt::format("the key \"{}\"", key),
         fmt::format("{}: this tool wrote another schema; {}",
                     keys.empty() ? "none" : fmt::format("only {}", joined(keys, ", ")),
                     kCollectAgain));
  }
  double real(std::string_view key) const {
    const std::optional<double> value = number_of(at(key));
    if (!value) fail(fmt::format("{}: {}", where_, key), "a number", "another type");
    return *value;
  }
  std::string text(std::string_view key) const {
    const auto* words = std::get_if<std::string>(&at(key).value);
    if (words == nullptr) fail(fmt::format("{}: {}", where_, key), "a text", "another type");
    return *words;
  }

  void check_observer(const std::string& bucket) {
    text("mode");
    table_.module = text("module");
    const std::string target = text("target");
    if (normalize_target(target) != bucket) {
      fail(fmt::format("{}: target", where_), fmt::format("{}, as its key says", bucket),
           fmt::format("\"{}\"", target));
    }
  }

  void read_numel() {
    table_.numel = -1;
    if (find("numel") == nullptr) return;
    const double numel = real("numel");
    // 2^53: beyond it a double no longer holds every integer.
    if (!(numel >= 0 && numel <= 0x1p53) || std::nearbyint(numel) != numel) {
      fail(fmt::format("{}: numel", where_), "a whole number from 0", fmt::to_string(numel));
    }
    table_.numel = static_cast<int64_t>(numel);
  }

  void add(const std::string& key, double percentile, const TorchValue& value) {
    const std::string where = fmt::format("{}: {}", where_, key);
    const std::optional<double> number = number_of(value);
    if (!number) fail(where, "a number", "another type");
    // No tool records more than two dozen; each is looked up among the others.
    if (table_.percentiles.size() >= 1000) fail(where_, "at most 1000 percentiles", "more");
    const double* known = table_.find(percentile);
    if (known == nullptr) {
      table_.percentiles.emplace_back(percentile, *number);
    } else if (*known != *number && !(std::isnan(*known) && std::isnan(*number))) {
      fail(where, fmt::format("{}, as the bucket says elsewhere", *known), fmt::to_string(*number));
    }
  }

  void read_percentiles() {
    if (const TorchValue* listed = find("percentiles")) {
      const Dict* dict = dict_of(listed);
      if (dict == nullptr) {
        fail(fmt::format("{}: percentiles", where_), "a dictionary", "another type");
      }
      for (const auto& [key, value] : *dict) {
        const bool bare = !key.empty() && is_digit(key[0]);
        const std::optional<double> percentile = percentile_of(bare ? "p" + key : key);
        if (!percentile) {
          fail(fmt::format("{}: percentiles", where_), "keys such as p99.9 or p99_9",
               fmt::format("\"{}\"", key));
        }
        add(key, *percentile, value);
      }
    }
    for (const auto& [key, value] : dict_) {
      const std::optional<double> percentile = percentile_of(key);
      if (percentile) add(key, *percentile, value);
    }
    std::ranges::sort(table_.percentiles, {}, &std::pair<double, double>::first);
    // A bucket without values has none: what is said of it when it is to be decided is clearer.
    if (table_.percentiles.empty() && table_.numel != 0) {
      fail(where_, "percentile keys such as p99.9 or p99_9",
           fmt::format("none: the observer never saw the bucket, or its values were not kept; {}",
                       kCollectAgain));
    }
    check_order();
  }

  /// Values that fall are a damaged file, or percentiles of different batches mixed.
  void check_order() const {
    // Interpolating between two f32 values rounds twice, 2^-23 of the larger together.
    const double slack = 0x1p-22 * std::max(std::abs(table_.min), std::abs(table_.max));
    double last = table_.min;
    std::string before = "min";
    const auto check = [&](const std::string& key, double value) {
      if (std::isnan(value)) return;
      if (value < last - slack) {
        fail(fmt::format("{}: {}", where_, key), fmt::format("at least {}, {}", last, before),
             fmt::format("{}; {}", value, kCollectAgain));
      }
      last = value;
      before = key;
    };
    for (const auto& [number, value] : table_.percentiles) check(fmt::format("p{}", number), value);
    check("max", table_.max);
  }

  const Dict& dict_;
  std::string where_;
  PercentileTable table_;
};

/// What JSON can say of a config, up to a depth that Json::parse reads back and a size that a
/// plan can carry.
class ConfigReader {
 public:
  Json read(const TorchValue& value, int depth = 0) {
    if (const auto* truth = std::get_if<bool>(&value.value)) return *truth;
    if (const auto* whole = std::get_if<int64_t>(&value.value)) return *whole;
    if (const auto* real = std::get_if<double>(&value.value)) return *real;
    if (const auto* words = std::get_if<std::string>(&value.value)) return valid(*words);
    if (depth > 16) return {};
    if (const auto* list = std::get_if<TorchValue::List>(&value.value)) {
      Json out = Json::array();
      for (const TorchValue& item : *list) {
        if (--budget_ < 0) break;
        out.push_back(read(item, depth + 1));
      }
      return out;
    }
    if (const Dict* dict = dict_of(&value)) {
      Json out = Json::object();
      for (const auto& [key, item] : *dict) {
        if (--budget_ < 0) break;
        out[valid(key)] = read(item, depth + 1);
      }
      return out;
    }
    return {};
  }

 private:
  static std::string valid(const std::string& text) {
    std::string storage;
    return std::string(with_valid_utf8(text, storage));
  }
  int budget_ = 1000;
};

std::string bucket_name(const std::string& key, const std::string& where) {
  try {
    return normalize_target(key);
  } catch (const Error& error) {
    throw Error(fmt::format("{}: {}", where, error.what()));
  }
}

void read_buckets(const Dict& entries, bool observers, PercentileTables& out) {
  for (const auto& [key, value] : entries) {
    if (!observers && (key == "meta" || key == "config" || key == "targets")) continue;
    const std::string bucket = bucket_name(key, out.file);
    const std::string where = fmt::format("{}: {}", out.file, bucket);
    const Dict* dict = dict_of(&value);
    if (dict == nullptr) fail(where, "a dictionary of numbers", "another type");
    PercentileTable table = BucketReader(*dict, where).read(bucket, observers);
    if (!out.buckets.emplace(bucket, std::move(table)).second) {
      fail(where, "each bucket once", fmt::format("it again as \"{}\"", key));
    }
  }
}

/// The list of targets; those without an entry are noted.
void read_targets(const TorchValue& value, PercentileTables& out) {
  const std::string where = out.file + ": targets";
  const auto* list = std::get_if<TorchValue::List>(&value.value);
  if (list == nullptr) fail(where, "a list of bucket names", "another type");
  for (const TorchValue& item : *list) {
    const auto* name = std::get_if<std::string>(&item.value);
    if (name == nullptr) fail(where, "a list of bucket names", "another type in it");
    std::string bucket = bucket_name(*name, out.file);
    const bool known = std::ranges::find(out.missing, bucket) != out.missing.end();
    if (!out.buckets.contains(bucket) && !known) out.missing.push_back(std::move(bucket));
  }
}

}  // namespace

const double* PercentileTable::find(double percentile) const {
  for (const auto& [number, value] : percentiles) {
    // 99.9 comes as 100 − 0.1 or 0.999·100 too.
    if (std::abs(number - percentile) <= 1e-9) return &value;
  }
  return nullptr;
}

std::string PercentileTable::recorded() const {
  std::vector<std::string> names;
  for (const auto& [number, value] : percentiles) names.push_back(fmt::format("p{:.10g}", number));
  return names.empty() ? "none" : joined(names, ", ");
}

PercentileTables percentile_tables_of(const TorchValue& root, const std::string& where) {
  PercentileTables out;
  out.file = where;
  const Dict* entries = dict_of(&root);
  if (entries == nullptr) fail(where, "a dictionary of buckets", "another value");
  const TorchValue* observers = root.find("observers");
  if (observers == nullptr) {
    read_buckets(*entries, false, out);
  } else {
    for (const char* key : {"config", "targets"}) {
      if (root.find(key) == nullptr) {
        fail(where, fmt::format("the key \"{}\" beside \"observers\"", key),
             fmt::format("none; {}", kCollectAgain));
      }
    }
    const Dict* buckets = dict_of(observers);
    if (buckets == nullptr) fail(where + ": observers", "a dictionary", "another type");
    read_buckets(*buckets, true, out);
  }
  if (out.buckets.empty()) {
    fail(where, fmt::format("at least one of {}", joined(kBuckets, ", ")),
         fmt::format("none: no bucket was recorded (no image reached the model); {} --images DIR",
                     kCollectAgain));
  }
  if (const TorchValue* targets = root.find("targets")) read_targets(*targets, out);
  const TorchValue* config = root.find(observers == nullptr ? "meta" : "config");
  if (config != nullptr) out.config = ConfigReader().read(*config);
  return out;
}

bool holds_percentile_tables(const InputFile& file) {
  if (!file.path().ends_with(".pt")) return false;
  const TorchValue root = read_torch(file);
  const TorchValue* meta = root.find("meta");
  const TorchValue* format = meta == nullptr ? nullptr : meta->find("format");
  return format == nullptr;
}

bool holds_percentile_tables(const std::string& path) {
  return path.ends_with(".pt") && holds_percentile_tables(InputFile(path));
}

PercentileTables read_percentile_tables(const std::string& path) {
  return read_percentile_tables(InputFile(path));
}

PercentileTables read_percentile_tables(const InputFile& file) {
  return percentile_tables_of(read_torch(file), file.path());
}

PercentileTable table_of(const Statistic& statistic) {
  PercentileTable out;
  out.min = static_cast<double>(statistic.min);
  out.max = static_cast<double>(statistic.max);
  out.numel = static_cast<int64_t>(statistic.count);
  for (const auto& [key, value] : percentile_table(statistic)) {
    if (const std::optional<double> number = percentile_of(key)) {
      out.percentiles.emplace_back(*number, value);
    }
  }
  return out;
}

}  // namespace scute
