// The kernels of windows.h as plain loops in double: the oracle of their tests.
#pragma once

#include "scute/kernels/windows.h"

namespace scute::reference {

void silu(MatView<const float> x, MatView<double> y);
void window_conv_silu(const WindowConv& conv, MatView<const float> x, int64_t length,
                      MatView<double> y);
void window_mean_scan(MatView<const float> x, MatView<const float> logit, int64_t length,
                      MatView<double> y);

}  // namespace scute::reference
