"""Recordings that are plain arrays: npy, npz, mat, HDF5, pickles, csv and parquet.

Such files seldom state axes, names, units or rates; the catalog does, and what it leaves open is decided here as
written in docs/signals.md, with a warning for each decision.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medshard.converters.array_types import Array
from medshard.converters.formats import hdf5_arrays, matlab5
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import Files, installed_versions, narrowed
from medshard.converters.signal import Signal
from medshard.converters.signals import array_readers, matlab_structures, pickled_arrays
from medshard.converters.signals.array_axes import by_channel, channel_names
from medshard.converters.signals.event_rows import event_rows
from medshard.converters.signals.signal_format import Event, EventRequest, SignalFormat, SignalRequest
from medshard.converters.signals.stored_arrays import (
    NAMED,
    Arrays,
    Place,
    StoredArray,
    matches,
    no_such_array,
    tokens_of,
    written,
)
from medshard.converters.signals.timeline import no_rate
from medshard.converters.spooling import IN_MEMORY, Spool

RATE_NAMES = frozenset({"fs", "sfreq", "srate", "rate", "sampling_rate", "samplingrate", "sample_rate", "rate_hz"})
LABEL_NAMES = frozenset({"label", "labels"})
LABELS = re.compile(r"label per sample\b.*", re.IGNORECASE)
STATED_RATE = re.compile(r"\bat (\d{1,9}(?:\.\d{1,9})?) Hz\b", re.ASCII)
TIME_COLUMN = re.compile(
    r"(?:time|t|elapsed)?[ _]?[(\[]?(?P<unit>s|sec|seconds|ms|milliseconds)[)\]]?", re.IGNORECASE | re.ASCII
)
EVEN = 0.01
NUMBERS = "biuf"


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """table: whether the arrays of a file are columns that belong together."""

    name: str
    arrays: Arrays
    table: bool = False


@dataclass(frozen=True, kw_only=True)
class _Loaded:
    """group: what the key names, with an index for each star. rest: the way from there to the array."""

    group: Place
    rest: Place
    array: Array


# Text is recognised by its words, and comes last.
KINDS: tuple[tuple[Callable[[Path], bool], _Kind], ...] = (
    (array_readers.is_npy, _Kind(name="npy", arrays=array_readers.npy)),
    (array_readers.is_npz, _Kind(name="npz", arrays=array_readers.npz)),
    (matlab5.is_level5, _Kind(name="matlab", arrays=matlab_structures.arrays)),
    (hdf5_arrays.is_hdf5, _Kind(name="hdf5", arrays=array_readers.hdf5)),
    (array_readers.is_parquet, _Kind(name="parquet", arrays=array_readers.parquet, table=True)),
    (pickled_arrays.is_pickle, _Kind(name="pickle", arrays=pickled_arrays.arrays)),
    (array_readers.looks_like_text, _Kind(name="csv", arrays=array_readers.csv, table=True)),
)


def sniff(files: Files) -> bool:
    return len(files) == 1 and _kind(files[0]) is not None


def _kind(path: Path) -> _Kind | None:
    return next((kind for is_one, kind in KINDS if is_one(path)), None)


def read(files: Files, request: SignalRequest, spool: Spool) -> tuple[Signal, ...]:
    """One Signal for each array that the key names, one for each length of arrays beneath one name.

    Raises CaseError[read.* | signal.axes | signal.several_rates].
    """
    path = files[0]
    kind = _kind(path)
    if kind is None:
        raise bad_file("read.unknown_format", path, "the file is of no format of arrays that medshard reads")
    loaded, rate, notes = _loaded(path, kind, request, spool)
    if kind.table:
        loaded, measured = _without_time(loaded)
        rate = measured if rate is None else rate
    if not loaded:
        raise bad_file("signal.none", path, "the file holds no array of numbers that could be a recording")
    rate, about = _rate(rate, request)
    signals: list[Signal] = []
    for group, parts in itertools.groupby(loaded, key=lambda part: part.group):
        signals += _of_group(path, group, list(parts), replace(request, rate_hz=rate), spool)
    shared = (*notes, *about)
    return tuple(replace(signal, warnings=(*shared, *signal.warnings)) for signal in signals)


def _loaded(
    path: Path, kind: _Kind, request: SignalRequest, spool: Spool
) -> tuple[list[_Loaded], float | None, list[str]]:
    """In one pass over the file: the wanted arrays, and the rate that stands beside them."""
    tokens = () if request.key is None else tokens_of(path, request.key)
    sole = None if request.key is not None or kind.table else _sole(path, kind)
    seen: list[StoredArray] = []
    found: list[_Loaded] = []
    rates: list[tuple[Place, float]] = []
    left_out = 0
    for stored in kind.arrays(path):
        if stored.dtype.kind not in NUMBERS:
            left_out += 1
            continue
        seen += [stored][: NAMED - len(seen)]
        exact = request.key is not None and written(stored.place) == request.key
        wanted = stored.place == sole if sole is not None else exact or matches(tokens, stored.place)
        if _is_rate(stored) and not exact:
            rates.append((stored.place[:-1], float(stored.load(IN_MEMORY).reshape(-1)[0])))
        elif wanted and math.prod(stored.shape) > 1:
            cut = len(stored.place) if exact or sole is not None else len(tokens)
            array = stored.load(spool)
            found.append(_Loaded(group=stored.place[:cut], rest=stored.place[cut:], array=array))
    if not found:
        raise no_such_array(path, request.key, seen)
    near = {rate for place, rate in rates if rate > 0 and found[0].group[: len(place)] == place}
    notes = ["the file states several rates beside the arrays; none is taken"] if len(near) > 1 else []
    notes += [f"{left_out} columns hold no plain numbers and are left out"] if left_out else []
    return found, near.pop() if len(near) == 1 else None, notes


def _sole(path: Path, kind: _Kind) -> Place:
    """The one array that may be a recording. Raises CaseError[read.no_such_array] where there are more, or none."""
    all_of_them = [stored for stored in kind.arrays(path) if math.prod(stored.shape) > 1]
    if len(all_of_them) != 1:
        raise no_such_array(path, None, all_of_them)
    return all_of_them[0].place


def _is_rate(stored: StoredArray) -> bool:
    name = stored.place[-1] if stored.place else ""
    return isinstance(name, str) and name.lower() in RATE_NAMES and math.prod(stored.shape) == 1


def _without_time(loaded: list[_Loaded]) -> tuple[list[_Loaded], float | None]:
    """A column of evenly spaced seconds or milliseconds gives the rate and is no channel."""
    for part in loaded:
        name = part.rest[-1] if part.rest else ""
        match = TIME_COLUMN.fullmatch(str(name).strip())
        steps = np.diff(np.asarray(part.array, np.float64)) if match is not None else np.zeros(0)
        typical = float(np.median(steps)) if steps.size else 0.0
        if match is not None and typical > 0 and bool((np.abs(steps - typical) <= EVEN * typical).all()):
            seconds = float(np.mean(steps)) / (1000 if match["unit"].lower().startswith("m") else 1)
            return [other for other in loaded if other is not part], 1 / seconds
    return loaded, None


def _rate(found: float | None, request: SignalRequest) -> tuple[float | None, list[str]]:
    if found is None:
        nothing = ["neither the file nor the catalog states a rate"]
        return request.rate_hz, [] if request.rate_hz is not None else nothing
    if request.rate_hz is not None and not math.isclose(found, request.rate_hz, rel_tol=1e-3):
        note = f"the file states {found:g} Hz, the catalog {request.rate_hz:g} Hz; the file's is used"
        return found, [note]
    return found, []


def _of_group(path: Path, group: Place, parts: list[_Loaded], request: SignalRequest, spool: Spool) -> Iterator[Signal]:
    """Arrays of one length beside each other become one Signal."""
    alone = len(parts) == 1
    placed = []
    for part in parts:
        names = request.channels if alone else ()
        array, notes = by_channel(path, part.array, names)
        placed.append((part, array, notes))
    lengths = list(dict.fromkeys(array.shape[-1] for _, array, _ in placed))
    if len(lengths) > 1 and request.rate_hz is not None:
        raise bad_file(
            "signal.several_rates",
            path,
            "the arrays beneath one key have different lengths, so that one rate cannot be that of all of them",
            details={written((*part.group, *part.rest))[:60]: array.shape[-1] for part, array, _ in placed[:12]},
            action="Name each of them as a signal of its own in the entry's layout, with its rate.",
        )
    for length in lengths:
        alike = [item for item in placed if item[1].shape[-1] == length]
        yield _signal(path, group, alike, request, spool, whole=len(lengths) == 1)


def _signal(
    path: Path,
    group: Place,
    alike: Sequence[tuple[_Loaded, Array, tuple[str, ...]]],
    request: SignalRequest,
    spool: Spool,
    *,
    whole: bool,
) -> Signal:
    if len(alike) == 1:
        array = alike[0][1]
    elif any(item[1].ndim > 2 for item in alike):
        raise bad_file("signal.axes", path, "arrays of several trials lie beneath one key; name one of them")
    else:
        array = np.concatenate([item[1] for item in alike])
    array = narrowed(array.view(np.uint8) if array.dtype.kind == "b" else array, spool)
    parts = [("" if not part.rest else written(part.rest), part_array.shape[-2]) for part, part_array, _ in alike]
    names, about = channel_names(path, parts, request.channels if whole else ())
    notes = [*dict.fromkeys(note for _, _, found in alike for note in found), *about]
    if array.dtype.kind == "f" and (count := int(array.size - np.isfinite(array).sum())):
        notes.append(f"{count} samples are not finite numbers")
    count = len(names)
    return Signal(
        array=array,
        rate_hz=request.rate_hz,
        channels=names,
        units=(request.unit or "",) * count,
        slope=(1.0,) * count,
        intercept=(0.0,) * count,
        attributes={"array": written(group)} if group else {},
        warnings=tuple(notes),
    )


def events(files: Files, request: EventRequest) -> list[Event]:
    """Runs of equal labels (`label per sample at 700 Hz`), or the rows of a table with onsets.

    Raises CaseError[read.* | signal.no_rate | signal.no_events].
    """
    path = files[0]
    kind = _kind(path)
    if kind is None:
        raise bad_file("signal.no_events", path, "the file is of no format in which medshard looks for events")
    if LABELS.search(request.format) is None:
        if kind.table:
            return event_rows(path, request)
        raise bad_file(
            "signal.no_events",
            path,
            "the entry does not say how the events are written in the file",
            details={"expected": "format: label per sample at ... Hz"},
            action="Correct `format` in the entry's layout.",
        )
    labels = _labels(path, kind, request.key)
    stated = STATED_RATE.search(request.format)
    rate = float(stated.group(1)) if stated is not None else request.rate_hz
    if not rate:
        raise no_rate(path, "labels")
    borders = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist(), len(labels)]
    return [
        Event(onset_s=start / rate, duration_s=(stop - start) / rate, word=str(int(labels[start])))
        for start, stop in itertools.pairwise(borders)
    ]


def _labels(path: Path, kind: _Kind, key: str | None) -> Array:
    """The array of that name, else the one at the top that is called label. Whole numbers along one axis."""
    tokens = () if key is None else tokens_of(path, key)
    found: list[Array] = []
    seen: list[StoredArray] = []
    for stored in kind.arrays(path):
        seen += [stored][: NAMED - len(seen)]
        named = stored.place == tokens if key else len(stored.place) == 1 and stored.place[0] in LABEL_NAMES
        if named:
            found.append(stored.load(IN_MEMORY).reshape(-1))
    if len(found) != 1:
        raise no_such_array(path, key or "label", seen)
    labels = found[0]
    if not labels.size or not bool((np.isfinite(labels) & (labels == np.rint(labels))).all()):
        raise bad_file("read.unreadable", path, "labels of samples are not whole numbers")
    return np.asarray(labels, np.int64)


def decoders() -> dict[str, str]:
    return {**installed_versions("numpy", "pyarrow", "isal"), **hdf5_arrays.decoders()}


FORMAT = SignalFormat(
    name="arrays",
    suffixes=(".npy", ".npz", ".mat", ".h5", ".hdf5", ".pkl", ".csv", ".tsv", ".parquet"),
    own=False,
    sniff=sniff,
    read=read,
    events=events,
    decoders=decoders,
)
