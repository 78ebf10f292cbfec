from _typeshed import ReadableBuffer, WriteableBuffer

# Decode the chunks that a box touches into `out`; without the GIL.
#
# source: bytes that hold the chunks. offsets, nbytes: uint64, of the touched chunks in C order.
# geometry: int64, inner chunk, start and stop of the box; 2 to 8 axes.
# stored, wanted: numbers of the types, in this order: int8, uint8, int16, uint16, int32, uint32, int64, uint64,
# float32, float64. wanted: as stored, float32, or a wider one of int16, int32 and int64. scaled: only with float32.
# statuses: a byte for each touched chunk: 0 done, 1 of a codec that is decoded elsewhere, 2 outside of the source,
# 3 another header than the chunk has, 4 corrupt. Returns the largest. Raises ValueError where arguments do not fit.
def decode(
    source: ReadableBuffer,
    offsets: ReadableBuffer,
    nbytes: ReadableBuffer,
    geometry: ReadableBuffer,
    stored: int,
    wanted: int,
    out: WriteableBuffer,
    statuses: WriteableBuffer,
    scaled: int,
    rescaled: int,
    normalised: int,
    slope: float,
    intercept: float,
    low: float,
    high: float,
    mean: float,
    std: float,
    /,
) -> int: ...

# For tests: 0 plain code, 1 AVX2 at most, 2 whatever the processor has, which is the default.
def limit_processor(level: int, /) -> None: ...
