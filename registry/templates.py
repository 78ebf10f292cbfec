"""The template language of the layout: paths with fields and stars, such as `imagesTr/{case}_0000.nii.gz`.

`{field}` stands for a run of characters without `/`, `*` for any run without `/`, `**` for any run, and `**/` for any
number of folders, none among them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

_TOKEN = re.compile(
    r"\{(?P<field>[^{}]*)\}|(?P<folders>(?:(?<=/)|^)\*\*/)|(?P<deep>\*\*)|(?P<star>\*)|(?P<text>[^{}*]+)|(?P<bad>[{}])"
)
_WILDCARDS = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*"}


def check_template(template: str) -> str:
    """Return the template, or raise ValueError saying what is wrong with it."""
    for token in _TOKEN.finditer(template):
        if token["bad"]:
            raise ValueError(f"unbalanced brace at character {token.start() + 1} of {template!r}")
        if token["field"] is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", token["field"]):
            raise ValueError(f"{{{token['field']}}} in {template!r} is no field name (letters, digits and _)")
    if "\\" in template:
        raise ValueError(f"{template!r}: folders are divided by `/`, on Windows too")
    if {"", ".", ".."} & set(template.split("/")):
        raise ValueError(f"{template!r} must be a path below the acquired tree, with no part empty, `.` or `..`")
    return template


def template_fields(template: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(token["field"] for token in _TOKEN.finditer(template) if token["field"] is not None))


def fill(template: str, fields: Mapping[str, str]) -> str:
    """The template with its fields replaced; stars stay, and so do fields that have no value."""
    return _TOKEN.sub(
        lambda token: fields.get(token["field"], token[0]) if token["field"] is not None else token[0], template
    )


def match_template(template: str, path: str, where: tuple[tuple[str, str], ...] = ()) -> dict[str, str] | None:
    """The fields of a path, or None where it does not match.

    where: (field, regular expression) of fields that are narrower than any run of characters. They decide where one
    field ends and the next begins: `{patient}_{image}` splits `BraTS_001_t1` at the right line only with them.
    """
    match = _compile(template, where).fullmatch(path)
    if match is None:
        return None
    return {name: match[name] for name in template_fields(template)}


@lru_cache(maxsize=4096)
def _compile(template: str, where: tuple[tuple[str, str], ...]) -> re.Pattern[str]:
    narrower = dict(where)
    seen: set[str] = set()
    parts: list[str] = []
    for token in _TOKEN.finditer(template):
        name = token["field"]
        if name is None:
            parts.append(_wildcard(token))
        elif name in seen:
            parts.append(f"(?P={name})")
        else:
            seen.add(name)
            parts.append(_narrow_field(name, narrower[name]) if name in narrower else f"(?P<{name}>[^/]+?)")
    return re.compile("".join(parts))


def _narrow_field(name: str, pattern: str) -> str:
    """A field with a regular expression of its own, which may be wide enough to match `/`: the field still ends there.

    What is left of the path behind the field has to end with what is left behind the next `/`.
    """
    behind = f"{name}__behind"
    return rf"(?=[^/]*(?P<{behind}>[\s\S]*))(?P<{name}>{pattern})(?=[\s\S]*(?P={behind})\Z)"


@lru_cache(maxsize=65536)
def compile_filled(pattern: str) -> re.Pattern[str]:
    """Like `_compile` for a path whose fields are filled in; braces in it are plain characters."""
    parts = re.split(r"((?:(?<=/)|^)\*\*/|\*\*|\*)", pattern)
    return re.compile("".join(_WILDCARDS.get(part, re.escape(part)) for part in parts))


def _wildcard(token: re.Match[str]) -> str:
    return _WILDCARDS.get(token[0], re.escape(token[0]))
