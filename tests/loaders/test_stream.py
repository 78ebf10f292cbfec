"""Sample number n is a pure function of (seed, n, mixture); ranks share the numbers; resume is one of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medshard.errors import CatalogError
from medshard.loaders.stream import Draw, SampleStream, Stream, draw, entry_weights, place_window

MIXTURE = Stream(seed=3, sizes=(10, 1000, 5), weights=(1.0, 2.0, 1.0), foreground=0.33)


def test_a_draw_depends_on_seed_and_number_only() -> None:
    forwards = [draw(MIXTURE, n) for n in range(50)]
    assert [draw(MIXTURE, n) for n in reversed(range(50))] == forwards[::-1]
    assert draw(replace(MIXTURE, seed=4), 0) != forwards[0]


def test_the_stream_is_that_of_version_1() -> None:
    """Frozen: a change here changes what every resumed run and every recorded manifest means."""
    assert draw(MIXTURE, 123_456_789) == Draw(
        number=123_456_789,
        entry_index=1,
        sample_index=278,
        foreground=False,
        class_fraction=0.006711883127388241,
        voxel_fraction=0.1005135222631538,
        window_fractions=(0.896591680924847, 0.3022915461105, 0.6735443546907043),
        augmentation_seed=3937017129,
    )


def test_entries_are_mixed_by_weight_whatever_their_sizes() -> None:
    drawn = [draw(MIXTURE, n) for n in range(20_000)]
    shares = np.bincount([one.entry_index for one in drawn], minlength=3) / len(drawn)
    np.testing.assert_allclose(shares, [0.25, 0.5, 0.25], atol=0.015)
    assert abs(np.mean([one.foreground for one in drawn]) - 0.33) < 0.015


def test_samples_of_an_entry_are_equally_likely() -> None:
    drawn = [draw(MIXTURE, n) for n in range(20_000)]
    counts = np.bincount([one.sample_index for one in drawn if one.entry_index == 0], minlength=10)
    expected = counts.sum() / 10
    assert np.all(np.abs(counts - expected) < 5 * np.sqrt(expected))


def test_an_entry_without_weight_is_never_drawn() -> None:
    stream = Stream(seed=0, sizes=(3, 4, 5), weights=(0.0, 1e-9, 0.0))
    assert {draw(stream, n).entry_index for n in range(200)} == {1}


def test_neighbouring_numbers_and_seeds_are_unrelated() -> None:
    fractions = np.array([draw(MIXTURE, n).window_fractions for n in range(4000)])
    assert np.abs(np.corrcoef(fractions[:-1].ravel(), fractions[1:].ravel())[0, 1]) < 0.05
    other = np.array([draw(replace(MIXTURE, seed=4), n).window_fractions for n in range(4000)])
    assert np.abs(np.corrcoef(fractions.ravel(), other.ravel())[0, 1]) < 0.05


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1},
        {"weights": (1.0, 1.0)},
        {"weights": (1.0, -1.0, 1.0)},
        {"weights": (0.0, 0.0, 0.0)},
        {"weights": (1.0, float("nan"), 1.0)},
        {"sizes": (10, 0, 5)},
        {"foreground": 1.5},
    ],
)
def test_a_mixture_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(CatalogError, match=r"stream\.mixture"):
        replace(MIXTURE, **wrong)


def test_weights_default_to_equally_likely_samples() -> None:
    assert entry_weights(["a", "b"], [3, 7], None) == (3.0, 7.0)
    assert entry_weights(["a", "b"], [3, 7], {"b": 1, "a": 2}) == (2.0, 1.0)
    with pytest.raises(CatalogError, match=r"stream\.weights"):
        entry_weights(["a", "b"], [3, 7], {"a": 1})


sizes = st.tuples(*(st.integers(1, 60) for _ in range(3)))
fractions = st.floats(0, 1, exclude_max=True)


def drawn_at(window_fractions: tuple[float, float, float]) -> Draw:
    return replace(draw(MIXTURE, 0), window_fractions=window_fractions)


@settings(deadline=None)
@given(sizes, sizes, st.tuples(fractions, fractions, fractions), st.data())
def test_a_window_stays_inside_or_is_centred_and_holds_its_voxel(
    shape: tuple[int, int, int], patch: tuple[int, int, int], place: tuple[float, float, float], data: st.DataObject
) -> None:
    voxel = data.draw(st.none() | st.tuples(*(st.integers(0, extent - 1) for extent in shape)))
    start = place_window(drawn_at(place), shape, patch, voxel)
    for axis in range(3):
        before, behind = -start[axis], start[axis] + patch[axis] - shape[axis]
        if shape[axis] >= patch[axis]:
            assert before <= 0
            assert behind <= 0
        else:
            assert 0 <= behind - before <= 1
        if voxel is not None:
            assert start[axis] <= voxel[axis] < start[axis] + patch[axis]


def test_every_place_of_a_window_can_be_drawn() -> None:
    starts = {place_window(drawn_at((f, f, f)), (10, 8, 4), (4, 8, 9)) for f in np.linspace(0, 0.999, 50)}
    assert starts == {(z, 0, -2) for z in range(7)}
    around = {place_window(drawn_at((f, f, f)), (10, 8, 4), (4, 8, 9), (8, 3, 1)) for f in np.linspace(0, 0.999, 50)}
    assert around == {(5, 0, -2), (6, 0, -2)}


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 8])
def test_the_global_batches_do_not_depend_on_the_number_of_ranks(world_size: int) -> None:
    ranks = [SampleStream(100, global_batch=8, rank=rank, world_size=world_size) for rank in range(world_size)]
    dealt = [list(rank) for rank in ranks]
    assert {len(numbers) for numbers in dealt} == {12 * ranks[0].batch_size}
    assert {len(rank) for rank in ranks} == {12 * ranks[0].batch_size}
    for batch in range(12):
        local = slice(batch * ranks[0].batch_size, (batch + 1) * ranks[0].batch_size)
        numbers = [number for rank in dealt for number in rank[local]]
        assert set(numbers) == set(range(8 * batch, 8 * batch + 8))
        # Where the ranks do not divide the batch, its first numbers fill the gap.
        surplus = ranks[0].batch_size * world_size - 8
        assert sorted(numbers) == sorted([*range(8 * batch, 8 * batch + 8), *range(8 * batch, 8 * batch + surplus)])


def test_resume_is_a_number_whatever_the_number_of_ranks() -> None:
    first = SampleStream(64, global_batch=4, rank=1, world_size=2)
    seen = []
    for number in first:
        seen.append(number)
        if len(seen) == 6:  # three steps of this rank
            break
    state = first.state_dict()
    assert state == {"next": 12, "global_batch": 4}
    rest = SampleStream(64, global_batch=4, rank=1, world_size=2)
    rest.load_state_dict(state)
    assert seen + list(rest) == list(SampleStream(64, global_batch=4, rank=1, world_size=2))
    alone = SampleStream(64, global_batch=4)
    alone.load_state_dict(state)
    assert list(alone) == list(range(12, 64))


def test_steps_done_count_where_workers_run_ahead() -> None:
    stream = SampleStream(64, global_batch=4, start=8)
    assert len(list(stream)) == 56
    assert stream.state_dict(batches_done=3) == {"next": 20, "global_batch": 4}


def test_numbers_that_fill_no_global_batch_are_left_for_the_next_stream() -> None:
    stream = SampleStream(10, global_batch=4)
    assert list(stream) == list(range(8))
    assert stream.end == 8
    assert len(SampleStream(3, global_batch=4)) == 0


def test_another_global_batch_cannot_go_on() -> None:
    stream = SampleStream(64, global_batch=4)
    with pytest.raises(CatalogError, match=r"stream\.state"):
        stream.load_state_dict({"next": 12, "global_batch": 6})
    with pytest.raises(CatalogError, match=r"stream\.state"):
        SampleStream(64, global_batch=4, start=3)
    with pytest.raises(CatalogError, match=r"stream\.batch"):
        SampleStream(64, global_batch=4, rank=2, world_size=2)
