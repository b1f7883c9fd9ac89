/* ---- arithmetic ------------------------------------------------------------------------- */

/* value * 2^-shift, rounded half to even; what no 17 bits hold is cut: it saturates anyway. */
static inline int64_t scute_shift(int64_t value, int shift) {
  uint64_t size = value < 0 ? (uint64_t)0 - (uint64_t)value : (uint64_t)value, rest, half;
  if (shift > 62) return 0;
  if (shift > 0) {
    half = (uint64_t)1 << (shift - 1);
    rest = size & (2 * half - 1);
    size >>= shift;
    if (rest > half || (rest == half && (size & 1))) size += 1;
  } else if (size != 0) {
    size = size > 65535 || shift < -16 ? 65536 : size << -shift;
  }
  return value < 0 ? -(int64_t)size : (int64_t)size;
}

/* numerator / denominator, rounded half to even. */
static inline int64_t scute_quotient(int64_t numerator, int64_t denominator) {
  const int64_t size = numerator < 0 ? -numerator : numerator;
  int64_t quotient = size / denominator;
  const int64_t twice = 2 * (size % denominator);
  if (twice > denominator || (twice == denominator && quotient % 2 != 0)) quotient += 1;
  return numerator < 0 ? -quotient : quotient;
}

/* -2^(bits-1) ... 2^(bits-1) - 1 */
static inline int16_t scute_saturate(int64_t value, int bits) {
  const int64_t ends = (int64_t)1 << (bits - 1);
  return (int16_t)(value < -ends ? -ends : value > ends - 1 ? ends - 1 : value);
}

/* floor(sqrt(value)), at least 1; value < 2^56. */
static inline int64_t scute_root(int64_t value) {
  int64_t root = 0, bit;
  for (bit = (int64_t)1 << 28; bit > 0; bit /= 2) {
    if ((root + bit) * (root + bit) <= value) root += bit;
  }
  return root > 0 ? root : 1;
}

/* The logistic function in Q0.16. Between the table's entries, where x has more than 8 fractional
 * bits, on the line from one to the next. */
static inline int32_t scute_sigmoid(int32_t x, int fraction) {
  const int32_t eight = (int32_t)8 << fraction, place = x + eight;
  int32_t i, rest;
  if (x <= -eight) return scute_sigmoid_table[0];
  if (x >= eight) return scute_sigmoid_table[4096];
  if (fraction <= 8) return scute_sigmoid_table[place << (8 - fraction)];
  i = place >> (fraction - 8);
  rest = place & (((int32_t)1 << (fraction - 8)) - 1);
  return scute_sigmoid_table[i] +
         (((scute_sigmoid_table[i + 1] - scute_sigmoid_table[i]) * rest +
           ((int32_t)1 << (fraction - 9))) >>
          (fraction - 8));
}

/* ---- steps ------------------------------------------------------------------------------ */

static inline void scute_multiply(const struct scute_product *p, const int16_t *x, int16_t *y) {
  int o, k;
  for (o = 0; o < p->outputs; ++o) {
    const int16_t *weight = p->weight + (int64_t)o * p->inputs;
    int64_t sum = 0;
    for (k = 0; k < p->inputs; ++k) sum += (int32_t)weight[k] * x[k];
    if (p->bias) sum += p->bias[o] * ((int64_t)1 << p->bias_shift);
    y[o] = scute_saturate(scute_shift(sum, p->shift), p->bits);
  }
}

static inline void scute_normalize(const struct scute_norm *norm, const int16_t *x, int16_t *y) {
  int64_t sum = norm->epsilon, root;
  int c;
  for (c = 0; c < SCUTE_D; ++c) sum += (int32_t)x[c] * x[c];
  root = scute_root(sum * 4096);
  for (c = 0; c < SCUTE_D; ++c) {
    y[c] = scute_saturate(scute_quotient(x[c] * norm->gain[c], root), norm->bits);
  }
}

static inline void scute_rescale(const int16_t *x, int count, int shift, int bits, int16_t *y) {
  int i;
  for (i = 0; i < count; ++i) y[i] = scute_saturate(scute_shift(x[i], shift), bits);
}

static inline void scute_silu(const struct scute_silu *silu, int count, int16_t *x) {
  int i;
  for (i = 0; i < count; ++i) {
    const int64_t product = (int64_t)x[i] * scute_sigmoid(x[i], silu->fraction);
    x[i] = scute_saturate(scute_shift(product, silu->shift), 16);
  }
}

/* Over the patches of the window, each channel by itself; patches outside it are 0. */
static inline void scute_convolve(const struct scute_conv *conv, const int16_t *x, int16_t *y) {
  int l, k, c;
  for (l = 0; l < SCUTE_L; ++l) {
    for (c = 0; c < SCUTE_I; ++c) {
      int64_t sum = conv->bias[c] * ((int64_t)1 << conv->bias_shift);
      for (k = 0; k < SCUTE_TAPS; ++k) {
        const int from = l + k - SCUTE_TAPS_BEFORE;
        if (from < 0 || from >= SCUTE_L) continue;
        sum += (int32_t)conv->weight[k * SCUTE_I + c] * x[from * SCUTE_I + c];
      }
      y[l * SCUTE_I + c] = scute_saturate(scute_shift(sum, conv->shift), 16);
    }
  }
}

/* A leaky mean of each channel over the patches, from 0:
 * s = (lambda * s + (65536 - lambda) * x) / 65536, lambda = sigmoid(leak). Fits 32 bits. */
static inline void scute_scan(const int16_t *leak, int fraction, int16_t *x) {
  int l, c;
  for (c = 0; c < SCUTE_I; ++c) {
    int64_t s = 0;
    for (l = 0; l < SCUTE_L; ++l) {
      const int32_t lambda = scute_sigmoid(leak[l * SCUTE_I + c], fraction);
      s = scute_shift(lambda * s + (int64_t)(65536 - lambda) * x[l * SCUTE_I + c], 16);
      x[l * SCUTE_I + c] = (int16_t)s;
    }
  }
}

static inline void scute_add(const int16_t *y, int count, int16_t *x) {
  int i;
  for (i = 0; i < count; ++i) x[i] = scute_saturate((int32_t)x[i] + y[i], 16);
}
