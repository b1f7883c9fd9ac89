#include "scute/io/safetensors.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>
#include <tuple>

#include "scute/base/checked.h"
#include "scute/base/error.h"
#include "scute/base/json.h"
#include "scute/io/byte_reader.h"
#include "scute/io/file.h"
#include "scute/io/mapped_tensor.h"

namespace scute {
namespace {

constexpr std::string_view kMetadata = "__metadata__";
constexpr int64_t kLengthBytes = 8;
/// The format's own limit on the JSON header (its reference implementation refuses more).
constexpr uint64_t kMaxHeader = 100'000'000;

DType parse_dtype(const std::string& name, std::string_view where) {
  constexpr std::array kTypes = {DType::f64, DType::f32, DType::f16, DType::bf16, DType::i64,
                                 DType::i32, DType::i16, DType::i8,  DType::u8,   DType::boolean};
  for (const DType dtype : kTypes) {
    if (name_of(dtype) == name) return dtype;
  }
  const bool narrow = name.starts_with("F8") || name.starts_with("F4") || name.starts_with("F6");
  fail(where, "a type of F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL",
       narrow ? name + ", of weights quantized by another tool; quantize the float model instead"
              : name);
}

SafetensorsEntry parse_entry(const std::string& name, const Json& json, int64_t data_begin,
                             std::string_view where) {
  const std::string here = fmt::format("{}: tensor {}", where, name);
  if (json.as_object(here).size() != 3) fail(here, "dtype, shape and data_offsets", json.dump());
  SafetensorsEntry entry;
  entry.name = name;
  entry.dtype = parse_dtype(json.at("dtype", here).as_string(here), here);
  for (const Json& dim : json.at("shape", here).as_array(here)) {
    entry.shape.push_back(dim.as_int(here));
  }
  const Json::Array& offsets = json.at("data_offsets", here).as_array(here);
  if (offsets.size() != 2) fail(here, "two data_offsets", fmt::format("{}", offsets.size()));
  const int64_t begin = offsets[0].as_int(here);
  const int64_t end = offsets[1].as_int(here);
  if (begin < 0 || end < begin) {
    fail(here, "0 <= begin <= end", fmt::format("data_offsets {}, {}", begin, end));
  }
  const int64_t bytes = checked_mul(element_count(entry.shape, here), size_of(entry.dtype), here);
  if (end - begin != bytes) {
    fail(here,
         fmt::format("{} bytes for {} {}", bytes, name_of(entry.dtype), to_string(entry.shape)),
         fmt::format("{}", end - begin));
  }
  entry.begin = checked_add(data_begin, begin, here);
  entry.end = checked_add(data_begin, end, here);
  return entry;
}

/// Every byte after the header belongs to exactly one tensor; sorts by position.
void check_extents(std::vector<SafetensorsEntry>& entries, int64_t data_begin, int64_t file_size,
                   std::string_view where) {
  std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  int64_t position = data_begin;
  for (const SafetensorsEntry& entry : entries) {
    if (entry.begin != position || entry.end > file_size) {
      fail(fmt::format("{}: tensor {}", where, entry.name),
           fmt::format("bytes from {} within a file of {}", position, file_size),
           fmt::format("bytes {} to {}{}", entry.begin, entry.end,
                       entry.begin < position   ? ", an overlap"
                       : entry.begin > position ? ", a gap"
                                                : ", a truncated file"));
    }
    position = entry.end;
  }
  if (position != file_size) {
    fail(where, fmt::format("{} bytes", position), fmt::format("{}", file_size));
  }
}

/// Those of a file's mapping leave memory as they are written.
void write_elements(const Tensor& tensor, AtomicFile& file) {
  constexpr int64_t kTogether = int64_t{1} << 21;
  const Tensor all = tensor.reshaped({tensor.size()});
  for (int64_t first = 0; first < all.size(); first += kTogether) {
    const Tensor some = all.rows(first, std::min(kTogether, all.size() - first));
    file.write(some.bytes());
    some.give_back();
  }
}

}  // namespace

SafetensorsHeader parse_safetensors(std::span<const std::byte> head, int64_t file_size,
                                    std::string_view where) {
  ByteReader in(head, where);
  const auto length = in.little<uint64_t>();
  if (length > kMaxHeader || std::cmp_greater(length, file_size - kLengthBytes)) {
    fail(where, fmt::format("a header inside the file of {} bytes and below 100 MB", file_size),
         fmt::format("{} bytes of header", length));
  }
  const std::string_view text = in.text(length);
  if (!text.starts_with('{')) fail(where, "a header that is a JSON object", "something else");
  const Json json = Json::parse(text, where);
  const int64_t data_begin = kLengthBytes + static_cast<int64_t>(length);
  SafetensorsHeader header;
  for (const auto& [name, member] : json.as_object(where)) {
    if (name == kMetadata) {
      for (const auto& [key, value] : member.as_object(where)) {
        header.metadata[key] = value.as_string(fmt::format("{}: metadata {}", where, key));
      }
    } else {
      header.entries.push_back(parse_entry(name, member, data_begin, where));
    }
  }
  check_extents(header.entries, data_begin, file_size, where);
  return header;
}

SafetensorsFile read_safetensors(const InputFile& input) {
  const int64_t size = input.size();
  SafetensorsHeader header;
  {
    const auto whole = input.bytes(0, size);  // only the header's pages are touched
    header = parse_safetensors({whole.get(), static_cast<size_t>(size)}, size, input.path());
  }
  SafetensorsFile file;
  file.metadata = std::move(header.metadata);
  for (SafetensorsEntry& entry : header.entries) {
    Tensor tensor = map_tensor(input, entry.begin, entry.dtype, entry.shape);
    file.tensors.push_back({std::move(entry.name), std::move(tensor)});
  }
  return file;
}

SafetensorsFile read_safetensors(const std::string& path) {
  return read_safetensors(InputFile(path));
}

void write_safetensors(const std::string& path, const std::vector<NamedTensor>& tensors,
                       const Metadata& metadata) {
  std::vector<const NamedTensor*> order;
  std::set<std::string_view> names = {kMetadata};
  for (const NamedTensor& named : tensors) {
    if (!names.insert(named.name).second) fail(path, "tensor names used once", named.name);
    order.push_back(&named);
  }
  std::stable_sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return size_of(a->tensor.dtype()) > size_of(b->tensor.dtype());
  });
  Json::Object header;
  if (!metadata.empty()) {
    Json::Object members;
    for (const auto& [key, value] : metadata) members.emplace_back(key, value);
    header.emplace_back(std::string(kMetadata), std::move(members));
  }
  int64_t position = 0;
  for (const NamedTensor* named : order) {
    const Tensor& tensor = named->tensor;
    const int64_t end = position + static_cast<int64_t>(tensor.bytes().size());
    Json::Array shape(tensor.shape().begin(), tensor.shape().end());
    header.emplace_back(named->name, Json::Object{{"dtype", name_of(tensor.dtype())},
                                                  {"shape", std::move(shape)},
                                                  {"data_offsets", Json::Array{position, end}}});
    position = end;
  }
  std::string text = Json(std::move(header)).dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the first tensor begins at a multiple of 8
  const auto length = uint64_t{text.size()};
  AtomicFile file(path);
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(text);
  for (const NamedTensor* named : order) write_elements(named->tensor, file);
  file.commit();
}

}  // namespace scute
