#include "scute/language/config_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "scute/base/error.h"

namespace scute {
namespace {

/// Of initialization, training, other programs and generation: no number of a forward pass depends
/// on them.
constexpr auto kWithoutEffect = std::to_array<std::string_view>({"_name_or_path",
                                                                 "architectures",
                                                                 "auto_map",
                                                                 "bos_token_id",
                                                                 "chunk_size",
                                                                 "dt_init",
                                                                 "dt_init_floor",
                                                                 "dt_max",
                                                                 "dt_min",
                                                                 "dt_scale",
                                                                 "dtype",
                                                                 "eos_token_id",
                                                                 "A_init_range",
                                                                 "conv_init",
                                                                 "fused_add_norm",
                                                                 "id2label",
                                                                 "initializer_range",
                                                                 "label2id",
                                                                 "model_type",
                                                                 "pad_token_id",
                                                                 "process_group",
                                                                 "quantization_config",
                                                                 "rescale_prenorm_residual",
                                                                 "scute",
                                                                 "sequence_parallel",
                                                                 "time_step_floor",
                                                                 "time_step_init_scheme",
                                                                 "time_step_max",
                                                                 "time_step_min",
                                                                 "time_step_scale",
                                                                 "torch_dtype",
                                                                 "transformers_version",
                                                                 "use_associative_scan",
                                                                 "use_cache",
                                                                 "use_fast_path",
                                                                 "use_mambapy",
                                                                 "use_mem_eff_path",
                                                                 "return_dict",
                                                                 "output_hidden_states",
                                                                 "task_specific_params"});

}  // namespace

double config_number(const Json& value, const std::string& where) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const Json* wrapped = value.find("__float__");
  const Json& said = wrapped == nullptr ? value : *wrapped;
  if (!said.is_string()) return said.as_double(where);
  std::string word = said.as_string(where);
  std::ranges::transform(word, word.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  const bool negative = word.starts_with('-');
  if (negative || word.starts_with('+')) word.erase(0, 1);
  if (word != "inf" && word != "infinity") fail(where, "a number or Infinity", said.dump());
  return negative ? -kInfinity : kInfinity;
}

std::string ConfigReader::at(std::string_view key) const {
  return fmt::format("{}: {}", where_, key);
}

const Json* ConfigReader::find(std::string_view key) {
  seen_.emplace(key);
  const Json* value = json_.find(key);
  return value != nullptr && value->is_null() ? nullptr : value;
}

/// Sizes are computed in doubles here and there, before MambaConfig::check says how large they may
/// be; what a double cannot hold is none.
int64_t ConfigReader::checked(const Json& value, std::string_view key) const {
  constexpr int64_t kMost = int64_t{1} << 53;
  const int64_t out = value.as_int(at(key));
  if (out < -kMost) fail(at(key), "at least -2^53", fmt::format("{}", out));
  if (out > kMost) fail(at(key), "at most 2^53", fmt::format("{}", out));
  return out;
}

int64_t ConfigReader::integer(std::string_view key) {
  seen_.emplace(key);
  return checked(json_.at(key, where_), key);
}

ConfigReader ConfigReader::object(std::string_view key) {
  static const Json kNone = Json::object();
  const Json* value = find(key);
  if (value != nullptr) value->as_object(at(key));
  return {value == nullptr ? kNone : *value, at(key)};
}

int64_t ConfigReader::integer(std::string_view key, int64_t otherwise) {
  return has(key) ? integer(key) : otherwise;
}

double ConfigReader::number(std::string_view key, double otherwise) {
  seen_.emplace(key);
  const Json* value = json_.find(key);
  return value == nullptr ? otherwise : config_number(*value, at(key));
}

bool ConfigReader::flag(std::string_view key, bool otherwise) {
  seen_.emplace(key);
  const Json* value = json_.find(key);
  return value == nullptr ? otherwise : value->as_bool(at(key));
}

std::string ConfigReader::text(std::string_view key, std::string otherwise) {
  seen_.emplace(key);
  const Json* value = json_.find(key);
  return value == nullptr ? otherwise : value->as_string(at(key));
}

int64_t ConfigReader::integer_or_auto(std::string_view key, int64_t automatic) {
  const Json* value = find(key);
  if (value == nullptr || (value->is_string() && value->as_string("") == "auto")) return automatic;
  return checked(*value, key);
}

int64_t ConfigReader::expanded(int64_t width, std::string_view key) {
  const double expand = number(key, 2);
  const double inner = expand * static_cast<double>(width);
  // MambaConfig::check says how large it may be; here it must only be an integer.
  if (!(inner >= 1 && inner < 0x1p53)) {
    fail(at(key), "a factor that makes the inner width at least 1", fmt::format("{}", expand));
  }
  return static_cast<int64_t>(inner);
}

void ConfigReader::require(std::string_view key, bool wanted) {
  if (flag(key, wanted) == wanted) return;
  fail(at(key), wanted ? "true" : "false",
       wanted ? "false (not supported)" : "true (not supported)");
}

void ConfigReader::require_word(std::string_view key, std::string_view wanted) {
  const std::string word = text(key, std::string(wanted));
  if (word != wanted) fail(at(key), wanted, fmt::format("\"{}\" (not supported)", word));
}

void ConfigReader::require_silu(std::string_view key) {
  const std::string activation = text(key, "silu");
  if (activation == "silu" || activation == "swish") return;
  fail(at(key), "silu", fmt::format("\"{}\" (not supported)", activation));
}

void ConfigReader::require_nothing(std::string_view key) {
  const Json* value = find(key);
  if (value == nullptr) return;
  const bool nothing = value->is_bool()     ? !value->as_bool("")
                       : value->is_number() ? value->as_double("") == 0
                                            : false;
  if (!nothing) fail(at(key), "null", fmt::format("{} (not supported)", value->dump_config()));
}

void ConfigReader::require_same(std::string_view key, double computed, std::string_view because) {
  const Json* value = find(key);
  if (value == nullptr || (value->is_string() && value->as_string("") == "auto")) return;
  const double stored =
      value->is_bool() ? double{value->as_bool("") ? 1.0 : 0.0} : config_number(*value, at(key));
  if (static_cast<float>(stored) == static_cast<float>(computed)) return;
  const std::string means = value->is_bool() ? (computed != 0 ? "true" : "false")
                                             : fmt::format("{}", static_cast<float>(computed));
  fail(at(key), fmt::format("{}, {}", means, because), value->dump());
}

std::vector<std::string> ConfigReader::unread() const {
  std::vector<std::string> out;
  if (!json_.is_object()) return out;
  for (const auto& [key, value] : json_.as_object(where_)) {
    const bool inert = std::ranges::find(kWithoutEffect, key) != kWithoutEffect.end();
    if (!inert && !seen_.contains(key)) out.push_back(key);
  }
  return out;
}

}  // namespace scute
