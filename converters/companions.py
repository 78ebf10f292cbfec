"""Files that a header points to: the voxels of a `.mhd`, `.nhdr` or `.hdr` lie in another file beside it.

A case is made from these bytes as much as from the header, so its key and its lineage must name them.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path, PurePosixPath

HEADER_BYTES = 1 << 16
# Suffix of a header -> the field that names its data, and what stands between the two.
DATA_FIELDS = {".mhd": ("elementdatafile", "="), ".mha": ("elementdatafile", "="), ".nhdr": ("datafile", ":")}
PAIRS = {".hdr": (".img", ".img.gz"), ".obj": (".mtl",)}


def companions(path: str, location: Path, tree: Collection[str]) -> tuple[str, ...]:
    """The other files of a tree that belong to a header, sorted; nothing for a file that is whole by itself.

    path: of the header in the tree. location: where it can be read. Data given as a list or a numbered pattern count as
    all files of the header's folder: rather too many digests in a key than one too few.
    """
    header = PurePosixPath(path)
    folder, suffix = header.parent, header.suffix.lower()
    if suffix in PAIRS:
        named = {str(folder / f"{header.stem}{ending}") for ending in PAIRS[suffix]}
    elif suffix in DATA_FIELDS:
        data = _data_file(location, *DATA_FIELDS[suffix])
        if data is None or data == "LOCAL":
            return ()
        if data.startswith("LIST") or "%" in data:
            return tuple(sorted(other for other in tree if PurePosixPath(other).parent == folder and other != path))
        named = {str(folder / data)}
    else:
        return ()
    return tuple(sorted(named & set(tree)))


def _data_file(location: Path, field: str, separator: str) -> str | None:
    with location.open("rb") as stream:
        text = stream.read(HEADER_BYTES).decode("latin-1")
    for line in text.splitlines():
        name, found, value = line.partition(separator)
        if found and name.replace(" ", "").lower() == field:
            return value.strip()
    return None
