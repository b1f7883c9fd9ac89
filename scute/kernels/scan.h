// The state-space recurrences, token by token from a given state.
#pragma once

#include <cstdint>

#include "scute/tensor/mat_view.h"

namespace scute {

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
};
/// state: E × N, read and updated. y: L × E, may be x's or dt's memory.
void selective_scan(const SelectiveScan& in, MatView<float> state, MatView<float> y) noexcept;

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
};
/// state: (H·P) × N, read and updated. y: L × (H·P), may be x's memory.
void head_scan(const HeadScan& in, MatView<float> state, MatView<float> y) noexcept;
/// The heads [first, first + count) alone: touches their rows of the state and their columns of x
/// and y only. state and y: those of all heads. The same bits.
void head_scan(const HeadScan& in, int64_t first, int64_t count, MatView<float> state,
               MatView<float> y) noexcept;

}  // namespace scute
