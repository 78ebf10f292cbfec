"""Kind `pip`: a distribution from the Python package index, fetched by the pip client, which checks the digest."""

from __future__ import annotations

from typing import Literal

from medshard.registry.hosts.host import Asking, Host, ListedFile, Listing, PipAddress
from medshard.registry.schema.model import Model, Sha256


class PipSource(Model):
    """A distribution from the Python package index, downloaded by pip, which checks the digest."""

    kind: Literal["pip"]
    package: str
    version: str
    sha256: Sha256
    form: Literal["sdist", "wheel"] = "sdist"
    include: tuple[str, ...] = ("*",)
    into: str = ""


def _place(source: PipSource) -> str:
    return f"Python distribution {source.package} {source.version} ({source.form}), by pip"


def _list_files(source: PipSource, asking: Asking) -> Listing:  # noqa: ARG001 (the interface of all hosts)
    address = PipAddress(package=source.package, version=source.version, form=source.form, sha256=source.sha256)
    packed = ListedFile(
        name=f"{source.package}-{source.version}",
        address=address,
        checksum=f"sha256:{source.sha256}",
        archive="zip" if source.form == "wheel" else None,
        include=source.include,
    )
    return Listing(files=(packed,), revision=source.version)


HOST = Host(source=PipSource, place=_place, list_files=_list_files, local=True)
