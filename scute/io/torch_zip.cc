#include "scute/io/torch_zip.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <numeric>
#include <optional>

#include "scute/base/checked.h"
#include "scute/base/error.h"
#include "scute/io/file.h"
#include "scute/io/mapped_tensor.h"
#include "scute/io/pickle.h"
#include "scute/io/zip.h"

namespace scute {
namespace {

std::string_view text_of(const Tensor& bytes) {
  const auto all = bytes.bytes();
  return {reinterpret_cast<const char*>(all.data()), all.size()};
}

/// The elements are contiguous in this order of the dimensions: the largest stride first.
std::vector<size_t> storage_order(const StoredTensor& tensor) {
  std::vector<size_t> order(tensor.shape.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return tensor.stride[a] > tensor.stride[b]; });
  // A dimension of one element is nowhere in memory; its stride means nothing.
  const auto real = std::stable_partition(order.begin(), order.end(),
                                          [&](size_t axis) { return tensor.shape[axis] == 1; });
  int64_t expected = 1;
  for (auto axis = order.end(); axis != real;) {
    --axis;
    if (tensor.stride[*axis] != expected) return {};
    expected *= tensor.shape[*axis];  // inside the storage, so no overflow
  }
  return order;
}

bool ascending_but_ones(const std::vector<size_t>& order, const Shape& shape) {
  size_t last = 0;
  for (const size_t axis : order) {
    if (shape[axis] == 1) continue;
    if (axis < last) return false;
    last = axis;
  }
  return true;
}

/// Elements from the tensor's first to its last, those between rows of a larger one included.
int64_t reach(const StoredTensor& tensor) {
  int64_t last = 0;  // inside the storage, so no overflow
  for (size_t i = 0; i < tensor.shape.size(); ++i) {
    last += (tensor.shape[i] - 1) * tensor.stride[i];
  }
  return last + 1;
}

/// Row-major copy of elements that lie at `from` with these strides.
template <size_t kBytes>
void gather(const std::byte* from, const StoredTensor& whole, std::byte* to) {
  StoredTensor tensor;  // without the dimensions of one element, of which there may be any number
  for (size_t axis = 0; axis < whole.shape.size(); ++axis) {
    if (whole.shape[axis] == 1) continue;
    tensor.shape.push_back(whole.shape[axis]);
    tensor.stride.push_back(whole.stride[axis]);
  }
  const size_t rank = tensor.shape.size();
  std::vector<int64_t> index(rank, 0);
  const int64_t count = element_count(tensor.shape, "tensor");
  int64_t position = 0;
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(to + i * int64_t{kBytes}, from + position * int64_t{kBytes}, kBytes);
    for (size_t axis = rank; axis-- > 0;) {
      position += tensor.stride[axis];
      if (++index[axis] < tensor.shape[axis]) break;
      position -= tensor.shape[axis] * tensor.stride[axis];
      index[axis] = 0;
    }
  }
}

class TorchReader {
 public:
  explicit TorchReader(const InputFile& file) : zip_(file), prefix_(archive_prefix()) {
    check_byte_order();
    // What strides may copy: each storage a few times, whatever the pickle claims; and a little
    // more, for one value spread over a row in a small file.
    copy_budget_ = int64_t{1} << 20;
    for (const ZipEntry& entry : zip_.entries()) copy_budget_ += 4 * entry.size;
  }

  TorchValue read() {
    const Tensor pickle = zip_.read(entry("data.pkl"));
    return value(parse_torch_pickle(pickle.bytes(), zip_.path()));
  }

 private:
  /// "ARCHIVE/" of the one entry ARCHIVE/data.pkl.
  std::string archive_prefix() const {
    constexpr std::string_view kName = "/data.pkl";
    std::string prefix;
    for (const ZipEntry& entry : zip_.entries()) {
      if (!entry.name.ends_with(kName)) continue;
      if (!prefix.empty()) fail(zip_.path(), "one data.pkl", "several");
      prefix = entry.name.substr(0, entry.name.size() - kName.size() + 1);
    }
    if (prefix.empty()) fail(zip_.path(), "a PyTorch checkpoint", "a zip archive without data.pkl");
    return prefix;
  }

  const ZipEntry& entry(const std::string& name) const {
    const ZipEntry* found = zip_.find(prefix_ + name);
    if (found == nullptr) fail(zip_.path(), fmt::format("an entry {}{}", prefix_, name), "none");
    return *found;
  }

  void check_byte_order() const {
    const ZipEntry* found = zip_.find(prefix_ + "byteorder");
    if (found == nullptr) return;  // written before PyTorch 2.1: little endian
    if (found->size > 64 || text_of(zip_.read(*found)) != "little") {
      fail(zip_.path(), "byte order little", "another");
    }
  }

  TorchValue value(PickleValue&& from) {
    if (auto* list = std::get_if<PickleValue::List>(&from.value)) {
      TorchValue::List out;
      for (PickleValue& item : *list) out.push_back(value(std::move(item)));
      return {std::move(out)};
    }
    if (auto* dict = std::get_if<PickleValue::Dict>(&from.value)) {
      TorchValue::Dict out;
      for (auto& [key, item] : *dict) out.emplace_back(std::move(key), value(std::move(item)));
      return {std::move(out)};
    }
    if (auto* stored = std::get_if<StoredTensor>(&from.value)) return {tensor(*stored)};
    if (auto* text = std::get_if<std::string>(&from.value)) return {std::move(*text)};
    if (auto* real = std::get_if<double>(&from.value)) return {*real};
    if (auto* integer = std::get_if<int64_t>(&from.value)) return {*integer};
    if (auto* truth = std::get_if<bool>(&from.value)) return {*truth};
    if (auto* opaque = std::get_if<OpaqueValue>(&from.value)) return {std::move(*opaque)};
    return {nullptr};
  }

  Tensor tensor(const StoredTensor& stored) {
    const ZipEntry& data = entry("data/" + stored.storage);
    const int64_t width = size_of(stored.dtype);
    const int64_t needed = checked_mul(stored.elements, width, zip_.path());
    if (data.size < needed) {
      fail(fmt::format("{}: entry {}", zip_.path(), data.name), fmt::format("{} bytes", needed),
           fmt::format("{}", data.size));
    }
    if (element_count(stored.shape, zip_.path()) == 0) return Tensor(stored.dtype, stored.shape);
    const std::vector<size_t> order = storage_order(stored);
    if (order.size() != stored.shape.size()) {
      return gathered(elements_of(stored, data, {reach(stored)}), stored);
    }
    const Tensor plain = in_file_order(stored, data, order);
    if (ascending_but_ones(order, stored.shape)) return plain.reshaped(stored.shape);
    return gathered(plain, stored);
  }

  /// The tensor's elements as they lie in the storage.
  Tensor in_file_order(const StoredTensor& stored, const ZipEntry& data,
                       const std::vector<size_t>& order) {
    Shape shape;
    for (const size_t axis : order) shape.push_back(stored.shape[axis]);
    return elements_of(stored, data, shape);
  }

  /// Elements of the storage from the tensor's first on.
  Tensor elements_of(const StoredTensor& stored, const ZipEntry& data, const Shape& shape) {
    const int64_t offset = stored.offset * size_of(stored.dtype);
    if (data.stored) return map_tensor(zip_.file(), data.offset + offset, stored.dtype, shape);
    auto& unpacked = unpacked_[stored.storage];
    if (!unpacked) unpacked = std::make_shared<Tensor>(zip_.read(data));
    return Tensor(stored.dtype, shape, unpacked, unpacked->bytes().data() + offset);
  }

  Tensor gathered(const Tensor& plain, const StoredTensor& stored) {
    const int64_t bytes =
        checked_mul(element_count(stored.shape, zip_.path()), size_of(stored.dtype), zip_.path());
    copy_budget_ -= std::min(bytes, copy_budget_ + 1);
    if (copy_budget_ < 0) {
      fail(zip_.path(), "transposed and strided tensors of a few times the file's size", "more");
    }
    std::vector<std::byte> out(static_cast<size_t>(bytes));
    const std::byte* from = plain.bytes().data();
    switch (size_of(stored.dtype)) {
      case 1:
        gather<1>(from, stored, out.data());
        break;
      case 2:
        gather<2>(from, stored, out.data());
        break;
      case 4:
        gather<4>(from, stored, out.data());
        break;
      default:
        gather<8>(from, stored, out.data());
        break;
    }
    return Tensor::of_bytes(stored.dtype, stored.shape, out);
  }

  ZipReader zip_;
  std::string prefix_;
  int64_t copy_budget_ = 0;                                  ///< bytes left
  std::map<std::string, std::shared_ptr<Tensor>> unpacked_;  ///< compressed storages
};

/// Files of torch.save before 1.6 begin with the pickle of a 10-byte magic number.
void refuse_old_style(const InputFile& file) {
  constexpr std::array<unsigned char, 4> kOldStyle = {0x80, 0x02, 0x8a, 0x0a};
  const std::string& path = file.path();
  const int64_t size = file.size();
  if (size < 4) fail(path, "a PyTorch zip checkpoint", fmt::format("{} bytes", size));
  const auto head = file.bytes(0, 4);
  if (std::memcmp(head.get(), kOldStyle.data(), kOldStyle.size()) == 0) {
    fail(path, "a PyTorch zip checkpoint",
         "the old format from before PyTorch 1.6; load and save it again with a newer PyTorch");
  }
  if (std::memcmp(head.get(), "PK", 2) != 0) {
    fail(path, "a PyTorch zip checkpoint", "a file that is no zip archive");
  }
}

}  // namespace

TorchValue::TorchValue() noexcept : value(nullptr) {}

TorchValue::TorchValue(Value v) : value(std::move(v)) {}

const TorchValue* TorchValue::find(std::string_view key) const {
  const auto* dict = std::get_if<Dict>(&value);
  if (dict == nullptr) return nullptr;
  const auto found =
      std::find_if(dict->begin(), dict->end(), [&](const auto& item) { return item.first == key; });
  return found == dict->end() ? nullptr : &found->second;
}

TorchValue read_torch(const InputFile& file) {
  refuse_old_style(file);
  return TorchReader(file).read();
}

TorchValue read_torch(const std::string& path) { return read_torch(InputFile(path)); }

}  // namespace scute
