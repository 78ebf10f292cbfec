"""Paths in the words of Croissant: media types, glob patterns, regular expressions, identifiers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from medshard.registry.templates import template_fields

# What a file is called -> its media type, the longest ending first. Formats that nobody registered are named by the
# page that defines them, as the specification asks.
ENCODINGS: Mapping[str, tuple[str, ...]] = {
    ".tar.gz": ("application/gzip", "application/x-tar"),
    ".tar.bz2": ("application/x-bzip2", "application/x-tar"),
    ".tar.xz": ("application/x-xz", "application/x-tar"),
    ".tgz": ("application/gzip", "application/x-tar"),
    ".tar": ("application/x-tar",),
    ".zip": ("application/zip",),
    ".whl": ("application/zip",),
    ".7z": ("application/x-7z-compressed",),
    ".rar": ("application/vnd.rar",),
    ".nii.gz": ("https://nifti.nimh.nih.gov/", "application/gzip"),
    ".nii": ("https://nifti.nimh.nih.gov/",),
    ".nrrd": ("https://teem.sourceforge.net/nrrd/format.html",),
    ".mha": ("https://itk.org/Wiki/MetaIO/Documentation",),
    ".mhd": ("https://itk.org/Wiki/MetaIO/Documentation",),
    ".dcm": ("application/dicom",),
    ".png": ("image/png",),
    ".jpg": ("image/jpeg",),
    ".jpeg": ("image/jpeg",),
    ".bmp": ("image/bmp",),
    ".gif": ("image/gif",),
    ".tif": ("image/tiff",),
    ".tiff": ("image/tiff",),
    ".svs": ("image/tiff",),
    ".mp4": ("video/mp4",),
    ".avi": ("video/x-msvideo",),
    ".mov": ("video/quicktime",),
    ".csv": ("text/csv",),
    ".tsv": ("text/tab-separated-values",),
    ".csv.gz": ("text/csv", "application/gzip"),
    ".txt": ("text/plain",),
    ".md": ("text/markdown",),
    ".json": ("application/json",),
    ".jsonl": ("application/jsonlines",),
    ".geojson": ("application/geo+json",),
    ".xml": ("application/xml",),
    ".html": ("text/html",),
    ".pdf": ("application/pdf",),
    ".parquet": ("application/vnd.apache.parquet",),
    ".xlsx": ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",),
    ".xls": ("application/vnd.ms-excel",),
    ".h5": ("application/x-hdf5",),
    ".hdf5": ("application/x-hdf5",),
    ".h5ad": ("application/x-hdf5",),
    ".mat": ("application/x-matlab-data",),
    ".obj": ("model/obj",),
    ".stl": ("model/stl",),
    ".gz": ("application/gzip",),
}
UNKNOWN_ENCODING = ("application/octet-stream",)
ARCHIVES = frozenset({"application/zip", "application/x-tar", "application/x-7z-compressed", "application/vnd.rar"})
# Pictures that any decoder opens; everything else is bytes (see the top of this module).
PICTURES = frozenset({"image/png", "image/jpeg", "image/bmp", "image/gif", "image/tiff"})
TABLES = frozenset({"text/csv", "text/tab-separated-values"})


def encoding_of(path: str) -> list[str]:
    name = path.casefold()
    ending = max((ending for ending in ENCODINGS if name.endswith(ending)), key=len, default="")
    return list(ENCODINGS.get(ending, UNKNOWN_ENCODING))


def glob_of(template: str, where: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """A template as glob patterns, narrowed where a field's regular expression is simple enough to be one.

    `**/` may stand for no folder at all, which not every glob allows: both are given.
    """
    patterns = [""]
    for token in _TOKENS.findall(template):
        if token.startswith("{"):
            choices = _globs_of_regex(where[token[1:-1]]) if token[1:-1] in where else ["*"]
        else:
            choices = ["**/", ""] if token == "**/" else [re.sub(r"([\[?])", r"[\1]", token)]
        patterns = [start + choice for start in patterns for choice in choices]
    return glob_of(template) if where and len(patterns) > MOST_GLOBS else patterns


def _globs_of_regex(pattern: str) -> list[str]:
    """A glob per alternative of a regular expression of literals and digits; `*` for what is more than that."""
    globs = []
    for alternative in pattern.split("|"):
        glob, end = "", 0
        for found in _SIMPLE.finditer(alternative):
            digits = found["count"]
            glob += "[0-9]" * int(digits) if digits else _GLOBS.get(found[0]) or found[0].removeprefix("\\")
            end = found.end()
        # The tokens have to follow one another to the end: a group, a class or a quantifier is beyond a glob.
        if end != len(alternative) or not _SIMPLE_WHOLE.fullmatch(alternative):
            return ["*"]
        globs.append(glob)
    return globs


_TOKENS = re.compile(r"\{[^{}]*\}|\*\*/|\*\*|\*|[^{}*]+")
_SIMPLE = re.compile(r"\\d\{(?P<count>\d)\}|\\d\+|\\d|\\w\+|\\[._-]|[A-Za-z0-9_ -](?![+*?{])")
_SIMPLE_WHOLE = re.compile(r"(?:\\d\{\d\}|\\d\+|\\d|\\w\+|\\[._-]|[A-Za-z0-9_ -](?![+*?{]))+")
_GLOBS = {r"\d": "[0-9]", r"\d+": "[0-9]*", r"\w+": "*"}
MOST_GLOBS = 24


def path_regex(templates: Iterable[str], part: str, where: Mapping[str, str]) -> str:
    """A regular expression for a whole path, whose one group is field `part`."""
    patterns = [_regex(template, part, where) for template in templates if part in template_fields(template)]
    # mlcroissant returns the first group that took part, so that alternatives may have a group each.
    return patterns[0] if len(patterns) == 1 else "|".join(dict.fromkeys(patterns))


def _regex(template: str, part: str, where: Mapping[str, str]) -> str:
    seen = False
    parts = []
    for token in _TOKENS.findall(template):
        if not token.startswith("{"):
            parts.append({"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*"}.get(token) or re.escape(token))
            continue
        name = token[1:-1]
        # Groups of the entry's own pattern must not count.
        pattern = re.sub(r"(?<!\\)\((?!\?)", "(?:", where.get(name, "[^/]+?"))
        if name != part:
            parts.append(f"(?:{pattern})")
        else:
            parts.append(rf"(?:{pattern})" if seen else f"({pattern})")
            seen = True
    return "".join(parts) + "$"


def slug(text: str, taken: set[str]) -> str:
    """An identifier of letters, digits and `-_.`, that nothing else in the document has."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-") or "file"
    name, number = plain, 2
    while name in taken:
        name, number = f"{plain}-{number}", number + 1
    taken.add(name)
    return name


def sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
