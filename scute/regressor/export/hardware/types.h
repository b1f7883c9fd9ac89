/* Called with the codes that pass each site, block -1 outside the blocks; define it before
 * including this file to compare stage by stage with vectors/. `codes` has `count` of them. */
#ifndef SCUTE_TRACE
#define SCUTE_TRACE(block, site, codes, count) \
  ((void)(block), (void)(site), (void)(codes), (void)(count))
#endif

/* y[o] = saturate((sum over k of weight[o][k] * x[k] + bias[o] * 2^bias_shift) * 2^-shift) */
struct scute_product {
  const int16_t *weight; /* outputs x inputs */
  const int16_t *bias;   /* outputs, or 0 */
  int inputs, outputs, bias_shift, shift, bits;
};

/* y[c] = saturate(x[c] * gain[c] / root), root = floor(sqrt((sum of x^2 + epsilon) * 2^12)) */
struct scute_norm {
  const int64_t *gain;
  int64_t epsilon;
  int bits;
};

/* y = saturate(x * sigmoid(x) * 2^-shift); x has `fraction` fractional bits */
struct scute_silu {
  int fraction, shift;
};

struct scute_conv {
  const int16_t *weight; /* taps x channels */
  const int16_t *bias;
  int bias_shift, shift;
};

struct scute_block {
  struct scute_norm norm;
  struct scute_product in_u, in_z, dt_proj, out_proj;
  struct scute_conv conv;
  struct scute_silu u, z;
  int leak_fraction;      /* fractional bits of dt_proj's outputs */
  int dt_shift, dt_bits;  /* u to the input of dt_proj */
  int out_shift, out_bits; /* to the input of out_proj */
};
