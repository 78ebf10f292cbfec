/* Rows of elements, cast and scaled on their way into the window.

   Plain loops, which the compiler vectorises. No product may be fused into a sum (-ffp-contract=off), so that every
   float32 is the one that numpy gets by the same steps. */
#ifndef MEDSHARD_WINDOW_KERNEL_ROWS_H
#define MEDSHARD_WINDOW_KERNEL_ROWS_H

#include "window_kernel_blosc.h"

enum { INT8, UINT8, INT16, UINT16, INT32, UINT32, INT64, UINT64, FLOAT32, FLOAT64, TYPES };

static const uint8_t SIZES[TYPES] = {1, 1, 2, 2, 4, 4, 8, 8, 4, 8};

/* rescaled, normalised: whether `slope` and `intercept`, `mean` and `std` are used. */
typedef struct {
    int on, rescaled, normalised;
    float slope, intercept, low, high, mean, std;
} Scale;

/* `rows` rows of `width` elements, whose starts lie `in_row` and `out_row` bytes apart. */
typedef struct {
    const uint8_t *in;
    uint8_t *out;
    int64_t in_row, out_row, rows, width;
} Rows;

#define EACH_ELEMENT(in_type, out_type, VALUE)                                                      \
    do {                                                                                            \
        for (int64_t y = 0; y < r->rows; y++) {                                                     \
            const uint8_t *in = r->in + y * r->in_row;                                              \
            out_type *to = (out_type *)(r->out + y * r->out_row);                                   \
            for (int64_t i = 0; i < r->width; i++) {                                                \
                in_type stored;                                                                     \
                memcpy(&stored, in + i * (int64_t)sizeof stored, sizeof stored);                    \
                to[i] = VALUE;                                                                      \
            }                                                                                       \
        }                                                                                           \
        return;                                                                                     \
    } while (0)
/* Limits that are infinite change nothing, also not a NaN. */
#define AT_LEAST(value) ((value) < low ? low : (value))
#define AT_MOST(value) ((value) > high ? high : (value))
#define CLIPPED(value) AT_MOST(AT_LEAST(value))
#define TO_SCALED(in_type)                                                                          \
    {                                                                                               \
        if (s->rescaled && s->normalised)                                                           \
            EACH_ELEMENT(in_type, float, (CLIPPED((float)stored * slope + intercept) - mean) / std); \
        if (s->rescaled) EACH_ELEMENT(in_type, float, CLIPPED((float)stored * slope + intercept));  \
        if (s->normalised) EACH_ELEMENT(in_type, float, (CLIPPED((float)stored) - mean) / std);     \
        EACH_ELEMENT(in_type, float, CLIPPED((float)stored));                                       \
    }
#define EACH_TYPE(WITH)                                                                             \
    switch (stored) {                                                                               \
        case INT8: WITH(int8_t)                                                                     \
        case UINT8: WITH(uint8_t)                                                                   \
        case INT16: WITH(int16_t)                                                                   \
        case UINT16: WITH(uint16_t)                                                                 \
        case INT32: WITH(int32_t)                                                                   \
        case UINT32: WITH(uint32_t)                                                                 \
        case INT64: WITH(int64_t)                                                                   \
        case UINT64: WITH(uint64_t)                                                                 \
        case FLOAT32: WITH(float)                                                                   \
        default: WITH(double)                                                                       \
    }
#define TO_FLOAT(in_type) { EACH_ELEMENT(in_type, float, (float)stored); }
#define TO_INT16(in_type) { EACH_ELEMENT(in_type, int16_t, (int16_t)stored); }
#define TO_INT32(in_type) { EACH_ELEMENT(in_type, int32_t, (int32_t)stored); }
#define TO_INT64(in_type) { EACH_ELEMENT(in_type, int64_t, (int64_t)stored); }

INLINE void write_rows(const Rows *r, int stored, int wanted, const Scale *s) {
    const float slope = s->slope, intercept = s->intercept, low = s->low, high = s->high, mean = s->mean, std = s->std;
    if (s->on) EACH_TYPE(TO_SCALED)
    if (stored == wanted) {
        for (int64_t y = 0; y < r->rows; y++)
            memcpy(r->out + y * r->out_row, r->in + y * r->in_row, (size_t)r->width * SIZES[stored]);
        return;
    }
    switch (wanted) {
        case FLOAT32: EACH_TYPE(TO_FLOAT)
        case INT16: EACH_TYPE(TO_INT16)
        case INT32: EACH_TYPE(TO_INT32)
        default: EACH_TYPE(TO_INT64)
    }
}

/* What is compiled once for each kind of processor. */
typedef struct {
    GatherBits gather_bits;
    void (*write_rows)(const Rows *rows, int stored, int wanted, const Scale *scale);
} Machine;

static void write_rows_plain(const Rows *rows, int stored, int wanted, const Scale *scale) {
    write_rows(rows, stored, wanted, scale);
}
#ifdef __x86_64__
__attribute__((target("avx2"))) static void write_rows_avx2(const Rows *rows, int stored, int wanted,
                                                            const Scale *scale) {
    write_rows(rows, stored, wanted, scale);
}
#endif

/* The tests lower it, so that one machine can compare what several do. */
static int processor_level = 2;

static Machine this_machine(void) {
#ifdef __x86_64__
    if (processor_level > 0 && __builtin_cpu_supports("avx2")) {
        int at_once = processor_level > 1 && __builtin_cpu_supports("gfni");
        return (Machine){at_once ? gather_bits_gfni : gather_bits_avx2, write_rows_avx2};
    }
#endif
    return (Machine){gather_bits_plain, write_rows_plain};
}

#endif
