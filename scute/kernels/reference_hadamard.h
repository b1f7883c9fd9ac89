// The twin of hadamard.h: the matrix entry by entry, the oracle of its tests.
#pragma once

#include <cstdint>
#include <vector>

namespace scute {

/// H_order, row by row, each entry 1 or −1. order: 12, 20, 28, 40 or a power of two.
std::vector<int> reference_hadamard_matrix(int64_t order);

/// (1/√n)·(H_factor ⊗ H_{n/factor})·v, multiplied out in double.
std::vector<double> reference_hadamard(const std::vector<double>& v, int64_t factor);
/// (1/√n)·(H_factor ⊗ H_{n/factor})ᵀ·v.
std::vector<double> reference_inverse_hadamard(const std::vector<double>& v, int64_t factor);

}  // namespace scute
