// The orthonormal Hadamard transform of rows.
#pragma once

#include <cstdint>
#include <optional>

#include "scute/tensor/mat_view.h"

namespace scute {

/// The factor K of n = K·2^m with K in {1, 12, 20, 28, 40}; empty when there is none. n divisible
/// by 12 takes 12, else by 40 takes 40, else 28, else 20, else 1; n / K must be a power of two.
std::optional<int64_t> hadamard_factor(int64_t n);

/// Each row v of x becomes (1/√n)·(H_K ⊗ H_{2^m})·v; K is the slow index, H_{2^m} Sylvester's.
/// x.cols must have a factor. H_12, H_28: Paley II; H_20: Paley I; H_40 = [[H20, H20], [H20,
/// −H20]].
void hadamard_rows(MatView<float> x) noexcept;
/// The inverse, which is the transpose: (1/√n)·(H_K ⊗ H_{2^m})ᵀ·v. Another transform only where H_K
/// is not symmetric (20, 40).
void inverse_hadamard_rows(MatView<float> x) noexcept;
/// Both on doubles, for weights that are transformed once: plain loops.
void hadamard_rows(MatView<double> x) noexcept;
void inverse_hadamard_rows(MatView<double> x) noexcept;

}  // namespace scute
