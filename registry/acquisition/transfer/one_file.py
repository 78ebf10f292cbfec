"""One file from its address to its place: filled, hashed, compared, named."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.transfer.answers import is_strong
from medshard.registry.acquisition.transfer.assembly import Assembly
from medshard.registry.acquisition.transfer.hashing import kind_of
from medshard.registry.acquisition.transfer.http_file import HttpFile
from medshard.registry.acquisition.transfer.journal import machine_start
from medshard.registry.acquisition.transfer.origins import ObjectFile
from medshard.registry.acquisition.transfer.part import Part
from medshard.registry.acquisition.transfer.progress import Progress
from medshard.registry.acquisition.transfer.sidecar import Done, publish
from medshard.registry.acquisition.transfer.wanted import Fetched, Wanted
from medshard.registry.acquisition.transfer.web import Web
from medshard.registry.hosts.host import HttpAddress


async def fetch_one(wanted: Wanted, web: Web, progress: Progress) -> Fetched:
    """Raises AcquisitionError: see `download`. What has come is kept, except when the whole has a wrong checksum."""
    began = time.monotonic()
    part = await asyncio.to_thread(Part.open, wanted.target, url=wanted.url, where=wanted.where, threads=web.threads)
    if isinstance(wanted.address, HttpAddress) and not wanted.address.ranges and not part.is_whole:
        part.restart()
    watched = progress.file(wanted.name, size=wanted.size, done=part.done.total)
    if wanted.size is None and part.size is not None:
        watched.sized(part.size)  # told by the host in an earlier call
    assembly = Assembly(wanted, part, watched, web.threads)
    try:
        digests = await _verified(assembly, web)
        done = _publish(assembly, digests)
    finally:
        await assembly.close()
    return fetched(wanted, done, assembly=assembly, seconds=time.monotonic() - began)


def fetched(wanted: Wanted, done: Done, *, assembly: Assembly | None = None, seconds: float = 0.0) -> Fetched:
    """assembly: None for a file that was there already."""
    return Fetched(
        name=wanted.name,
        path=wanted.target,
        size=done.size,
        sha256=done.sha256,
        url=done.url,
        validator=done.validator,
        transferred=assembly.transferred if assembly else 0,
        seconds=seconds,
        attempts=assembly.attempts if assembly else 0,
    )


async def _verified(assembly: Assembly, web: Web) -> Mapping[str, str]:
    """The digests of the whole file, equal to the stated one. Raises AcquisitionError[checksum.mismatch]."""
    digests = await _filled(assembly, web)
    if not _is_stated(assembly, digests) and _is_of_several_states(assembly):
        # Bytes of two versions may have met, or the disk has lost some: that is not the publisher's fault.
        await assembly.restart()
        digests = await _filled(assembly, web)
    if not _is_stated(assembly, digests):
        await assembly.restart()
        raise _mismatch(assembly.wanted, digests)
    return digests


async def _filled(assembly: Assembly, web: Web) -> Mapping[str, str]:
    address = assembly.wanted.address
    if not assembly.part.is_whole:
        filler = HttpFile if isinstance(address, HttpAddress) else ObjectFile
        await filler(address, assembly, web).fill()  # type: ignore[arg-type]
    return await assembly.digests()


def _is_of_several_states(assembly: Assembly) -> bool:
    return assembly.part.earlier > 0 or (assembly.attempts > 1 and not is_strong(assembly.part.validator))


def _is_stated(assembly: Assembly, digests: Mapping[str, str]) -> bool:
    stated = assembly.wanted.checksum
    return stated is None or digests[kind_of(stated)] == stated.partition(":")[2].lower()


def _mismatch(wanted: Wanted, digests: Mapping[str, str]) -> AcquisitionError:
    kind = kind_of(wanted.checksum or "")
    return AcquisitionError(
        "checksum.mismatch",
        where=wanted.where,
        problem=f"{wanted.name} is not the file that its source states",
        details={"address": wanted.url, "expected": wanted.checksum, "found": f"{kind}:{digests[kind]}"},
        action="Its publisher may have replaced the file: review the change and update the catalog.",
    )


def _publish(assembly: Assembly, digests: Mapping[str, str]) -> Done:
    wanted, part = assembly.wanted, assembly.part
    status = os.fstat(part.descriptor)
    done = Done(
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        sha256=digests["sha256"],
        checksum=wanted.checksum,
        url=wanted.url,
        validator=part.validator,
        machine_start=machine_start(),
    )
    publish(wanted.target, done)
    return done
