#include "scute/io/gguf_writer.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <cstring>
#include <set>

#include "scute/base/checked.h"
#include "scute/base/error.h"

namespace scute {
namespace {

constexpr int64_t kGgufAlignment = 32;
constexpr uint32_t kGgufVersion = 3;
/// Of value types.
enum : uint32_t {
  kGgufUint32 = 4,
  kGgufInt32 = 5,
  kGgufFloat32 = 6,
  kGgufBool = 7,
  kGgufString = 8,
  kGgufArray = 9
};

int64_t aligned_in_gguf(int64_t bytes) {
  return (bytes + kGgufAlignment - 1) / kGgufAlignment * kGgufAlignment;
}

/// Appends what the header consists of; numbers are little-endian, as this machine's.
class GgufHeader {
 public:
  template <class T>
  void number(T value) {
    static_assert(std::endian::native == std::endian::little);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void text(const std::string& value) {
    number<uint64_t>(value.size());
    bytes_ += value;
  }
  /// Its type, then itself.
  void value(const GgufValue& value) {
    std::visit([this](const auto& one) { typed(one); }, value);
  }
  const std::string& bytes() const { return bytes_; }

 private:
  static uint32_t type_of(uint32_t) { return kGgufUint32; }
  static uint32_t type_of(int32_t) { return kGgufInt32; }
  static uint32_t type_of(float) { return kGgufFloat32; }
  static uint32_t type_of(bool) { return kGgufBool; }
  static uint32_t type_of(const std::string&) { return kGgufString; }

  void bare(const std::string& value) { text(value); }
  void bare(bool value) { number<uint8_t>(value ? 1 : 0); }
  template <class T>
  void bare(T value) {
    number(value);
  }
  template <class T>
  void typed(const T& value) {
    number(type_of(value));
    bare(value);
  }
  template <class T>
  void typed(const std::vector<T>& values) {
    number<uint32_t>(kGgufArray);
    number(type_of(T()));
    number<uint64_t>(values.size());
    for (const T& value : values) bare(value);
  }

  std::string bytes_;
};

void check_gguf_tensor(const GgufTensor& tensor, const std::string& path) {
  const std::string where = fmt::format("{}: tensor {}", path, tensor.name);
  if (tensor.shape.empty() || tensor.shape.size() > 4) {
    fail(where, "one to four axes", to_string(tensor.shape));
  }
  const bool blocks = tensor.type == GgufType::q8_0 || tensor.type == GgufType::q4_0;
  if (blocks && tensor.shape.back() % kGgufBlock != 0) {
    fail(where, fmt::format("rows of whole blocks of {}", kGgufBlock), to_string(tensor.shape));
  }
}

int64_t bytes_in_gguf(const GgufTensor& tensor) {
  return gguf_bytes(tensor.type, element_count(tensor.shape, tensor.name));
}

}  // namespace

int64_t gguf_bytes(GgufType type, int64_t elements) {
  switch (type) {
    case GgufType::f32:
      return checked_mul(elements, 4, "GGUF");
    case GgufType::bf16:
      return checked_mul(elements, 2, "GGUF");
    case GgufType::q8_0:
      return checked_mul(elements / kGgufBlock, 2 + kGgufBlock, "GGUF");
    case GgufType::q4_0:
      return checked_mul(elements / kGgufBlock, 2 + kGgufBlock / 2, "GGUF");
  }
  fail("GGUF", "a known type", fmt::format("{}", static_cast<uint32_t>(type)));
}

GgufWriter::GgufWriter(const std::string& path, const GgufKeys& keys,
                       std::vector<GgufTensor> tensors, Replace replace)
    : file_(path, replace), tensors_(std::move(tensors)) {
  GgufHeader header;
  header.number<uint32_t>(0x46554747);  // "GGUF"
  header.number(kGgufVersion);
  header.number<uint64_t>(tensors_.size());
  header.number<uint64_t>(keys.size());
  std::set<std::string_view> names;
  for (const auto& [key, value] : keys) {
    if (!names.insert(key).second) fail(path, "keys used once", key);
    header.text(key);
    header.value(value);
  }
  int64_t offset = 0;
  names.clear();
  for (const GgufTensor& tensor : tensors_) {
    check_gguf_tensor(tensor, path);
    if (!names.insert(tensor.name).second) fail(path, "tensor names used once", tensor.name);
    header.text(tensor.name);
    header.number(static_cast<uint32_t>(tensor.shape.size()));
    for (size_t i = tensor.shape.size(); i-- > 0;) {
      header.number(static_cast<uint64_t>(tensor.shape[i]));
    }
    header.number(static_cast<uint32_t>(tensor.type));
    header.number(static_cast<uint64_t>(offset));
    offset = checked_add(offset, aligned_in_gguf(bytes_in_gguf(tensor)), path);
  }
  file_.write(header.bytes());
  position_ = static_cast<int64_t>(header.bytes().size());
  pad();
  if (!tensors_.empty()) left_ = bytes_in_gguf(tensors_[0]);
}

void GgufWriter::pad() {
  static constexpr std::array<std::byte, kGgufAlignment> kPadding{};
  const auto wanted = static_cast<size_t>(aligned_in_gguf(position_) - position_);
  file_.write(std::span(kPadding).first(wanted));
  position_ += static_cast<int64_t>(wanted);
}

void GgufWriter::write(std::span<const std::byte> bytes) {
  const auto count = static_cast<int64_t>(bytes.size());
  if (next_ == tensors_.size() || count > left_) {
    fail(file_.path(), fmt::format("{} more bytes of a tensor", left_), fmt::format("{}", count));
  }
  file_.write(bytes);
  position_ += count;
  left_ -= count;
  if (left_ > 0) return;
  pad();
  ++next_;
  left_ = next_ < tensors_.size() ? bytes_in_gguf(tensors_[next_]) : 0;
}

void GgufWriter::commit() {
  if (next_ < tensors_.size()) {
    fail(fmt::format("{}: tensor {}", file_.path(), tensors_[next_].name), "all its bytes",
         fmt::format("{} too few", left_));
  }
  file_.commit();
}

}  // namespace scute
