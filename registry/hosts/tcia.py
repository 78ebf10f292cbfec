"""Kind `tcia`: DICOM series of The Cancer Imaging Archive through the REST services of NBIA, version 4.

Relied on: `SeriesInstanceUID`, `StudyInstanceUID`, `PatientID` and `Collection` of getSeries, whose answer is empty for
a collection that it does not have; getImage, a zip of one series that is packed anew for every request; and manifests,
whose series follow a line `ListOfSeriesToDownload=`. No account is needed: what is controlled has left this archive.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Annotated, Literal
from urllib.parse import urlencode

from pydantic import Field, TypeAdapter, ValidationError

from medshard.errors import AcquisitionError
from medshard.registry.hosts.host import Asking, Host, HttpAddress, ListedFile, Listing, RemoteFile, RemoteSource
from medshard.registry.hosts.http import Answer, bad_answer, listed_name
from medshard.registry.schema.model import Text

API = "https://nbia.cancerimagingarchive.net/nbia-api/services/v4"
SERIES = f"{API}/getSeries"
_UID = r"^[0-9.]{1,64}$"


class TciaSource(RemoteSource):
    """A collection or an analysis result of The Cancer Imaging Archive."""

    kind: Literal["tcia"]
    collection: Text


class _Series(Answer):
    collection: Annotated[Text, Field(alias="Collection")]
    patient: Annotated[Text, Field(alias="PatientID")]
    study: Annotated[Text, Field(alias="StudyInstanceUID")]
    uid: Annotated[str, Field(alias="SeriesInstanceUID", pattern=_UID)]

    @property
    def folder(self) -> str:
        parts = (self.collection, self.patient, self.study, self.uid)
        return "/".join(part.strip().replace("/", "_") for part in parts)


def _list_files(source: TciaSource, asking: Asking) -> Listing:
    """One zip per series, each in the folder that the archive's own client makes for it; of manifests, their series.

    Raises AcquisitionError: host.by_hand for what this service does not have, host.answer, and what the web raises.
    """
    if any(file.url is None for file in source.files):
        raise _not_served(source, asking)
    known = _series(asking, Collection=source.collection)
    if not source.files and not known:
        raise _not_served(source, asking)
    if not source.files:
        return Listing(files=tuple(_listed(one, asking) for one in known))
    by_uid = {one.uid: one for one in known}
    return Listing(files=tuple(listed for file in source.files for listed in _named(file, by_uid, asking)))


def _series(asking: Asking, **query: str) -> list[_Series]:
    url = f"{SERIES}?{urlencode(query)}"
    # As text: the service answers a question without results with an empty body, which is no JSON.
    text = asking.web.get_text(url, where=asking.where)
    try:
        answer = TypeAdapter(tuple[_Series, ...]).validate_json(text.strip() or "[]")
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(step) for step in first["loc"]) or "the whole answer"
        raise bad_answer(url, asking, field=field, expected=first["msg"]) from None
    return sorted(answer, key=lambda series: series.folder)


def _named(file: RemoteFile, known: Mapping[str, _Series], asking: Asking) -> Iterator[ListedFile]:
    """The series that a manifest names, each with the manifest's name as id; any other file as it is."""
    url = file.url or ""
    if PurePosixPath(file.name).suffix != ".tcia":
        yield ListedFile(name=file.name, id=file.name, address=HttpAddress(url=url), archive=file.archive)
        return
    folder = f"manifest-{PurePosixPath(file.name).stem}/"
    for uid in _manifest_series(asking.web.get_text(url, where=asking.where), url, asking):
        found = [known[uid]] if uid in known else _series(asking, SeriesInstanceUID=uid)
        if not found:
            raise AcquisitionError(
                "host.gone",
                where=asking.where,
                problem="the archive no longer has a series that the manifest names",
                details={"manifest": file.name, "series": uid},
                action="Look at the collection's page for a newer manifest.",
            )
        yield replace(_listed(found[0], asking, above=folder), id=file.name)


def _manifest_series(text: str, url: str, asking: Asking) -> list[str]:
    lines = [line.strip() for line in text.splitlines()]
    start = next((number for number, line in enumerate(lines) if line.startswith("ListOfSeriesToDownload=")), None)
    named = [line for line in lines[start + 1 :] if line] if start is not None else []
    if not named or not all(re.match(_UID, line) for line in named):
        raise bad_answer(url, asking, field="ListOfSeriesToDownload", expected="a manifest with the ids of series")
    return list(dict.fromkeys(named))


def _listed(series: _Series, asking: Asking, *, above: str = "") -> ListedFile:
    return ListedFile(
        name=listed_name(f"{above}{series.folder}/{series.uid}.zip", SERIES, asking),
        id=series.uid,
        # NewFileNames: named in the order of their slices.
        address=HttpAddress(url=f"{API}/getImage?NewFileNames=Yes&SeriesInstanceUID={series.uid}", ranges=False),
        archive="zip",
    )


def _not_served(source: TciaSource, asking: Asking) -> AcquisitionError:
    return AcquisitionError(
        "host.by_hand",
        where=asking.where,
        problem=f"the archive's image service has no collection {source.collection!r}",
        details={"asked": SERIES, "page": _page(source)},
        action=f"Analysis results and restricted collections are downloaded from {_page(source)} by hand: put the "
        "files into the inbox of the entry. For a collection, compare the spelling with that of its page.",
    )


def _place(source: TciaSource) -> str:
    return f"The Cancer Imaging Archive, {source.collection}"


def _page(source: TciaSource) -> str:
    return source.page or "https://www.cancerimagingarchive.net/browse-collections/"


def _first_requests(source: TciaSource) -> tuple[str, ...]:
    return (
        f"{SERIES}?{urlencode({'Collection': source.collection})}",
        *(file.url for file in source.files if file.url),
    )


HOST = Host(source=TciaSource, place=_place, list_files=_list_files, first_requests=_first_requests)
