#include <gtest/gtest.h>

#include <cstring>

#include "scute/kernels/round.h"
#include "scute/kernels/scan.h"
#include "scute/kernels/test_targets.h"

namespace scute::coded_scan_test {
namespace {

class CodedScan : public EachTarget {};
SCUTE_EACH_TARGET(CodedScan);

/// Codes of `rows` × `states`, and scales of a shape of theirs.
struct Codes {
  int64_t rows, states;
  std::vector<int8_t> values;
  std::vector<float> scales;
  int64_t scale_rows, scale_cols;

  Codes(int64_t all_rows, int64_t all_states, bool by_row, bool by_column)
      : rows(all_rows),
        states(all_states),
        scale_rows(by_row ? rows : 1),
        scale_cols(by_column ? states : 1) {
    Random random(11);
    for (int64_t i = 0; i < rows * states; ++i) {
      values.push_back(static_cast<int8_t>(static_cast<int>(random.below(256)) - 128));
    }
    for (int64_t i = 0; i < scale_rows * scale_cols; ++i) {
      scales.push_back(static_cast<float>(0.01 + 0.02 * random.uniform()));
    }
  }
  CodedState state(std::optional<uint64_t> key) {
    return {{values.data(), rows, states}, {scales.data(), scale_rows, scale_cols}, key};
  }
};

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// scan(state of floats, y) between opening and rounding, beside coded(first row, rows, codes, y)
/// for the rows before and after `cut`.
template <class Scan, class Coded>
void expect_same(Codes codes, int64_t tokens, std::optional<uint64_t> key, int64_t cut,
                 const Scan& scan, const Coded& coded) {
  const int64_t rows = codes.rows;
  Codes expected = codes;
  const CodedState state = expected.state(key);
  std::vector<float> h(static_cast<size_t>(rows * codes.states));
  std::vector<float> y(static_cast<size_t>(tokens * rows)), expected_y(y);
  const MatView<float> floats(h.data(), rows, codes.states);
  from_codes(state.codes, state.scales, floats);
  scan(floats, MatView<float>(expected_y.data(), tokens, rows));
  if (key) {
    to_codes_stochastic(floats, state.scales, *key, state.codes);
  } else {
    to_codes(floats, state.scales, state.codes);
  }
  coded(int64_t{0}, cut, codes.state(key), MatView<float>(y.data(), tokens, rows));
  coded(cut, rows - cut, codes.state(key), MatView<float>(y.data(), tokens, rows));
  EXPECT_EQ(codes.values, expected.values) << rows << " × " << codes.states << ", " << tokens;
  EXPECT_TRUE(same_bits(y, expected_y)) << rows << " × " << codes.states << ", " << tokens;
}

void compare_heads(const Codes& codes, int64_t heads, int64_t tokens, std::optional<uint64_t> key) {
  const int64_t E = codes.rows, N = codes.states, width = E / heads;
  const auto x = normal_values(tokens * E, 1), dt = normal_values(tokens * heads, 2);
  const auto B = normal_values(tokens * N, 3), C = normal_values(tokens * N, 4);
  const auto D = normal_values(heads, 5), bias = normal_values(heads, 6);
  const std::vector<float> A(static_cast<size_t>(heads), -0.5f);
  const HeadScan in{.x = {x.data(), tokens, E},
                    .dt = {dt.data(), tokens, heads},
                    .B = {B.data(), tokens, N},
                    .C = {C.data(), tokens, N},
                    .A = A.data(),
                    .D = D.data(),
                    .D_per_channel = false,
                    .dt_bias = bias.data(),
                    .heads = heads,
                    .head_width = width,
                    .groups = 1,
                    .state_size = N,
                    .dt_min = 0.0f,
                    .dt_max = 1e30f};
  expect_same(
      codes, tokens, key, heads / 2 * width,
      [&](MatView<float> h, MatView<float> y) { head_scan(in, h, y); },
      [&](int64_t first, int64_t count, const CodedState& state, MatView<float> y) {
        head_scan(in, first / width, count / width, state, y);
      });
}

void compare_channels(const Codes& codes, int64_t tokens, std::optional<uint64_t> key) {
  const int64_t E = codes.rows, N = codes.states;
  const auto x = normal_values(tokens * E, 1), dt = normal_values(tokens * E, 2);
  const auto B = normal_values(tokens * N, 3), C = normal_values(tokens * N, 4);
  const auto D = normal_values(E, 5), bias = normal_values(E, 6);
  auto A = normal_values(E * N, 7);
  for (float& a : A) a = a > 0 ? -a : a;
  const SelectiveScan in{.x = {x.data(), tokens, E},
                         .dt = {dt.data(), tokens, E},
                         .B = {B.data(), tokens, N},
                         .C = {C.data(), tokens, N},
                         .A = {A.data(), E, N},
                         .D = D.data(),
                         .dt_bias = bias.data()};
  expect_same(
      codes, tokens, key, E / 3,
      [&](MatView<float> h, MatView<float> y) { selective_scan(in, h, y); },
      [&](int64_t first, int64_t count, const CodedState& state, MatView<float> y) {
        selective_scan(in, first, count, state, y);
      });
}

template <class Compare>
void for_each_case(const Compare& compare) {
  for (const int64_t states : {int64_t{1}, int64_t{15}, int64_t{16}, int64_t{37}, kCodedStates}) {
    for (const int64_t tokens : {int64_t{1}, int64_t{5}, kCodedTokens}) {
      for (const bool by_row : {false, true}) {
        for (const bool by_column : {false, true}) {
          for (const std::optional<uint64_t> key : {std::optional<uint64_t>(77), {}}) {
            compare(states, by_row, by_column, tokens, key);
          }
        }
      }
    }
  }
}

TEST_P(CodedScan, heads_leave_the_bits_of_opening_scanning_and_rounding) {
  for_each_case([](int64_t states, bool by_row, bool by_column, int64_t tokens, auto key) {
    compare_heads(Codes(3 * 6, states, by_row, by_column), 3, tokens, key);
  });
  // More than 2^16 elements, whose numbers differ in their upper halves.
  compare_heads(Codes(24 * 64, 128, false, false), 24, 1, 5);
}

TEST_P(CodedScan, channels_leave_the_bits_of_opening_scanning_and_rounding) {
  for_each_case([](int64_t states, bool by_row, bool by_column, int64_t tokens, auto key) {
    compare_channels(Codes(55, states, by_row, by_column), tokens, key);
  });
}

}  // namespace
}  // namespace scute::coded_scan_test
