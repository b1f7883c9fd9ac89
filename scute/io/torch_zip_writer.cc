#include <fmt/core.h>

#include <bit>
#include <limits>

#include "scute/base/checked.h"
#include "scute/base/error.h"
#include "scute/io/file.h"
#include "scute/io/pickle.h"
#include "scute/io/torch_zip.h"
#include "scute/io/zip.h"

namespace scute {
namespace {

/// Writes a pickle of protocol 2, without a memo: nothing is shared, so nothing needs one.
class Pickler {
 public:
  explicit Pickler(std::string_view where) : where_(where) { out_ = "\x80\x02"; }

  void write(const TorchValue& value) {
    std::visit([this](const auto& item) { put(item); }, value.value);
  }
  std::string finish() {
    out_ += '.';
    return std::move(out_);
  }
  const std::vector<Tensor>& storages() const { return storages_; }

 private:
  template <class T>
  void raw(char opcode, T value) {
    out_ += opcode;
    out_.append(reinterpret_cast<const char*>(&value), sizeof(value));
  }
  void global(std::string_view module, std::string_view name) {
    out_ += fmt::format("c{}\n{}\n", module, name);
  }

  void put(std::nullptr_t) { out_ += 'N'; }
  void put(const OpaqueValue&) { out_ += 'N'; }
  void put(bool value) { out_ += value ? '\x88' : '\x89'; }
  void put(int64_t value) {
    if (std::in_range<int32_t>(value)) {
      raw('J', static_cast<int32_t>(value));
    } else {
      out_ += "\x8a\x08";  // LONG1 of 8 bytes
      out_.append(reinterpret_cast<const char*>(&value), sizeof(value));
    }
  }
  void put(double value) { raw('G', __builtin_bswap64(std::bit_cast<uint64_t>(value))); }
  void put(const std::string& value) {
    raw('X', narrow<uint32_t>(value.size(), where_));
    out_ += value;
  }
  void put(const TorchValue::List& list) {
    out_ += "](";
    for (const TorchValue& item : list) write(item);
    out_ += 'e';
  }
  void put(const TorchValue::Dict& dict) {
    out_ += "}(";
    for (const auto& [key, item] : dict) {
      if (std::holds_alternative<OpaqueValue>(item.value)) continue;
      put(key);
      write(item);
    }
    out_ += 'u';
  }
  void put_tuple(const Shape& values) {
    out_ += '(';
    for (const int64_t value : values) put(value);
    out_ += 't';
  }
  void put(const Tensor& tensor) {
    global("torch._utils", "_rebuild_tensor_v2");
    out_ += "((";  // the arguments; in them the storage's persistent id
    put(std::string("storage"));
    global("torch", storage_name(tensor.dtype()));
    put(std::to_string(storages_.size()));
    put(std::string("cpu"));
    put(tensor.size());
    out_ += "tQ";
    put(int64_t{0});
    put_tuple(tensor.shape());
    put_tuple(strides(tensor.shape()));
    put(false);  // requires_grad
    global("collections", "OrderedDict");
    out_ += ")RtR";  // no hooks
    storages_.push_back(tensor);
  }
  static Shape strides(const Shape& shape) {
    Shape out(shape.size(), 1);
    for (size_t i = shape.size(); i-- > 1;) out[i - 1] = out[i] * std::max<int64_t>(shape[i], 1);
    return out;
  }

  std::string_view where_;
  std::string out_;
  std::vector<Tensor> storages_;
};

}  // namespace

void write_torch(const std::string& path, const TorchValue& value) {
  Pickler pickler(path);
  pickler.write(value);
  AtomicFile file(path);
  ZipWriter zip(file);
  const auto add = [&](const std::string& name, std::string_view text) {
    zip.add("archive/" + name, std::as_bytes(std::span(text)));
  };
  add("data.pkl", pickler.finish());
  add("byteorder", "little");
  for (size_t i = 0; i < pickler.storages().size(); ++i) {
    zip.add(fmt::format("archive/data/{}", i), pickler.storages()[i].bytes());
  }
  add("version", "3\n");
  zip.finish();
  file.commit();
}

}  // namespace scute
