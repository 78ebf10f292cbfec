"""The column `packed` of the index: all of one sample in one place, so that a reader touches a page or two for it.

Little endian, eight-byte aligned, one behind the other:

    head      words (8 int32: codes in the dictionary columns `WORDS`, -1 for none); synthetic, has_statistics, number
              of arrays, bytes before the texts (4 uint32); slope, intercept, quantisation_error (float64); channels,
              shape z, y, x (int64); affine (16 float64); mean, std, minimum, maximum (float64; 0 without statistics);
              bytes of sample_id, case, patient, record_key, record_digest (5 uint32); 4 bytes of zeros
    arrays    for each: codes of name, dtype and codecs in the dictionaries of `arrays` (3 int32), axes (uint32), chunks
              in the table, classes, offset, nbytes (4 uint64)
    numbers   for each array: shape and inner chunk (int64), chunk offsets, chunk bytes (uint64), class values, class
              ends (int64)
    texts     UTF-8, without gaps
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

WORDS = ("entry", "group", "split", "modality", "unit", "shard", "labels", "contents")
ARRAY_WORDS = ("name", "dtype", "codecs")
TEXTS = ("sample_id", "case", "patient", "record_key", "record_digest")
STATISTICS = ("mean", "std", "minimum", "maximum")
HEAD = struct.Struct("<8i4I3d4q16d4d5I4x")
ARRAY = struct.Struct("<3iI4Q")


def pack_row(row: Mapping[str, Any], words: Sequence[int], array_words: Sequence[Sequence[int]]) -> bytes:
    """One row of the index. words, array_words: codes of its words, and of those of each of its arrays."""
    arrays = row["arrays"]
    numbers = b"".join(_numbers(array) for array in arrays)
    texts = [row[name].encode() for name in TEXTS]
    statistics = row["statistics"]
    head = HEAD.pack(
        *words,
        row["synthetic"],
        statistics is not None,
        len(arrays),
        HEAD.size + ARRAY.size * len(arrays) + len(numbers),
        *(row[name] for name in ("slope", "intercept", "quantisation_error", "channels")),
        *row["shape"],
        *row["affine"],
        *(statistics[name] if statistics else 0.0 for name in STATISTICS),
        *map(len, texts),
    )
    descriptions = [_description(array, codes) for array, codes in zip(arrays, array_words, strict=True)]
    packed = b"".join([head, *descriptions, numbers, *texts])
    return packed.ljust(-(-len(packed) // 8) * 8, b"\0")


def _description(array: Mapping[str, Any], codes: Sequence[int]) -> bytes:
    sizes = (len(array["chunk_offsets"]), len(array["class_values"]), array["offset"], array["nbytes"])
    return ARRAY.pack(*codes, len(array["shape"]), *sizes)


def _numbers(array: Mapping[str, Any]) -> bytes:
    parts = [np.asarray(array[name], "<i8") for name in ("shape", "inner_chunk")]
    parts += [np.asarray(array[name], "<u8") for name in ("chunk_offsets", "chunk_nbytes")]
    parts += [np.asarray(array[name], "<i8") for name in ("class_values", "class_ends")]
    return b"".join(part.tobytes() for part in parts)
