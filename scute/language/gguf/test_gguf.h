// For tests: reads a GGUF file back, apart from what writes it.
#pragma once

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "scute/base/error.h"
#include "scute/io/byte_reader.h"
#include "scute/io/file.h"
#include "scute/io/gguf_writer.h"

namespace scute::testing_gguf {

struct ReadTensor {
  Shape shape;  ///< row-major
  uint32_t type = 0;
  std::string bytes;

  std::vector<float> floats() const {
    std::vector<float> out(bytes.size() / sizeof(float));
    std::memcpy(out.data(), bytes.data(), bytes.size());
    return out;
  }
};
struct ReadFile {
  std::map<std::string, GgufValue> keys;
  std::map<std::string, ReadTensor> tensors;
  std::vector<std::string> order;  ///< of the tensors

  template <class T>
  T key(const std::string& name) const {
    const auto found = keys.find(name);
    if (found == keys.end()) fail(name, "a key", "none");
    return std::get<T>(found->second);
  }
};

class Reader {
 public:
  explicit Reader(const std::string& bytes)
      : bytes_(bytes), in_(std::as_bytes(std::span(bytes)), "GGUF") {}

  ReadFile read() {
    ReadFile out;
    if (in_.text(4) != "GGUF" || in_.little<uint32_t>() != 3) fail("GGUF", "version 3", "another");
    const auto tensors = in_.little<uint64_t>(), keys = in_.little<uint64_t>();
    for (uint64_t i = 0; i < keys; ++i) {
      const std::string name = text();
      out.keys.emplace(name, value(in_.little<uint32_t>()));
    }
    std::vector<uint64_t> offsets;
    for (uint64_t i = 0; i < tensors; ++i) {
      out.order.push_back(text());
      ReadTensor& tensor = out.tensors[out.order.back()];
      const auto axes = in_.little<uint32_t>();
      for (uint32_t a = 0; a < axes; ++a) {
        tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(in_.little<uint64_t>()));
      }
      tensor.type = in_.little<uint32_t>();
      offsets.push_back(in_.little<uint64_t>());
    }
    const size_t data = (in_.position() + 31) / 32 * 32;
    for (size_t i = 0; i < offsets.size(); ++i) {
      ReadTensor& tensor = out.tensors.at(out.order[i]);
      const auto size =
          gguf_bytes(static_cast<GgufType>(tensor.type), element_count(tensor.shape, "test"));
      if (offsets[i] % 32 != 0) fail(out.order[i], "an offset that is a multiple of 32", "another");
      tensor.bytes = bytes_.substr(data + offsets[i], static_cast<size_t>(size));
      if (std::cmp_not_equal(tensor.bytes.size(), size)) fail(out.order[i], "all bytes", "fewer");
    }
    return out;
  }

 private:
  std::string text() { return std::string(in_.text(in_.little<uint64_t>())); }
  template <class T>
  std::vector<T> list(uint64_t count) {
    std::vector<T> out;
    for (uint64_t i = 0; i < count; ++i) {
      if constexpr (std::is_same_v<T, std::string>) {
        out.push_back(text());
      } else {
        out.push_back(std::bit_cast<T>(in_.little<uint32_t>()));
      }
    }
    return out;
  }
  GgufValue value(uint32_t type) {
    if (type == 4) return in_.little<uint32_t>();
    if (type == 5) return std::bit_cast<int32_t>(in_.little<uint32_t>());
    if (type == 6) return std::bit_cast<float>(in_.little<uint32_t>());
    if (type == 7) return in_.text(1)[0] != 0;
    if (type == 8) return text();
    if (type != 9) fail("GGUF", "a type that is written", std::to_string(type));
    const auto of = in_.little<uint32_t>();
    const auto count = in_.little<uint64_t>();
    if (of == 5) return list<int32_t>(count);
    if (of == 6) return list<float>(count);
    return list<std::string>(count);
  }

  const std::string& bytes_;
  ByteReader in_;
};

inline ReadFile read_gguf(const std::string& path) {
  const std::string bytes = read_text(path, int64_t{1} << 30);
  return Reader(bytes).read();
}

}  // namespace scute::testing_gguf
