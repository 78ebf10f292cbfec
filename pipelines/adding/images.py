"""Images of a group -> their fields in the entry: names, modality, sequence, channels, and why."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medshard.pipelines.adding.attached import Attached, Group, role_text
from medshard.pipelines.adding.conventions import Declared
from medshard.pipelines.adding.kinds import Kind
from medshard.pipelines.adding.notes import Noted
from medshard.pipelines.adding.samples import ImageFacts
from medshard.pipelines.adding.words import Channel, channel_of, words_of
from medshard.registry.vocabulary import Modality
from medshard.registry.vocabulary import Sequence as MrSequence

_OF_DICOM = {
    "CR": Modality.XRAY,
    "DX": Modality.XRAY,
    "DR": Modality.XRAY,
    "MG": Modality.XRAY,
    "XA": Modality.XRAY,
    "RF": Modality.XRAY,
    "SM": Modality.PATHOLOGY,
    "ES": Modality.ENDOSCOPY,
    "OP": Modality.FUNDUS,
    "OPT": Modality.OCT,
    "NM": Modality.OTHER,
}
_OF_KIND = {
    Kind.SLIDE: (Modality.PATHOLOGY, "a whole slide"),
    Kind.MESH: (Modality.MESH, "a surface"),
    Kind.VIDEO: (Modality.ENDOSCOPY, "TODO a video; of what?"),
    Kind.SIGNAL: (Modality.PHYSIOLOGY, "TODO a recording; of what?"),
    Kind.TABLE: (Modality.EHR, "TODO a table; of what?"),
}
SECTIONS = {Kind.MESH: "meshes", Kind.VIDEO: "videos", Kind.SIGNAL: "signals", Kind.TABLE: "tables"}
HEADER = ".hea"
_AIR, _METAL = -900, 20_000
_NUMBERED = re.compile(r"_(00\d\d)$")


@dataclass(frozen=True)
class Guess:
    """A modality and why."""

    modality: Modality
    why: str


def modality_of(image: Attached, facts: ImageFacts, about: str, declared: Declared) -> Guess:
    """From the header, else from the names, else from the values. about: words of the data set as a whole."""
    stated = next((header.modality for header in facts.headers if header.modality), None)
    if stated is not None:
        found = _OF_DICOM.get(stated) or next((one for one in Modality if one.value == stated), None)
        if found is not None:
            return Guess(found, f"from the headers ({stated})")
    channel = _declared_channel(image, declared) or channel_of(role_text(image.family))
    if channel is not None and channel.modality is not None:
        return Guess(channel.modality, f"guessed: the names say `{channel.name}`")
    if image.known.kind in _OF_KIND:
        modality, why = _OF_KIND[image.known.kind]
        return Guess(modality, why if why.startswith("TODO") else f"guessed: {why}")
    if (in_names := channel_of(about)) is not None and in_names.modality is not None:
        return Guess(in_names.modality, f"guessed: the folder's name says `{in_names.name}`")
    if image.known.kind is Kind.PICTURE:
        return Guess(Modality.OTHER, "TODO pictures do not say how they were made")
    return _by_values(facts)


def _by_values(facts: ImageFacts) -> Guess:
    """Of a volume whose header and names are silent: Hounsfield units begin at air, -1000 or so."""
    like_ct = [least <= _AIR and most <= _METAL for least, most in facts.ranges]
    shown = f" (values from {facts.values[0]:g} to {facts.values[1]:g})" if facts.values else ""
    if like_ct and all(like_ct):
        return Guess(Modality.CT, f"guessed: values look like Hounsfield units{shown}")
    if any(like_ct):
        split = (
            f"{sum(like_ct)} of {len(like_ct)} images looked at hold values like Hounsfield units, the others do not"
        )
        return Guess(Modality.OTHER, f"TODO two modalities? {split}. Make a group of each, told apart by `where`")
    return Guess(Modality.MR, f"TODO guessed: a volume whose values are no Hounsfield units{shown}; MR, or what else?")


def _declared_channel(image: Attached, declared: Declared) -> Channel | None:
    """What dataset.json calls the channel whose number ends the file's name."""
    number = channel_number(image)
    word = declared.channels.get(number or 0)
    if word is None or (number is None and len(declared.channels) > 1):
        return None
    return channel_of(word)


def channel_number(image: Attached) -> int | None:
    stem = image.path.rpartition("/")[2].split(".")[0]
    match = _NUMBERED.search(stem)
    return int(match[1]) if match else None


def image_fields(
    group: Group, facts: Sequence[ImageFacts], guesses: Sequence[Guess], declared: Declared
) -> dict[str, dict[str, Noted | dict[str, Any]]]:
    """Section (`images`, `videos` ...) -> name -> fields, the anchor first."""
    made: dict[str, Any] = {}
    section = SECTIONS.get(group.kind, "images")
    whole = guesses[0].modality
    for image, fact, guess in zip(group.images, facts, guesses, strict=True):
        channel = _declared_channel(image, declared) or channel_of(_own_words(image, group))
        name = _free(_name(image, channel, guess, declared, len(group.images)), made)
        fields: dict[str, Any] = {"path": image.path}
        if guess.modality is not whole and guess.modality is not Modality.OTHER:
            fields["modality"] = Noted(str(guess.modality), guess.why)
        if channel is not None and channel.sequence is not None and guess.modality is Modality.MR:
            fields["sequence"] = Noted(str(channel.sequence), f"guessed: the names say `{channel.name}`")
        channels = _channels(fact, declared)
        if channels is not None:
            fields["channels"] = channels
        if _bindings_of(image) < len(group.cases):
            fields["optional"] = Noted(True, f"{_bindings_of(image)} of {len(group.cases)} cases have it")
        note = _about(fact)
        made[name] = Noted(fields, note) if note else fields
        if image.path.endswith(HEADER):
            made |= {name: {**fields, "path": data_path(image)}, _free("header", made): {"path": image.path}}
    return {section: made}


def data_path(image: Attached) -> str:
    """The samples beside a WFDB header: it finds the cases, and the header goes with it."""
    return image.path.removesuffix(HEADER) + image.known.format


def _bindings_of(image: Attached) -> int:
    return len(image.bound)


def _own_words(image: Attached, group: Group) -> str:
    """The words that tell an image from the others: of its own name, then of its folder."""
    own = image.family.name
    if channel_of(own) is not None or len(group.images) == 1:
        return own
    return role_text(image.family)


def _name(image: Attached, channel: Channel | None, guess: Guess, declared: Declared, count: int) -> str:
    number = channel_number(image)
    if number is not None and number in declared.channels:
        return "_".join(words_of(declared.channels[number])) or f"channel_{number}"
    if channel is not None and (count > 1 or channel.modality is guess.modality):
        return channel.name
    if count > 1 and number is None:
        words = [word for word in words_of(image.path.rpartition("/")[2].split(".")[0].split("}")[-1]) if word]
        if words:
            return "_".join(words[-2:])
    if count > 1 and number is not None:
        return f"channel_{number}"
    plain = re.sub(r"[^a-z]+", "_", guess.modality.value.lower()).strip("_")
    return {"other": "image", "pathology": "slide" if image.known.kind is Kind.SLIDE else "image", "ehr": "table"}.get(
        plain, plain
    )


def _free(word: str, taken: Mapping[str, Any]) -> str:
    name, number = word, 2
    while name in taken:
        name, number = f"{word}_{number}", number + 1
    return name


def _channels(facts: ImageFacts, declared: Declared) -> Noted | None:
    """Names for the last axis of a 4-D image, where the data set declares as many."""
    counts = {max(header.channels, header.timepoints) for header in facts.headers}
    count = max(counts, default=1)
    if count == 1 or not all(min(header.shape) > 1 for header in facts.headers):
        return None
    words = [declared.channels[number] for number in sorted(declared.channels)]
    if len(words) == count:
        return Noted(words, f"from {declared.source}")
    return None


def _about(facts: ImageFacts) -> str:
    """What the sampled headers state, for whoever reads the draft."""
    if not facts.headers:
        return f"TODO could not be read: {', '.join(sorted(set(facts.failed)))}" if facts.failed else ""
    first = facts.headers[0]
    shapes = sorted({header.shape for header in facts.headers})
    told = " and ".join("x".join(map(str, shape)) for shape in shapes[:2]) + (" ..." if len(shapes) > 2 else "")
    parts = [
        f"seen: {first.format}, {first.dtype}, (z, y, x) {told}" if first.vertices == 0 else f"seen: {first.format}"
    ]
    if first.trusted_geometry and first.vertices == 0:
        spacings = sorted({tuple(round(step, 4) for step in header.spacing_mm) for header in facts.headers})
        parts.append("spacing " + " and ".join("x".join(f"{step:g}" for step in one) for one in spacings[:2]) + " mm")
    elif first.vertices == 0 and min(first.shape) > 1:
        parts.append("no spacing stated")
    if first.timepoints > 1 or first.channels > 1:
        parts.append(f"{max(first.timepoints, first.channels)} {'time steps' if first.timepoints > 1 else 'channels'}")
    if facts.values is not None:
        parts.append(f"values {facts.values[0]:g} to {facts.values[1]:g}")
    if facts.failed:
        parts.append(f"unread samples: {', '.join(sorted(set(facts.failed)))}")
    return ", ".join(parts)


__all__ = ["SECTIONS", "Guess", "MrSequence", "image_fields", "modality_of"]
