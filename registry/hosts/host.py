"""The one interface of a host: what the catalog may say of it, and how its files are listed.

A host is one module of this folder, named after its kind (`grand-challenge` is `grand_challenge.py`), with one `HOST`.
Nothing else knows its name: the schema, the pages, the request plan and the download find it here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from medshard.registry.hosts.source import Archive, RemoteFile, RemoteSource
from medshard.registry.schema.model import Model

if TYPE_CHECKING:
    from medshard.registry.acquisition.transfer.web import Web

S = TypeVar("S", bound=Model)


@dataclass(frozen=True, kw_only=True)
class HttpAddress:
    """Bytes behind an address that may be written down: never with a token or a signature in it.

    ranges: whether the server can be expected to resume; False for archives that it packs anew for every request,
    whose bytes differ from one request to the next.
    """

    url: str
    ranges: bool = True


@dataclass(frozen=True, kw_only=True)
class ObjectAddress:
    """An object of a bucket, read through fsspec. path: `bucket/key`. options: of the file system, without secrets."""

    protocol: Literal["s3", "gcs"]
    path: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class LocalAddress:
    """A file of this machine, which is copied."""

    path: Path


@dataclass(frozen=True, kw_only=True)
class PipAddress:
    """A distribution of the Python package index, which the pip client fetches and checks."""

    package: str
    version: str
    form: Literal["sdist", "wheel"]
    sha256: str


Address = HttpAddress | ObjectAddress | LocalAddress | PipAddress


@dataclass(frozen=True, kw_only=True)
class ListedFile:
    """One file that a host offers.

    name: path below the source's folder, with `/`. id: what the host calls it. size: bytes. checksum: `sha256:...`,
    `sha1:...` or `md5:...` as the host states it. archive: how it is packed; None when name and content say it.
    include: of an archive, the members that are wanted. strip: leading folders that the members lose.
    """

    name: str
    address: Address
    id: str | None = None
    size: int | None = None
    checksum: str | None = None
    archive: Archive | None = None
    include: tuple[str, ...] = ("*",)
    strip: int = 0


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a host has for a source at this moment. revision: commit or version that pins it, where there is one.

    tools: name -> version of what else decides the files, such as an installed package.
    """

    files: tuple[ListedFile, ...]
    revision: str | None = None
    tools: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Secret:
    """A credential as the headers of a request. It has no text form: what is never printed cannot leak."""

    headers: Mapping[str, str] = field(repr=False, default_factory=dict)
    options: Mapping[str, str] = field(repr=False, default_factory=dict)

    def __repr__(self) -> str:
        return "Secret(...)"

    __str__ = __repr__

    @property
    def words(self) -> tuple[str, ...]:
        """What must appear nowhere: every value, and the part after `Bearer ` or `Basic `."""
        values = [*self.headers.values(), *self.options.values()]
        return tuple({word for value in values for word in (value, value.split(" ", 1)[-1]) if word})


@dataclass(frozen=True, kw_only=True)
class Credential:
    """How a user proves who they are.

    origins: scheme and host that the headers are sent to, and to nobody else. read: finds it in the environment or in
    the host's usual file. variables, file: what `read` looks at, for people. needed: whether nothing can be had
    without it; otherwise only gated entries ask for it. opens_gates: whether it proves that terms were accepted at the
    host; one that only raises a limit on requests does not. how: one sentence on how to get one.
    """

    origins: tuple[str, ...]
    read: Callable[[Mapping[str, str]], Secret | None]
    variables: tuple[str, ...]
    file: str = ""
    needed: bool = False
    opens_gates: bool = True
    how: str


def bearer_token(variable: str) -> Callable[[Mapping[str, str]], Secret | None]:
    """`Credential.read` for a token in one variable, which is sent as `Authorization: Bearer`."""

    def read(environment: Mapping[str, str]) -> Secret | None:
        token = environment.get(variable, "").strip()
        return Secret(headers={"Authorization": f"Bearer {token}"}) if token else None

    return read


@dataclass(frozen=True, kw_only=True)
class Asking:
    """What a host's `list_files` works with. base: folder of the catalog file. where: the entry, for errors."""

    web: Web
    base: Path
    where: str


@dataclass(frozen=True, kw_only=True)
class PageInstead:
    """A web page that came where a file was asked for. url: the address that was asked."""

    url: str
    html: str


@dataclass(frozen=True, kw_only=True)
class Host(Generic[S]):
    """source: the model of its catalog fields. place: where a source is, in a few words.

    list_files: asks what is there, everything of the source; the catalog's choice of files is made by the caller. It
    raises AcquisitionError. first_requests: the addresses that it asks first, without asking. page: for people.
    file_address: where one named file lies, as stated or by the host's own scheme. through_page: the address behind a
    page that the host puts before large files; None when the page is no such thing. by_hand: nothing can be fetched
    by a program; files come through the inbox. local: the files are on this machine, and no licence gate is shown.
    """

    source: type[S]
    place: Callable[[S], str]
    list_files: Callable[[S, Asking], Listing] | None = None
    first_requests: Callable[[S], tuple[str, ...]] = lambda source: ()  # noqa: ARG005
    page: Callable[[S], str | None] = lambda source: None  # noqa: ARG005
    file_address: Callable[[S, RemoteFile], str | None] = lambda source, file: file.url  # noqa: ARG005
    through_page: Callable[[PageInstead], str | None] = lambda page: None  # noqa: ARG005
    credential: Credential | None = None
    by_hand: bool = False
    local: bool = False


__all__ = [
    "Address",
    "Archive",
    "Asking",
    "Credential",
    "Host",
    "HttpAddress",
    "ListedFile",
    "Listing",
    "LocalAddress",
    "ObjectAddress",
    "PageInstead",
    "PipAddress",
    "RemoteFile",
    "RemoteSource",
    "Secret",
    "bearer_token",
]
