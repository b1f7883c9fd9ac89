// The twins of attention.h: plain loops in double, the oracle of its tests.
#pragma once

#include <cstdint>

#include "scute/tensor/mat_view.h"

namespace scute::reference {

void layer_norm(MatView<const float> x, const float* weight, const float* bias, float eps,
                MatView<double> y);
/// x · Φ(x).
double gelu(double x);
void add_row(MatView<const float> x, const float* bias, MatView<double> y);
void add_scaled(MatView<const float> x, MatView<const float> y, const float* factors,
                MatView<double> sum);
void attention(MatView<const float> q, MatView<const float> k, MatView<const float> v, float scale,
               MatView<double> y);

}  // namespace scute::reference
