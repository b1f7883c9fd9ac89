#include "scute/kernels/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "scute/kernels/reference.h"
#include "scute/kernels/test_targets.h"
#include "scute/tensor/dtype.h"

namespace scute::histogram_test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kTiny = std::numeric_limits<float>::denorm_min();
constexpr float kMost = std::numeric_limits<float>::max();

class Histogram : public EachTarget {};
SCUTE_EACH_TARGET(Histogram);

/// Field by field, ±0 told apart: files must not depend on the order of the values.
void expect_same(const ValueScan& found, const ValueScan& expected, const std::string& what) {
  EXPECT_EQ(found.min, expected.min) << what;
  EXPECT_EQ(found.max, expected.max) << what;
  EXPECT_EQ(found.smallest_nonzero, expected.smallest_nonzero) << what;
  EXPECT_EQ(found.zeros, expected.zeros) << what;
  EXPECT_EQ(found.nans, expected.nans) << what;
  EXPECT_EQ(found.infs, expected.infs) << what;
  EXPECT_EQ(found.bits_or, expected.bits_or) << what;
  EXPECT_FALSE(std::signbit(found.min) && found.min == 0) << what;
  EXPECT_FALSE(std::signbit(found.max) && found.max == 0) << what;
}

/// Both at once are each of them.
void expect_same_at_once(const std::vector<float>& x, int fine) {
  std::vector<uint32_t> found(static_cast<size_t>(bucket_table_size(fine)), 7u), expected = found;
  reference::count_buckets(x.data(), std::ssize(x), fine, expected.data());
  expect_same(scan_and_count(x.data(), std::ssize(x), fine, found.data()),
              reference::scan_values(x.data(), std::ssize(x)), "at once");
  EXPECT_EQ(found, expected) << x.size() << " values at once, fine " << fine;
}

TEST_P(Histogram, counts_every_bit_pattern_where_it_belongs) {
  for (const int fine : {0, 3, 7, 8, 10}) {
    for (const int64_t n : kSizes) {
      std::vector<float> x = normal_values(n, 1, 3.0);
      for (size_t i = 0; i + 9 < x.size(); i += 11) x[i] = std::vector{kNan, -kInf, -0.0f}[i % 3];
      std::vector<uint32_t> found(static_cast<size_t>(bucket_table_size(fine)), 7u);
      std::vector<uint32_t> expected = found;  // counts are added to what is there
      count_buckets(x.data(), n, fine, found.data());
      reference::count_buckets(x.data(), n, fine, expected.data());
      EXPECT_EQ(found, expected) << n << " values, fine " << fine;
      expect_same_at_once(x, fine);
    }
  }
}

TEST_P(Histogram, counts_data_that_is_full_of_zeros) {
  // Zeros everywhere, in every second place, in runs longer than a block, and hardly any; −0 and
  // the smallest float are not +0.
  for (const int64_t n : {1, 31, 1000, 1024, 1025, 5003}) {
    for (const int64_t run : {1, 7, 2000}) {
      for (const int64_t part : {1, 2, 9, 40}) {
        std::vector<float> x = normal_values(n, 1, 3.0);
        for (int64_t i = 0; i < n; ++i) {
          const bool zero = i / run % part == 0;
          const auto at = static_cast<size_t>(i);
          if (zero) x[at] = i % 5 == 4 ? -0.0f : (i % 11 == 10 ? kTiny : 0.0f);
        }
        std::vector<uint32_t> found(static_cast<size_t>(bucket_table_size(8)), 7u);
        std::vector<uint32_t> expected = found;
        count_buckets(x.data(), n, 8, found.data());
        reference::count_buckets(x.data(), n, 8, expected.data());
        expect_same_at_once(x, 8);
        EXPECT_EQ(found, expected) << n << " values, runs of " << run << ", one of " << part;
      }
    }
  }
}

TEST_P(Histogram, counts_a_million_equal_values) {
  const std::vector<float> x(1000003, -0.0f);
  std::vector<uint32_t> table(static_cast<size_t>(bucket_table_size(8)));
  count_buckets(x.data(), std::ssize(x), 8, table.data());
  EXPECT_EQ(table[1u << 16], 1000003u);
  EXPECT_EQ(std::count(table.begin(), table.end(), 0u), std::ssize(table) - 1);
}

TEST_P(Histogram, scans_any_mixture_of_values) {
  const std::vector<float> special = {0.0f,  -0.0f,  kInf,  -kInf,  kNan, -kNan,
                                      kTiny, -kTiny, kMost, -kMost, 1.0f, -1.0f};
  for (const int64_t n : {0, 1, 2, 3, 4, 7, 8, 15, 16, 17, 33, 100, 2047, 2048, 2049, 10001}) {
    for (uint64_t subset = 0; subset<256; subset += n> 1000 ? 17 : 1) {
      // Few special values, so that "all positive", "no zero", "only NaN" all come about.
      Random random(subset * 131 + static_cast<uint64_t>(n));
      std::vector<float> x(static_cast<size_t>(n));
      const uint64_t kinds = 1 + subset % 4, first = random.below(special.size());
      for (float& v : x) v = special[(first + random.below(kinds)) % special.size()];
      expect_same(scan_values(x.data(), n), reference::scan_values(x.data(), n),
                  std::to_string(n) + " values, subset " + std::to_string(subset));
    }
  }
}

TEST_P(Histogram, scans_values_of_one_sign) {
  for (const float sign : {1.0f, -1.0f}) {
    for (const int64_t n : kSizes) {
      std::vector<float> x = normal_values(n, 5);
      for (float& v : x) v = std::copysign(v, sign);
      expect_same(scan_values(x.data(), n), reference::scan_values(x.data(), n), "without zero");
      if (n > 0) x[static_cast<size_t>(n / 2)] = 0.0f;
      expect_same(scan_values(x.data(), n), reference::scan_values(x.data(), n), "with zero");
    }
  }
}

TEST_P(Histogram, scan_of_parts_merges_to_the_scan_of_all) {
  std::vector<float> x = normal_values(5000, 9);
  x[100] = kNan;
  x[2500] = 0.0f;
  x[4999] = kInf;
  for (const int64_t cut : {0, 1, 99, 2048, 3333, 5000}) {
    ValueScan merged = scan_values(x.data(), cut);
    merged.merge(scan_values(x.data() + cut, 5000 - cut));
    expect_same(merged, scan_values(x.data(), 5000), "cut at " + std::to_string(cut));
  }
}

TEST_P(Histogram, bits_or_tells_bfloat16_values) {
  std::vector<float> x = normal_values(777, 3);
  for (float& v : x) v = to_float(to_bf16(v));
  EXPECT_EQ(scan_values(x.data(), 777).bits_or & 0xffffu, 0u);
  x[500] = 0.1f;
  EXPECT_NE(scan_values(x.data(), 777).bits_or & 0xffffu, 0u);
}

TEST_P(Histogram, column_magnitudes_follow_the_stride_and_ignore_nan) {
  for (const int64_t cols : kSizes) {
    for (const int64_t rows : {0, 1, 7, 8, 9, 100}) {
      const int64_t stride = cols + 3;
      std::vector<float> x = normal_values(rows * stride + 1, 4);
      for (size_t i = 0; i < x.size(); i += 13) x[i] = kNan;
      for (size_t i = 5; i < x.size(); i += 101) x[i] = -kInf;
      std::vector<float> found = normal_values(cols, 5);  // below zero in places: |x| wins
      std::vector<float> expected = found;
      column_absmax(x.data(), rows, cols, stride, found.data());
      reference::column_absmax(x.data(), rows, cols, stride, expected.data());
      EXPECT_EQ(found, expected) << rows << " × " << cols;
    }
  }
}

TEST_P(Histogram, column_sums_are_those_of_the_rows_in_order) {
  for (const int64_t cols : kSizes) {
    for (const int64_t rows : {0, 1, 7, 8, 9, 1000}) {
      const int64_t stride = cols + 1;
      const std::vector<float> x = normal_values(rows * stride + 1, 6);
      std::vector<double> found(static_cast<size_t>(cols), 0.1), expected = found;
      column_abssum(x.data(), rows, cols, stride, found.data());
      reference::column_abssum(x.data(), rows, cols, stride, expected.data());
      EXPECT_EQ(found, expected) << rows << " × " << cols;  // the same additions: the same bits
    }
  }
}

}  // namespace
}  // namespace scute::histogram_test
