/* Blosc 1 chunks to their elements: LZ4, and the shuffles of bytes and of bits.

   A chunk has 16 bytes of header, one uint32 for the place of each block, and for each stream of a block an int32
   length and an LZ4 block (lz4_Block_format.md of the LZ4 project) or the bytes themselves. Nothing in a chunk is
   trusted: every length and place is checked before it is used. */
#ifndef MEDSHARD_WINDOW_KERNEL_BLOSC_H
#define MEDSHARD_WINDOW_KERNEL_BLOSC_H

#include <stdint.h>
#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))
#define FORMAT_VERSION 2
#define HEADER_BYTES 16
#define SLACK 64 /* bytes after a buffer that copies of whole words may touch */
#define SPLIT_MOST_BYTES 16
#define SPLIT_LEAST_ELEMENTS 128

enum { SHUFFLE = 1, MEMCPY = 2, BITSHUFFLE = 4, UNKNOWN_FLAG = 8, DO_NOT_SPLIT = 16, CODEC_SHIFT = 5, CODEC_LZ4 = 1 };
/* What became of a chunk; the names of the last three stand in chunk_decoding.py. */
enum { DONE = 0, UNSUPPORTED = 1, OUTSIDE = 2, HEADER = 3, CORRUPT = 4 };

typedef struct {
    const uint8_t *bytes; /* all blocks, as decoded, or as they lie in the source */
    int64_t elements, block_elements;
    int flags, size; /* size: bytes of an element */
} Decoded;

/* blocks: a whole chunk and SLACK. plane, planes_of_bytes: the longest run of elements, 32 more, and SLACK. */
typedef struct {
    uint8_t *blocks, *plane, *planes_of_bytes;
} Rooms;

typedef void (*GatherBits)(const uint8_t *bits, int64_t stride, int64_t groups, uint8_t *bytes);

/* ---- LZ4 ---- */

INLINE void copy16(uint8_t *to, const uint8_t *from) { memcpy(to, from, 16); }

/* A match that overlaps itself: `offset` bytes, less than 16, are repeated. In shuffled bits most are 2 or 4, the rows
   of a chunk. */
INLINE void repeat(uint8_t *to, size_t offset, size_t length) {
    if ((offset & (offset - 1)) == 0) {
        uint64_t eight;
        memcpy(&eight, to - offset, 8); /* what lies behind `to` falls away below */
        if (offset == 1) eight = (eight & 0xFF) * 0x0101010101010101u;
        if (offset == 2) eight = (eight & 0xFFFF) * 0x0001000100010001u;
        if (offset == 4) eight = (eight & 0xFFFFFFFF) * 0x0000000100000001u;
        for (size_t done = 0; done < length; done += 8) memcpy(to + done, &eight, 8);
    } else {
        uint8_t pattern[16];
        for (size_t i = 0; i < 16; i++) pattern[i] = i < offset ? *(to - offset + i) : pattern[i - offset];
        for (size_t done = 0, step = offset * (16 / offset); done < length; done += step) copy16(to + done, pattern);
    }
}

INLINE int more_length(const uint8_t **in, const uint8_t *end, size_t *length) {
    uint8_t byte;
    do {
        if (*in >= end) return 0;
        byte = *(*in)++;
        *length += byte;
    } while (byte == 255);
    return 1;
}

/* 1 if the input is one LZ4 block of exactly `size` bytes. `out` has SLACK more bytes. */
INLINE int lz4_decode(const uint8_t *in, size_t in_size, uint8_t *out, size_t size) {
    const uint8_t *in_end = in + in_size;
    uint8_t *start = out, *end = out + size;
    while (in < in_end) {
        unsigned token = *in++;
        size_t literals = token >> 4, length = token & 15;
        if (literals < 15 && in_end - in >= 16 && (size_t)(end - out) >= literals) {
            copy16(out, in);
        } else {
            if (literals == 15 && !more_length(&in, in_end, &literals)) return 0;
            if (literals > (size_t)(in_end - in) || literals > (size_t)(end - out)) return 0;
            memcpy(out, in, literals);
        }
        in += literals;
        out += literals;
        if (in == in_end) return out == end;
        if (in_end - in < 2) return 0;
        size_t offset = (size_t)in[0] | (size_t)in[1] << 8;
        in += 2;
        if (length == 15 && !more_length(&in, in_end, &length)) return 0;
        length += 4;
        if (offset == 0 || offset > (size_t)(out - start) || length > (size_t)(end - out)) return 0;
        if (offset >= 16)
            for (size_t done = 0; done < length; done += 16) copy16(out + done, out + done - offset);
        else
            repeat(out, offset, length);
        out += length;
    }
    return 0;
}

/* ---- Blosc ---- */

INLINE uint32_t read32(const uint8_t *from) {
    uint32_t value;
    memcpy(&value, from, 4);
    return value;
}

INLINE int decode_block(const uint8_t *in, size_t in_size, uint8_t *out, size_t size, int streams) {
    size_t part = size / (size_t)streams;
    if (part * (size_t)streams != size) return 0;
    for (int stream = 0; stream < streams; stream++, out += part) {
        if (in_size < 4) return 0;
        size_t length = read32(in);
        in += 4, in_size -= 4;
        if (length > in_size) return 0;
        if (length == part)
            memcpy(out, in, part);
        else if (!lz4_decode(in, length, out, part))
            return 0;
        in += length, in_size -= length;
    }
    return 1;
}

/* Decode the blocks with the elements from `low` to `high` of a chunk of `elements` of `size` bytes into `room`. */
static int decode_chunk(const uint8_t *in, size_t in_size, int64_t elements, int size, int64_t low, int64_t high,
                        uint8_t *room, Decoded *decoded) {
    size_t total = (size_t)elements * (size_t)size;
    if (in_size < HEADER_BYTES || read32(in + 4) != total || read32(in + 12) != in_size) return HEADER;
    int flags = in[2];
    size_t block = read32(in + 8);
    if (in[0] != FORMAT_VERSION || in[3] != size || (flags & UNKNOWN_FLAG) || (flags & SHUFFLE && flags & BITSHUFFLE))
        return UNSUPPORTED;
    *decoded = (Decoded){room, elements, elements, flags, size};
    if (flags & MEMCPY) {
        if (in_size != HEADER_BYTES + total) return HEADER;
        decoded->flags &= ~(SHUFFLE | BITSHUFFLE);
        decoded->bytes = in + HEADER_BYTES;
        return DONE;
    }
    if (flags >> CODEC_SHIFT != CODEC_LZ4 || block == 0 || block > total || block % (size_t)size != 0)
        return UNSUPPORTED;
    int64_t in_block = decoded->block_elements = (int64_t)(block / (size_t)size);
    size_t blocks = (total + block - 1) / block, table = HEADER_BYTES + 4 * blocks;
    if (table > in_size) return CORRUPT;
    int may_split = !(flags & DO_NOT_SPLIT) && size <= SPLIT_MOST_BYTES && in_block >= SPLIT_LEAST_ELEMENTS;
    for (size_t number = (size_t)(low / in_block); number * block < (size_t)high * (size_t)size; number++) {
        size_t begin = read32(in + HEADER_BYTES + 4 * number), left = total - number * block;
        int streams = may_split && left >= block ? size : 1;
        if (begin < table || begin > in_size) return CORRUPT;
        if (!decode_block(in + begin, in_size - begin, room + number * block, left < block ? left : block, streams))
            return CORRUPT;
    }
    return DONE;
}

/* ---- Shuffles ---- */

/* 8 planes of single bits, `stride` bytes apart, to one byte for each element; eight elements are a group.
   An 8x8 transpose of bits in three steps (H. S. Warren, Hacker's Delight, 7-3). */
static void gather_bits_plain(const uint8_t *restrict bits, int64_t stride, int64_t groups, uint8_t *restrict bytes) {
    for (int64_t i = 0; i < groups; i++) {
        uint64_t x = 0, t;
        for (int plane = 0; plane < 8; plane++) x |= (uint64_t)bits[plane * stride + i] << (8 * plane);
        t = (x ^ (x >> 7)) & 0x00AA00AA00AA00AAu, x ^= t ^ (t << 7);
        t = (x ^ (x >> 14)) & 0x0000CCCC0000CCCCu, x ^= t ^ (t << 14);
        t = (x ^ (x >> 28)) & 0x00000000F0F0F0F0u, x ^= t ^ (t << 28);
        memcpy(bytes + 8 * i, &x, 8);
    }
}

#ifdef __x86_64__
/* The same for 32 groups at a time: bytes of 8 planes are interleaved, then TRANSPOSE turns each 8x8 block of bits. */
#define GATHER_BITS(NAME, TARGET, FIRST, NEXT, TRANSPOSE)                                                   \
    __attribute__((target(TARGET))) static void NAME(const uint8_t *bits, int64_t stride, int64_t groups,   \
                                                     uint8_t *bytes) {                                      \
        /* The last 32 overlap those before them. */                                                        \
        for (int64_t at = 0; at < groups && groups >= 32; at += 32) {                                       \
            int64_t done = at + 32 <= groups ? at : groups - 32;                                            \
            __m256i r[8], s[8];                                                                             \
            for (int i = 0; i < 8; i++)                                                                     \
                r[i] = _mm256_loadu_si256((const __m256i *)(bits + (FIRST + NEXT * i) * stride + done));    \
            for (int i = 0; i < 4; i++)                                                                     \
                s[i] = _mm256_unpacklo_epi8(r[2 * i], r[2 * i + 1]),                                        \
                s[i + 4] = _mm256_unpackhi_epi8(r[2 * i], r[2 * i + 1]);                                    \
            for (int i = 0; i < 8; i += 2)                                                                  \
                r[i] = _mm256_unpacklo_epi16(s[i], s[i + 1]), r[i + 1] = _mm256_unpackhi_epi16(s[i], s[i + 1]); \
            for (int i = 0; i < 8; i += 4)                                                                  \
                for (int j = 0; j < 2; j++)                                                                 \
                    s[i + 2 * j] = _mm256_unpacklo_epi32(r[i + j], r[i + j + 2]),                           \
                    s[i + 2 * j + 1] = _mm256_unpackhi_epi32(r[i + j], r[i + j + 2]);                       \
            for (int i = 0; i < 8; i++) {                                                                   \
                __m256i x = TRANSPOSE(s[i]);                                                                \
                _mm_storeu_si128((__m128i *)(bytes + 8 * done + 16 * i), _mm256_castsi256_si128(x));        \
                _mm_storeu_si128((__m128i *)(bytes + 8 * done + 128 + 16 * i), _mm256_extracti128_si256(x, 1)); \
            }                                                                                               \
        }                                                                                                   \
        if (groups < 32) gather_bits_plain(bits, stride, groups, bytes);                                    \
    }

#define SWAP_STEP(x, shift, mask, t)                                                                        \
    (t = _mm256_and_si256(_mm256_xor_si256(x, _mm256_srli_epi64(x, shift)), _mm256_set1_epi64x(mask)),      \
     _mm256_xor_si256(x, _mm256_xor_si256(t, _mm256_slli_epi64(t, shift))))
__attribute__((target("avx2"), always_inline)) static inline __m256i transpose_in_steps(__m256i x) {
    __m256i t;
    x = SWAP_STEP(x, 7, 0x00AA00AA00AA00AA, t);
    x = SWAP_STEP(x, 14, 0x0000CCCC0000CCCC, t);
    return SWAP_STEP(x, 28, 0x00000000F0F0F0F0, t);
}
/* A product with a matrix of bits, whose last row comes first: the matrix times each unit vector. */
#define TRANSPOSE_AT_ONCE(x) _mm256_gf2p8affine_epi64_epi8(_mm256_set1_epi64x((int64_t)0x8040201008040201u), x, 0)

GATHER_BITS(gather_bits_avx2, "avx2", 0, 1, transpose_in_steps)
GATHER_BITS(gather_bits_gfni, "avx2,gfni", 7, -1, TRANSPOSE_AT_ONCE)
#endif

INLINE void interleave(const uint8_t *restrict planes, int64_t stride, int size, int64_t count, uint8_t *restrict out) {
    if (size == 2) {
        const uint8_t *low = planes, *high = planes + stride;
        for (int64_t i = 0; i < count; i++) {
            out[2 * i] = low[i];
            out[2 * i + 1] = high[i];
        }
    } else if (size == 4) {
        const uint8_t *a = planes, *b = a + stride, *c = b + stride, *d = c + stride;
        for (int64_t i = 0; i < count; i++) {
            out[4 * i] = a[i];
            out[4 * i + 1] = b[i];
            out[4 * i + 2] = c[i];
            out[4 * i + 3] = d[i];
        }
    } else {
        for (int byte = 0; byte < size; byte++)
            for (int64_t i = 0; i < count; i++) out[size * i + byte] = planes[byte * stride + i];
    }
}

/* The elements from `low` to `high` of a chunk, one after the other: where they lie, or put into `rooms->plane`. */
static const uint8_t *elements_of(GatherBits gather_bits, const Decoded *d, int64_t low, int64_t high,
                                  const Rooms *rooms) {
    int size = d->size;
    int plain = !(d->flags & BITSHUFFLE) && (!(d->flags & SHUFFLE) || size == 1);
    if (plain) return d->bytes + low * size;
    uint8_t *target = rooms->plane + 8 * size; /* room for the elements before `low` in its group of eight */
    for (int64_t at = low; at < high;) {
        int64_t begin = at / d->block_elements * d->block_elements;
        int64_t length = d->elements - begin < d->block_elements ? d->elements - begin : d->block_elements;
        int64_t end = begin + length < high ? begin + length : high;
        const uint8_t *block = d->bytes + begin * size;
        if (d->flags & SHUFFLE) {
            interleave(block + (at - begin), length, size, end - at, target);
        } else if (length % 8 != 0) { /* Blosc leaves such a block as it is */
            memcpy(target, block + (at - begin) * size, (size_t)((end - at) * size));
        } else {
            int64_t first = (at - begin) / 8, groups = (end - begin + 7) / 8 - first, skip = at - begin - 8 * first;
            int64_t stride = length / 8;
            for (int byte = 0; byte < size; byte++)
                gather_bits(block + 8 * byte * stride + first, stride, groups,
                            rooms->planes_of_bytes + 8 * groups * byte);
            interleave(rooms->planes_of_bytes, 8 * groups, size, 8 * groups, target - skip * size);
        }
        target += (end - at) * size;
        at = end;
    }
    return rooms->plane + 8 * size;
}

#endif
