// The tensors of one checkpoint by name, and the strict way to read them.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "scute/tensor/tensor.h"

namespace scute {

/// Tensors by name; what is taken is gone, so that what is left over can be refused.
class Weights {
 public:
  /// `source` is the file or folder named in errors.
  explicit Weights(std::string source = "weights") : source_(std::move(source)) {}
  Weights(const Weights&);
  Weights(Weights&&) noexcept;
  Weights& operator=(const Weights&);
  Weights& operator=(Weights&&) noexcept;
  ~Weights();

  const std::string& source() const { return source_; }
  /// Error when the name is there already.
  void add(std::string name, Tensor tensor);
  bool contains(std::string_view name) const { return tensors_.find(name) != tensors_.end(); }
  /// Error naming the nearest names when absent.
  const Tensor& at(std::string_view name) const;
  /// Gives the tensor away, so that its memory can be freed as soon as it is converted.
  Tensor take(std::string_view name);
  void rename(std::string_view from, std::string to);
  void erase(std::string_view name);
  std::vector<std::string> names() const;
  size_t size() const { return tensors_.size(); }

 private:
  std::string source_;
  std::map<std::string, Tensor, std::less<>> tensors_;
};

/// Reads a checkpoint strictly: collects every missing, misshapen, non-float or left-over tensor,
/// so that finish() can say them at once.
class WeightReader {
 public:
  explicit WeightReader(Weights& weights) : weights_(weights) {}

  bool contains(std::string_view name) const { return weights_.contains(name); }
  /// Takes a float tensor (f32, f16, bf16, f64) of exactly this shape, in its own precision. On a
  /// problem it is noted and an empty tensor is returned: call finish() before using any.
  Tensor take(const std::string& name, const Shape& shape);
  /// As take(), of exactly this type.
  Tensor take(const std::string& name, const Shape& shape, DType type);
  /// The tensor of this name without taking it, or null: to see which form something is stored in.
  const Tensor* peek(std::string_view name) const;
  /// Throws one Error that counts every problem and every tensor nobody took and lists the first 8
  /// of both.
  void finish() const;

 private:
  Tensor take_shaped(const std::string& name, const Shape& shape);

  Weights& weights_;
  std::vector<std::string> problems_;
};

}  // namespace scute
