"""What a download is asked for, and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from medshard.registry.acquisition.transfer.addresses import origin_of, public_address
from medshard.registry.hosts.host import HttpAddress, ObjectAddress, PageInstead
from medshard.registry.hosts.source import Archive


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One file. size, checksum: as somebody states them (`sha256:...`, `sha1:...`, `md5:...`).

    archive: what it must be. through_page: the address behind a page that the host puts before the file. where: the
    entry, for errors.
    """

    name: str
    address: HttpAddress | ObjectAddress
    target: Path
    where: str
    size: int | None = None
    checksum: str | None = None
    archive: Archive | None = None
    through_page: Callable[[PageInstead], str | None] = lambda page: None  # noqa: ARG005

    @property
    def url(self) -> str:
        """The address as it is recorded."""
        if isinstance(self.address, ObjectAddress):
            return f"{self.address.protocol}://{self.address.path}"
        return public_address(self.address.url)

    @property
    def origin(self) -> str:
        """Whose connections and pauses it shares."""
        if isinstance(self.address, ObjectAddress):
            return f"{self.address.protocol}://{self.address.path.partition('/')[0]}"
        return origin_of(self.address.url)


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A file that is whole and checked. url: without secrets. validator: ETag or date of the last change.

    transferred: bytes that came over the wire in this call. seconds: that it took. attempts: requests that were made.
    """

    name: str
    path: Path
    size: int
    sha256: str
    url: str
    validator: str | None
    transferred: int
    seconds: float
    attempts: int
