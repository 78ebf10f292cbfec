"""How fast a large file is fetched from loopback, hashing included, beside curl on the same file.

    python benchmarks/download.py
    python benchmarks/download.py --megabytes 1000 --turns 5

Interleaved, so that a busy machine slows both alike; what is printed are medians. The server is a process of its own
that sends from the page cache; each turn writes into a new folder on the same disk. curl does not hash.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from medshard.registry.acquisition.transfer.download import Wanted, download
from medshard.registry.acquisition.transfer.settings import TransferSettings
from medshard.registry.acquisition.transfer.web import Web
from medshard.registry.hosts.host import HttpAddress

SEND_BYTES = 16 << 20


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)  # this file is its own server
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return 0
    if shutil.which("curl") is None:
        print("curl is not installed: there is nothing to compare with", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="download-") as folder:
        compare(Path(folder), options.megabytes * 1_000_000, options.turns)
    return 0


def compare(folder: Path, size: int, turns: int) -> None:
    content = folder / "content"
    digest = make_file(content, size)
    with served(content) as url:
        fetchers: dict[str, Callable[[Path], str]] = {
            "curl": lambda target: fetch_with_curl(url, target),
            "curl, then sha256": lambda target: fetch_with_curl(url, target, hashed=True),
            "medshard, 4 connections, sha256": lambda target: fetch(url, target, digest, connections=4),
            "medshard, 1 connection, sha256": lambda target: fetch(url, target, digest, connections=1),
        }
        seconds: dict[str, list[float]] = {name: [] for name in fetchers}
        for turn in range(turns + 1):  # the first warms up
            # Another one begins each turn: whoever comes after much writing pays for some of it.
            order = list(fetchers.items())[turn % len(fetchers) :] + list(fetchers.items())[: turn % len(fetchers)]
            for name, fetcher in order:
                target = folder / "turn" / "fetched"
                target.parent.mkdir()
                started = time.perf_counter()
                found = fetcher(target)
                taken = time.perf_counter() - started
                if found not in {digest, ""}:
                    raise ValueError(f"{name}: the file is not what was served")
                shutil.rmtree(target.parent)
                os.sync()  # nobody pays for what another one has left to the disk
                if turn:
                    seconds[name].append(taken)
    report(seconds, size)


def report(seconds: dict[str, list[float]], size: int) -> None:
    curl = statistics.median(seconds["curl"])
    print(f"{size / 1e6:.0f} MB over loopback, {len(seconds['curl'])} interleaved turns\n")
    print("| what | median s | least s | MB/s | throughput, curl = 1 |")
    print("|---|---|---|---|---|")
    for name, taken in seconds.items():
        median = statistics.median(taken)
        print(f"| {name} | {median:.2f} | {min(taken):.2f} | {size / median / 1e6:.0f} | {curl / median:.2f} |")


def fetch_with_curl(url: str, target: Path, *, hashed: bool = False) -> str:
    subprocess.run(["curl", "--silent", "--fail", "--noproxy", "*", "--output", str(target), url], check=True)
    if not hashed:
        return ""
    with target.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fetch(url: str, target: Path, digest: str, *, connections: int) -> str:
    with Web(TransferSettings(connections_per_host=connections)) as web:
        wanted = Wanted(
            name="fetched", address=HttpAddress(url=url), target=target, where="benchmark", checksum=f"sha256:{digest}"
        )
        return download([wanted], web)[0].sha256


def make_file(path: Path, size: int) -> str:
    block = random.Random(0).randbytes(1_000_000)
    with path.open("wb") as stream:
        for _ in range(-(-size // len(block))):
            stream.write(block)
        stream.truncate(size)
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def served(path: Path) -> Iterator[str]:
    command = [sys.executable, __file__, "--serve", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            port = int(server.stdout.readline()) if server.stdout else 0
            yield f"http://127.0.0.1:{port}/content"
        finally:
            server.terminate()


def serve(path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=answer, args=(connection, path), daemon=True).start()


def answer(connection: socket.socket, path: Path) -> None:
    size = path.stat().st_size
    with connection, path.open("rb") as stream:
        while request := receive(connection):
            start, end = asked(request, size)
            head = [
                "HTTP/1.1 206 Partial Content" if "range:" in request else "HTTP/1.1 200 OK",
                "Accept-Ranges: bytes",
                'ETag: "content"',
                f"Content-Range: bytes {start}-{end - 1}/{size}",
                f"Content-Length: {end - start}",
            ]
            connection.sendall(("\r\n".join(head) + "\r\n\r\n").encode())
            while start < end:
                start += os.sendfile(connection.fileno(), stream.fileno(), start, min(end - start, SEND_BYTES))


def receive(connection: socket.socket) -> str:
    data = b""
    while b"\r\n\r\n" not in data:
        block = connection.recv(65536)
        if not block:
            return ""
        data += block
    return data.decode("latin1").lower()


def asked(request: str, size: int) -> tuple[int, int]:
    line = next((line for line in request.split("\r\n") if line.startswith("range:")), None)
    if line is None:
        return 0, size
    first, _, last = line.partition("=")[2].partition("-")
    return int(first), min(int(last) + 1, size) if last else size


if __name__ == "__main__":
    sys.exit(main())
