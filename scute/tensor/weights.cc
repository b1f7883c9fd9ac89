#include "scute/tensor/weights.h"

#include <fmt/format.h>

#include <algorithm>

#include "scute/base/error.h"
#include "scute/base/names.h"

namespace scute {

Weights::Weights(const Weights&) = default;
Weights::Weights(Weights&&) noexcept = default;
Weights& Weights::operator=(const Weights&) = default;
Weights& Weights::operator=(Weights&&) noexcept = default;
Weights::~Weights() = default;

void Weights::add(std::string name, Tensor tensor) {
  const auto [where, fresh] = tensors_.emplace(std::move(name), std::move(tensor));
  if (!fresh) fail(source_, "each tensor once", fmt::format("\"{}\" twice", where->first));
}

const Tensor& Weights::at(std::string_view name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    fail(source_, fmt::format("the tensor {}", name), "none" + did_you_mean(name, names()));
  }
  return found->second;
}

Tensor Weights::take(std::string_view name) {
  Tensor out = at(name);
  erase(name);
  return out;
}

void Weights::rename(std::string_view from, std::string to) { add(std::move(to), take(from)); }

void Weights::erase(std::string_view name) {
  const auto found = tensors_.find(name);
  if (found != tensors_.end()) tensors_.erase(found);
}

std::vector<std::string> Weights::names() const {
  std::vector<std::string> out;
  for (const auto& [name, tensor] : tensors_) out.push_back(name);
  return out;
}

Tensor WeightReader::take_shaped(const std::string& name, const Shape& shape) {
  if (!weights_.contains(name)) {
    problems_.push_back(fmt::format("missing {} {}", name, to_string(shape)));
    return {};
  }
  Tensor tensor = weights_.take(name);
  if (tensor.shape() == shape) return tensor;
  problems_.push_back(fmt::format("{} has the shape {}, not {}", name, to_string(tensor.shape()),
                                  to_string(shape)));
  return {};
}

Tensor WeightReader::take(const std::string& name, const Shape& shape) {
  Tensor tensor = take_shaped(name, shape);
  if (is_float(tensor.dtype())) return tensor;
  problems_.push_back(fmt::format("{} holds {}, not floats", name, name_of(tensor.dtype())));
  return {};
}

Tensor WeightReader::take(const std::string& name, const Shape& shape, DType type) {
  Tensor tensor = take_shaped(name, shape);
  if (tensor.dtype() == type || tensor.shape() != shape) return tensor;
  problems_.push_back(
      fmt::format("{} holds {}, not {}", name, name_of(tensor.dtype()), name_of(type)));
  return {};
}

const Tensor* WeightReader::peek(std::string_view name) const {
  return weights_.contains(name) ? &weights_.at(name) : nullptr;
}

void WeightReader::finish() const {
  std::vector<std::string> unknown;
  for (const std::string& name : weights_.names()) {
    unknown.push_back(
        fmt::format("unknown tensor {} {}", name, to_string(weights_.at(name).shape())));
  }
  const size_t count = problems_.size() + unknown.size();
  if (count == 0) return;
  // A model of 64 layers under other names has 1,400 problems of two kinds.
  constexpr size_t kShown = 8;
  std::vector<std::string> shown;
  const auto show = [&](const std::vector<std::string>& some, size_t most) {
    const size_t first = std::min(some.size(), most);
    shown.insert(shown.end(), some.begin(), some.begin() + static_cast<std::ptrdiff_t>(first));
    if (first < some.size()) shown.push_back(fmt::format("{} more such", some.size() - first));
  };
  show(problems_, kShown);
  show(unknown, kShown);
  fail(weights_.source(), "exactly the tensors its config describes",
       fmt::format("{} problem{}: {}", count, count == 1 ? "" : "s", joined(shown, "; ")));
}

}  // namespace scute
