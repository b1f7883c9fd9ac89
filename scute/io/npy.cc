#include "scute/io/npy.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <iterator>
#include <set>
#include <type_traits>
#include <utility>

#include "scute/base/checked.h"
#include "scute/base/error.h"
#include "scute/io/byte_reader.h"
#include "scute/io/file.h"
#include "scute/io/mapped_tensor.h"
#include "scute/io/npy_types.h"
#include "scute/io/zip.h"

namespace scute {
namespace {

constexpr std::string_view kSuffix = ".npy";
/// How elements are stored.
struct Stored {
  DType dtype;
  bool big_endian = false;   ///< the high byte first
  bool is_unsigned = false;  ///< of 2 or 4 bytes, read as twice as many with a sign
};

struct NpyHeader {
  std::string_view type;  ///< NumPy's name, e.g. "<f4"
  Shape shape;
  bool fortran = false;  ///< the first index varies fastest
  size_t data = 0;       ///< offset of the first element
};

/// The header's Python literal: a dictionary of a string, a bool and a tuple of integers.
class Literal {
 public:
  Literal(std::string_view text, std::string_view where) : text_(text), where_(where) {}

  NpyHeader parse() {
    NpyHeader header;
    std::set<std::string_view> keys;
    expect('{');
    while (!accept('}')) {
      const std::string_view key = string();
      expect(':');
      if (!keys.insert(key).second) fail(where_, "each header key once", key);
      if (key == "descr") {
        header.type = string();
      } else if (key == "fortran_order") {
        const std::string_view order = word();
        if (order != "True" && order != "False") fail(where_, "fortran_order True or False", order);
        header.fortran = order == "True";
      } else if (key == "shape") {
        header.shape = shape();
      } else {
        fail(where_, "header keys descr, fortran_order, shape", key);
      }
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_space();
    if (keys.size() != 3 || !text_.empty()) {
      fail(where_, "header keys descr, fortran_order, shape", "others");
    }
    return header;
  }

 private:
  void skip_space() { text_.remove_prefix(std::min(text_.find_first_not_of(" \n"), text_.size())); }
  bool accept(char wanted) {
    skip_space();
    if (!text_.starts_with(wanted)) return false;
    text_.remove_prefix(1);
    return true;
  }
  bool accept_word(std::string_view wanted) {
    skip_space();
    if (!text_.starts_with(wanted)) return false;
    text_.remove_prefix(wanted.size());
    return true;
  }
  void expect(char wanted) {
    if (!accept(wanted)) {
      fail(where_, fmt::format("'{}' in the header", wanted), text_.substr(0, 20));
    }
  }
  std::string_view cut(size_t length) {
    const std::string_view part = text_.substr(0, length);
    text_.remove_prefix(part.size());
    return part;
  }
  std::string_view word() {
    skip_space();
    return cut(std::min(text_.find_first_of(" ,}"), text_.size()));
  }
  std::string_view string() {
    skip_space();
    const char quote = text_.starts_with('"') ? '"' : '\'';
    expect(quote);
    const std::string_view part = cut(std::min(text_.find(quote), text_.size()));
    expect(quote);
    return part;
  }
  Shape shape() {
    Shape out;
    expect('(');
    while (!accept(')')) {
      // numpy.lib.format.open_memmap writes what it was given: np.int64(40).
      const bool wrapped = accept_word("np.int64(") || accept_word("numpy.int64(");
      skip_space();
      int64_t dim = 0;
      const auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), dim);
      if (error != std::errc() || dim < 0) {
        fail(where_, "dimensions from 0 to 2^63 - 1", text_.substr(0, 20));
      }
      cut(static_cast<size_t>(end - text_.data()));
      if (wrapped) expect(')');
      out.push_back(dim);
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
    return out;
  }
  std::string_view text_, where_;
};

Stored find_type(std::string_view name, std::string_view where) {
  Stored out{};
  std::string plain(name);
  // One byte has no order: '<', '>' and '|' say the same.
  if (name.size() == 3 && name[2] == '1') {
    plain[0] = '|';
  } else if (plain.starts_with('>')) {
    plain[0] = '<';
    out.big_endian = true;
  }
  if (plain == "<u2" || plain == "<u4") {
    plain[1] = 'i';
    out.is_unsigned = true;
  }
  for (const auto& [known, type] : kNpyTypes) {
    if (known != plain) continue;
    out.dtype = type;
    return out;
  }
  fail(where, "a type of b1 i1 u1 i2 u2 i4 u4 i8 f2 f4 f8", name);
}

/// `data` is not checked yet; the strings point into `bytes`.
NpyHeader parse_header(std::span<const std::byte> bytes, std::string_view where) {
  ByteReader in(bytes, where);
  if (in.left() < kNpyMagic.size() || in.text(kNpyMagic.size()) != kNpyMagic) {
    fail(where, "a .npy file", "another format");
  }
  const auto major = in.little<uint8_t>();
  const auto minor = in.little<uint8_t>();
  if (major < 1 || major > 3 || minor != 0) {
    fail(where, ".npy version 1.0, 2.0 or 3.0", fmt::format("{}.{}", major, minor));
  }
  const uint32_t length = major == 1 ? in.little<uint16_t>() : in.little<uint32_t>();
  NpyHeader header = Literal(in.text(length), where).parse();
  header.data = in.position();
  return header;
}

/// The element type, once `total` bytes of file are exactly what header and shape need.
Stored check_data(const NpyHeader& header, size_t total, std::string_view where) {
  const Stored stored = find_type(header.type, where);
  const int64_t needed =
      checked_mul(element_count(header.shape, where), size_of(stored.dtype), where);
  if (std::cmp_not_equal(total - header.data, needed)) {
    fail(where, fmt::format("{} bytes for {}", needed, to_string(header.shape)),
         fmt::format("{}", total - header.data));
  }
  return stored;
}

template <class From, class To>
Tensor widened(const Tensor& stored) {
  Tensor out(dtype_of<To>(), stored.shape());
  const auto from = stored.values<From>();
  std::ranges::transform(from, out.mutable_values<To>().begin(), [](From x) {
    return static_cast<To>(static_cast<std::make_unsigned_t<From>>(x));
  });
  return out;
}

/// `elements` in C order, as this machine and Tensor have them.
Tensor converted(const Stored& stored, const Shape& shape, std::span<const std::byte> elements) {
  std::vector<std::byte> swapped;
  if (stored.big_endian) {
    swapped.assign(elements.begin(), elements.end());
    const auto size = static_cast<std::ptrdiff_t>(size_of(stored.dtype));
    for (auto at = swapped.begin(); at != swapped.end(); at += size) std::reverse(at, at + size);
    elements = swapped;
  }
  const Tensor out = Tensor::of_bytes(stored.dtype, shape, elements);
  if (!stored.is_unsigned) return out;
  return stored.dtype == DType::i16 ? widened<int16_t, int32_t>(out)
                                    : widened<int32_t, int64_t>(out);
}

/// `from` has the elements of `to` with the first index varying fastest. Each axis in `dims` is
/// longer than 1 and there is an element, so there are fewer than 63 axes and the odometer turns at
/// most two of them an element.
template <size_t bytes>
void copy_to_c_order(const Shape& dims, const std::byte* from, std::span<std::byte> to) {
  std::vector<size_t> strides;
  size_t step = 1;
  for (const int64_t dim : dims) {
    strides.push_back(step);
    step *= static_cast<size_t>(dim);
  }
  Shape index(dims.size(), 0);
  size_t source = 0;
  for (size_t target = 0; target < to.size(); target += bytes) {
    std::memcpy(&to[target], from + source * bytes, bytes);
    for (size_t axis = dims.size(); axis-- > 0;) {
      source += strides[axis];
      if (++index[axis] < dims[axis]) break;
      source -= strides[axis] * static_cast<size_t>(dims[axis]);
      index[axis] = 0;
    }
  }
}

/// Whether the elements lie in another order than this program's.
bool is_transposed(const NpyHeader& header) {
  const auto longer = [](int64_t dim) { return dim != 1; };
  return header.fortran && std::ranges::count_if(header.shape, longer) > 1;
}

/// `elements` are those of `header`, which is_transposed().
std::vector<std::byte> in_c_order(const NpyHeader& header, DType dtype,
                                  std::span<const std::byte> elements) {
  std::vector<std::byte> ordered(elements.size());
  if (!ordered.empty()) {
    // Without the axes of length 1, of which a header may have any number.
    Shape dims;
    std::ranges::copy_if(header.shape, std::back_inserter(dims),
                         [](int64_t dim) { return dim > 1; });
    const int64_t size = size_of(dtype);
    const auto copy = size == 1   ? copy_to_c_order<1>
                      : size == 2 ? copy_to_c_order<2>
                      : size == 4 ? copy_to_c_order<4>
                                  : copy_to_c_order<8>;
    copy(dims, elements.data(), ordered);
  }
  return ordered;
}

Tensor read_elements(const NpyHeader& header, const Stored& stored,
                     std::span<const std::byte> elements) {
  if (!is_transposed(header)) return converted(stored, header.shape, elements);
  return converted(stored, header.shape, in_c_order(header, stored.dtype, elements));
}

/// Text of fixed width ("<U9", "|S4"), which a Tensor cannot hold.
bool is_text(std::string_view type) {
  return type.size() > 2 && (type[1] == 'U' || type[1] == 'S');
}

}  // namespace

Tensor parse_npy(std::span<const std::byte> bytes, std::string_view where) {
  const NpyHeader header = parse_header(bytes, where);
  const Stored stored = check_data(header, bytes.size(), where);
  return read_elements(header, stored, bytes.subspan(header.data));
}

Tensor read_npy(const InputFile& file) {
  const std::string& path = file.path();
  const int64_t size = file.size();
  const auto whole = file.bytes(0, size);  // only the header's pages are touched
  const std::span<const std::byte> bytes(whole.get(), static_cast<size_t>(size));
  const NpyHeader header = parse_header(bytes, path);
  const Stored stored = check_data(header, bytes.size(), path);
  if (is_transposed(header) || stored.big_endian || stored.is_unsigned) {
    return read_elements(header, stored, bytes.subspan(header.data));
  }
  return map_tensor(file, static_cast<int64_t>(header.data), stored.dtype, header.shape);
}

Tensor read_npy(const std::string& path) { return read_npy(InputFile(path)); }

bool is_npy(const InputFile& file) {
  if (std::cmp_less(file.size(), kNpyMagic.size())) return false;
  const auto head = file.bytes(0, static_cast<int64_t>(kNpyMagic.size()));
  return std::memcmp(head.get(), kNpyMagic.data(), kNpyMagic.size()) == 0;
}

bool is_npy(const std::string& path) { return is_npy(InputFile(path)); }

std::vector<NamedTensor> read_npz(const std::string& path) {
  const ZipReader zip(path);
  std::vector<NamedTensor> arrays;
  for (const ZipEntry& entry : zip.entries()) {
    const std::string here = fmt::format("{}: entry {}", path, entry.name);
    if (!entry.name.ends_with(kSuffix)) fail(here, "a name ending in .npy", "another");
    const Tensor bytes = zip.read(entry);
    if (entry.stored && crc32(bytes.bytes()) != entry.crc) {
      fail(here, "bytes that match their CRC-32", "damaged ones");
    }
    if (is_text(parse_header(bytes.bytes(), here).type)) continue;
    arrays.push_back(
        {entry.name.substr(0, entry.name.size() - kSuffix.size()), parse_npy(bytes.bytes(), here)});
  }
  return arrays;
}

}  // namespace scute
