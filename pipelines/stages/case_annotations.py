"""One case's annotations that are rows: classes, scores, boxes, landmarks, outlines, reports, questions, events."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow.compute as pc

from medshard.converters.annotation_table import AnnotationTable, rows_table
from medshard.converters.annotations.rows.reading import (
    PlaceGrid,
    RowsRead,
    class_folder,
    read_annotation_rows,
)
from medshard.converters.formats.format import Header
from medshard.converters.slide import Slide
from medshard.converters.video import Video
from medshard.converters.volume import Image
from medshard.pipelines.stages.case_payload import CasePayload, Row
from medshard.pipelines.stages.row_files import rows_of
from medshard.pipelines.stages.shared_rows import is_rows
from medshard.registry.schema.annotations import ClassFolder, Contours, Events, RowAnnotation, Transforms
from medshard.registry.templates import fill


@dataclass(frozen=True, kw_only=True)
class Places:
    """What places in rows can refer to: the first image of the case, else its slide, else its video."""

    images: Mapping[str, Header | Image]
    slides: Mapping[str, Slide]
    videos: Mapping[str, Video]

    @property
    def grid(self) -> PlaceGrid | None:
        for name, image in self.images.items():
            return PlaceGrid(shape=image.shape, affine=image.affine if image.trusted_geometry else None, name=name)
        for name, slide in self.slides.items():
            return PlaceGrid(shape=(1, *slide.levels[0].shape), affine=None, name=name)
        for name, video in self.videos.items():
            return PlaceGrid(shape=(1, *video.shape[1:]), affine=None, name=name)
        return None


def annotation_readers(payload: CasePayload, places: Places) -> dict[str, Callable[[], RowsRead]]:
    """Name of each annotation of the case that is rows and is there -> what reads it: one that fails spoils no other.

    A reader raises CaseError[read.* | annotation.*].
    """
    readers: dict[str, Callable[[], RowsRead]] = {}
    for name, annotation in payload.group.annotations.items():
        where = f"{payload.where} annotation {name}"
        files = payload.case.others.get(f"annotation {name}", ())
        if annotation.unread is not None:
            continue
        if isinstance(annotation, ClassFolder):
            readers[name] = _folder_reader(payload, annotation, where)
        elif isinstance(annotation, Contours) and payload.slides and files:
            readers[name] = _outline_reader(payload, annotation, files, where)
        elif isinstance(annotation, Contours):
            continue  # they become a label layer
        elif isinstance(annotation, RowAnnotation) and is_rows(annotation) and files:
            readers[name] = _row_reader(payload, name, annotation, places, where)
        elif isinstance(annotation, Events) and files:
            readers[name] = _event_reader(payload, annotation, files, where)
        elif isinstance(annotation, Transforms) and files:
            readers[name] = _pose_reader(payload, annotation, files, where)
    return readers


def _folder_reader(payload: CasePayload, annotation: ClassFolder, where: str) -> Callable[[], RowsRead]:
    return lambda: class_folder(annotation, payload.case.fields, where=where)


def _row_reader(
    payload: CasePayload, name: str, annotation: RowAnnotation, places: Places, where: str
) -> Callable[[], RowsRead]:
    def read() -> RowsRead:
        given = rows_of(payload, name, annotation, where)
        if given.error is not None:
            raise given.error
        rows: Sequence[Row] = given.rows
        found = read_annotation_rows(
            annotation, [dict(row) for row in rows], fields=payload.case.fields, where=where, grid=places.grid
        )
        return replace(found, table=replace(found.table, warnings=(*given.warnings, *found.table.warnings)))

    return read


def _outline_reader(
    payload: CasePayload, annotation: Contours, files: tuple[str, ...], where: str
) -> Callable[[], RowsRead]:
    from medshard.converters.slides.reading import read_slide_outlines  # noqa: PLC0415 - heavy, seldom needed

    def read() -> RowsRead:
        rows = []
        unknown: set[str] = set()
        drawn = read_slide_outlines(payload.locate(files), where=where)
        for number, outline in enumerate(outline for outline in drawn if outline.kind == "polygon"):
            concept = annotation.values.get(outline.group or "")
            listed = outline.group in annotation.values or outline.group in annotation.unmapped
            unknown |= set() if listed or outline.group is None else {outline.group}
            rows += [
                {
                    "concept": concept,
                    "word": outline.group if listed else None,
                    "outline": number,
                    "hole": outline.hole,
                    "z": 0.0,
                    "y": float(y),
                    "x": float(x),
                }
                for y, x in outline.points
            ]
        table = AnnotationTable(
            kind="outlines",
            table=rows_table("outlines", rows),
            examined=annotation.examined_concepts,
            image=payload.slides[0],
            rater=annotation.rater,
            warnings=_no_areas(sum(outline.kind != "polygon" for outline in drawn)),
        )
        return RowsRead(table=table, unknown_words=tuple(sorted(unknown)), out_of_image=0, invalid=0)

    return read


def _no_areas(count: int) -> tuple[str, ...]:
    return (f"{count} lines and points enclose nothing and are left out",) if count else ()


def _event_reader(
    payload: CasePayload, annotation: Events, files: tuple[str, ...], where: str
) -> Callable[[], RowsRead]:
    from medshard.converters.signals.reading import read_events  # noqa: PLC0415 - heavy, seldom needed

    def read() -> RowsRead:
        rate_hz = next((spec.rate_hz for spec in payload.group.signals.values() if spec.rate_hz), None)
        marks = read_events(payload.locate(files), where=where, format=annotation.format, rate_hz=rate_hz)
        known = {*annotation.values, *annotation.unmapped}
        rows = [
            {
                "concept": annotation.values.get(mark.word),
                "word": mark.word if not known or mark.word in known else None,
                "onset_s": mark.onset_s,
                "duration_s": mark.duration_s,
                "channel": mark.channel,
            }
            for mark in marks
        ]
        unknown = {mark.word for mark in marks if known and mark.word not in known}
        table = AnnotationTable(
            kind="events",
            table=rows_table("events", rows),
            examined=annotation.examined_concepts,
            rater=annotation.rater,
        )
        return RowsRead(table=table, unknown_words=tuple(sorted(unknown)), out_of_image=0, invalid=0)

    return read


def _pose_reader(
    payload: CasePayload, annotation: Transforms, files: tuple[str, ...], where: str
) -> Callable[[], RowsRead]:
    from medshard.converters.cameras.pose_request import PoseRequest  # noqa: PLC0415 - seldom needed
    from medshard.converters.cameras.reading import file_doubts, pose_doubts, read_poses  # noqa: PLC0415
    from medshard.converters.videos.frame_folder import picture_numbers  # noqa: PLC0415

    def read() -> RowsRead:
        frames = next((payload.case.others[name] for name in payload.group.videos if payload.case.others.get(name)), ())
        numbers = picture_numbers(payload.locate(frames)) if len(frames) > 1 and annotation.row is None else None
        request = PoseRequest(
            format=annotation.layout,
            stored=annotation.stored,
            quaternion=annotation.quaternion,
            columns=annotation.columns,
            axes=annotation.axes,
            handedness=annotation.handedness,
            direction=annotation.direction,
            unit=annotation.unit,
            affine=annotation.affine,
            first_frame=annotation.first_frame,
            frames=None if numbers is None else tuple(numbers),
        )
        poses = read_poses(payload.locate(files), where=where, request=request)
        doubts = file_doubts(payload.locate(files), where=where)
        doubts += pose_doubts(poses, len(frames)) if len(frames) > 1 else []
        if annotation.row is not None:
            poses = poses.filter(pc.equal(poses["frame"], int(fill(annotation.row, payload.case.fields))))
        table = AnnotationTable(kind="transforms", table=poses, warnings=tuple(doubts))
        return RowsRead(table=table, unknown_words=(), out_of_image=0, invalid=0)

    return read


def read_case_annotations(payload: CasePayload, places: Places, names: Collection[str]) -> dict[str, AnnotationTable]:
    """Those annotations of the case that validation has found usable. Raises CaseError as their readers do."""
    readers = annotation_readers(payload, places)
    return {name: readers[name]().table for name in readers if name in names}
