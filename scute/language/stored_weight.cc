#include "scute/language/stored_weight.h"

#include <cstring>
#include <memory>
#include <utility>

namespace scute {
namespace {

bool is_shape(const NamedTensor& item) { return item.name.ends_with(".weight_shape"); }

/// Of all outputs, whichever came: a shape, or one scale.
bool is_of_all(const NamedTensor& item) { return item.tensor.rank() == 1; }

}  // namespace

void store_weight(const std::string& name, const QuantizedWeight& weight,
                  std::vector<NamedTensor>& to) {
  const auto keep = [&](const char* part, Tensor tensor) {
    to.push_back({name + part, std::move(tensor)});
  };
  if (weight.format.bits == 8) {
    keep(".weight", weight.codes);
    const bool one = weight.scales.size() == 1;
    keep(".weight_scale", one ? weight.scales.reshaped({1}) : weight.scales);
    return;
  }
  const std::vector<int64_t> shape{weight.outputs(), weight.inputs()};
  keep(".weight_packed", pack_int4(weight.codes));
  keep(".weight_shape", Tensor::of<int64_t>({2}, shape));
  keep(".weight_scale", weight.scales.rounded_to(DType::f16));
  if (weight.format.two_level) keep(".weight_channel_scale", weight.channel_scales);
}

/// Smaller tensors stay in memory: a mapping each costs more than they. Those of an expert are
/// small, and thousands.
bool StoredRows::on_disk(int64_t bytes) const {
  constexpr int64_t kLeast = int64_t{1} << 16;
  return scratch_ != nullptr && bytes >= kLeast;
}

StoredRows::Growing StoredRows::begin(const NamedTensor& some) const {
  Growing out{.name = some.name,
              .dtype = some.tensor.dtype(),
              .shape = some.tensor.shape(),
              .memory = {},
              .offset = 0};
  if (!is_of_all(some)) out.shape.front() = outputs_;
  const int64_t bytes = element_count(out.shape, some.name) * size_of(out.dtype);
  if (on_disk(bytes)) {
    out.offset = scratch_->reserve(bytes);
  } else {
    out.memory = Tensor(DType::i8, {bytes});
  }
  return out;
}

void StoredRows::add(int64_t first, std::vector<NamedTensor> some) {
  if (growing_.empty() && first == 0 && some.front().tensor.dim(0) == outputs_) {
    for (NamedTensor& item : some) {
      if (on_disk(std::ssize(item.tensor.bytes()))) item.tensor = scratch_->put(item.tensor);
    }
    whole_ = std::move(some);
    return;
  }
  if (growing_.empty()) {
    for (const NamedTensor& item : some) growing_.push_back(begin(item));
  }
  for (size_t i = 0; i < some.size(); ++i) {
    Growing& to = growing_[i];
    Tensor from = some[i].tensor;
    if (is_shape(some[i])) {
      from = Tensor::of<int64_t>({2}, std::vector<int64_t>{outputs_, from.values<int64_t>()[1]});
    }
    const int64_t of_row = std::ssize(from.bytes()) / from.dim(0);
    const int64_t place = is_of_all(some[i]) ? 0 : first * of_row;
    if (to.memory.size() == 0) {
      scratch_->write(to.offset + place, from.bytes());
    } else {
      std::memcpy(to.memory.mutable_values<int8_t>().data() + place, from.bytes().data(),
                  from.bytes().size());
    }
  }
}

std::vector<NamedTensor> StoredRows::take() {
  for (Growing& one : growing_) {
    if (one.memory.size() == 0) {
      whole_.push_back({one.name, scratch_->mapped(one.dtype, one.shape, one.offset)});
      continue;
    }
    const auto memory = std::make_shared<const Tensor>(std::move(one.memory));
    whole_.push_back({one.name, Tensor(one.dtype, one.shape, memory, memory->bytes().data())});
  }
  growing_.clear();
  return std::move(whole_);
}

}  // namespace scute
