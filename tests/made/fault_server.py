"""A web server on loopback that misbehaves as told, request by request, and counts what it sends.

    with FaultServer() as server:
        server.add("/a.bin", content, faults=[Cut(1000), Status(503, {"Retry-After": "1"}), None])
        server.url("/a.bin"); server.sent["/a.bin"]; server.requests

The faults of a file are used up one a request; after the last one (and for None) the server behaves.
"""

from __future__ import annotations

import random
import socket
import ssl
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from medshard.registry.acquisition.transfer.settings import TransferSettings

BLOCK_BYTES = 64 << 10
# For a downloader that does not wait long.
HASTY = TransferSettings(
    piece_bytes=256 << 10,
    ramp_s=0.0,
    stall_s=0.5,
    slow_window_s=0.4,
    slowest_bytes_per_s=1000,
    attempts=4,
    first_delay_s=0.005,
    longest_delay_s=0.02,
    longest_wait_s=30,
)


@dataclass(frozen=True)
class Cut:
    """The connection ends after so many bytes of the body."""

    after: int


@dataclass(frozen=True)
class Stall:
    """Nothing more comes after so many bytes of the body; the connection stays open."""

    after: int


@dataclass(frozen=True)
class Trickle:
    """After so many bytes of the body the rest comes at so many bytes a second."""

    after: int
    bytes_per_s: int


@dataclass(frozen=True)
class Status:
    """Another status, with headers and a body of its own."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class WrongRange:
    """Bytes from so many places further on than asked for; Content-Range says which."""

    shift: int = 1000


@dataclass(frozen=True)
class WrongLength:
    """Content-Length is off by so many bytes."""

    by: int


@dataclass(frozen=True)
class NoRange:
    """The request's Range is not heard."""


@dataclass(frozen=True)
class Page:
    """A page in place of the file."""

    body: bytes
    content_type: str = "text/html; charset=utf-8"


@dataclass(frozen=True)
class Change:
    """From this request on the file has another content."""

    content: bytes
    etag: str | None


Fault = Cut | Stall | Trickle | Status | WrongRange | WrongLength | NoRange | Page | Change


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def range(self) -> str | None:
        return self.headers.get("range")


@dataclass
class Served:
    """cuts: places of the file at which a connection ends, each once. chunked: sent without a length."""

    content: bytes
    etag: str | None
    last_modified: str | None = None
    content_type: str = "application/octet-stream"
    ranges: bool = True
    chunked: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    faults: deque[Fault | None] = field(default_factory=deque)
    cuts: set[int] = field(default_factory=set)
    bytes_per_s: int | None = None


Answering = Callable[[Request], tuple[int, Mapping[str, str], bytes]]


class FaultServer:
    """requests: all that came, in order. sent: bytes of bodies, by path. most_open: of a path, at once."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._files: dict[str, Served] = {}
        self._answers: dict[str, Answering] = {}
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._closing = threading.Event()
        self._open: Counter[str] = Counter()
        self.requests: list[Request] = []
        self.sent: Counter[str] = Counter()
        self.most_open: Counter[str] = Counter()

    @property
    def origin(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._listener.getsockname()[1]}"

    def url(self, path: str) -> str:
        return self.origin + path

    def add(
        self,
        path: str,
        content: bytes,
        *,
        etag: str | None = '"first"',
        faults: Iterable[Fault | None] = (),
        cuts: Iterable[int] = (),
        ranges: bool = True,
        chunked: bool = False,
        content_type: str = "application/octet-stream",
        headers: Mapping[str, str] | None = None,
        bytes_per_s: int | None = None,
        last_modified: str | None = None,
    ) -> str:
        """Serve a file; its address."""
        self._files[path] = Served(
            content=content,
            etag=etag,
            last_modified=last_modified,
            content_type=content_type,
            ranges=ranges,
            chunked=chunked,
            headers=headers or {},
            faults=deque(faults),
            cuts=set(cuts),
            bytes_per_s=bytes_per_s,
        )
        return self.url(path)

    def answer(self, path: str, answer: Answering) -> str:
        """Answer with a function: request to (status, headers, body); its address."""
        self._answers[path] = answer
        return self.url(path)

    def requests_of(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(timeout=10)

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, connection)

    def _serve(self, raw: socket.socket) -> None:
        raw.settimeout(60)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = raw
        try:
            if self._tls:
                connection = self._tls.wrap_socket(raw, server_side=True)
            with self._lock:
                self._connections.add(connection)
            while not self._closing.is_set() and (request := _read_request(connection)) is not None:
                with self._lock:
                    self.requests.append(request)
                    self._open[request.path] += 1
                    self.most_open[request.path] = max(self.most_open[request.path], self._open[request.path])
                try:
                    if not self._respond(connection, request):
                        break
                finally:
                    with self._lock:
                        self._open[request.path] -= 1
        except OSError:
            pass  # the client has gone, which is its right
        finally:
            with self._lock:
                self._connections.discard(connection)
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _respond(self, connection: socket.socket, request: Request) -> bool:
        """Whether the connection can be used again."""
        if request.path in self._answers:
            return _send_whole(connection, *self._answers[request.path](request))
        served = self._files.get(request.path)
        if served is None:
            return _send_whole(connection, 404, {"Content-Type": "text/html"}, b"<title>Not here</title>")
        with self._lock:
            fault = served.faults.popleft() if served.faults else None
            if isinstance(fault, Change):
                served.content, served.etag = fault.content, fault.etag
        if isinstance(fault, Status):
            return _send_whole(connection, fault.status, fault.headers, fault.body)
        if isinstance(fault, Page):
            return _send_whole(connection, 200, {"Content-Type": fault.content_type}, fault.body)
        return self._send_file(connection, request, served, fault)

    def _send_file(self, connection: socket.socket, request: Request, served: Served, fault: Fault | None) -> bool:
        size = len(served.content)
        span = None if not served.ranges or isinstance(fault, NoRange) else _span(request, served)
        if span is not None and span[0] >= size:
            return _send_whole(connection, 416, {"Content-Range": f"bytes */{size}"}, b"")
        start, end = span or (0, size)
        if span is not None and isinstance(fault, WrongRange):
            start, end = min(start + fault.shift, size - 1), min(end + fault.shift, size)
        length = end - start + (fault.by if isinstance(fault, WrongLength) else 0)
        lines = [f"HTTP/1.1 {206 if span else 200} OK", f"Content-Type: {served.content_type}"]
        lines += ["Transfer-Encoding: chunked"] if served.chunked else [f"Content-Length: {length}"]
        lines += [f"Content-Range: bytes {start}-{end - 1}/{size}"] if span else []
        lines += ["Accept-Ranges: bytes"] if served.ranges else []
        lines += [f"ETag: {served.etag}"] if served.etag else []
        lines += [f"Last-Modified: {served.last_modified}"] if served.last_modified else []
        lines += [f"{name}: {value}" for name, value in served.headers.items()]
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return self._send_body(connection, request.path, served, (start, end), fault) and length == end - start

    def _send_body(
        self, connection: socket.socket, path: str, served: Served, span: tuple[int, int], fault: Fault | None
    ) -> bool:
        start, end = span
        position, content = start, memoryview(served.content)
        limit = start + fault.after if isinstance(fault, Cut | Stall | Trickle) else None
        with self._lock:
            cut = min((place for place in served.cuts if start < place < end), default=None)
            if cut is not None:
                served.cuts.discard(cut)
        stop = min(place for place in (end, cut, limit) if place is not None)
        while position < stop:
            block = content[position : min(position + BLOCK_BYTES, stop)]
            self._send_block(connection, path, block, served)
            position += len(block)
        if isinstance(fault, Stall) and position == limit:
            self._closing.wait(60)
            return False
        if isinstance(fault, Trickle) and position == limit:
            while position < end and not self._closing.wait(1 / fault.bytes_per_s):
                self._send_block(connection, path, content[position : position + 1], served)
                position += 1
        if position == end and served.chunked:
            connection.sendall(b"0\r\n\r\n")
        return position == end

    def _send_block(self, connection: socket.socket, path: str, block: memoryview, served: Served) -> None:
        if served.chunked:
            connection.sendall(b"%x\r\n%b\r\n" % (len(block), bytes(block)))
        else:
            connection.sendall(block)
        with self._lock:
            self.sent[path] += len(block)
        if served.bytes_per_s is not None:
            time.sleep(len(block) / served.bytes_per_s)


def random_bytes(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def _read_request(connection: socket.socket) -> Request | None:
    data = b""
    while b"\r\n\r\n" not in data:
        block = connection.recv(BLOCK_BYTES)
        if not block:
            return None
        data += block
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        body += connection.recv(BLOCK_BYTES)
    path, _, query = target.partition("?")
    return Request(method, path, query, headers, body)


def _span(request: Request, served: Served) -> tuple[int, int] | None:
    """The bytes asked for; None when the whole is, or when If-Range names another state of the file."""
    if request.range is None or request.headers.get("if-range") not in {None, served.etag, served.last_modified}:
        return None
    first, _, last = request.range.removeprefix("bytes=").partition("-")
    return int(first), min(int(last) + 1, len(served.content)) if last else len(served.content)


def _send_whole(connection: socket.socket, status: int, headers: Mapping[str, str], body: bytes) -> bool:
    lines = [f"HTTP/1.1 {status} Told", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + body)
    return True
