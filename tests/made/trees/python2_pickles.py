"""Pickles as Python 2 wrote them: protocol 2, texts and arrays as strings of bytes, NumPy's names of that time."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def write_pickle(path: Path, document: Mapping[str, Any]) -> Path:
    """Nested dictionaries of texts and arrays. `pickle.load(file, encoding="latin1")` reads it."""
    path.write_bytes(b"\x80\x02" + _dumped(document) + b".")
    return path


def _dumped(value: Any) -> bytes:
    if isinstance(value, Mapping):
        return b"}(" + b"".join(_text(name) + _dumped(item) for name, item in value.items()) + b"u"
    return _text(value) if isinstance(value, str) else _array(value)


def _text(value: str) -> bytes:
    return _bytes(value.encode("latin1"))


def _bytes(value: bytes) -> bytes:
    return b"U" + bytes([len(value)]) + value if len(value) < 256 else b"T" + struct.pack("<i", len(value)) + value


def _integer(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def _array(array: NDArray[np.generic]) -> bytes:
    """numpy.core.multiarray._reconstruct(ndarray, (0,), 'b'), then its state (1, shape, dtype, Fortran, content)."""
    made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(" + _integer(0) + b"t" + _bytes(b"b") + b"tR"
    kind = array.dtype.str[1:].encode()
    dtype = b"cnumpy\ndtype\n(" + _bytes(kind) + _integer(0) + _integer(1) + b"tR("
    order = b"<" if array.dtype.itemsize > 1 else b"|"
    dtype += _integer(3) + _bytes(order) + b"NNN" + _integer(-1) + _integer(-1) + _integer(0) + b"tb"
    shape = b"(" + b"".join(_integer(size) for size in array.shape) + b"t"
    content = _bytes(np.ascontiguousarray(array).tobytes())
    return made + b"(" + _integer(1) + shape + dtype + b"\x89" + content + b"tb"
