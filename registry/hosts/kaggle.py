"""Kind `kaggle`: data sets and competitions through Kaggle's public API, version 1.

Relied on: `datasetFiles` (data sets) and `files` (competitions; older answers are the bare list), each with `name` and
`totalBytes`, and `nextPageToken`. Downloads answer with a redirect to a signed address of a storage that resumes.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal
from urllib.parse import quote, urlencode

from pydantic import Field, model_validator

from medshard.errors import AcquisitionError
from medshard.registry.hosts.host import (
    Asking,
    Credential,
    Host,
    HttpAddress,
    ListedFile,
    Listing,
    RemoteFile,
    RemoteSource,
    Secret,
)
from medshard.registry.hosts.http import Answer, ask, listed_name

API = "https://www.kaggle.com/api/v1"
FILES_PER_PAGE = 200
# Kaggle may send any other file as a zip of its own, and then its stated size is not that of what comes.
_SENT_AS_THEY_ARE = {".zip", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar", ".tar", ".tgz", ".png", ".jpg", ".jpeg"}


class KaggleSource(RemoteSource):
    """`owner/name` of a data set, or the name of a competition."""

    kind: Literal["kaggle"]
    dataset: Annotated[str, Field(pattern=r"^[^/\s]+/[^/\s]+$")] | None = None
    competition: str | None = None


class _File(Answer):
    name: str
    size: Annotated[int | None, Field(alias="totalBytes")] = None


class _DatasetPage(Answer):
    files: Annotated[tuple[_File, ...], Field(alias="datasetFiles")]
    following: Annotated[str | None, Field(alias="nextPageToken")] = None


class _CompetitionPage(Answer):
    files: tuple[_File, ...]
    following: Annotated[str | None, Field(alias="nextPageToken")] = None

    @model_validator(mode="before")
    @classmethod
    def _bare_list(cls, answer: object) -> object:
        return {"files": answer} if isinstance(answer, list) else answer


def _list_files(source: KaggleSource, asking: Asking) -> Listing:
    """The whole as one zip where the catalog says `archive` and names no files; otherwise every file by itself.

    Raises AcquisitionError: host.answer, and what the web raises.
    """
    if source.archive and not source.files:
        return Listing(files=(_whole(source),))
    return Listing(files=tuple(_listed(source, file, asking) for file in _files(source, asking)))


def _whole(source: KaggleSource) -> ListedFile:
    name = (source.dataset or source.competition or "").rpartition("/")[2]
    return ListedFile(name=f"{name}.zip", address=HttpAddress(url=_whole_address(source)), archive=source.archive)


def _listed(source: KaggleSource, file: _File, asking: Asking) -> ListedFile:
    states_size = PurePosixPath(file.name).suffix.lower() in _SENT_AS_THEY_ARE
    return ListedFile(
        name=listed_name(file.name, _list_address(source), asking),
        address=HttpAddress(url=_address(source, file.name)),
        size=file.size if states_size else None,
    )


def _files(source: KaggleSource, asking: Asking) -> Iterator[_File]:
    token: str | None = None
    while True:
        query = urlencode({"pageSize": FILES_PER_PAGE, **({"pageToken": token} if token else {})})
        page = _page_of_files(source, f"{_list_address(source)}?{query}", asking)
        yield from page.files
        if not page.following or page.following == token:
            return
        token = page.following


def _page_of_files(source: KaggleSource, url: str, asking: Asking) -> _DatasetPage | _CompetitionPage:
    return ask(_DatasetPage, url, asking) if source.dataset else ask(_CompetitionPage, url, asking)


def _list_address(source: KaggleSource) -> str:
    if source.dataset:
        return f"{API}/datasets/list/{source.dataset}"
    return f"{API}/competitions/data/list/{source.competition}"


def _whole_address(source: KaggleSource) -> str:
    if source.dataset:
        return f"{API}/datasets/download/{source.dataset}"
    return f"{API}/competitions/data/download-all/{source.competition}"


def _address(source: KaggleSource, name: str) -> str:
    if source.dataset:
        return f"{API}/datasets/download/{source.dataset}/{quote(name)}"
    return f"{API}/competitions/data/download/{source.competition}/{quote(name)}"


def _file_address(source: KaggleSource, file: RemoteFile) -> str | None:
    return file.url or _address(source, file.name)


def _first_requests(source: KaggleSource) -> tuple[str, ...]:
    return (_whole_address(source) if source.archive and not source.files else _list_address(source),)


def _read(environment: Mapping[str, str]) -> Secret | None:
    """A token or a pair of name and key: from the environment, else from the files of Kaggle's own client."""
    folder = _folder(environment)
    if token := environment.get("KAGGLE_API_TOKEN"):
        return _bearer(token)
    if environment.get("KAGGLE_USERNAME") and environment.get("KAGGLE_KEY"):
        return _basic(environment["KAGGLE_USERNAME"], environment["KAGGLE_KEY"])
    if (path := folder / "access_token").is_file():
        return _bearer(path.read_text(encoding="utf-8").strip())
    path = folder / "kaggle.json"
    return _from_json(path) if path.is_file() else None


def _folder(environment: Mapping[str, str]) -> Path:
    if named := environment.get("KAGGLE_CONFIG_DIR"):
        return Path(named)
    home = Path(environment.get("HOME") or Path.home())
    newer = Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "kaggle"
    return newer if newer.is_dir() and not (home / ".kaggle").is_dir() else home / ".kaggle"


def _from_json(path: Path) -> Secret:
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
        return _basic(str(stated["username"]), str(stated["key"]))
    except (ValueError, KeyError, TypeError):
        # Without its cause: the error of the parser carries the text of the file.
        raise AcquisitionError(
            "credential.unreadable",
            where=str(path),
            problem="the file does not hold `username` and `key` as JSON",
            action="Create the key anew on kaggle.com/settings and save the file as it comes.",
        ) from None


def _basic(name: str, key: str) -> Secret:
    return Secret(headers={"Authorization": f"Basic {b64encode(f'{name}:{key}'.encode()).decode()}"})


def _bearer(token: str) -> Secret:
    return Secret(headers={"Authorization": f"Bearer {token}"})


def _place(source: KaggleSource) -> str:
    return f"Kaggle {source.dataset or f'competition {source.competition}'}"


def _page(source: KaggleSource) -> str | None:
    if source.dataset:
        return f"https://www.kaggle.com/datasets/{source.dataset}"
    return f"https://www.kaggle.com/competitions/{source.competition}" if source.competition else None


HOST = Host(
    source=KaggleSource,
    place=_place,
    page=_page,
    list_files=_list_files,
    first_requests=_first_requests,
    file_address=_file_address,
    credential=Credential(
        origins=("https://www.kaggle.com",),
        read=_read,
        variables=("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN"),
        file="~/.kaggle/kaggle.json",
        needed=True,
        how="Sign in, create an API key on https://www.kaggle.com/settings, and for a competition accept its rules on "
        "its page first.",
    ),
)
