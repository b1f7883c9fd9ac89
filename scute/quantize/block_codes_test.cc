#include "scute/quantize/block_codes.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "scute/base/hash.h"
#include "scute/base/random.h"
#include "scute/tensor/dtype.h"

namespace scute::block_codes_test {
namespace {

template <class F>
std::vector<float> block_of(F value) {
  std::vector<float> out;
  for (int i = 0; i < 32; ++i) out.push_back(static_cast<float>(value(i)));
  return out;
}
std::vector<std::byte> q8(const std::vector<float>& values) {
  std::vector<std::byte> out(values.size() / kCodesOfBlock * kBytesOfQ8);
  round_to_q8_0(values, out);
  return out;
}
std::vector<std::byte> q4(const std::vector<float>& values) {
  std::vector<std::byte> out(values.size() / kCodesOfBlock * kBytesOfQ4);
  round_to_q4_0(values, out);
  return out;
}
std::string hex_of(const std::vector<std::byte>& bytes) {
  std::string out;
  for (const std::byte b : bytes) out += fmt::format("{:02x}", static_cast<int>(b));
  return out;
}
std::string hash_of(const std::vector<std::byte>& bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.hex();
}

// All bytes and hashes below are those of gguf.quants.quantize, gguf 0.19.0 of PyPI.

TEST(BlockCodes, AreThePackagesBytes) {
  const auto ramp = block_of([](int i) { return (i - 20) / 8.0; });
  EXPECT_EQ(hex_of(q8(ramp)),
            "0a2581878e949aa1a7adb4bac0c7cdd4dae0e7edf3fa00060d131920262c33394046");
  EXPECT_EQ(hex_of(q4(ramp)), "00356070718182829293a3a4a4b4b5c5c6c6");
  // The scale of Q8_0 is 1 here, and every other code lies between two.
  const auto ties = block_of([](int i) { return i == 0 ? 127 : i - 15.5; });
  EXPECT_EQ(hex_of(q8(ties)),
            "003c7ff1f2f3f4f5f6f7f8f9fafbfcfdfeff0102030405060708090a0b0c0d0e0f10");
  EXPECT_EQ(hex_of(q4(ties)), "f0cb80898989898989897878787878787878");
  const auto mixed = block_of([](int i) { return (i * 37 % 64 - 31) / 16.0; });
  EXPECT_EQ(hex_of(q8(mixed)),
            "08248518ad40d467fc9124b94be073089d30c457ec7f14a93cd063f88d20b547dc6f");
  EXPECT_EQ(hex_of(q4(mixed)), "00b4cf379d047be248bf269df36ad148ae15");
}

TEST(BlockCodes, OfZerosAndOfSubnormalScales) {
  const auto zeros = block_of([](int) { return 0; });
  EXPECT_EQ(hex_of(q8(zeros)), std::string(68, '0'));
  EXPECT_EQ(hex_of(q4(zeros)), "008088888888888888888888888888888888");
  const auto tiny = block_of([](int i) { return (i - 16) * 1e-7; });
  EXPECT_EQ(hex_of(q8(tiny)),
            "000081899199a1a9b1b9c0c8d0d8e0e8f0f8000810182028303840474f575f676f77");
  EXPECT_EQ(hex_of(q4(tiny)), "0300809091a2a2b3b3c4c4d5d5e6e6f7f7f8");
  // 1/d would be infinite: codes of zero, not of no number.
  const auto least = block_of([](int i) { return i == 3 ? 1e-45 : 0; });
  EXPECT_EQ(hex_of(q8(least)), std::string(68, '0'));
}

/// 2048 numbers of a generator that Python repeats.
std::vector<float> many() {
  std::vector<float> out;
  uint64_t state = 1;
  for (int i = 0; i < 32 * 64; ++i) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    out.push_back(static_cast<float>(static_cast<double>(state >> 40) / 8388608.0 - 1) * 0.1F);
  }
  return out;
}

TEST(BlockCodes, OfManyBlocksToo) {
  EXPECT_EQ(hash_of(q8(many())),
            "d91a4e099ee1e71b4d5a1d39a22a073bdb1538e11332c9fa46524579741b0404");
  EXPECT_EQ(hash_of(q4(many())),
            "c7e92c357a8b3364852e964c74439236ca703cb4d63fc1ca8df5423f220f1066");
}

float scale_of(const std::byte* block) {
  f16 scale{};
  std::memcpy(&scale.bits, block, 2);
  return to_float(scale);
}

TEST(BlockCodes, StoredValuesAreWithinTheBound) {
  Random random(5);
  for (int trial = 0; trial < 200; ++trial) {
    const double size = std::exp(4 * random.normal() - 2);
    std::vector<float> x;
    for (int i = 0; i < 32; ++i) x.push_back(static_cast<float>(size * random.normal()));
    if (trial % 2 == 0) x[7] = -*std::ranges::max_element(x);  // both ends of Q4_0
    float most = 0;
    for (const float v : x) most = std::max(most, std::abs(v));
    const auto eight = q8(x), four = q4(x);
    const float d8 = scale_of(eight.data()), d4 = scale_of(four.data());
    for (size_t i = 0; i < 32; ++i) {
      const auto code8 = static_cast<int8_t>(eight[2 + i]);
      EXPECT_LE(std::abs(x[i] - d8 * code8), 0.0045 * most + 127 * std::exp2(-25)) << trial;
      const int byte = static_cast<int>(four[2 + i % 16]);
      const int code4 = (i < 16 ? byte & 15 : byte >> 4) - 8;
      EXPECT_LE(std::abs(x[i] - d4 * static_cast<float>(code4)), 0.126 * most + 8 * std::exp2(-25))
          << trial;
    }
  }
}

}  // namespace
}  // namespace scute::block_codes_test
