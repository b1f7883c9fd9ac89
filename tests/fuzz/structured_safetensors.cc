// Safetensors: header and data are taken apart, one of them changed, and put together again so that
// they agree.
#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <vector>

#include "scute/base/error.h"
#include "scute/base/json.h"
#include "scute/tensor/dtype.h"
#include "tests/fuzz/structured.h"

namespace scute::fuzz {
namespace {

constexpr size_t kLengthBytes = 8;
constexpr std::string_view kMetadata = "__metadata__";
constexpr std::array kTypes = {DType::f64, DType::f32, DType::f16, DType::bf16, DType::i64,
                               DType::i32, DType::i16, DType::i8,  DType::u8,   DType::boolean};

struct Parts {
  Json::Object header;
  std::string data;
};

std::optional<Parts> parts_of(std::string_view file) {
  uint64_t length = 0;
  if (file.size() < kLengthBytes) return {};
  std::memcpy(&length, file.data(), kLengthBytes);
  if (length > file.size() - kLengthBytes) return {};
  try {
    const Json header = Json::parse(file.substr(kLengthBytes, length), "");
    return Parts{header.as_object(""), std::string(file.substr(kLengthBytes + length))};
  } catch (const Error&) {
    return {};
  }
}

std::string put_together(const Parts& parts) {
  std::string text = Json(parts.header).dump_config(-1);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  std::string out(kLengthBytes, '\0');
  std::memcpy(out.data(), &length, kLengthBytes);
  return out + text + parts.data;
}

std::optional<int64_t> integer_at(const Json& list, size_t index) {
  if (!list.is_array() || list.as_array("").size() <= index) return {};
  const Json& item = list.as_array("")[index];
  return item.is_int() ? std::optional(item.as_int("")) : std::nullopt;
}

/// Bytes of a tensor as its entry describes it; nothing when that makes no sense or is too much.
std::optional<size_t> bytes_of(const Json& entry, size_t most) {
  const Json* type = entry.find("dtype");
  const Json* shape = entry.find("shape");
  if (type == nullptr || !type->is_string() || shape == nullptr || !shape->is_array()) return {};
  const auto known =
      std::ranges::find_if(kTypes, [&](DType one) { return name_of(one) == type->as_string(""); });
  if (known == kTypes.end()) return {};
  auto bytes = static_cast<size_t>(size_of(*known));
  for (size_t i = 0; i < shape->as_array("").size(); ++i) {
    const auto count = integer_at(*shape, i);
    if (!count || *count < 0) return {};
    if (bytes > 0 && static_cast<uint64_t>(*count) > most / bytes) return {};
    bytes *= static_cast<size_t>(*count);
  }
  return bytes;
}

/// Offsets and data side by side again: of each tensor what was its own, cut or filled with zeros.
void make_agree(Parts& parts, size_t most) {
  std::string data;
  for (auto& [name, entry] : parts.header) {
    const auto bytes = name == kMetadata ? std::nullopt : bytes_of(entry, most);
    if (!bytes || data.size() + *bytes > most) continue;
    std::string own;
    if (const Json* offsets = entry.find("data_offsets")) {
      const auto begin = integer_at(*offsets, 0);
      if (begin && *begin >= 0 && std::cmp_less(*begin, parts.data.size())) {
        own = parts.data.substr(static_cast<size_t>(*begin), *bytes);
      }
    }
    own.resize(*bytes);
    const auto first = static_cast<int64_t>(data.size());
    data += own;
    entry["data_offsets"] = Json(Json::Array{first, static_cast<int64_t>(data.size())});
  }
  parts.data = std::move(data);
}

void mutate_shape(Json& entry, Draw& draw) {
  Json::Array shape = entry.at("shape", "").as_array("");
  constexpr int64_t kDimensions[] = {0, 1, 2, 3, 4, 8, 1 << 20, int64_t{1} << 62};
  const size_t at = draw.below(shape.size());
  if (shape.empty() || draw.one_in(4)) {
    shape.push_back(draw.of(kDimensions));
  } else if (draw.one_in(4)) {
    shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(at));
  } else if (draw.one_in(2)) {
    shape[at] = draw.of(kDimensions);
  } else {
    std::swap(shape[at], shape.front());
  }
  entry["shape"] = Json(std::move(shape));
}

/// One tensor typed, shaped or named otherwise, left out or copied; Error when it has no such part.
void mutate_tensor(Json::Object& header, Draw& draw) {
  if (header.empty()) return;
  const size_t at = draw.below(header.size());
  auto& [name, entry] = header[at];
  switch (draw.below(6)) {
    case 0:
      entry["dtype"] = Json(name_of(draw.of(kTypes)));
      break;
    case 1:
      header.erase(header.begin() + static_cast<std::ptrdiff_t>(at));
      break;
    case 2:
      name = mutated_bytes(name, draw, name.size() + 8);
      break;
    case 3: {
      const Json copy = entry;
      header.emplace_back(mutated_bytes(name, draw, name.size() + 8), copy);
      break;
    }
    case 4:
      std::swap(name, header[draw.below(header.size())].first);
      break;
    default:
      mutate_shape(entry, draw);
  }
}

}  // namespace

std::string mutated_safetensors(std::string_view file, Draw& draw, size_t most) {
  std::optional<Parts> parts = parts_of(file);
  if (!parts) return mutated_bytes(file, draw, most);
  try {
    switch (draw.below(4)) {
      case 0:
        parts->data = mutated_in_place(parts->data, draw);
        break;
      case 1:
        mutate_tensor(parts->header, draw);
        break;
      default: {
        const std::string text = mutated_json(Json(parts->header).dump_config(-1), draw, most);
        parts->header = Json::parse(text, "").as_object("");
      }
    }
    if (!draw.one_in(6)) make_agree(*parts, most);
  } catch (const Error&) {
    return mutated_bytes(file, draw, most);
  }
  return put_together(*parts);
}

}  // namespace scute::fuzz
