// What a model's arithmetic costs, counted from its shapes.
#pragma once

#include <cstdint>

#include "scute/kernels/roofline.h"

namespace scute {

/// Multiply-adds by what they multiply, and exponentials; of a token, a picture: whoever counts
/// says.
struct ModelWork {
  int64_t f32 = 0, bf16 = 0, int8 = 0;
  int64_t exps = 0;  ///< of decays, SiLU and softplus

  int64_t of(ProductType type) const {
    return type == ProductType::f32 ? f32 : type == ProductType::bf16 ? bf16 : int8;
  }
  void add(ProductType type, int64_t multiply_adds) {
    (type == ProductType::f32 ? f32 : type == ProductType::bf16 ? bf16 : int8) += multiply_adds;
  }
  /// The work of `times` such.
  ModelWork operator*(int64_t times) const {
    return {f32 * times, bf16 * times, int8 * times, exps * times};
  }
  ModelWork operator+(const ModelWork& o) const {
    return {f32 + o.f32, bf16 + o.bf16, int8 + o.int8, exps + o.exps};
  }
  int64_t multiply_adds() const { return f32 + bf16 + int8; }
};

}  // namespace scute
