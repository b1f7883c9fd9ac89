#include "scute/data/id_files.h"

#include <fmt/format.h>

#include <cstring>
#include <utility>

#include "scute/base/error.h"
#include "scute/io/npy.h"

namespace scute {
namespace {

constexpr std::string_view kIdsExpected = "token ids from 0 to 2147483647";

template <class T>
std::vector<int32_t> checked_ids(const T* values, int64_t count, const std::string& where) {
  std::vector<int32_t> ids;
  ids.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    if (std::cmp_less(values[i], 0) || !std::in_range<int32_t>(values[i])) {
      fail(where, kIdsExpected, fmt::format("{} at {}", values[i], i));
    }
    ids.push_back(static_cast<int32_t>(values[i]));
  }
  return ids;
}

/// Row `row` of a matrix of any integer type.
std::vector<int32_t> ids_of_row(const Tensor& tensor, int64_t row, const std::string& file) {
  const std::string where = fmt::format("{}: row {}", file, row);
  const auto checked = [&]<class T>(MatView<const T> rows) {
    return checked_ids(rows.row(row), rows.cols, where);
  };
  switch (tensor.dtype()) {
    case DType::u8:
      return checked(tensor.matrix<uint8_t>());
    case DType::i8:
      return checked(tensor.matrix<int8_t>());
    case DType::i16:
      return checked(tensor.matrix<int16_t>());
    case DType::i32:
      return checked(tensor.matrix<int32_t>());
    case DType::i64:
      return checked(tensor.matrix<int64_t>());
    default:
      fail(file, "int32 or int64 token ids, or another integer type",
           std::string(name_of(tensor.dtype())));
  }
}

template <class T>
std::vector<int32_t> raw_values(std::string_view bytes, const std::string& file) {
  if (bytes.size() % sizeof(T) != 0) {
    fail(file, fmt::format("a multiple of {} bytes", sizeof(T)), fmt::format("{}", bytes.size()));
  }
  std::vector<T> values(bytes.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return checked_ids(values.data(), static_cast<int64_t>(values.size()), file);
}

std::vector<int32_t> read_raw(const InputFile& input, RawIds raw) {
  const std::string bytes = input.text();
  const std::string& file = input.path();
  switch (raw) {
    case RawIds::u16:
      return raw_values<uint16_t>(bytes, file);
    case RawIds::u32:
      return raw_values<uint32_t>(bytes, file);
    case RawIds::i32:
      return raw_values<int32_t>(bytes, file);
    default:
      return raw_values<int64_t>(bytes, file);
  }
}

}  // namespace

std::vector<std::vector<int32_t>> read_id_rows(const InputFile& input, std::optional<RawIds> raw) {
  const std::string& file = input.path();
  const bool header = is_npy(input);
  if (raw && header) fail(file, "ids without a header for --raw-ids", "a .npy file");
  if (raw) return {read_raw(input, *raw)};
  if (!header) {
    fail(file, "a .npy file", "no .npy header: np.save it, or --raw-ids u16 (or u32, i32, i64)");
  }
  const Tensor tensor = read_npy(input);
  if (tensor.rank() != 1 && tensor.rank() != 2) {
    fail(file, "one or two dimensions", "shape " + to_string(tensor.shape()));
  }
  const int64_t rows = tensor.rank() == 1 ? 1 : tensor.dim(0);
  const int64_t cols = tensor.dim(tensor.rank() - 1);
  // Rows without a column take no bytes of the file, so their number means nothing.
  if (cols == 0 && rows > 1) fail(file, "token ids", "shape " + to_string(tensor.shape()));
  std::vector<std::vector<int32_t>> out;
  for (int64_t row = 0; row < rows; ++row) {
    out.push_back(cols == 0 ? std::vector<int32_t>() : ids_of_row(tensor, row, file));
  }
  return out;
}

}  // namespace scute
