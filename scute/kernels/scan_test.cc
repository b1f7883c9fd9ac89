#include "scute/kernels/scan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "scute/kernels/reference.h"
#include "scute/kernels/test_targets.h"

namespace scute::scan_test {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr double kUlp = 0x1p-23;

class Scan : public EachTarget {};
SCUTE_EACH_TARGET(Scan);

using Values = std::vector<float>;

bool same_bits(const Values& a, const Values& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

Values magnitudes(Values values) {
  for (float& v : values) v = std::abs(v);
  return values;
}

/// A recurrence's inputs. B and C lie in wider rows, as they do behind a projection; x does too.
struct Mamba1 {
  int64_t L, E, N;
  Values x, dt, BC, A, D, bias, state;
  Mamba1(int64_t length, int64_t channels, int64_t states)
      : L(length),
        E(channels),
        N(states),
        x(normal_values(L * (E + 3), 1)),
        dt(normal_values(L * E, 2)),
        BC(normal_values(L * (2 * N + 1), 3)),
        A(magnitudes(normal_values(E * N, 4, 4.0))),
        D(normal_values(E, 5)),
        bias(normal_values(E, 6, 2.0)),
        state(normal_values(E * N, 7)) {
    for (float& a : A) a = -a;
  }
  SelectiveScan from(int64_t first, int64_t count) const {
    return {.x = {x.data() + first * (E + 3), count, E, E + 3},
            .dt = {dt.data() + first * E, count, E},
            .B = {BC.data() + first * (2 * N + 1), count, N, 2 * N + 1},
            .C = {BC.data() + first * (2 * N + 1) + N, count, N, 2 * N + 1},
            .A = {A.data(), E, N},
            .D = D.data(),
            .dt_bias = bias.data()};
  }
  int64_t rows() const { return E; }
  void run(int64_t first, int64_t count, Values& h, float* y, int64_t stride) const {
    selective_scan(from(first, count), {h.data(), E, N}, {y, count, E, stride});
  }
  void reference(MatView<double> h, MatView<double> y) const {
    reference::selective_scan(from(0, L), h, y);
  }
  Mamba1 absolute() const {
    Mamba1 out = *this;
    for (Values* v : {&out.x, &out.BC, &out.D, &out.state}) *v = magnitudes(*v);
    return out;
  }
};

struct Mamba2 {
  int64_t L, H, P, G, N;
  bool per_channel;
  float dt_min, dt_max;
  Values x, dt, BC, A, D, bias, state;
  Mamba2(int64_t length, int64_t heads, int64_t width, int64_t groups, int64_t states,
         bool D_per_channel = false, float least = 0.0f, float most = 1e30f)
      : L(length),
        H(heads),
        P(width),
        G(groups),
        N(states),
        per_channel(D_per_channel),
        dt_min(least),
        dt_max(most),
        x(normal_values(L * (H * P + 3), 1)),
        dt(normal_values(L * (H + 1), 2)),
        BC(normal_values(L * (2 * G * N + 1), 3)),
        A(magnitudes(normal_values(H, 4, 4.0))),
        D(normal_values(H * P, 5)),
        bias(normal_values(H, 6, 2.0)),
        state(normal_values(H * P * N, 7)) {
    for (float& a : A) a = -a;
  }
  HeadScan from(int64_t first, int64_t count) const {
    const int64_t width = 2 * G * N + 1;
    return {.x = {x.data() + first * (H * P + 3), count, H * P, H * P + 3},
            .dt = {dt.data() + first * (H + 1), count, H, H + 1},
            .B = {BC.data() + first * width, count, G * N, width},
            .C = {BC.data() + first * width + G * N, count, G * N, width},
            .A = A.data(),
            .D = D.data(),
            .D_per_channel = per_channel,
            .dt_bias = bias.data(),
            .heads = H,
            .head_width = P,
            .groups = G,
            .state_size = N,
            .dt_min = dt_min,
            .dt_max = dt_max};
  }
  int64_t rows() const { return H * P; }
  void run(int64_t first, int64_t count, Values& h, float* y, int64_t stride) const {
    head_scan(from(first, count), {h.data(), H * P, N}, {y, count, H * P, stride});
  }
  void reference(MatView<double> h, MatView<double> y) const {
    reference::head_scan(from(0, L), h, y);
  }
  Mamba2 absolute() const {
    Mamba2 out = *this;
    for (Values* v : {&out.x, &out.BC, &out.D, &out.state}) *v = magnitudes(*v);
    return out;
  }
};

/// Everything the recurrence computes is a sum of products; `bound` is the same sum over the
/// magnitudes. A token's step multiplies the relative error of a term by at most 1 + 5 ulp (decay
/// 2, two roundings of the product δ·A whose effect |δA|·e^−|δA| stays below ½ each, the
/// multiply-add 1), entering costs 6 (softplus 4, two products), the sum over N states at most N/2.
struct Oracle {
  std::vector<double> h, y, h_bound, y_bound;
  double factor;
  template <class Case>
  explicit Oracle(const Case& c)
      : h(c.state.begin(), c.state.end()),
        y(static_cast<size_t>(c.L * c.rows())),
        h_bound(h),
        y_bound(y.size()),
        factor(kUlp * (6.0 + 5.0 * static_cast<double>(c.L) + 0.5 * static_cast<double>(c.N))) {
    c.reference({h.data(), c.rows(), c.N}, {y.data(), c.L, c.rows()});
    for (double& v : h_bound) v = std::abs(v);
    c.absolute().reference({h_bound.data(), c.rows(), c.N}, {y_bound.data(), c.L, c.rows()});
  }
};

template <class Case>
void expect_as_reference(const Case& c, const std::string& what) {
  const Oracle oracle(c);
  const int64_t E = c.rows(), stride = E + 2;
  Values h = c.state, y(static_cast<size_t>(c.L * stride), 77.0f);
  c.run(0, c.L, h, y.data(), stride);
  int64_t wrong = 0;
  for (size_t i = 0; i < h.size(); ++i) {
    wrong += !(std::abs(h[i] - oracle.h[i]) <= oracle.factor * oracle.h_bound[i] + 1e-37);
  }
  EXPECT_EQ(wrong, 0) << "states of " << what;
  for (int64_t i = 0; i < std::ssize(y); ++i) {
    const float found = y[static_cast<size_t>(i)];
    if (i % stride >= E) {
      wrong += found != 77.0f;
      continue;
    }
    const auto at = static_cast<size_t>(i / stride * E + i % stride);
    wrong += !(std::abs(found - oracle.y[at]) <= oracle.factor * oracle.y_bound[at] + 1e-37);
  }
  EXPECT_EQ(wrong, 0) << "outputs of " << what;
}

TEST_P(Scan, selective_scan_equals_the_reference) {
  for (const int64_t E : {0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64}) {
    for (const int64_t N : {1, 2, 15, 16, 17, 40}) {
      for (const int64_t L : {0, 1, 2, 63, 64, 65, 130}) {
        expect_as_reference(Mamba1(L, E, N), std::to_string(E) + " channels, " + std::to_string(N) +
                                                 " states, " + std::to_string(L) + " tokens");
      }
    }
  }
  expect_as_reference(Mamba1(70, 5, 1024), "1024 states");
  expect_as_reference(Mamba1(40, 1536, 16), "1536 channels");
}

TEST_P(Scan, head_scan_equals_the_reference) {
  for (const int64_t N : {1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 128, 133}) {
    for (const int64_t L : {0, 1, 3, 15, 16, 17, 40}) {
      for (const int64_t groups : {1, 2}) {
        for (const bool per_channel : {false, true}) {
          expect_as_reference(Mamba2(L, 4, 5, groups, N, per_channel),
                              std::to_string(N) + " states, " + std::to_string(L) + " tokens");
        }
      }
    }
  }
  expect_as_reference(Mamba2(33, 2, 64, 1, 128), "64 × 128");
  expect_as_reference(Mamba2(33, 3, 16, 3, 1024), "1024 states");
  expect_as_reference(Mamba2(20, 1, 1, 1, 16), "one head of width one");
  expect_as_reference(Mamba2(20, 4, 16, 2, 16, true, 0.01f, 0.1f), "clamped δ");
}

template <class Case>
void expect_cuts_change_nothing(const Case& c) {
  const int64_t E = c.rows();
  Values whole_h = c.state, whole_y(static_cast<size_t>(c.L * E));
  c.run(0, c.L, whole_h, whole_y.data(), E);
  for (const int64_t step : {1, 7, 16, 50}) {
    Values h = c.state, y(whole_y.size());
    for (int64_t t = 0; t < c.L; t += step) {
      c.run(t, std::min(step, c.L - t), h, y.data() + t * E, E);
    }
    EXPECT_TRUE(same_bits(h, whole_h)) << E << " " << c.N << " by " << step;
    EXPECT_TRUE(same_bits(y, whole_y)) << E << " " << c.N << " by " << step;
  }
}

TEST_P(Scan, a_sequence_may_be_cut_anywhere) {
  for (const int64_t N : {1, 15, 16, 17, 40, 128}) {
    expect_cuts_change_nothing(Mamba1(130, 19, N));
    expect_cuts_change_nothing(Mamba2(130, 2, 9, 1, N));
  }
  expect_cuts_change_nothing(Mamba1(67, 3, 1024));
}

TEST_P(Scan, a_channel_does_not_depend_on_its_lane) {
  const Mamba1 all(20, 33, 16);
  Values h = all.state, y(20 * 33);
  all.run(0, 20, h, y.data(), 33);
  for (const int64_t first : {1, 5, 16, 32}) {
    const SelectiveScan in = all.from(0, 20).channels(first, 33 - first);
    Values some_h(all.state.begin() + first * 16, all.state.end()), some_y(20 * 33);
    selective_scan(in, {some_h.data(), 33 - first, 16},
                   {some_y.data() + first, 20, 33 - first, 33});
    for (int64_t i = 0; i < 20 * 33; ++i) {
      if (i % 33 >= first) {
        EXPECT_EQ(some_y[static_cast<size_t>(i)], y[static_cast<size_t>(i)]);
      }
    }
  }
}

TEST_P(Scan, heads_may_be_cut_anywhere) {
  for (const int64_t width : {1, 4, 6, 64}) {  // blocks of four rows filled or not
    for (const int64_t states : {3, 16, 133}) {
      const Mamba2 c(37, 6, width, 2, states, width == 6);
      const int64_t E = c.rows();
      Values whole_h = c.state, whole_y(static_cast<size_t>(c.L * E));
      c.run(0, c.L, whole_h, whole_y.data(), E);
      Values h = c.state, y(whole_y.size(), 77.0f);
      const HeadScan in = c.from(0, c.L);
      head_scan(in, 0, 4, {h.data(), E, states}, {y.data(), c.L, E});
      EXPECT_EQ(y[static_cast<size_t>(4 * width)], 77.0f) << "a head that was not asked for";
      head_scan(in, 4, 2, {h.data(), E, states}, {y.data(), c.L, E});
      EXPECT_TRUE(same_bits(h, whole_h) && same_bits(y, whole_y)) << width << " " << states;
    }
  }
}

TEST_P(Scan, outputs_may_overwrite_inputs) {
  Mamba1 one(130, 37, 20);
  Values h = one.state, y(static_cast<size_t>(one.L * one.E));
  one.run(0, one.L, h, y.data(), one.E);
  Mamba1 over_dt = one;
  over_dt.run(0, one.L, over_dt.state, over_dt.dt.data(), one.E);
  EXPECT_TRUE(same_bits(over_dt.dt, y));
  Mamba1 over_x = one;
  over_x.run(0, one.L, over_x.state, over_x.x.data(), one.E + 3);
  for (int64_t t = 0; t < one.L; ++t) {
    EXPECT_EQ(std::memcmp(over_x.x.data() + t * 40, y.data() + t * 37, 37 * sizeof(float)), 0) << t;
  }

  Mamba2 two(130, 3, 10, 1, 20);
  h = two.state;
  y.assign(static_cast<size_t>(two.L * 30), 0.0f);
  two.run(0, two.L, h, y.data(), 30);
  two.run(0, two.L, two.state, two.x.data(), 33);
  for (int64_t t = 0; t < two.L; ++t) {
    EXPECT_EQ(std::memcmp(two.x.data() + t * 33, y.data() + t * 30, 30 * sizeof(float)), 0) << t;
  }
  EXPECT_TRUE(same_bits(h, two.state));
}

/// y = δ: one state, A = 0, B = C = x = 1, D = 0.
Values softplus_by_scan(const Values& dt) {
  const auto E = std::ssize(dt);
  const Values one(dt.size(), 1.0f), zero(dt.size(), 0.0f);
  Values h = zero, y(dt.size());
  selective_scan({.x = {one.data(), 1, E},
                  .dt = {dt.data(), 1, E},
                  .B = {one.data(), 1, 1},
                  .C = {one.data(), 1, 1},
                  .A = {zero.data(), E, 1},
                  .D = zero.data(),
                  .dt_bias = zero.data()},
                 {h.data(), E, 1}, {y.data(), 1, E});
  return y;
}

TEST_P(Scan, softplus_is_relatively_exact_everywhere) {
  Values x = {0.0f, -0.0f, 19.999f, 20.0f, 20.001f, 100.0f, 1e30f, -15.0f, -87.0f, -100.0f, -1e30f};
  for (float v = -90; v < 30; v += 0.0037f) x.push_back(v);
  const Values y = softplus_by_scan(x);
  for (size_t i = 0; i < x.size(); ++i) {
    const double e = reference::softplus(x[i]);  // below e^−87.3 results are subnormal: 1.4e-45
    EXPECT_NEAR(y[i], e, 4 * kUlp * e + 3e-45) << x[i];
    if (x[i] > 20) {
      EXPECT_EQ(y[i], x[i]);
    }
  }
  EXPECT_TRUE(std::isnan(softplus_by_scan({kNan})[0]));
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_FALSE(std::isfinite(softplus_by_scan({infinity})[0]));  // exp(∞·0) makes it NaN
  EXPECT_EQ(softplus_by_scan({-infinity})[0], 0.0f);
}

TEST_P(Scan, the_decay_is_exact_down_to_the_smallest_floats) {
  // δ = 32 exactly, A = −v/32, x = 0, h = 1: the new state is e^−v.
  Values A;
  for (float v = 0; v < 120; v += 0.01f) A.push_back(-v / 32);
  const auto E = std::ssize(A);
  const Values dt(A.size(), 32.0f), zero(A.size(), 0.0f);
  Values h(A.size(), 1.0f), y(A.size());
  const float one = 1;
  selective_scan({.x = {zero.data(), 1, E},
                  .dt = {dt.data(), 1, E},
                  .B = {&one, 1, 1},
                  .C = {&one, 1, 1},
                  .A = {A.data(), E, 1},
                  .D = zero.data(),
                  .dt_bias = zero.data()},
                 {h.data(), E, 1}, {y.data(), 1, E});
  for (size_t i = 0; i < A.size(); ++i) {
    const double v = -32.0 * A[i], e = std::exp(-v);
    // The power 2 ulp; log2 e and A·log2 e are each off by half an ulp of themselves, which e^−v
    // turns into v times as much. Below 2^−126 the result may be 0.
    EXPECT_NEAR(h[i], e, (2 + v) * kUlp * e + 1.2e-38) << v;
    EXPECT_EQ(h[i], y[i]);
  }
  EXPECT_EQ(h[0], 1.0f);
}

TEST_P(Scan, a_constant_input_reaches_its_fixed_point) {
  // h = a·h + δ·B·x settles at δ·B·x / (1 − a); an error of the decay would show magnified.
  const Values x(20000, 1.0f), dt(20000, -4.0f);
  const float zero = 0, one = 1, A = -0.5f;
  float h = 0;
  Values y(20000);
  selective_scan({.x = {x.data(), 20000, 1},
                  .dt = {dt.data(), 20000, 1},
                  .B = {x.data(), 20000, 1},
                  .C = {x.data(), 20000, 1},
                  .A = {&A, 1, 1},
                  .D = &zero,
                  .dt_bias = &zero},
                 {&h, 1, 1}, {y.data(), 20000, 1});
  const double delta = std::log1p(std::exp(-4.0)), a = std::exp(-0.5 * delta);
  // 1 − a = 0.009, so 2.5 ulp of a are 280 ulp of the limit.
  EXPECT_NEAR(h, one * delta / (1 - a), 280 * kUlp * h);
}

template <class Case>
int64_t nans_after(const Case& c) {
  Values h = c.state, y(static_cast<size_t>(c.L * c.rows()));
  c.run(0, c.L, h, y.data(), c.rows());
  return std::count_if(y.begin(), y.end(), [](float v) { return std::isnan(v); });
}

TEST_P(Scan, nan_is_never_swallowed_and_stays_in_its_channel) {
  const Mamba1 one(70, 19, 18);
  EXPECT_EQ(nans_after(one), 0);
  for (Values Mamba1::*input : {&Mamba1::dt, &Mamba1::x}) {
    Mamba1 c = one;
    (c.*input)[static_cast<size_t>((input == &Mamba1::x ? 22 : 19) * 30 + 7)] = kNan;
    EXPECT_EQ(nans_after(c), 40);  // from token 30 on, in channel 7
  }
  for (Values Mamba1::*input : {&Mamba1::A, &Mamba1::state}) {
    Mamba1 c = one;
    (c.*input)[7 * 18 + 17] = kNan;
    EXPECT_EQ(nans_after(c), 70);
  }
  Mamba1 c = one;
  c.BC[30 * 37 + 3] = kNan;  // B of token 30
  EXPECT_EQ(nans_after(c), 40 * 19);

  const Mamba2 two(70, 3, 5, 1, 18);
  EXPECT_EQ(nans_after(two), 0);
  Mamba2 d = two;
  d.x[18 * 30 + 7] = kNan;
  EXPECT_EQ(nans_after(d), 40);
  d = two;
  d.dt[4 * 30 + 1] = kNan;
  EXPECT_EQ(nans_after(d), 40 * 5);  // the whole head
  d = two;
  d.A[1] = kNan;
  EXPECT_EQ(nans_after(d), 70 * 5);
}

}  // namespace
}  // namespace scute::scan_test
