"""Arrays in files: they behave like others, leave nothing behind, and give their memory back."""

from __future__ import annotations

import numpy as np

from medshard.converters.spooling import IN_MEMORY, Spool, is_spooled, release_pages


def resident_file_kib() -> int:
    with open("/proc/self/status", encoding="ascii") as stream:  # noqa: PTH123
        return next(int(line.split()[1]) for line in stream if line.startswith(("RssFile", "RssShmem")))


def test_small_arrays_stay_in_memory_and_large_ones_go_to_a_nameless_file(tmp_path):
    spool = Spool(folder=tmp_path, limit_bytes=1000)
    small, large = spool.empty((3, 5), np.int16), spool.empty((5, 100), np.int16)
    assert (is_spooled(small), is_spooled(large), is_spooled(large[::-1].T)) == (False, True, True)
    assert (large.shape, large.dtype, large.flags.c_contiguous) == ((5, 100), np.int16, True)
    assert list(tmp_path.iterdir()) == []


def test_without_a_folder_everything_stays_in_memory():
    assert not is_spooled(IN_MEMORY.empty((1 << 20,), np.uint8))


def test_an_array_of_nothing_needs_no_file(tmp_path):
    assert Spool(folder=tmp_path, limit_bytes=0).empty((0, 3), np.int16).shape == (0, 3)


def test_released_pages_come_back_with_what_was_written(tmp_path):
    array = Spool(folder=tmp_path, limit_bytes=1).empty((64, 1 << 16), np.int32)
    array[...] = np.arange(64)[:, None]
    release_pages(array.T[::-1])
    assert (array[:, ::999] == np.arange(64)[:, None]).all()
    array[3] = 99
    release_pages(array)
    assert array[3].min() == array[3].max() == 99


def test_released_pages_are_not_memory_of_the_process(tmp_path):
    array = Spool(folder=tmp_path, limit_bytes=1).empty((64 << 20,), np.uint8)
    array[...] = 1
    before = resident_file_kib()
    release_pages(array)
    assert resident_file_kib() < before - (60 << 10)


def test_release_leaves_other_arrays_alone():
    array = np.arange(10)
    release_pages(array)
    assert (array == np.arange(10)).all()
