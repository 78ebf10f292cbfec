"""Rar archives: the directory and what is merely stored by rarfile, the rest by a program of this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.archives.blocks import DECODE_ERRORS
from medshard.registry.acquisition.archives.faults import (
    missing_package,
    missing_volumes,
    password_needed,
    unreadable,
)
from medshard.registry.acquisition.archives.inflating import BLOCK_BYTES
from medshard.registry.acquisition.archives.members import Entry
from medshard.registry.acquisition.archives.rar_tools import RarArchive, RarJob, is_plain, run_tools, without_password
from medshard.registry.acquisition.archives.volumes import Volumes
from medshard.registry.acquisition.archives.writing import Intake, LinkText, Place

FILE_COPY, HARD_LINK = 5, 4


def read_rar(volumes: Volumes, intake: Intake, password: str | None) -> None:
    """Give every member that the intake wants to its place.

    Raises AcquisitionError: archive.unreadable, archive.unsafe, archive.limit, archive.disk, archive.password,
    archive.volumes, archive.no_tool; MissingExtraError.
    """
    try:
        import rarfile  # type: ignore[import-untyped]  # noqa: PLC0415 - of the extra
    except ImportError as error:
        raise missing_package(intake.origin, "rarfile", error) from error
    intake.writing.tools["rarfile"] = version("rarfile")
    try:
        with _opened(rarfile, volumes, password) as archive:
            infos = archive.infolist()
            if archive.needs_password() and not password:
                raise password_needed(intake.origin, member=None, given=False)
            if not infos and archive.needs_password():
                raise password_needed(intake.origin, member=None, given=True)
            _unpack(archive, infos, volumes, intake, password)
    except AcquisitionError:
        raise
    except rarfile.NeedFirstVolume as error:
        raise missing_volumes(intake.origin, found=[path.name for path in volumes.paths], missing="part 1") from error
    except (rarfile.PasswordRequired, rarfile.RarWrongPassword, rarfile.NoCrypto) as error:
        raise password_needed(intake.origin, member=None, given=password is not None) from error
    except (rarfile.Error, *DECODE_ERRORS, IndexError) as error:
        raise unreadable(intake.origin, without_password(password, str(error) or type(error).__name__)) from error


@contextmanager
def _opened(rarfile: Any, volumes: Volumes, password: str | None) -> Iterator[Any]:
    with rarfile.RarFile(str(volumes.paths[0]), errors="strict") as archive:
        if password and archive.needs_password():
            archive.setpassword(password)
        yield archive


def _unpack(archive: Any, infos: Sequence[Any], volumes: Volumes, intake: Intake, password: str | None) -> None:
    jobs, copies = [], []
    links: list[Any] = []
    size = 0
    for info in infos:
        if _is_link(info):
            links.append(info)
            continue
        form = "folder" if info.is_dir() else "file"
        place = intake.accept(Entry(name=info.filename, size=info.file_size, form=form))  # type: ignore[arg-type]
        if info.is_dir():
            continue
        size += info.file_size if place else 0
        if info.file_redir is not None:
            copies.append(RarJob(info, place))
        else:
            jobs.append(RarJob(info, place))
    intake.expect(size)
    for info in links:
        _link(archive, info, intake)
    plain = [job for job in jobs if is_plain(job.info)]
    for job in plain:
        if job.place is not None:
            _copy_plain(archive, job.info, job.place)
    if any(job.place is not None and not is_plain(job.info) for job in jobs):
        encrypted = any(job.info.needs_password() for job in jobs)
        # A program is not told the password when it can do without: others can see its command line.
        run_tools(
            RarArchive(volumes, jobs, links, intake, encrypted=encrypted, password=password if encrypted else None)
        )
    for job in copies:
        if job.place is not None:
            _copy_of(job, jobs, intake)


def _is_link(info: Any) -> bool:
    return bool(info.is_symlink()) or (info.file_redir is not None and info.file_redir[0] != FILE_COPY)


def _link(archive: Any, info: Any, intake: Intake) -> None:
    hard = info.file_redir is not None and info.file_redir[0] == HARD_LINK
    entry = Entry(name=info.filename, form="hard link" if hard else "link")
    target = ""
    if info.file_redir is not None:
        target = info.file_redir[2] or ""
    elif intake.selects(info.filename) and info.file_size <= 4096 and is_plain(info):
        text = LinkText()
        with archive.open(info) as stream:
            text.write(stream.read())
        target = text.text
    intake.link(entry, target)


def _copy_plain(archive: Any, info: Any, place: Place) -> None:
    # rarfile compares size and checksum when it reaches the end.
    with archive.open(info) as stream, place.open() as sink:
        while block := stream.read(BLOCK_BYTES):
            sink.write(block)


def _copy_of(job: RarJob, jobs: Sequence[RarJob], intake: Intake) -> None:
    """A member that repeats an earlier one: its bytes are those of the file that is already there."""
    name = job.info.file_redir[2]
    first = next((other for other in jobs if other.info.filename == name), None)
    written = getattr(first.place, "path", None) if first is not None else None
    if job.place is None or written is None:
        raise unreadable(intake.origin, f"it repeats {name!r}, which is not unpacked", member=job.info.filename)
    with (intake.writing.tree / written).open("rb") as source, job.place.open() as sink:
        while block := source.read(BLOCK_BYTES):
            sink.write(block)
