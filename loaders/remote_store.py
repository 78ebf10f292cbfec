"""A store on an object store or a web server, read only: HEADs, whole objects as local copies, and byte ranges.

fsspec does the transfers. Its thread starts with the first read of a process, so that a process that has only opened an
index can be forked; a child that was forked later makes connections of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from fsspec.core import url_to_fs
from fsspec.spec import AbstractFileSystem
from fsspec.utils import get_protocol

from medshard.errors import StoreError
from medshard.loaders.local_copies import DEFAULT_COPIES_BYTES, LocalCopies, default_cache_folder
from medshard.registry.store.manifests import Head
from medshard.registry.store.objects import ObjectRef, check_format_version

ATTEMPTS = 4
FIRST_PAUSE_S = 0.2
PIECE_BYTES = 8 << 20
PIECES_AT_ONCE = 8
CONNECTIONS = 32
SILENCE_S = 30.0

Result = TypeVar("Result")
_FINAL = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError)


@dataclass(frozen=True, kw_only=True)
class RemoteStore:
    """A store behind a URL. Cheap to pickle: nothing is open in it.

    url: such as `s3://bucket/prefix` or `https://host/path`, whatever fsspec knows. options: for fsspec.
    cache: folder for copies of indices and plans, and for blocks of shards. cache_bytes: size of the latter; None keeps
    no blocks. copies_bytes: most that the former take.
    """

    url: str
    cache: Path
    cache_bytes: int | None = None
    copies_bytes: int = DEFAULT_COPIES_BYTES
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def open(
        cls, url: str, *, cache: str | Path | None = None, cache_bytes: int | None = None, **options: Any
    ) -> RemoteStore:
        folder = default_cache_folder() if cache is None else Path(cache)
        return cls(url=url.rstrip("/"), cache=folder.absolute(), cache_bytes=cache_bytes, options=options)

    def place(self, ref: ObjectRef) -> str:
        return f"{self.url}/objects/{ref.digest[:2]}/{ref.digest}{ref.suffix}"

    def path(self, ref: ObjectRef) -> Path:
        """A local copy of a whole object, fetched once for all processes that share the cache folder."""
        copies = LocalCopies(self.cache, self.copies_bytes)
        return copies.path(ref, lambda target: self._download(ref, target), where=self.place(ref))

    def read_bytes(self, ref: ObjectRef) -> bytes:
        return self.path(ref).read_bytes()

    def require_head(self, entry: str, stage: str, plan: str) -> Head:
        """The current HEAD of a stage. Raises StoreError[store.missing] and StoreError[stage.not_built]."""
        marker = self._document("store.json")
        if marker is None:
            raise StoreError(
                "store.missing",
                where=self.url,
                problem="there is no medshard store here",
                details={"looked for": f"{self.url}/store.json"},
                action="Name the folder that has store.json in it.",
            )
        name = f"heads/{entry}/{stage}@{plan}.json"
        head = self._document(name)
        if head is None:
            raise StoreError(
                "stage.not_built",
                where=f"{entry}/{stage}@{plan}",
                problem="this stage has not been built in this store",
                details={"looked for": f"{self.url}/{name}"},
                action=f"Build it where the store can be written: medshard build {entry} --plan {plan}",
            )
        return Head.from_json(head)

    def read_ranges(self, ranges: Sequence[tuple[ObjectRef, int, int]]) -> list[bytes]:
        """The bytes [start, end) of each (object, start, end), all asked for at once.

        Raises StoreError[shard.missing|store.unreachable|shard.range] naming the object and the range.
        """
        found: dict[int, bytes] = {}
        for attempt in range(1, ATTEMPTS + 1):
            waiting = [number for number in range(len(ranges)) if number not in found]
            asked = [ranges[number] for number in waiting]
            paths, starts, ends = ([*values] for values in zip(*asked, strict=True))
            system, root = _file_system(self)
            answers = system.cat_ranges(
                [f"{root}/{_object_path(ref)}" for ref in paths], starts, ends, on_error="return"
            )
            problems = []
            for number, answer in zip(waiting, answers, strict=True):
                problem = self._problem_of(ranges[number], answer)
                if problem is None:
                    found[number] = bytes(answer)
                else:
                    problems.append(problem)
            if not problems:
                return [found[number] for number in range(len(ranges))]
            if attempt == ATTEMPTS:
                raise problems[0]
            time.sleep(FIRST_PAUSE_S * 3 ** (attempt - 1))
        raise AssertionError("unreachable")

    def _problem_of(self, asked: tuple[ObjectRef, int, int], answer: Any) -> StoreError | None:
        """What is wrong with the answer to a range; raises at once what another attempt would not mend."""
        ref, start, end = asked
        details = {"range": f"bytes {start} to {end}"}
        if isinstance(answer, FileNotFoundError):
            raise StoreError(
                "shard.missing",
                where=self.place(ref),
                problem="a shard that the index names is not there",
                details=details,
                action="Open the index again if the store was rebuilt; else build the shards stage again.",
            ) from answer
        if isinstance(answer, BaseException):
            problem = self._unreachable(self.place(ref), answer, details)
            if isinstance(answer, _FINAL) or not isinstance(answer, Exception):
                raise problem from answer
            return problem
        if len(answer) == end - start:
            return None
        return StoreError(
            "shard.range",
            where=self.place(ref),
            problem="the server answers a range with another number of bytes",
            details={**details, "expected": f"{end - start} bytes", "found": f"{len(answer)} bytes"},
            action="The server has to support Range requests, and the object its published size.",
        )

    def _document(self, name: str) -> dict[str, Any] | None:
        where = f"{self.url}/{name}"

        def read() -> bytes:
            system, root = _file_system(self)
            return bytes(system.cat_file(f"{root}/{name}"))

        try:
            data = self._with_retries(read, where)
        except FileNotFoundError:
            return None
        try:
            document: dict[str, Any] = json.loads(data)
        except ValueError as error:
            raise StoreError(
                "store.unreadable", where=where, problem="the file is not JSON", details={"reader": error}
            ) from error
        check_format_version(document, where=where)
        return document

    def _with_retries(self, read: Callable[[], Result], where: str) -> Result:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return read()
            except FileNotFoundError:
                raise
            except Exception as error:  # each library that fsspec uses has its own
                if attempt == ATTEMPTS or isinstance(error, _FINAL):
                    raise self._unreachable(where, error, {"attempts": attempt}) from error
            time.sleep(FIRST_PAUSE_S * 3 ** (attempt - 1))
        raise AssertionError("unreachable")

    def _download(self, ref: ObjectRef, target: Path) -> str:
        """Fetch a whole object in pieces, and return the SHA-256 of what came."""
        digest = hashlib.sha256()
        pieces = [(ref, start, min(ref.size, start + PIECE_BYTES)) for start in range(0, ref.size, PIECE_BYTES)]
        with target.open("wb") as stream:
            for first in range(0, len(pieces), PIECES_AT_ONCE):
                for data in self.read_ranges(pieces[first : first + PIECES_AT_ONCE]):
                    digest.update(data)
                    stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        return digest.hexdigest()

    def _unreachable(self, where: str, error: BaseException, details: Mapping[str, Any]) -> StoreError:
        return StoreError(
            "store.unreachable",
            where=where,
            problem="the object store does not answer as it should",
            details={**details, "reason": f"{type(error).__name__}: {error}"},
            action="Check the address, the network and the credentials.",
        )


def is_remote(url: str | Path) -> bool:
    """Whether a store's address is a URL that is not of a local folder."""
    return "://" in str(url) and get_protocol(str(url)) not in ("file", "local")


def _object_path(ref: ObjectRef) -> str:
    return f"objects/{ref.digest[:2]}/{ref.digest}{ref.suffix}"


@dataclass
class _Connections:
    """The file systems of this process, with the root of the store in each."""

    pid: int = -1
    systems: dict[RemoteStore, tuple[AbstractFileSystem, str]] = field(default_factory=dict)
    inherited: list[Any] = field(default_factory=list)


_CONNECTIONS = _Connections()


def _file_system(store: RemoteStore) -> tuple[AbstractFileSystem, str]:
    pid = os.getpid()
    if pid != _CONNECTIONS.pid:
        # A forked child lets its parent's connections be: closing them would need the thread that it does not have.
        _CONNECTIONS.inherited.append(_CONNECTIONS.systems)
        _CONNECTIONS.pid, _CONNECTIONS.systems = pid, {}
        if "fsspec.asyn" in sys.modules:
            sys.modules["fsspec.asyn"].reset_lock()
    if store not in _CONNECTIONS.systems:
        options = {**_defaults(store.url), **store.options}
        try:
            system, root = url_to_fs(store.url, skip_instance_cache=True, use_listings_cache=False, **options)
        except (ImportError, ValueError) as error:
            raise StoreError(
                "store.scheme",
                where=store.url,
                problem="no installed library reads this kind of address",
                details={"reason": error},
                action="Install it with: pip install medshard[object-stores]",
            ) from error
        _CONNECTIONS.systems[store] = (system, str(root).rstrip("/"))
    return _CONNECTIONS.systems[store]


def _defaults(url: str) -> dict[str, Any]:
    """Enough connections for the ranges of a batch, and an end to waiting for a server that has fallen silent."""
    protocol = get_protocol(url)
    if protocol in ("http", "https"):
        import aiohttp  # noqa: PLC0415

        return {
            "client_kwargs": {
                "timeout": aiohttp.ClientTimeout(total=None, sock_connect=SILENCE_S, sock_read=SILENCE_S),
            }
        }
    if protocol in ("s3", "s3a"):
        return {"config_kwargs": {"max_pool_connections": CONNECTIONS, "read_timeout": SILENCE_S}}
    return {}
