"""What well-known licences allow, as data, and the reading of licence expressions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from medshard.registry.vocabulary import Permission

UNKNOWN_LICENCE = "LicenseRef-unknown"

_ALLOWED, _FORBIDDEN, _CONDITIONAL, _UNKNOWN = (
    Permission.ALLOWED,
    Permission.FORBIDDEN,
    Permission.CONDITIONAL,
    Permission.UNKNOWN,
)
_STRICTNESS = {_ALLOWED: 0, _CONDITIONAL: 1, _UNKNOWN: 2, _FORBIDDEN: 3}


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The three questions that a user of a data set asks of its licence."""

    commercial_use: Permission = _UNKNOWN
    redistribution: Permission = _UNKNOWN
    derivatives: Permission = _UNKNOWN


_FREE = Terms(commercial_use=_ALLOWED, redistribution=_ALLOWED, derivatives=_ALLOWED)
_SHARE_ALIKE = Terms(commercial_use=_ALLOWED, redistribution=_ALLOWED, derivatives=_CONDITIONAL)
_NON_COMMERCIAL = Terms(commercial_use=_FORBIDDEN, redistribution=_CONDITIONAL, derivatives=_CONDITIONAL)
_NO_DERIVATIVES = Terms(commercial_use=_ALLOWED, redistribution=_ALLOWED, derivatives=_FORBIDDEN)
_NON_COMMERCIAL_NO_DERIVATIVES = Terms(commercial_use=_FORBIDDEN, redistribution=_CONDITIONAL, derivatives=_FORBIDDEN)

_FAMILIES: tuple[tuple[str, Terms], ...] = (
    (r"CC0-1\.0|PDDL-1\.0|Unlicense|MIT|MIT-0|BSD-[23]-Clause|Apache-2\.0|ISC|0BSD|Python-2\.0", _FREE),
    (r"CC-BY-\d\.\d|ODC-By-1\.0|CDLA-Permissive-\d\.\d", _FREE),
    (r"CC-BY-SA-\d\.\d|ODbL-1\.0|L?A?GPL-\d\.\d-(only|or-later)|CDLA-Sharing-1\.0", _SHARE_ALIKE),
    (r"CC-BY-NC(-SA)?-\d\.\d", _NON_COMMERCIAL),
    (r"CC-BY-ND-\d\.\d", _NO_DERIVATIVES),
    (r"CC-BY-NC-ND-\d\.\d", _NON_COMMERCIAL_NO_DERIVATIVES),
)
"""Attribution is asked by nearly all of them and stands in no column: every use owes it anyway."""


@cache
def known_terms(expression: str) -> Terms | None:
    """What an SPDX expression allows; None when nothing of it is in the table, or when it is no expression.

    `A AND B` binds to both, so the stricter answer counts, and what a part without known terms says is unknown;
    `A OR B` lets the user choose the freer one, where both are known.
    """
    return _read(expression, unknown_part=Terms())


@cache
def upper_bound(expression: str) -> Terms | None:
    """The most that an expression can allow: as `known_terms`, where parts without known terms may allow everything."""
    return _read(expression, unknown_part=_FREE)


def _read(expression: str, *, unknown_part: Terms) -> Terms | None:
    try:
        words = re.findall(r"[()]|[^\s()]+", canonical_licence(expression))
    except ValueError:
        return None
    return _terms_of_choice(words, unknown_part)


def _terms_of_choice(words: list[str], unknown_part: Terms) -> Terms | None:
    """Takes the sides of an OR off the front of the words; AND binds more tightly."""
    sides = [_terms_of_both(words, unknown_part)]
    while words[:1] == ["OR"]:
        del words[0]
        sides.append(_terms_of_both(words, unknown_part))
    known = [side for side in sides if side is not None]
    return _combine(known, _freest) if len(known) == len(sides) else None


def _terms_of_both(words: list[str], unknown_part: Terms) -> Terms | None:
    sides = [_terms_of_part(words, unknown_part)]
    while words[:1] == ["AND"]:
        del words[0]
        sides.append(_terms_of_part(words, unknown_part))
    if all(side is None for side in sides):
        return None
    return _combine([side or unknown_part for side in sides], _strictest)


def _terms_of_part(words: list[str], unknown_part: Terms) -> Terms | None:
    """A licence, one with an exception (which no table knows), or an expression in brackets."""
    word = words.pop(0)
    if word == "(":
        terms = _terms_of_choice(words, unknown_part)
        del words[0]
        return terms
    if words[:1] == ["WITH"]:
        del words[:2]
        return None
    return next((terms for pattern, terms in _FAMILIES if re.fullmatch(pattern, word)), None)


def canonical_licence(expression: str) -> str:
    """The expression in SPDX's own spelling. Raises ValueError when it is none."""
    try:
        return str(canonicalize_license_expression(expression))
    except InvalidLicenseExpression as error:
        raise ValueError(
            f"{expression!r} is no SPDX licence expression: {error}; terms without an SPDX id are named "
            f"`LicenseRef-<name>`, and `{UNKNOWN_LICENCE}` says that nobody knows"
        ) from error


def looser_than(stated: Permission, known: Permission) -> bool:
    """True when an entry promises more than the licence that it names."""
    return _STRICTNESS[stated] < _STRICTNESS[known]


def _combine(sides: Sequence[Terms], choose: Callable[[Iterable[Permission]], Permission]) -> Terms:
    return Terms(
        commercial_use=choose(side.commercial_use for side in sides),
        redistribution=choose(side.redistribution for side in sides),
        derivatives=choose(side.derivatives for side in sides),
    )


def _strictest(answers: Iterable[Permission]) -> Permission:
    return max(answers, key=_STRICTNESS.__getitem__)


def _freest(answers: Iterable[Permission]) -> Permission:
    return min(answers, key=_STRICTNESS.__getitem__)
