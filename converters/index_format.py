"""The columns of the index of shards, version 3 (docs/shard-format.md says what each means).

Columns are for looking through many samples: words that samples share are dictionary columns, numbers lie in one
buffer a column. `packed` repeats a whole row in one place, with the chunk tables, for the reader that wants one sample.
The file has one record batch.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

# 2: `contents`. 3: one record batch, words in dictionaries, rows of foreground tables by class value in `arrays`,
# `packed`, `group`, `split` and `synthetic`.
FORMAT_VERSION = 3

_WORD = pa.dictionary(pa.int32(), pa.string())
STORED_ARRAY = pa.struct(
    [
        ("name", _WORD),
        ("dtype", _WORD),
        ("shape", pa.list_(pa.int64())),
        ("inner_chunk", pa.list_(pa.int64())),
        ("codecs", _WORD),
        ("offset", pa.uint64()),
        ("nbytes", pa.uint64()),
        ("class_values", pa.list_(pa.int64())),
        ("class_ends", pa.list_(pa.int64())),
    ]
)
STATISTICS = pa.struct([(name, pa.float64()) for name in ("mean", "std", "minimum", "maximum")])
INDEX_SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("entry", _WORD),
        ("case", pa.string()),
        ("patient", pa.string()),
        ("group", _WORD),
        ("split", _WORD),
        ("synthetic", pa.bool_()),
        ("modality", _WORD),
        ("unit", _WORD),
        ("shard", _WORD),
        ("record_key", pa.string()),
        ("record_digest", pa.string()),
        ("slope", pa.float64()),
        ("intercept", pa.float64()),
        ("quantisation_error", pa.float64()),
        ("channels", pa.int64()),
        ("shape", pa.list_(pa.int64(), 3)),
        ("affine", pa.list_(pa.float64(), 16)),
        ("statistics", STATISTICS),
        ("labels", _WORD),
        ("contents", _WORD),
        ("arrays", pa.list_(STORED_ARRAY)),
        ("packed", pa.large_binary()),
    ],
    metadata={"medshard.format_version": str(FORMAT_VERSION)},
)

IndexRow = dict[str, Any]
"""One sample: a value for each column but `packed`, as plain Python.

Its `arrays` have `chunk_offsets` and `chunk_nbytes` too, which may be arrays of uint64.
"""
