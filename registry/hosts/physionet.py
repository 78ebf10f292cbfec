"""Kind `physionet`: the files of one version of a PhysioNet project.

Relied on: SHA256SUMS.txt, with a line `digest path` for every other file of the project; where a project has none, the
pages that list its folders. PhysioNet takes a password with a request (HTTP Basic) only from clients that it knows, so
that it may refuse files that the same account can read elsewhere; the error then says how.
"""

from __future__ import annotations

import netrc
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote

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
from medshard.registry.hosts.http import bad_answer, listed_name
from medshard.registry.hosts.selection import require_selection, select
from medshard.registry.schema.model import Text

ORIGIN = "https://physionet.org"
SUMS = "SHA256SUMS.txt"
_SUM = re.compile(r"([0-9a-f]{64})\s+\*?(?:\./)?(\S.*)")


class PhysioNetSource(RemoteSource):
    kind: Literal["physionet"]
    project: Text
    version: Text
    include: tuple[str, ...] = ("*",)


def _list_files(source: PhysioNetSource, asking: Asking) -> Listing:
    """The files that `include` selects, with their digests; the whole as one zip where the catalog says `archive`.

    Raises AcquisitionError: host.answer, host.refused, source.empty, and what the web raises.
    """
    if source.archive and not source.files:
        return Listing(files=(_whole(source),), revision=source.version)
    digests = _digests(source, asking)
    names = select(digests, source.include)
    require_selection(names, source.include, where=asking.where, seen=digests)
    files = tuple(
        ListedFile(name=name, address=HttpAddress(url=_address(source, name)), checksum=digests[name]) for name in names
    )
    return Listing(files=files, revision=source.version)


def _whole(source: PhysioNetSource) -> ListedFile:
    # The zip has one folder at its top, named after the project's title.
    return ListedFile(
        name=f"{source.project}-{source.version}.zip",
        address=HttpAddress(url=_zip_address(source)),
        archive=source.archive,
        strip=1,
    )


def _digests(source: PhysioNetSource, asking: Asking) -> dict[str, str | None]:
    """Path -> `sha256:...`, or None where the project has no list of them."""
    if source.files and all(file.checksum for file in source.files):
        return {file.name: file.checksum for file in source.files}
    try:
        text = asking.web.get_text(_root(source) + SUMS, where=asking.where)
    except AcquisitionError as error:
        if error.code == "host.refused":
            raise _refused(source, asking) from error
        if error.code != "host.gone":
            raise
        return dict.fromkeys([file.name for file in source.files] or _walk(source, "", asking))
    return dict(_parsed(text, source, asking))


def _parsed(text: str, source: PhysioNetSource, asking: Asking) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        found = _SUM.fullmatch(line.strip())
        if found:
            yield listed_name(found[2], _root(source) + SUMS, asking), f"sha256:{found[1]}"
        elif line.strip():
            raise bad_answer(_root(source) + SUMS, asking, field=f"line {number}", expected="a digest and a path")


def _walk(source: PhysioNetSource, folder: str, asking: Asking) -> Iterator[str]:
    """Every file that the pages of the folders link to."""
    page = _Links()
    page.feed(asking.web.get_text(_root(source) + quote(folder), where=asking.where))
    for link in page.links:
        if link.endswith("/"):
            yield from _walk(source, folder + link, asking)
        else:
            yield folder + link


class _Links(HTMLParser):
    """links: what a page of a folder links to below itself; folders end in `/`."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        link = unquote(dict(attrs).get("href") or "") if tag == "a" else ""
        below = re.fullmatch(r"(?:\./)?([^/?#:]+/?)", link)
        if below and below[1] not in {".", "..", "./", "../"} and below[1] not in self.links:
            self.links.append(below[1])


def _refused(source: PhysioNetSource, asking: Asking) -> AcquisitionError:
    return AcquisitionError(
        "host.refused",
        where=asking.where,
        problem="PhysioNet refuses the files of this project",
        details={"asked": _root(source) + SUMS, "terms": _page(source)},
        action="Sign the terms on the project's page with the account that you use here. PhysioNet takes passwords "
        "only from clients that it knows; if it refuses all the same, run `wget -r -N -c -np -nH --cut-dirs=3 "
        f"--user NAME --ask-password {_root(source)}` and put the files into the inbox of the entry.",
    )


def _root(source: PhysioNetSource) -> str:
    return f"{ORIGIN}/files/{source.project}/{source.version}/"


def _address(source: PhysioNetSource, name: str) -> str:
    return _root(source) + quote(name)


def _zip_address(source: PhysioNetSource) -> str:
    return f"{ORIGIN}/content/{source.project}/get-zip/{source.version}/"


def _file_address(source: PhysioNetSource, file: RemoteFile) -> str | None:
    return file.url or _address(source, file.name)


def _first_requests(source: PhysioNetSource) -> tuple[str, ...]:
    if source.archive and not source.files:
        return (_zip_address(source),)
    if source.files and all(file.checksum for file in source.files):
        return tuple(_address(source, file.name) for file in source.files)
    return (_root(source) + SUMS,)


def _read(environment: Mapping[str, str]) -> Secret | None:
    """Name and password: from the environment, else from the lines of physionet.org in ~/.netrc."""
    if environment.get("PHYSIONET_USERNAME") and environment.get("PHYSIONET_PASSWORD"):
        return _basic(environment["PHYSIONET_USERNAME"], environment["PHYSIONET_PASSWORD"])
    path = Path(environment.get("NETRC") or Path(environment.get("HOME") or Path.home()) / ".netrc")
    return _from_netrc(path) if path.is_file() else None


def _from_netrc(path: Path) -> Secret | None:
    try:
        # Not `authenticators`, which gives the line `default` for hosts that the file does not name.
        found = netrc.netrc(str(path)).hosts.get("physionet.org")
    except (netrc.NetrcParseError, UnicodeDecodeError):
        # Without its cause: the error of the parser carries words of the file.
        raise AcquisitionError(
            "credential.unreadable",
            where=str(path),
            problem="the file is not in the form of a netrc file",
            action="It needs a line `machine physionet.org login NAME password PASSWORD`.",
        ) from None
    return _basic(found[0], found[2]) if found and found[2] else None


def _basic(name: str, password: str) -> Secret:
    return Secret(headers={"Authorization": f"Basic {b64encode(f'{name}:{password}'.encode()).decode()}"})


def _place(source: PhysioNetSource) -> str:
    return f"PhysioNet {source.project} {source.version}"


def _page(source: PhysioNetSource) -> str:
    return f"https://physionet.org/content/{source.project}/{source.version}/"


HOST = Host(
    source=PhysioNetSource,
    place=_place,
    page=_page,
    list_files=_list_files,
    first_requests=_first_requests,
    file_address=_file_address,
    credential=Credential(
        origins=(ORIGIN,),
        read=_read,
        variables=("PHYSIONET_USERNAME", "PHYSIONET_PASSWORD"),
        file="~/.netrc",
        how="Register on https://physionet.org, become a credentialed user where the project asks for it, and sign "
        "the terms at the foot of its page.",
    ),
)
