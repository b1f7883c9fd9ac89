/* The template as a C compiler sees it in an exported scute_regressor.h: between types.h and steps.h
 * stand a model's numbers, here zeros in the smallest sizes at which every loop runs more than once.
 * Compiled as a test, once for each shape that switches code on or off; never part of the program. */
#include <stdint.h>

#ifndef SCUTE_GATE
#define SCUTE_GATE 1
#endif
#ifndef SCUTE_TAPS
#define SCUTE_TAPS 3
#endif
#ifndef SCUTE_POSITIONS
#define SCUTE_POSITIONS 1
#endif
#ifndef SCUTE_POOL
#define SCUTE_POOL 0
#endif
#define SCUTE_DIN 3
#define SCUTE_K 5
#define SCUTE_C 2
#define SCUTE_P 3
#define SCUTE_S 2
#define SCUTE_L 2
#define SCUTE_D 4
#define SCUTE_I 8
#define SCUTE_LAYERS 2
#define SCUTE_TAPS_BEFORE (SCUTE_TAPS / 2)
#define SCUTE_POOL_FLAT 0
#define SCUTE_POOL_AVERAGE 1
#define SCUTE_POOL_MAXIMUM 2
#define SCUTE_POOL_SHIFT 1
#define SCUTE_OUTPUT_LAYER_BITS 16
#define SCUTE_INPUT_BITS 16
#define SCUTE_METRES_PER_CODE 0x1p-8

#include "types.h"

static const uint16_t scute_sigmoid_table[4097] = {0};
static const int16_t scute_weight[SCUTE_L * SCUTE_I * SCUTE_I] = {0};
static const int64_t scute_gain[SCUTE_D] = {0};
#if SCUTE_POSITIONS
static const int16_t scute_position_table[SCUTE_L * SCUTE_D] = {0};
#endif

#define PRODUCT(in, out) {scute_weight, scute_weight, in, out, 8, 8, 16}
#define NORM {scute_gain, 1, 16}
#define BLOCK                                                                    \
  {NORM, PRODUCT(SCUTE_D, SCUTE_I), PRODUCT(SCUTE_D, SCUTE_I),                   \
   PRODUCT(SCUTE_I, SCUTE_I), PRODUCT(SCUTE_I, SCUTE_D),                         \
   {scute_weight, scute_weight, 8, 8}, {8, 16}, {8, 16}, 8, 0, 16, 0, 16}
static const struct scute_product scute_proj = PRODUCT(SCUTE_DIN, SCUTE_C);
static const struct scute_product scute_patch_embedding = PRODUCT(SCUTE_P * SCUTE_C, SCUTE_D);
static const struct scute_product scute_output_layer =
    PRODUCT(SCUTE_POOL == SCUTE_POOL_FLAT ? SCUTE_L * SCUTE_D : SCUTE_D, SCUTE_C);
static const struct scute_product scute_head = PRODUCT(SCUTE_C, 2);
static const struct scute_norm scute_norm_f = NORM;
static const struct scute_block scute_blocks[SCUTE_LAYERS] = {BLOCK, BLOCK};

#include "steps.h"

#include "network.h"

int main(void) {
  static const int16_t frames[SCUTE_K * SCUTE_DIN] = {0};
  int16_t position[2] = {1, 1};
  if (scute_regressor_run(frames, position) != 0) return 1;
  return scute_regressor_metres(position[0]) == 0.0 && position[1] == 0 ? 0 : 2;
}
