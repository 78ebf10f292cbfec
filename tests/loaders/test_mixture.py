"""What is mixed and how often: resolved on numbers, exactly, and realised by the stream."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from medshard.errors import CatalogError
from medshard.loaders.mixture import MixtureRule, mix, power, resolve_shares
from medshard.loaders.stream import Stream, draw

SIZES = {"large": 800, "middle": 150, "small": 50}


def shares(**rule: Any) -> dict[str, float]:
    return {name: float(share) for name, share in resolve_shares(SIZES, MixtureRule(**rule)).items()}


def test_by_default_all_samples_are_equally_likely() -> None:
    assert shares() == {"large": 0.8, "middle": 0.15, "small": 0.05}
    pooled = mix(["a", "b"], [3, 7])
    assert [component.size for component in pooled.components] == [10]
    assert pooled.entry_shares() == pytest.approx({"a": 0.3, "b": 0.7})


def test_weights_are_relative() -> None:
    assert shares(weights={"large": 1, "middle": 0, "small": 3}) == {"large": 0.25, "middle": 0.0, "small": 0.75}


def test_temperature_flattens() -> None:
    """p_i proportional to n_i ** (1 / T)."""
    numbers = np.array(list(SIZES.values()), float)
    for temperature in (0.5, 2.0, 3.7):
        expected = numbers ** (1 / temperature) / (numbers ** (1 / temperature)).sum()
        np.testing.assert_allclose(list(shares(temperature=temperature).values()), expected, rtol=1e-12)
    assert set(shares(temperature=float("inf")).values()) == {1 / 3}


def test_a_cap_is_shared_by_the_others_in_proportion() -> None:
    assert shares(most=0.5) == pytest.approx({"large": 0.5, "middle": 0.375, "small": 0.125})
    assert shares(most={"large": 0.6}, least={"small": 0.2}) == pytest.approx(
        {"large": 0.6, "middle": 0.2, "small": 0.2}
    )


def test_a_case_is_not_drawn_more_often_than_allowed() -> None:
    """Equal thirds would draw each small case 6.7 times while a thousand samples are drawn."""
    found = shares(temperature=float("inf"), most_per_case=2.0)
    assert found["small"] == pytest.approx(0.1)
    assert found["middle"] == pytest.approx(0.3)
    assert found["large"] == pytest.approx(0.6)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 10_000), st.floats(0.01, 0.9), st.floats(0.0, 0.2)), min_size=1, max_size=12),
    st.sampled_from([0.5, 1.0, 2.0, 5.0]),
)
def test_shares_keep_to_their_bounds_and_else_to_their_proportions(
    components: list[tuple[int, float, float]], temperature: float
) -> None:
    sizes = {str(number): size for number, (size, _, _) in enumerate(components)}
    most = {str(number): most for number, (_, most, _) in enumerate(components)}
    least = {str(number): least for number, (_, _, least) in enumerate(components)}
    assume(all(least[name] + 1e-6 < most[name] for name in sizes))
    assume(sum(least.values()) < 0.999 and sum(most.values()) > 1.001)
    found = resolve_shares(sizes, MixtureRule(most=most, least=least, temperature=temperature))
    assert sum(found.values()) == 1
    ratios = {}
    for name, share in found.items():
        assert least[name] - 1e-12 <= share <= most[name] + 1e-12
        ratios[name] = float(share) / sizes[name] ** (1 / temperature)
    free = [ratio for name, ratio in ratios.items() if least[name] + 1e-9 < found[name] < most[name] - 1e-9]
    assert not free or max(free) == pytest.approx(min(free), rel=1e-6)
    for name, ratio in ratios.items():
        # Who is held back would have more, who is helped would have less.
        if free and found[name] >= most[name] - 1e-12:
            assert ratio <= free[0] * (1 + 1e-6)
        if free and found[name] <= least[name] + 1e-12:
            assert ratio >= free[0] * (1 - 1e-6)


def test_powers_are_exact_to_fifty_digits() -> None:
    assert power(9, 0.5) == 3
    assert power(Fraction(1, 4), -0.5) == 2
    assert abs(float(power(12345, 1 / 3.3)) / 12345 ** (1 / 3.3) - 1) < 1e-14


def test_modality_first_and_then_the_entry() -> None:
    mixture = mix(
        ["ct-large", "ct-small", "mr"],
        [900, 100, 50],
        MixtureRule(weights={"CT": 1, "MR": 1}),
        groups={"ct-large": "CT", "ct-small": "CT", "mr": "MR"},
        within=MixtureRule(temperature=2.0),
    )
    assert mixture.shares() == pytest.approx({"CT/ct-large": 0.375, "CT/ct-small": 0.125, "MR/mr": 0.5})


def test_an_entry_of_two_modalities_is_divided_by_sample() -> None:
    modalities = [["CT", "MR", "CT", "CT"], ["MR", "MR"]]
    mixture = mix(["both", "mr"], [4, 2], MixtureRule(weights={"CT": 1, "MR": 3}), groups=modalities)
    stream = Stream(seed=0, mixture=mixture)
    drawn = Counter((one.entry_index, one.sample_index) for one in (draw(stream, n) for n in range(4096)))
    ct = sum(count for (entry, sample), count in drawn.items() if modalities[entry][sample] == "CT")
    assert ct / 4096 == pytest.approx(0.25, abs=0.004)
    assert drawn[0, 1] == pytest.approx(1024, abs=4)  # one of three MR samples
    assert mixture.entry_shares() == pytest.approx({"both": 0.5, "mr": 0.5})


@pytest.mark.parametrize("sampling", ["permuted", "independent"])
def test_130_entries_are_realised_within_half_a_percentage_point(sampling: Any) -> None:
    rng = np.random.default_rng(1)
    entries = [f"entry-{number}" for number in range(130)]
    sizes = np.exp(rng.uniform(0, 9, 130)).astype(int).tolist()
    mixture = mix(entries, sizes, MixtureRule(temperature=2.0, most=0.03, most_per_case=50.0))
    stream = Stream(seed=6, mixture=mixture, sampling=sampling)
    count = 100_000
    drawn = np.bincount([draw(stream, n).entry_index for n in range(count)], minlength=130) / count
    errors = np.abs(drawn - np.array(list(mixture.entry_shares().values())))
    assert errors.max() < (0.0002 if sampling == "permuted" else 0.005)


@pytest.mark.parametrize(
    ("code", "rule"),
    [
        ("weights", {"weights": {"large": 1}}),
        ("weights", {"weights": {"large": 1, "middle": 1, "small": 1, "tiny": 1}}),
        ("most", {"most": {"tiny": 0.5}}),
        ("numbers", {"weights": {"large": -1, "middle": 1, "small": 1}}),
        ("numbers", {"weights": {"large": float("nan"), "middle": 1, "small": 1}}),
        ("numbers", {"temperature": 0.0}),
        ("empty", {"weights": dict.fromkeys(SIZES, 0)}),
        ("bounds", {"most": 0.3}),
        ("bounds", {"least": 0.4}),
        ("bounds", {"most": {"small": 0.1}, "least": {"small": 0.2}}),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(code: str, rule: dict[str, Any]) -> None:
    with pytest.raises(CatalogError, match=rf"mixture\.{code}\]"):
        shares(**rule)


def test_what_has_no_samples_cannot_be_mixed() -> None:
    with pytest.raises(CatalogError, match=r"mixture\.empty"):
        mix(["a"], [0])
    with pytest.raises(CatalogError, match=r"mixture\.empty"):
        mix(["a", "a"], [1, 1])
    with pytest.raises(CatalogError, match=r"mixture\.weights"):
        mix(["a", "b"], [1, 0], MixtureRule(weights={"a": 1, "b": 1}))
    with pytest.raises(CatalogError, match=r"mixture\.groups"):
        mix(["a", "b"], [1, 1], MixtureRule(most=0.7), groups={"a": "CT"})
    with pytest.raises(CatalogError, match=r"mixture\.groups"):
        mix(["a"], [2], MixtureRule(most=0.7), groups=[["CT"]])
    with pytest.raises(CatalogError, match=r"mixture\.within"):
        mix(["a"], [2], groups={"a": "CT"}, within=MixtureRule(weights={"b": 1}))


def test_an_entry_without_weight_is_never_drawn() -> None:
    mixture = mix(["a", "b", "c"], [3, 4, 5], MixtureRule(weights={"a": 0.0, "b": 1e-9, "c": 0.0}))
    stream = Stream(seed=0, mixture=mixture)
    assert {draw(stream, n).entry_index for n in range(200)} == {1}
