// The state-space recurrences, token by token from a given state.
#pragma once

#include <cstdint>
#include <optional>

#include "scute/tensor/mat_view.h"

namespace scute {

/// A recurrent state as 8-bit codes (round.h). A scan opens a few rows of it, advances them and
/// rounds them again while they are in the first-level cache: the bits that from_codes, the scan of
/// floats and to_codes or to_codes_stochastic would leave.
struct CodedState {
  MatView<int8_t> codes;
  MatView<const float> scales;  ///< as in round.h, of all rows
  std::optional<uint64_t> key;  ///< of to_codes_stochastic; without one: to_codes
};
/// What a scan of codes holds at most: tokens of a call, and states of a row.
inline constexpr int64_t kCodedTokens = 32, kCodedStates = 256;

/// Mamba-1 selective scan (Gu & Dao 2023, §3.2; zero-order hold for A, Euler for B):
///   δ = softplus(dt[t, e] + dt_bias[e])   (identity above 20)
///   h[e, n] ← exp(δ·A[e, n])·h[e, n] + δ·B[t, n]·x[t, e]
///   y[t, e] = Σ_n C[t, n]·h[e, n] + D[e]·x[t, e]
struct SelectiveScan {
  MatView<const float> x, dt;  ///< L × E
  MatView<const float> B, C;   ///< L × N
  MatView<const float> A;      ///< E × N, negative (already −exp(A_log))
  const float* D;              ///< E
  const float* dt_bias;        ///< E

  /// The channels [first, first + count): views, for the same rows of the state and columns of y.
  /// No bit depends on where channels are cut; multiples of 16 leave no vector half filled.
  SelectiveScan channels(int64_t first, int64_t count) const {
    return {.x = x.columns(first, count),
            .dt = dt.columns(first, count),
            .B = B,
            .C = C,
            .A = A.slice_rows(first, count),
            .D = D + first,
            .dt_bias = dt_bias + first};
  }
  SelectiveScan tokens(int64_t first, int64_t count) const {
    SelectiveScan out = *this;
    for (auto* rows : {&out.x, &out.dt, &out.B, &out.C}) *rows = rows->slice_rows(first, count);
    return out;
  }
};
/// state: E × N, read and updated. y: L × E, may be x's or dt's memory.
void selective_scan(const SelectiveScan& in, MatView<float> state, MatView<float> y) noexcept;
/// The channels [first, first + count) alone: touches their rows of the state and their columns of
/// y only, which like `in` are those of all channels.
void selective_scan(const SelectiveScan& in, int64_t first, int64_t count, const CodedState& state,
                    MatView<float> y) noexcept;

/// Mamba-2 state-space duality recurrence (Dao & Gu 2024, §6), heads of width P in groups that
/// share B and C:
///   δ = clamp(softplus(dt[t, h] + dt_bias[h]), dt_min, dt_max)
///   h[h, p, n] ← exp(δ·A[h])·h[h, p, n] + δ·B[t, g, n]·x[t, h, p]
///   y[t, h, p] = Σ_n C[t, g, n]·h[h, p, n] + D[h]·x[t, h, p]       with g = h / (H / G)
struct HeadScan {
  MatView<const float> x;     ///< L × (H·P)
  MatView<const float> dt;    ///< L × H
  MatView<const float> B, C;  ///< L × (G·N)
  const float* A;             ///< H, negative
  const float* D;             ///< H, or H·P when D_per_channel
  bool D_per_channel;
  const float* dt_bias;  ///< H
  int64_t heads, head_width, groups, state_size;
  float dt_min, dt_max;

  HeadScan tokens(int64_t first, int64_t count) const {
    HeadScan out = *this;
    for (auto* rows : {&out.x, &out.dt, &out.B, &out.C}) *rows = rows->slice_rows(first, count);
    return out;
  }
};
/// state: (H·P) × N, read and updated. y: L × (H·P), may be x's memory.
void head_scan(const HeadScan& in, MatView<float> state, MatView<float> y) noexcept;
/// The heads [first, first + count) alone: touches their rows of the state and their columns of x
/// and y only. state and y: those of all heads. The same bits.
void head_scan(const HeadScan& in, int64_t first, int64_t count, MatView<float> state,
               MatView<float> y) noexcept;
void head_scan(const HeadScan& in, int64_t first, int64_t count, const CodedState& state,
               MatView<float> y) noexcept;

}  // namespace scute
