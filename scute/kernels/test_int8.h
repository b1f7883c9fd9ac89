// For tests of int8 products: codes, right sums, and every way that there is to form them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "scute/base/random.h"
#include "scute/kernels/gemm_int8_kernel.h"
#include "scute/kernels/test_targets.h"
#include "scute/tensor/tensor.h"

namespace scute {

using Codes = std::vector<int8_t>;
using Sums = std::vector<int32_t>;
using Floats = std::vector<float>;

/// Every code is as likely, but for the two extremes: one place in ten each.
inline Codes draw(int64_t n, uint64_t seed) {
  Random random(seed);
  Codes codes(static_cast<size_t>(n));
  for (int8_t& code : codes) {
    const auto value = static_cast<int>(random.below(256 + 64));
    code = static_cast<int8_t>(value < 256 ? value - 128 : value % 2 == 0 ? 127 : -128);
  }
  return codes;
}

inline MatView<const int8_t> view(const Codes& codes, int64_t rows) {
  return {codes.data(), rows, std::ssize(codes) / rows};
}

inline Tensor matrix(const Codes& codes, int64_t rows) {
  return Tensor::of<int8_t>({rows, std::ssize(codes) / rows}, codes);
}

/// The sums in 64 bits.
inline std::vector<int64_t> expected(MatView<const int8_t> x, MatView<const int8_t> w) {
  std::vector<int64_t> sums;
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t o = 0; o < w.rows; ++o) {
      int64_t sum = 0;
      for (int64_t k = 0; k < x.cols; ++k) sum += int64_t{x.row(r)[k]} * w.row(o)[k];
      sums.push_back(sum);
    }
  }
  return sums;
}

/// One way to form the products, with the calls of GemmInt8.
struct Way {
  std::string name;
  std::shared_ptr<const GemmInt8::Impl> impl;

  int64_t input_bytes(int64_t rows) const { return impl->input_bytes(rows); }
  void prepare(MatView<const int8_t> x, int64_t first, int64_t count, std::byte* to) const {
    impl->prepare(x, first, count, to);
  }
  void multiply(const std::byte* inputs, int64_t first, MatView<int32_t> y) const {
    impl->multiply(inputs, first, Int8Output(y));
  }
  void multiply(const std::byte* inputs, int64_t first, const float* scales,
                MatView<float> y) const {
    impl->multiply(inputs, first, Int8Output(y, scales));
  }
};

/// Every way that this machine has, with the instruction set of the test.
inline std::vector<Way> ways(const Tensor& codes) {
  std::vector<Way> all;
  for (const Int8Products products : int8_products()) {
    all.push_back({std::string(int8_kernel(products).name), make_own_gemm_int8(codes, products)});
  }
  return all;
}

/// The rows of x, prepared by `product`, surrounded by bytes that must stay.
template <class Product>
class Prepared {
 public:
  Prepared(const Product& product, MatView<const int8_t> x)
      : size_(product.input_bytes(x.rows)), memory_(DType::u8, {size_ + 64}) {
    std::ranges::fill(memory_.template mutable_values<uint8_t>(), uint8_t{0xa5});
    bytes_ = reinterpret_cast<std::byte*>(memory_.template mutable_values<uint8_t>().data());
    // The later rows first.
    const int64_t cut = x.rows - x.rows / 3;
    product.prepare(x, cut, x.rows - cut, bytes_);
    product.prepare(x, 0, cut, bytes_);
    EXPECT_EQ(bytes_[size_], std::byte{0xa5}) << "more than input_bytes() were written";
  }
  const std::byte* data() const { return bytes_; }

 private:
  int64_t size_;
  Tensor memory_;
  std::byte* bytes_;
};

template <class Product>
void multiply(const Product& product, MatView<const int8_t> x, MatView<int32_t> y) {
  product.multiply(Prepared(product, x).data(), 0, y);
}
template <class Product>
void multiply(const Product& product, MatView<const int8_t> x, const float* scales,
              MatView<float> y) {
  product.multiply(Prepared(product, x).data(), 0, scales, y);
}

/// Sums must be right to the last bit, and the scaled ones one float multiplication away from them.
template <class Product>
void expect_exact(const Product& product, MatView<const int8_t> x, MatView<const int8_t> w) {
  const auto right = expected(x, w);
  Sums sums(right.size(), 12345);
  multiply(product, x, MatView<int32_t>(sums.data(), x.rows, w.rows));
  ASSERT_TRUE(std::equal(sums.begin(), sums.end(), right.begin()));
  const Floats scales = normal_values(w.rows, 3);
  Floats scaled(right.size(), std::nanf(""));
  multiply(product, x, scales.data(), MatView<float>(scaled.data(), x.rows, w.rows));
  for (size_t i = 0; i < right.size(); ++i) {
    ASSERT_EQ(scaled[i], static_cast<float>(sums[i]) * scales[i % scales.size()]) << i;
  }
}

/// The outputs in parts, cut at multiples of 32, are those of one call.
template <class Product>
void expect_parts_equal_the_whole(const Product& product, MatView<const int8_t> x,
                                  int64_t outputs) {
  const auto size = static_cast<size_t>(x.rows * outputs);
  const Floats scales = normal_values(outputs, 3);
  const Prepared prepared(product, x);
  Sums sums(size), parts(size, -1);
  Floats scaled(size), scaled_parts(size, -1.0f);
  product.multiply(prepared.data(), 0, MatView<int32_t>(sums.data(), x.rows, outputs));
  product.multiply(prepared.data(), 0, scales.data(),
                   MatView<float>(scaled.data(), x.rows, outputs));
  const std::vector<int64_t> cuts{0, 32, 96, 128, outputs - outputs % 32, outputs};
  for (size_t i = 0; i + 1 < cuts.size(); ++i) {
    const int64_t first = cuts[i], count = cuts[i + 1] - first;
    product.multiply(prepared.data(), first,
                     MatView<int32_t>(parts.data(), x.rows, outputs).columns(first, count));
    product.multiply(prepared.data(), first, scales.data() + first,
                     MatView<float>(scaled_parts.data(), x.rows, outputs).columns(first, count));
  }
  EXPECT_EQ(parts, sums);
  EXPECT_EQ(scaled_parts, scaled);
}

}  // namespace scute
