"""A web server on loopback for the files of a folder: ranges, a wait before each answer, and what was asked of it.

    with RangeServer(folder) as server:
        server.url; server.requests; server.fail_next = [503, "short", "whole", "reset"]

As a program, `range_server.py FOLDER LATENCY_S` prints its port, and answers GET /_log with the requests and forgets
them: a JSON list of [path, start, end, began, ended], times in seconds.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote


class RangeServer:
    """fail_next: what happens to the next requests, one each: a status, or "short", "whole", "reset"."""

    def __init__(self, folder: Path, *, latency_s: float = 0.0) -> None:
        self.folder = folder
        self.latency_s = latency_s
        self.requests: list[tuple[str, int, int, float, float]] = []
        self.fail_next: list[int | str] = []
        self.lock = threading.Lock()
        owner = self

        class Handler(_Handler):
            server_of = owner

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def count(self, part: str = "") -> int:
        """Requests of paths that hold this text."""
        with self.lock:
            return sum(part in path for path, *_ in self.requests)

    def fault(self) -> int | str | None:
        with self.lock:
            return self.fail_next.pop(0) if self.fail_next else None

    def forget(self) -> list[tuple[str, int, int, float, float]]:
        with self.lock:
            requests, self.requests = self.requests, []
        return requests

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256  # a client opens many connections at once


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    disable_nagle_algorithm = True
    server_of: RangeServer

    def do_GET(self) -> None:
        server = self.server_of
        if self.path == "/_log":
            self._answer(200, json.dumps(server.forget()).encode())
            return
        began = time.monotonic()
        time.sleep(server.latency_s)
        path = server.folder / unquote(self.path).lstrip("/")
        fault = server.fault()
        if fault == "reset":
            self.close_connection = True
            self.connection.close()
            return
        if isinstance(fault, int):
            self._answer(fault, b"")
            return
        if not path.is_file():
            self._answer(404, b"")
            return
        size = path.stat().st_size
        start, end = self._range(size)
        if fault == "whole":
            start, end = 0, size
        with path.open("rb") as stream:
            stream.seek(start)
            data = stream.read(end - start)
        if fault == "short":
            data = data[: len(data) // 2]
        self._answer(206 if self.headers.get("Range") and fault != "whole" else 200, data)
        with server.lock:
            server.requests.append((path.name, start, end, began, time.monotonic()))

    def _range(self, size: int) -> tuple[int, int]:
        asked = self.headers.get("Range")
        if not asked:
            return 0, size
        first, _, last = asked.removeprefix("bytes=").partition("-")
        return int(first), min(size, int(last) + 1) if last else size

    def _answer(self, status: int, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def log_message(self, *_: Any) -> None:
        pass


if __name__ == "__main__":
    with RangeServer(Path(sys.argv[1]), latency_s=float(sys.argv[2])) as running:
        sys.stdout.write(f"{running.port}\n")
        sys.stdout.flush()
        sys.stdin.read()  # until whoever started it goes
