"""The layout of an entry: which files are one case, what each of them is, and what its labels mean."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from medshard.registry.schema.annotations import AnyAnnotation, RowAnnotation
from medshard.registry.schema.model import Model, Name, Template, Text
from medshard.registry.templates import template_fields
from medshard.registry.vocabulary import Group, Modality, PatientBasis, Sequence, SplitName

FREE_FIELDS = frozenset({"class", "instance", "rater"})
"""Fields that a label's path may have and the first image's path has not: they enumerate files of one case."""

INDEX = "index"
"""The field that counts the pictures of a file, where each of them is a case."""

ColumnType = Literal["string", "integer", "number", "boolean", "date", "timestamp", "category"]

Colour = Annotated[str, StringConstraints(pattern=r"^#[0-9a-f]{6}$")]


class ImageSpec(Model):
    """One image, mesh, video or signal of a case. `path` is a template: `{field}` matches within one name.

    channels: what the last axis of a 4-D image holds, such as MR sequences; the channels of a signal, where its file
    does not name them. key: the array inside a npz, mat or h5 file. select: DICOM attribute -> pattern with stars that
    the wanted series has, where a folder holds several. optional: cases without it are complete.
    slope, intercept: what stored numbers mean where the file has no place for it: value = slope * stored + intercept.
    rate_hz: samples (of a signal) or frames (of a folder of pictures) per second, where the file does not say.
    dtypes: column of a table -> what it holds, where the text does not show it.
    pictures: `each` makes every picture of a file that holds many (an array's first axis, the pages of a TIFF) a case
    of its own; the field `{index}` counts them from 0. Other images and masks with it have the picture of that number.
    space: of a mesh, the frame that its vertices are in: `ras` or `lps` of the case's images, or the scanner's `own`.
    voxelise: concept that the inside of a closed mesh is, as a label layer of the mesh's name on the first image.
    """

    path: Template
    modality: Modality | None = None
    sequence: Sequence | None = None
    channels: tuple[str, ...] = ()
    unit: str | None = None
    key: str | None = None
    select: dict[str, str] = {}
    optional: bool = False
    slope: Annotated[float, Field(gt=0)] | None = None
    intercept: float | None = None
    rate_hz: Annotated[float, Field(gt=0)] | None = None
    dtypes: dict[str, ColumnType] = {}
    space: Literal["ras", "lps", "own"] = "own"
    voxelise: str | None = None
    pictures: Literal["each"] | None = None


class SoftMap(Model):
    path: Template
    concept: str
    scale: float = 1.0


class LabelSpec(Model):
    """One label layer of voxels: a mask file, one file per class, one per instance, or soft maps.

    path: with `{class}`, one binary file per class, and `names` says how the file of each value is called; with
    `{instance}`, one per lesion; with `{rater}`, one per annotator.
    classes: value of a voxel -> concept. also: value -> further concepts that its voxels belong to, where structures
    lie on one another. background: the value that means nothing, 0 but for a few inverted masks. names: value -> the
    source's own word. unmapped: value -> why it stands for no concept. ignore: values of voxels that nobody judged.
    colours: `#rrggbb` -> value. threshold: from which grey value on a lossy or 0/255 mask is foreground.
    examined: concepts that the annotators looked for; all classes when not given. key, select: as of an image.
    drawn_in: of a picture, what holds the values, where it is not its grey or its colours: the indices of its palette,
    its opacity, or red, its first channel. pictures: as of an image.
    optional: a case without this layer is unlabelled, not defective.
    """

    path: Template | None = None
    kind: Literal["semantic", "instance", "soft"] = "semantic"
    classes: dict[int, str] = {}
    also: dict[int, tuple[str, ...]] = {}
    background: Annotated[int, Field(ge=0)] = 0
    names: dict[int, str] = {}
    unmapped: dict[int, Text] = {}
    ignore: tuple[int, ...] = ()
    colours: dict[Colour, int] = {}
    threshold: Annotated[int, Field(ge=1)] | None = None
    maps: tuple[SoftMap, ...] = ()
    examined: tuple[str, ...] | None = None
    key: str | None = None
    select: dict[str, str] = {}
    rater: str | None = None
    drawn_in: Literal["palette", "alpha", "red"] | None = None
    optional: bool = False
    pictures: Literal["each"] | None = None

    @model_validator(mode="after")
    def _mask_or_maps(self) -> Self:
        if self.kind == "soft" and (not self.maps or self.path):
            raise ValueError("a soft layer has `maps`, one file per class, and no `path`")
        if self.kind != "soft" and (self.maps or not self.path or not self.classes):
            raise ValueError("a semantic or instance layer has a `path` and `classes`, and no `maps`")
        if any(value < 0 or value == self.background for value in self.classes):
            raise ValueError(f"{self.background} is the background; `classes` lists the others, none negative")
        if unknown := sorted(set(self.examined or ()) - set(self.all_concepts)):
            raise ValueError(f"`examined` names {unknown}, which are not among the classes")
        return self

    @model_validator(mode="after")
    def _values_are_told_once(self) -> Self:
        taken = set(self.classes)
        for field, values in (("unmapped", set(self.unmapped)), ("ignore", set(self.ignore))):
            if both := sorted(taken & values):
                raise ValueError(f"the values {both} of `{field}` are classes as well")
        known = {self.background, *taken, *self.unmapped, *self.ignore}
        told = (("names", set(self.names)), ("colours", set(self.colours.values())), ("also", set(self.also)))
        for field, values in told:
            if unknown := sorted(values - known):
                raise ValueError(f"`{field}` speaks of the values {unknown}, which `classes` does not have")
        if self.per_class and (missing := sorted(taken - set(self.names))):
            raise ValueError(
                f"`{{class}}` in the path needs `names` for the values {missing}: how their files are called"
            )
        return self

    @property
    def per_class(self) -> bool:
        return self.path is not None and "class" in template_fields(self.path)

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.path,) if self.path else tuple(soft.path for soft in self.maps)

    @property
    def concepts(self) -> dict[int, str]:
        """Value of a voxel -> concept. The maps of a soft layer count from 1, as in the mask made of them."""
        return self.classes or {number: soft.concept for number, soft in enumerate(self.maps, start=1)}

    @property
    def all_concepts(self) -> tuple[str, ...]:
        """Every concept that a voxel of the layer can belong to."""
        further = (concept for concepts in self.also.values() for concept in concepts)
        return tuple(dict.fromkeys((*self.concepts.values(), *further)))

    @property
    def channels(self) -> dict[int, str]:
        """Channel of a soft layer -> concept."""
        return {number: soft.concept for number, soft in enumerate(self.maps)}

    @property
    def examined_concepts(self) -> tuple[str, ...]:
        return self.examined if self.examined is not None else self.all_concepts


class PatientColumn(Model):
    """The patient of a case stands in a table: in `column`, in the row where `key_column` holds `key`."""

    path: Template
    key: Template = "{case}"
    key_column: str
    column: str


class SplitField(Model):
    """The split as shipped stands in a path: field `field`, with the source's word -> the common one."""

    field: Text
    values: Annotated[dict[str, SplitName], Field(min_length=1)]


class SplitLists(Model):
    """The split as shipped stands in files that list the cases: name of the part -> file."""

    files: Annotated[dict[SplitName, Template], Field(min_length=1)]
    key: Template = "{case}"


class SplitColumn(Model):
    """The split as shipped stands in a table: in `column`, in the row where `key_column` holds `key`."""

    path: Template
    key: Template = "{case}"
    key_column: str
    column: str
    values: Annotated[dict[str, SplitName], Field(min_length=1)]


class CaseGroup(Model):
    """Cases of one shape. The first image (or mesh, video, signal, table, text) finds them; the others follow.

    case, patient: templates over the fields, such as `{case}`. No patient: one patient per case, which is assumed
    unless `patient_basis` says what it rests on. where: field -> regular expression that the whole field must match.
    synthetic: made by a program (a simulator, a generative model), not by a scanner; such cases are never held out.
    """

    case: str = "{case}"
    patient: str | PatientColumn | None = None
    patient_basis: PatientBasis | None = None
    where: dict[Name, str] = {}
    modality: Modality
    group: Group | None = None
    subject: Literal["patient", "template", "phantom", "animal", "cadaver"] = "patient"
    synthetic: bool = False
    split: SplitName | SplitField | SplitLists | SplitColumn | None = None
    images: dict[Name, ImageSpec] = {}
    meshes: dict[Name, ImageSpec] = {}
    videos: dict[Name, ImageSpec] = {}
    signals: dict[Name, ImageSpec] = {}
    tables: dict[Name, ImageSpec] = {}
    texts: dict[Name, ImageSpec] = {}
    labels: dict[Name, LabelSpec] = {}
    annotations: dict[Name, AnyAnnotation] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.contents:
            raise ValueError("a group of cases has at least one image, mesh, video, signal, table or text")
        if next(iter(self.contents.values())).optional:
            raise ValueError("the first image (or other content) finds the cases, so it cannot be `optional`")
        known = set(template_fields(self.anchor))
        self._check_pictures()
        known |= {INDEX} if self.pictures_of_files else set()
        used = set(template_fields(self.case)) | set(self.where)
        if isinstance(self.patient, str):
            used |= set(template_fields(self.patient))
        for path in (*self.other_paths, *self.other_files.values()):
            used |= set(template_fields(path))
        for key in self._row_keys:
            used |= set(template_fields(key)) - {"case"}  # in a key, `{case}` may be the name of the case itself
        self._refuse_misused_free_fields(known)
        if missing := sorted(used - known - FREE_FIELDS):
            raise ValueError(f"the fields {missing} do not occur in the path that finds the cases: {self.anchor}")
        for name, pattern in self.where.items():
            try:
                re.compile(f"(?P<{name}>{pattern})")  # as it will stand, where `(?i)` is too late for a flag
            except re.error as error:
                raise ValueError(f"where.{name} is no regular expression: {error}") from error
        return self

    def _refuse_misused_free_fields(self, known: set[str]) -> None:
        """The fields that count up the files of a label belong into its path, and into no other."""
        elsewhere = [self.case, *(self.other_files.values())]
        elsewhere += [spec.path for spec in self.contents.values()]
        elsewhere += [self.patient] if isinstance(self.patient, str) else []
        counted = {field for path in elsewhere for field in template_fields(path)} | set(self.where)
        if astray := sorted(FREE_FIELDS & counted - known):
            raise ValueError(f"the fields {astray} count up the files of a label layer and stand in its path only")
        if taken := sorted(FREE_FIELDS & known & self._label_fields):
            raise ValueError(
                f"the fields {taken} count up the files of a label layer: call those of {self.anchor} something else"
            )

    def _check_pictures(self) -> None:
        """`{index}` tells the pictures of a file apart in names of cases; no file is found by it."""
        elsewhere = any(spec.pictures for spec in self.contents.values())
        elsewhere = elsewhere or any(spec.pictures for spec in self.labels.values())
        if elsewhere and not self.pictures_of_files:
            raise ValueError("`pictures` stands with the first image, which finds the cases, before any other has it")
        if self.pictures_of_files and INDEX not in template_fields(self.case):
            raise ValueError("with `pictures: each` the name of a case has to have `{index}`")
        paths = (self.anchor, *self.other_paths, *self.other_files.values())
        if self.pictures_of_files and any(INDEX in template_fields(path) for path in paths):
            raise ValueError("with `pictures: each` `{index}` counts the pictures of a file, so no path has it")

    @model_validator(mode="after")
    def _names_are_told_once(self) -> Self:
        kinds = (self.images, self.meshes, self.videos, self.signals, self.tables, self.texts)
        names = [name for contents in kinds for name in contents]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{twice} stand under two kinds of contents; give each its own name")
        return self

    @model_validator(mode="after")
    def _fields_of_classes_and_splits(self) -> Self:
        known = set(template_fields(self.anchor))
        named = {annotation.field for annotation in self.annotations.values() if annotation.kind == "class-folder"}
        if isinstance(self.split, SplitField):
            named.add(self.split.field)
        if missing := sorted(named - known):
            raise ValueError(f"the fields {missing} do not occur in the path that finds the cases: {self.anchor}")
        return self

    @property
    def contents(self) -> dict[str, ImageSpec]:
        """Everything that a case consists of, without its labels."""
        return {**self.images, **self.meshes, **self.videos, **self.signals, **self.tables, **self.texts}

    @property
    def other_files(self) -> dict[str, str]:
        """Name -> template of what is neither image, mesh nor voxel label: contents of other kinds, annotations."""
        contents = {**self.videos, **self.signals, **self.tables, **self.texts}
        annotated = {
            f"annotation {name}": annotation.path
            for name, annotation in self.annotations.items()
            if annotation.kind != "class-folder"
        }
        tables = {"patients": self.patient.path} if isinstance(self.patient, PatientColumn) else {}
        lists = (
            {f"split {part}": path for part, path in self.split.files.items()}
            if isinstance(self.split, SplitLists)
            else {"splits": self.split.path}
            if isinstance(self.split, SplitColumn)
            else {}
        )
        return {**{name: spec.path for name, spec in contents.items()}, **annotated, **tables, **lists}

    @property
    def anchor(self) -> str:
        return next(iter(self.contents.values())).path

    @property
    def pictures_of_files(self) -> bool:
        """Whether every picture of the file that finds the cases is a case of its own."""
        return next(iter(self.contents.values())).pictures is not None

    @property
    def other_paths(self) -> tuple[str, ...]:
        specs = tuple(spec.path for spec in self.contents.values() if spec.path != self.anchor)
        return specs + tuple(path for label in self.labels.values() for path in label.paths)

    @property
    def patients_rest_on(self) -> PatientBasis:
        if self.patient_basis is not None:
            return self.patient_basis
        return PatientBasis.IDENTIFIED if self.patient else PatientBasis.ASSUMED

    @property
    def concepts(self) -> tuple[str, ...]:
        """All concepts that the labels and annotations of these cases name."""
        voxels = [concept for label in self.labels.values() for concept in label.all_concepts]
        others = [concept for annotation in self.annotations.values() for concept in annotation.concepts]
        return tuple(dict.fromkeys([*voxels, *others]))

    @property
    def _row_keys(self) -> tuple[str, ...]:
        """Templates of what a case is called in the tables that speak of it."""
        holders = (*self.annotations.values(), self.patient, self.split)
        return tuple(
            holder.key
            for holder in holders
            if isinstance(holder, RowAnnotation | PatientColumn | SplitLists | SplitColumn)
        )

    @property
    def _label_fields(self) -> set[str]:
        paths = [path for label in self.labels.values() for path in label.paths]
        return {field for path in paths for field in template_fields(path)}
