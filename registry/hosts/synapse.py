"""Kind `synapse`: files of a Synapse project or folder through its REST services.

Relied on: `page` (`id`, `name`, `type`) and `nextPageToken` of entity/children; `entity` (`name`, `dataFileHandleId`)
and `fileHandles` (`id`, `contentMd5`, `contentSize`) of an entity's bundle2; and file/{handle}, which redirects to an
address that is signed anew for every request, so that an interrupted transfer goes on after the first one expired.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from configparser import Error as ConfigError
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError

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
from medshard.registry.hosts.http import Answer, bad_answer, checksum_of, listed_name

ORIGIN = "https://repo-prod.prod.sagebase.org"
CHILDREN = f"{ORIGIN}/repo/v1/entity/children"
_FOLDER = "org.sagebionetworks.repo.model.Folder"

A = TypeVar("A", bound=Answer)


class SynapseSource(RemoteSource):
    kind: Literal["synapse"]
    id: Annotated[str, Field(pattern=r"^syn\d+$")]


class _Child(Answer):
    id: str
    name: str
    type: str


class _Children(Answer):
    page: tuple[_Child, ...]
    following: Annotated[str | None, Field(alias="nextPageToken")] = None


class _Entity(Answer):
    name: str
    handle: Annotated[str | None, Field(alias="dataFileHandleId")] = None


class _Handle(Answer):
    id: str
    md5: Annotated[str | None, Field(alias="contentMd5")] = None
    size: Annotated[int | None, Field(alias="contentSize")] = None


class _Bundle(Answer):
    entity: _Entity
    handles: Annotated[tuple[_Handle, ...], Field(alias="fileHandles")]


def _list_files(source: SynapseSource, asking: Asking) -> Listing:
    """Every file below the project or folder; the named ones alone when each says its id.

    Raises AcquisitionError: host.answer, and what the web raises.
    """
    if source.files and all(file.id for file in source.files):
        return Listing(files=tuple(_listed(file.name, str(file.id), asking) for file in source.files))
    files = tuple(_listed(path, entity, asking) for path, entity in _below(source.id, "", asking))
    return Listing(files=files or _itself(source.id, asking))


def _below(parent: str, folder: str, asking: Asking) -> Iterator[tuple[str, str]]:
    """Path and id of every file below an entity, in the order of their names."""
    for child in _children(parent, asking):
        path = listed_name(f"{folder}{child.name}", CHILDREN, asking)
        if child.type == _FOLDER:
            yield from _below(child.id, f"{path}/", asking)
        else:
            yield path, child.id


def _children(parent: str, asking: Asking) -> Iterator[_Child]:
    token: str | None = None
    while True:
        body = {"parentId": parent, "includeTypes": ["folder", "file"], "sortBy": "NAME", "nextPageToken": token}
        answer = _ask(_Children, CHILDREN, body, asking)
        yield from answer.page
        token = answer.following
        if not token:
            return


def _itself(entity: str, asking: Asking) -> tuple[ListedFile, ...]:
    """An entity without children may be a file."""
    stated = _bundle(entity, asking).entity
    return (_listed(stated.name, entity, asking),) if stated.handle else ()


def _listed(name: str, entity: str, asking: Asking) -> ListedFile:
    bundle = _bundle(entity, asking)
    handle = bundle.entity.handle
    if handle is None:
        raise bad_answer(_bundle_address(entity), asking, field="entity.dataFileHandleId", expected="the id of a file")
    # A preview has a handle of its own beside that of the file.
    stated = next((one for one in bundle.handles if one.id == handle), None)
    return ListedFile(
        name=name,
        id=entity,
        address=HttpAddress(
            url=f"{ORIGIN}/file/v1/file/{handle}?fileAssociateType=FileEntity&fileAssociateId={entity}"
        ),
        size=stated.size if stated else None,
        checksum=checksum_of("md5", stated.md5) if stated else None,
    )


def _bundle(entity: str, asking: Asking) -> _Bundle:
    return _ask(_Bundle, _bundle_address(entity), {"includeEntity": True, "includeFileHandles": True}, asking)


def _ask(shape: type[A], url: str, body: Mapping[str, object], asking: Asking) -> A:
    """Raises AcquisitionError[host.answer] that names the first bad field."""
    raw = asking.web.post_json(url, body=body, where=asking.where)
    try:
        return shape.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(step) for step in first["loc"]) or "the whole answer"
        raise bad_answer(url, asking, field=field, expected=first["msg"]) from None


def _bundle_address(entity: str) -> str:
    return f"{ORIGIN}/repo/v1/entity/{entity}/bundle2"


def _file_address(source: SynapseSource, file: RemoteFile) -> str | None:  # noqa: ARG001 (the interface of all hosts)
    return file.url or (f"{ORIGIN}/repo/v1/entity/{file.id}/file" if file.id else None)


def _first_requests(source: SynapseSource) -> tuple[str, ...]:
    if source.files and all(file.id for file in source.files):
        return tuple(_bundle_address(str(file.id)) for file in source.files)
    return (CHILDREN,)


def _read(environment: Mapping[str, str]) -> Secret | None:
    """A personal access token: from the environment, else from the file of Synapse's own client."""
    if token := environment.get("SYNAPSE_AUTH_TOKEN"):
        return _bearer(token)
    path = Path(environment.get("HOME") or Path.home()) / ".synapseConfig"
    return _from_config(path, environment.get("SYNAPSE_PROFILE")) if path.is_file() else None


def _from_config(path: Path, profile: str | None) -> Secret | None:
    config = ConfigParser(interpolation=None, strict=False)
    try:
        config.read_string(path.read_text(encoding="utf-8"))
    except (ConfigError, UnicodeDecodeError):
        # Without its cause: the error of the parser carries lines of the file.
        raise AcquisitionError(
            "credential.unreadable",
            where=str(path),
            problem="the file is not in the form that Synapse's client writes",
            action="It needs a section [default] with a line `authtoken = ...`; `synapse config` writes it.",
        ) from None
    sections = (f"profile {profile}", profile) if profile else ("default", "authentication")
    tokens = (config.get(section, "authtoken", fallback="") for section in sections)
    found = next((token for token in tokens if token), None)
    return _bearer(found) if found else None


def _bearer(token: str) -> Secret:
    return Secret(headers={"Authorization": f"Bearer {token}"})


def _place(source: SynapseSource) -> str:
    return f"Synapse {source.id}"


def _page(source: SynapseSource) -> str:
    return f"https://www.synapse.org/Synapse:{source.id}"


HOST = Host(
    source=SynapseSource,
    place=_place,
    page=_page,
    list_files=_list_files,
    first_requests=_first_requests,
    file_address=_file_address,
    credential=Credential(
        origins=(ORIGIN,),
        read=_read,
        variables=("SYNAPSE_AUTH_TOKEN",),
        file="~/.synapseConfig",
        needed=True,
        how="Sign in, accept the terms on the project's page, and create a personal access token with the scopes view "
        "and download on https://www.synapse.org/PersonalAccessTokens.",
    ),
)
