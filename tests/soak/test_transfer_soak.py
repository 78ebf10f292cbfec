"""Downloads cut, and their processes killed, many times over: the right bytes in the end, and hardly any of them twice.

MEDSHARD_SOAK_CUTS and MEDSHARD_SOAK_KILLS say how many (default 100 and 50). docs/soak.md keeps dated results.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fault_server import FaultServer, random_bytes

from medshard.registry.acquisition.transfer.download import Wanted, download
from medshard.registry.acquisition.transfer.part import RECORD_BYTES
from medshard.registry.acquisition.transfer.settings import TransferSettings
from medshard.registry.acquisition.transfer.web import Web
from medshard.registry.hosts.host import HttpAddress

pytestmark = pytest.mark.soak

SIZE = 200_000_000
IN_SOCKETS = 1 << 20
CONNECTIONS = TransferSettings.connections_per_host
CHILD = """
import sys
from pathlib import Path
from medshard.registry.acquisition.transfer.download import Wanted, download
from medshard.registry.acquisition.transfer.settings import TransferSettings
from medshard.registry.acquisition.transfer.web import Web
from medshard.registry.hosts.host import HttpAddress
with Web(TransferSettings(piece_bytes=8 << 20, first_delay_s=0.01)) as web:
    download([Wanted(name="f", address=HttpAddress(url=sys.argv[1]), target=Path(sys.argv[2]), where="soak")], web)
"""


def wanted(url: str, folder: Path, content: bytes) -> Wanted:
    checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return Wanted(name="f", address=HttpAddress(url=url), target=folder / "f", where="soak", checksum=checksum)


@pytest.mark.parametrize("seed", range(5))
def test_random_cuts_cost_at_most_two_per_cent(seed: int, tmp_path: Path) -> None:
    cuts = int(os.environ.get("MEDSHARD_SOAK_CUTS", "100"))
    content = random_bytes(SIZE, seed=seed)
    places = random.Random(seed).sample(range(1, SIZE), cuts)
    with FaultServer() as server, Web(TransferSettings(first_delay_s=0.01, longest_delay_s=0.1)) as web:
        url = server.add("/f", content, cuts=places)
        [fetched] = download([wanted(url, tmp_path, content)], web)
        left = len(server._files["/f"].cuts)
        sent = server.sent["/f"]
    print(f"{cuts - left} cuts of {SIZE / 1e6:.0f} MB: {sent / SIZE - 1:.3%} sent twice, "  # noqa: T201
          f"{fetched.attempts} requests, {fetched.seconds:.1f} s")  # fmt: skip
    assert left <= cuts // 10  # a place at the very beginning of a piece cuts nothing
    assert sent <= 1.02 * SIZE


def test_killed_processes_lose_little(tmp_path: Path) -> None:
    kills = int(os.environ.get("MEDSHARD_SOAK_KILLS", "50"))
    content = random_bytes(SIZE, seed=0)
    rng = random.Random(0)
    landed = 0
    with FaultServer() as server:
        url = server.add("/f", content, bytes_per_s=5_000_000)  # by connection
        for _ in range(kills):
            enough = server.sent["/f"] + rng.randrange(2 * SIZE // kills)
            child = subprocess.Popen([sys.executable, "-c", CHILD, url, str(tmp_path / "f")])
            while server.sent["/f"] <= enough and child.poll() is None:
                time.sleep(0.001)
            landed += child.poll() is None
            child.send_signal(signal.SIGKILL)
            child.wait()
        server.add("/f", content)
        with Web() as web:
            [fetched] = download([wanted(url, tmp_path, content)], web)
        twice = server.sent["/f"] - SIZE
    last = fetched.transferred
    print(f"{landed} of {kills} kills met a running download of {SIZE / 1e6:.0f} MB: {twice / 1e6:.1f} MB "  # noqa: T201
          f"sent twice, {twice / max(landed, 1) / 1e6:.2f} MB a kill; {last / 1e6:.0f} MB in the end")  # fmt: skip
    assert landed > kills // 2
    assert last < SIZE
    # What is in the sockets' buffers when a process dies was sent, but nobody has read it.
    assert twice <= landed * (CONNECTIONS * RECORD_BYTES + IN_SOCKETS)
