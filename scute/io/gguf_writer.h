// Writing GGUF, llama.cpp's files of one model: a header of typed keys, the tensors' names, and
// their bytes, each at a multiple of 32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "scute/io/output.h"
#include "scute/tensor/tensor.h"

namespace scute {

/// How a tensor's elements are stored; the numbers are the format's. The last two store blocks of
/// 32 elements of a row (quantize/block_codes.h).
enum class GgufType : uint32_t { f32 = 0, bf16 = 30, q8_0 = 8, q4_0 = 2 };
constexpr int64_t kGgufBlock = 32;

/// Bytes of that many elements, whole blocks of them.
int64_t gguf_bytes(GgufType type, int64_t elements);

/// What a key may mean: a number, a word, or a list of one kind of them.
using GgufValue = std::variant<uint32_t, int32_t, float, bool, std::string, std::vector<int32_t>,
                               std::vector<float>, std::vector<std::string>>;
using GgufKeys = std::vector<std::pair<std::string, GgufValue>>;

struct GgufTensor {
  std::string name;
  Shape shape;  ///< row-major; the format turns it round
  GgufType type = GgufType::f32;
};

/// Tensors' bytes in order, one after the other, to a file that appears when all are there.
class GgufWriter {
 public:
  /// Writes the header. `path` and `replace` as AtomicFile. Error for a key or a name that is there
  /// twice, a shape of more than four axes or none, and rows that are no whole number of blocks.
  GgufWriter(const std::string& path, const GgufKeys& keys, std::vector<GgufTensor> tensors,
             Replace replace = Replace::anything);

  /// The next bytes of the next tensor, all of it or a part.
  void write(std::span<const std::byte> bytes);
  /// Error unless every tensor was written whole.
  void commit();

 private:
  void pad();

  AtomicFile file_;
  std::vector<GgufTensor> tensors_;
  size_t next_ = 0;       ///< the tensor that is written now
  int64_t left_ = 0;      ///< its bytes that are still to come
  int64_t position_ = 0;  ///< in the file
};

}  // namespace scute
