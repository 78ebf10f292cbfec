"""Files that a header points to: the voxels of a `.mhd`, `.nhdr` or `.hdr` lie in other files beside it.

A case is made from these bytes as much as from the header, so its key and its lineage must name them.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection
from pathlib import Path, PurePosixPath

from medshard.converters.formats import metaimage, nrrd
from medshard.errors import CaseError

# Suffix of a header -> what finds the names of its data files in it.
NAMED: dict[str, Callable[[Path], tuple[str, ...]]] = {
    ".mhd": metaimage.data_file_names,
    ".mha": metaimage.data_file_names,
    ".nhdr": nrrd.data_file_names,
    ".nrrd": nrrd.data_file_names,
}
PAIRS = {".hdr": (".img", ".img.gz"), ".obj": (".mtl",)}


def companions(path: str, location: Path, tree: Collection[str]) -> tuple[str, ...]:
    """The other files of a tree that belong to a header, sorted; nothing for a file that is whole by itself.

    path: of the header in the tree. location: where it can be read. A header too broken to say which files it means
    has none here; reading it says what is wrong.
    """
    header = PurePosixPath(path)
    folder, suffix = header.parent, header.suffix.lower()
    if suffix in PAIRS:
        named = {str(folder / f"{header.stem}{ending}") for ending in PAIRS[suffix]}
    elif suffix in NAMED:
        named = {posixpath.normpath(folder / name) for name in _data_files(location, suffix)}
    else:
        return ()
    return tuple(sorted((named & set(tree)) - {path}))


def _data_files(location: Path, suffix: str) -> tuple[str, ...]:
    try:
        return NAMED[suffix](location)
    except CaseError:
        return ()
