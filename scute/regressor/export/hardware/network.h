/* ---- network ---------------------------------------------------------------------------- */

/* in_proj's two halves, convolution, SiLU. */
static inline void scute_block_inputs(int index, const struct scute_block *b, const int16_t *x,
                                      int16_t *u, int16_t *z) {
  int16_t normed[SCUTE_L * SCUTE_D];
  int l;
  SCUTE_TRACE(index, "norm:input", x, SCUTE_L * SCUTE_D);
  for (l = 0; l < SCUTE_L; ++l) {
    scute_normalize(&b->norm, x + l * SCUTE_D, normed + l * SCUTE_D);
    scute_multiply(&b->in_u, normed + l * SCUTE_D, u + l * SCUTE_I);
    if (SCUTE_GATE) scute_multiply(&b->in_z, normed + l * SCUTE_D, z + l * SCUTE_I);
  }
  SCUTE_TRACE(index, "in_proj:input", normed, SCUTE_L * SCUTE_D);
  if (SCUTE_GATE) {
    SCUTE_TRACE(index, "z_act:input", z, SCUTE_L * SCUTE_I);
    scute_silu(&b->z, SCUTE_L * SCUTE_I, z);
    SCUTE_TRACE(index, "z_act:output", z, SCUTE_L * SCUTE_I);
  }
  if (SCUTE_TAPS > 0) {
    int16_t convolved[SCUTE_L * SCUTE_I];
    SCUTE_TRACE(index, "dw_conv:input", u, SCUTE_L * SCUTE_I);
    scute_convolve(&b->conv, u, convolved);
    scute_rescale(convolved, SCUTE_L * SCUTE_I, 0, 16, u);
  }
  SCUTE_TRACE(index, "u_act:input", u, SCUTE_L * SCUTE_I);
  scute_silu(&b->u, SCUTE_L * SCUTE_I, u);
  SCUTE_TRACE(index, "u_act:output", u, SCUTE_L * SCUTE_I);
}

/* x: L x D codes of the residual stream, updated. */
static inline void scute_block_run(int index, const struct scute_block *b, int16_t *x) {
  int16_t u[SCUTE_L * SCUTE_I], z[SCUTE_L * SCUTE_I], y[SCUTE_L * SCUTE_I];
  int16_t leak[SCUTE_L * SCUTE_I], more[SCUTE_L * SCUTE_D];
  int l, i;
  scute_block_inputs(index, b, x, u, z);

  scute_rescale(u, SCUTE_L * SCUTE_I, b->dt_shift, b->dt_bits, y);
  SCUTE_TRACE(index, "ssm.dt_proj:input", y, SCUTE_L * SCUTE_I);
  for (l = 0; l < SCUTE_L; ++l) {
    scute_multiply(&b->dt_proj, y + l * SCUTE_I, leak + l * SCUTE_I);
  }
  SCUTE_TRACE(index, "ssm.dt_proj:output", leak, SCUTE_L * SCUTE_I);
  scute_scan(leak, b->leak_fraction, u);
  SCUTE_TRACE(index, "ssm:output", u, SCUTE_L * SCUTE_I);

  for (i = 0; i < SCUTE_L * SCUTE_I; ++i) {
    const int32_t product = SCUTE_GATE ? (int32_t)u[i] * z[i] : u[i];
    y[i] = scute_saturate(scute_shift(product, b->out_shift), b->out_bits);
  }
  SCUTE_TRACE(index, "out_proj:input", y, SCUTE_L * SCUTE_I);
  for (l = 0; l < SCUTE_L; ++l) {
    scute_multiply(&b->out_proj, y + l * SCUTE_I, more + l * SCUTE_D);
  }
  scute_add(more, SCUTE_L * SCUTE_D, x);
}

/* The maximum or the sum over the patches, which pool_shift makes an input of output_layer. */
static inline void scute_pool(const int16_t *x, int16_t *y) {
  int l, m;
  for (m = 0; m < SCUTE_D; ++m) {
    int32_t value = x[m];
    for (l = 1; l < SCUTE_L; ++l) {
      const int32_t next = x[l * SCUTE_D + m];
      value = SCUTE_POOL == SCUTE_POOL_AVERAGE ? value + next : next > value ? next : value;
    }
    y[m] = scute_saturate(scute_shift(value, SCUTE_POOL_SHIFT), SCUTE_OUTPUT_LAYER_BITS);
  }
}

/* One window: K frames of Din codes each, the oldest first, to the position's two codes. 0, or -1
 * when a code does not have the input's bits (8 in an int16_t, say): nothing is computed then. */
static inline int scute_regressor_run(const int16_t frames[SCUTE_K * SCUTE_DIN],
                                      int16_t position[2]) {
  int16_t projected[SCUTE_K * SCUTE_C], x[SCUTE_L * SCUTE_D], normed[SCUTE_L * SCUTE_D];
  int16_t features[SCUTE_C], pooled[SCUTE_D];
  const int16_t *gathered = normed;
  int t, l, i;
  for (i = 0; i < SCUTE_K * SCUTE_DIN; ++i) {
    if (scute_saturate(frames[i], SCUTE_INPUT_BITS) != frames[i]) return -1;
  }

  SCUTE_TRACE(-1, "proj:input", frames, SCUTE_K * SCUTE_DIN);
  for (t = 0; t < SCUTE_K; ++t) {
    scute_multiply(&scute_proj, frames + t * SCUTE_DIN, projected + t * SCUTE_C);
  }
  /* A patch is P projected frames, which lie side by side already. */
  SCUTE_TRACE(-1, "patch_embedding:input", projected, SCUTE_K * SCUTE_C);
  for (l = 0; l < SCUTE_L; ++l) {
    scute_multiply(&scute_patch_embedding, projected + l * SCUTE_S * SCUTE_C, x + l * SCUTE_D);
  }
#if SCUTE_POSITIONS
  scute_add(scute_position_table, SCUTE_L * SCUTE_D, x);
#endif
  for (i = 0; i < SCUTE_LAYERS; ++i) scute_block_run(i, &scute_blocks[i], x);

  SCUTE_TRACE(-1, "norm_f:input", x, SCUTE_L * SCUTE_D);
  for (l = 0; l < SCUTE_L; ++l) {
    scute_normalize(&scute_norm_f, x + l * SCUTE_D, normed + l * SCUTE_D);
  }
  if (SCUTE_POOL != SCUTE_POOL_FLAT) {
    SCUTE_TRACE(-1, "norm_f:output", normed, SCUTE_L * SCUTE_D);
    scute_pool(normed, pooled);
    gathered = pooled;
  }
  SCUTE_TRACE(-1, "output_layer:input", gathered, scute_output_layer.inputs);
  scute_multiply(&scute_output_layer, gathered, features);
  SCUTE_TRACE(-1, "head:input", features, SCUTE_C);
  scute_multiply(&scute_head, features, position);
  SCUTE_TRACE(-1, "head:output", position, 2);
  return 0;
}

/* A coordinate in metres: the one place with a floating-point number. */
static inline double scute_regressor_metres(int16_t code) {
  return code * SCUTE_METRES_PER_CODE;
}
