"""What a case has besides images, masks and surfaces: slides, videos, signals, tables and texts.

An image of the layout whose file is a whole slide is a slide: it is described and indexed, and decoded when sharded.
The reader of each kind is imported when a case has it: a worker that converts scans loads none of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from medshard.converters.signal import Signal
from medshard.converters.slide import Slide
from medshard.converters.sources import SourceFile
from medshard.converters.table import Table
from medshard.converters.video import Video
from medshard.converters.volume import Volume
from medshard.pipelines.stages.case_payload import CasePayload, require_files
from medshard.pipelines.stages.raw import RawFile
from medshard.registry.schema import ImageSpec
from medshard.registry.vocabulary import Modality

# Suffix of the text that describes a WFDB recording, whose numbers stand in files beside it.
WFDB_HEADER = ".hea"


def with_slides(payload: CasePayload) -> CasePayload:
    """The case, knowing which of its images are whole slides."""
    microscopy = [
        name
        for name, files in payload.case.images.items()
        if files and (payload.group.images[name].modality or payload.group.modality) == Modality.PATHOLOGY
    ]
    if not microscopy:
        return payload
    from medshard.converters.slides.reading import is_slide  # noqa: PLC0415

    slides = tuple(name for name in microscopy if is_slide(payload.locate(payload.case.images[name])))
    return replace(payload, slides=slides)


def read_contents(payload: CasePayload) -> Volume:
    """The case with its slides, videos, signals, tables and texts, and nothing else.

    Raises CaseError as the readers of each do, and [content.missing].
    """
    return Volume(
        entry=payload.entry.id,
        case=payload.case.case,
        patient=payload.case.patient,
        slides={name: read_case_slide(payload, name) for name in payload.slides},
        videos=read_case_videos(payload) if payload.group.videos else {},
        signals=read_case_signals(payload) if payload.group.signals else {},
        tables=read_case_tables(payload) if payload.group.tables else {},
        texts=read_case_texts(payload) if payload.group.texts else {},
    )


def content_decoders(payload: CasePayload) -> dict[str, str]:
    """Library -> version, of everything that reads the contents of a case and its annotations in rows."""
    case, group = payload.case, payload.group
    found: dict[str, str] = {}
    for names, decoders_of in (
        (payload.slides, _slide_decoders),
        (group.videos, _video_decoders),
        (group.signals, _signal_decoders),
        ((*group.tables, *group.texts), _table_decoders),
    ):
        for name in names:
            if files := (case.images.get(name) or case.others.get(name)):
                found |= decoders_of(payload.locate(files))
    return found


def _slide_decoders(files: Sequence[Path]) -> dict[str, str]:
    from medshard.converters.slides.reading import slide_decoders  # noqa: PLC0415

    return slide_decoders(files)


def _video_decoders(files: Sequence[Path]) -> dict[str, str]:
    from medshard.converters.videos.reading import video_decoders  # noqa: PLC0415

    return video_decoders(files)


def _signal_decoders(files: Sequence[Path]) -> dict[str, str]:
    from medshard.converters.signals.reading import signal_decoders  # noqa: PLC0415

    return signal_decoders(files)


def _table_decoders(files: Sequence[Path]) -> dict[str, str]:
    from medshard.converters.tables.reading import table_decoders  # noqa: PLC0415

    return table_decoders(files)


def source_files(files: Mapping[str, RawFile]) -> dict[str, SourceFile]:
    """What a slide or a video remembers of each of its files."""
    return {path: SourceFile(path=path, sha256=file.sha256, size=file.size) for path, file in files.items()}


def read_case_slide(payload: CasePayload, name: str) -> Slide:
    """The index of one slide. Raises CaseError as `read_slide` does."""
    from medshard.converters.slides.reading import read_slide  # noqa: PLC0415

    files = payload.case.images[name]
    slide = read_slide(payload.locate(files), where=f"{payload.where} slide {name}")
    return replace(slide, files=_sources(payload, files))


def read_case_videos(payload: CasePayload) -> dict[str, Video]:
    """The index of every video. Raises CaseError as `read_video` does, and [content.missing]."""
    from medshard.converters.videos.frame_folder import in_order  # noqa: PLC0415
    from medshard.converters.videos.reading import VideoRequest, read_video  # noqa: PLC0415

    found = {}
    for name, (spec, files) in present_contents(payload, payload.group.videos).items():
        request = VideoRequest(rate_hz=spec.rate_hz)
        located = payload.locate(files)
        video = read_video(located, where=f"{payload.where} video {name}", request=request)
        of_place = dict(zip(located, files, strict=True))
        ordered = in_order(located) if len(located) > 1 else located
        found[name] = replace(video, files=_sources(payload, tuple(of_place[place] for place in ordered)))
    return found


def read_case_signals(payload: CasePayload) -> dict[str, Signal]:
    """The signals, called as `named_signals` says.

    Raises CaseError as `read_signals` does, and [content.missing].
    """
    from medshard.converters.signals.reading import SignalRequest, read_signals  # noqa: PLC0415

    found: dict[str, Signal] = {}
    contents = present_contents(payload, payload.group.signals)
    headers = {name for name, (_, files) in contents.items() if all(_is_wfdb_header(path) for path in files)}
    if len(headers) == len(contents):
        headers = set()
    beside = tuple(path for name in headers for path in contents[name][1])
    for name, (spec, files) in contents.items():
        if name in headers:
            continue
        request = SignalRequest(key=spec.key, rate_hz=spec.rate_hz, channels=spec.channels, unit=spec.unit)
        where = f"{payload.where} signal {name}"
        signals = read_signals(payload.locate((*files, *beside)), where=where, request=request)
        found |= named_signals(name, signals)
    return found


def named_signals(name: str, signals: Sequence[Signal]) -> dict[str, Signal]:
    """One keeps the name. Several are called by their rates, `<name>-<rate>hz`.

    Where those do not tell them apart, they are counted; which array of the file each was stands in its attributes.
    """
    if len(signals) == 1:
        return {name: signals[0]}
    rated = [f"{name}-{signal.rate_hz:g}hz" for signal in signals if signal.rate_hz is not None]
    if len(set(rated)) == len(signals):
        return dict(zip(rated, signals, strict=True))
    digits = len(str(len(signals)))
    return {f"{name}-{number:0{digits}d}": signal for number, signal in enumerate(signals, start=1)}


def read_case_tables(payload: CasePayload) -> dict[str, Table]:
    """The tables. Raises CaseError as `read_table` does, and [content.missing]."""
    from medshard.converters.tables.reading import TableRequest, read_table  # noqa: PLC0415

    return {
        name: read_table(
            payload.locate(files),
            where=f"{payload.where} table {name}",
            request=TableRequest(key=spec.key, dtypes=spec.dtypes),
        )
        for name, (spec, files) in present_contents(payload, payload.group.tables).items()
    }


def read_case_texts(payload: CasePayload) -> dict[str, Table]:
    """The texts. Raises CaseError as `read_texts` does, and [content.missing]."""
    from medshard.converters.tables.reading import TableRequest, read_texts  # noqa: PLC0415

    return {
        name: read_texts(
            payload.locate(files),
            where=f"{payload.where} text {name}",
            request=TableRequest(key=spec.key, dtypes=spec.dtypes),
        )
        for name, (spec, files) in present_contents(payload, payload.group.texts).items()
    }


def present_contents(
    payload: CasePayload, specs: Mapping[str, ImageSpec]
) -> dict[str, tuple[ImageSpec, tuple[str, ...]]]:
    """The contents of one kind that have files; those that lack them have to be optional."""
    found = {}
    for name, spec in specs.items():
        files = payload.case.others.get(name, ())
        require_files(payload, "content", name, spec, files)
        if files:
            found[name] = (spec, files)
    return found


def _is_wfdb_header(path: str) -> bool:
    return PurePosixPath(path).suffix == WFDB_HEADER


def _sources(payload: CasePayload, files: tuple[str, ...]) -> tuple[SourceFile, ...]:
    return tuple(payload.sources[path] for path in files)
