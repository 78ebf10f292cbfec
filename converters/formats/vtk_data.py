"""Numbers of points and cells in VTK's legacy surfaces: those with one number each become labels.

Source: Kitware, "VTK File Formats", dataset attributes. What cannot be read (text, bits, colours as fractions) ends the
reading of data with a warning, since nothing says where it ends; the surface stands before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from medshard.converters.formats.mesh_surface import COLOURS_LOST, Data, Per
from medshard.converters.formats.vtk_lines import (
    DTYPES,
    Preamble,
    broken,
    count_at,
    dtype_at,
    next_line,
    numbers,
    skip_to_blank,
)
from medshard.converters.volume import Array

DATA_ENDED = "data of vertices and faces that medshard does not read, and those behind them, are not kept"
VECTORS_LOST = "data with several numbers for each vertex or face, such as vectors, are not kept"
SECTIONS: Mapping[bytes, Per] = {b"POINT_DATA": "vertex", b"CELL_DATA": "face"}
# Keyword -> numbers for each vertex or face, 0 where its line says. Normals can be had again, textures are a picture's.
ATTRIBUTES = {b"SCALARS": 0, b"TEXTURE_COORDINATES": 0, b"NORMALS": 3, b"VECTORS": 3, b"TENSORS": 9}


def read_data(
    path: Path, file: IO[bytes], start: Preamble, words: list[bytes], counts: Mapping[Per, int]
) -> tuple[list[Data], list[str]]:
    """The data from the line `words` to the end of the file, and what there is to say about them.

    counts: of vertices and of faces. Raises CaseError[read.unreadable | read.truncated].
    """
    reader = _Reader(path=path, file=file, start=start, counts=counts)
    while words:
        if not reader.read(words):
            reader.said.append(DATA_ENDED)
            break
        words = next_line(file, path)
    return reader.data, reader.said


@dataclass(kw_only=True)
class _Reader:
    """per: what the section that is being read is of."""

    path: Path
    file: IO[bytes]
    start: Preamble
    counts: Mapping[Per, int]
    per: Per = "vertex"
    data: list[Data] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def read(self, words: list[bytes]) -> bool:
        """Whether the attribute that begins with a line could be read to its end."""
        kind = words[0]
        if kind in SECTIONS:
            self.per = SECTIONS[kind]
            if count_at(self.path, words, 1) != self.counts[self.per]:
                raise broken(self.path, "data are of other than all vertices or faces")
        elif kind == b"METADATA":
            skip_to_blank(self.file)
        elif kind == b"FIELD":
            return self._field(words)
        elif kind in (b"LOOKUP_TABLE", b"COLOR_SCALARS"):
            return self._colours(words)
        else:
            return self._attribute(words)
        return True

    def _colours(self, words: list[bytes]) -> bool:
        table = words[0] == b"LOOKUP_TABLE"
        count, components = count_at(self.path, words, 2), 4
        shape = (count, components) if table else (self.counts[self.per], count)
        self._numbers(shape, np.dtype("u1" if self.start.binary else "f4"))
        self.said.append(COLOURS_LOST)
        return True

    def _attribute(self, words: list[bytes]) -> bool:
        kind = words[0]
        type_at = 3 if kind == b"TEXTURE_COORDINATES" else 2
        if kind not in ATTRIBUTES or len(words) <= type_at or words[type_at].lower() not in DTYPES:
            return False
        components = ATTRIBUTES[kind]
        if kind == b"TEXTURE_COORDINATES":
            components = count_at(self.path, words, 2)
        elif kind == b"SCALARS":
            components = count_at(self.path, words, 3) if len(words) > 3 else 1
            if next_line(self.file, self.path)[:1] != [b"LOOKUP_TABLE"]:
                raise broken(self.path, "scalars stand without the name of their colours")
        found = self._numbers((self.counts[self.per], components), dtype_at(self.path, words, type_at))
        if kind not in (b"NORMALS", b"TEXTURE_COORDINATES"):
            self._keep(words[1], found)
        return True

    def _field(self, words: list[bytes]) -> bool:
        """Arrays with a line `name components tuples type` each."""
        left = count_at(self.path, words, 2)
        while left:
            line = next_line(self.file, self.path, named=True)
            if line[:1] == [b"METADATA"]:
                skip_to_blank(self.file)
                continue
            if len(line) != 4 or line[3].lower() not in DTYPES:
                return False
            shape = count_at(self.path, line, 2), count_at(self.path, line, 1)
            self._keep(line[0], self._numbers(shape, dtype_at(self.path, line, 3)))
            left -= 1
        return True

    def _keep(self, name: bytes, found: Array) -> None:
        if found.shape == (self.counts[self.per], 1):
            self.data.append(Data(name=name.decode("latin-1"), per=self.per, array=found[:, 0]))
        else:
            self.said.append(VECTORS_LOST)

    def _numbers(self, shape: tuple[int, int], dtype: np.dtype[np.generic]) -> Array:
        return numbers(self.path, self.file, self.start, shape, dtype)
