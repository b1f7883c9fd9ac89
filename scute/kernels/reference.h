// The kernels as plain loops in double: the oracle of their tests. Written for reading.
#pragma once

#include <cstdint>

#include "scute/kernels/elementwise.h"
#include "scute/kernels/histogram.h"
#include "scute/kernels/scan.h"
#include "scute/tensor/mat_view.h"

namespace scute::reference {

void count_buckets(const float* x, int64_t n, int fine, uint32_t* table);
ValueScan scan_values(const float* x, int64_t n);
void column_absmax(const float* x, int64_t rows, int64_t cols, int64_t stride, float* into);
void column_abssum(const float* x, int64_t rows, int64_t cols, int64_t stride, double* sum);

double softplus(double x);
double silu(double x);

void rms_norm(MatView<const float> x, const float* weight, int64_t group, float eps,
              MatView<double> y);
void gate_silu(MatView<const float> x, MatView<const float> z, MatView<double> y);
void clamp(MatView<const float> x, float lo, float hi, MatView<double> y);
/// The cache is read only.
void causal_conv_silu(MatView<const float> x, const float* weight, const float* bias, int64_t taps,
                      MatView<const float> cache, MatView<double> y);
void causal_conv(MatView<const float> x, const float* weight, const float* bias, int64_t taps,
                 MatView<const float> cache, MatView<double> y);
double log_sum_exp(const float* x, int64_t n);
int64_t argmax(const float* x, int64_t n);

void selective_scan(const SelectiveScan& in, MatView<double> state, MatView<double> y);
void head_scan(const HeadScan& in, MatView<double> state, MatView<double> y);

}  // namespace scute::reference
