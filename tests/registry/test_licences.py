"""Licences as data: what an SPDX expression allows, and that no entry promises more."""

from __future__ import annotations

import itertools

import pytest
from pydantic import ValidationError

from medshard.registry.licences import Terms, canonical_licence, known_terms, looser_than
from medshard.registry.schema import Licence
from medshard.registry.vocabulary import Permission

ALLOWED, FORBIDDEN, CONDITIONAL, UNKNOWN = (
    Permission.ALLOWED,
    Permission.FORBIDDEN,
    Permission.CONDITIONAL,
    Permission.UNKNOWN,
)


def answers(expression: str) -> tuple[Permission, Permission, Permission] | None:
    terms = known_terms(expression)
    return None if terms is None else (terms.commercial_use, terms.redistribution, terms.derivatives)


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("CC0-1.0", (ALLOWED, ALLOWED, ALLOWED)),
        ("MIT", (ALLOWED, ALLOWED, ALLOWED)),
        ("CC-BY-4.0", (ALLOWED, ALLOWED, ALLOWED)),
        ("CC-BY-2.5", (ALLOWED, ALLOWED, ALLOWED)),
        ("ODC-By-1.0", (ALLOWED, ALLOWED, ALLOWED)),
        ("CC-BY-SA-4.0", (ALLOWED, ALLOWED, CONDITIONAL)),
        ("GPL-3.0-only", (ALLOWED, ALLOWED, CONDITIONAL)),
        ("AGPL-3.0-or-later", (ALLOWED, ALLOWED, CONDITIONAL)),
        ("LGPL-2.1-only", (ALLOWED, ALLOWED, CONDITIONAL)),
        ("CC-BY-NC-4.0", (FORBIDDEN, CONDITIONAL, CONDITIONAL)),
        ("CC-BY-NC-SA-3.0", (FORBIDDEN, CONDITIONAL, CONDITIONAL)),
        ("CC-BY-ND-4.0", (ALLOWED, ALLOWED, FORBIDDEN)),
        ("CC-BY-NC-ND-4.0", (FORBIDDEN, CONDITIONAL, FORBIDDEN)),
    ],
)
def test_what_a_known_licence_allows(licence: str, expected: tuple[Permission, Permission, Permission]) -> None:
    assert answers(licence) == expected


@pytest.mark.parametrize(
    "expression",
    ["LicenseRef-unknown", "LicenseRef-Terms OR MIT", "GPL-2.0-only WITH Classpath-exception-2.0",
     "no licence at all", "", "MIT AND", "(MIT"],
)  # fmt: skip
def test_terms_that_nobody_wrote_down_are_not_guessed(expression: str) -> None:
    assert known_terms(expression) is None


def test_what_one_side_forbids_stays_forbidden_whatever_the_other_says() -> None:
    assert answers("CC-BY-NC-4.0 AND LicenseRef-Terms") == (FORBIDDEN, UNKNOWN, UNKNOWN)
    assert answers("MIT AND LicenseRef-Terms") == (UNKNOWN, UNKNOWN, UNKNOWN)
    assert answers("(MIT OR LicenseRef-Terms) AND CC0-1.0") == (UNKNOWN, UNKNOWN, UNKNOWN)
    with pytest.raises(ValueError, match="promises more"):
        Licence.model_validate({"id": "CC-BY-NC-4.0 AND LicenseRef-Terms", "commercial_use": "allowed"})
    read = Licence.model_validate({"id": "MIT AND LicenseRef-Terms", "commercial_use": "allowed"})
    assert read.commercial_use is ALLOWED, "somebody who read the other terms may say so"


@pytest.mark.parametrize(
    ("expression", "same_as"),
    [
        ("MIT AND CC-BY-NC-4.0", "CC-BY-NC-4.0"),
        ("MIT OR CC-BY-NC-4.0", "MIT"),
        ("CC-BY-3.0 AND CC-BY-SA-4.0 AND MIT", "CC-BY-SA-4.0"),
        ("((CC-BY-NC-4.0))", "CC-BY-NC-4.0"),
        ("CC-BY-NC-4.0 AND (MIT OR CC-BY-4.0)", "CC-BY-NC-4.0"),
        ("(MIT OR CC-BY-4.0) AND CC-BY-NC-4.0", "CC-BY-NC-4.0"),
        ("(MIT AND CC-BY-NC-4.0) OR CC-BY-SA-4.0", "CC-BY-SA-4.0"),
        ("CC-BY-NC-4.0 OR MIT AND CC-BY-NC-ND-4.0", "CC-BY-NC-4.0"),
        ("CC-BY-NC-4.0 AND (CC-BY-NC-SA-4.0 OR (MIT AND CC-BY-ND-4.0))", "CC-BY-NC-4.0"),
        ("cc-by-nc-4.0", "CC-BY-NC-4.0"),
        ("mit and cc-by-nc-4.0", "CC-BY-NC-4.0"),
    ],
)
def test_and_takes_the_stricter_answer_or_the_freer_one_and_brackets_hold(expression: str, same_as: str) -> None:
    assert known_terms(expression) == known_terms(same_as) is not None


def test_answers_are_combined_one_by_one() -> None:
    """Of two licences neither of which is stricter in everything."""
    assert answers("CC-BY-ND-4.0 AND CC-BY-NC-4.0") == (FORBIDDEN, CONDITIONAL, FORBIDDEN)
    assert answers("CC-BY-ND-4.0 OR CC-BY-NC-4.0") == (ALLOWED, ALLOWED, CONDITIONAL)


def test_an_expression_gets_the_spelling_of_spdx() -> None:
    assert canonical_licence("cc-by-4.0 or mit") == "CC-BY-4.0 OR MIT"
    assert canonical_licence("LicenseRef-Kaggle-Terms") == "LicenseRef-Kaggle-Terms"


@pytest.mark.parametrize("expression", ["CC-BY-SA-4", "custom terms", "research only", "", "MIT AND", "LicenseRef-"])
def test_what_is_no_expression_is_told_how_to_name_other_terms(expression: str) -> None:
    with pytest.raises(ValueError, match="LicenseRef-<name>.*LicenseRef-unknown"):
        canonical_licence(expression)


def test_strictness_is_one_order_from_allowed_to_forbidden() -> None:
    order = (ALLOWED, CONDITIONAL, UNKNOWN, FORBIDDEN)
    for one, other in itertools.product(order, order):
        assert looser_than(one, other) == (order.index(one) < order.index(other))


def test_an_entry_with_a_known_licence_need_not_repeat_the_answers() -> None:
    licence = Licence.model_validate({"id": "cc-by-nc-sa-4.0"})
    assert (licence.id, licence.commercial_use) == ("CC-BY-NC-SA-4.0", FORBIDDEN)
    assert (licence.redistribution, licence.derivatives) == (CONDITIONAL, CONDITIONAL)


def test_an_entry_may_be_stricter_than_its_licence_and_never_looser() -> None:
    assert Licence.model_validate({"id": "CC-BY-4.0", "commercial_use": "forbidden"}).commercial_use is FORBIDDEN
    with pytest.raises(ValidationError, match=r"`commercial_use: allowed` promises more than CC-BY-NC-4\.0"):
        Licence.model_validate({"id": "CC-BY-NC-4.0", "commercial_use": "allowed"})
    with pytest.raises(ValidationError, match="promises more"):
        Licence.model_validate({"id": "CC-BY-NC-4.0 AND (MIT OR CC-BY-4.0)", "commercial_use": "allowed"})


def test_terms_without_an_id_say_what_the_entry_says() -> None:
    licence = Licence.model_validate({"id": "LicenseRef-Terms", "redistribution": "forbidden"})
    assert (licence.commercial_use, licence.redistribution) == (UNKNOWN, FORBIDDEN)
    assert Terms() == Terms(commercial_use=UNKNOWN, redistribution=UNKNOWN, derivatives=UNKNOWN)
