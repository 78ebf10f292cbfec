"""Files out of buckets: the same promises as over HTTP, on a made-up bucket of this machine."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fault_server import HASTY, random_bytes

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.transfer import origins
from medshard.registry.acquisition.transfer.download import Wanted, download
from medshard.registry.acquisition.transfer.journal import read_journal
from medshard.registry.acquisition.transfer.part import journal_path
from medshard.registry.acquisition.transfer.web import Web
from medshard.registry.hosts.host import ObjectAddress, Secret

pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries behind the bucket
CONTENT = random_bytes(2_000_000, seed=1)
KEYS = Secret(options={"key": "planted-key-5a7e", "secret": "planted-secret-91c3"})


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
    import s3fs

    system = s3fs.S3FileSystem(key="k", secret="s", endpoint_url=f"http://{host}:{port}")
    system.mkdir("scans")
    system.pipe_file("scans/a/image.bin", CONTENT)
    yield f"http://{host}:{port}", system
    running.stop()


@pytest.fixture
def wanted(bucket: Any, tmp_path: Path) -> Wanted:
    address = ObjectAddress(protocol="s3", path="scans/a/image.bin", options={"endpoint_url": bucket[0]})
    return Wanted(name="image.bin", address=address, target=tmp_path / "image.bin", where="made")


@pytest.fixture
def keyed() -> Iterator[Web]:
    with Web(HASTY, {"s3://": KEYS}) as web:
        yield web


def test_an_object_comes_whole(wanted: Wanted, keyed: Web) -> None:
    checksum = f"md5:{hashlib.md5(CONTENT).hexdigest()}"

    [fetched] = download([replace(wanted, checksum=checksum, size=len(CONTENT))], keyed)

    assert fetched.path.read_bytes() == CONTENT
    assert (fetched.url, fetched.transferred) == ("s3://scans/a/image.bin", len(CONTENT))
    assert fetched.validator
    assert download([wanted], keyed)[0].attempts == 0


def test_an_object_that_is_not_there_is_an_error(wanted: Wanted, keyed: Web, bucket: Any) -> None:
    address = ObjectAddress(protocol="s3", path="scans/none", options={"endpoint_url": bucket[0]})
    with pytest.raises(AcquisitionError, match=r"host.gone"):
        download([replace(wanted, address=address)], keyed)


def test_a_read_that_fails_is_repeated_and_what_was_read_is_kept(
    wanted: Wanted, keyed: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = origins.ObjectFile._read
    left = [5]

    def failing(self: origins.ObjectFile, span: Any) -> bytes:
        left[0] -= 1
        if left[0] < 0:
            raise ConnectionError(f"https://key:{KEYS.options['secret']}@host")
        return read(self, span)

    with monkeypatch.context() as patch:
        patch.setattr(origins.ObjectFile, "_read", failing)
        with pytest.raises(AcquisitionError) as caught:
            download([wanted], keyed)
    assert (caught.value.code, caught.value.details["last"]) == (
        "host.unreachable", "the bucket's library reports ConnectionError",
    )  # fmt: skip
    assert KEYS.options["secret"] not in str(caught.value)

    known = read_journal(journal_path(wanted.target))
    assert known is not None
    assert known[1].total == 5 * HASTY.piece_bytes
    [fetched] = download([wanted], keyed)
    assert fetched.transferred == len(CONTENT) - known[1].total
    assert fetched.path.read_bytes() == CONTENT


def test_an_object_that_is_replaced_on_the_way_is_read_anew(
    wanted: Wanted, keyed: Web, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = random_bytes(len(CONTENT), seed=2)
    read = origins.ObjectFile._read
    reads = [0]

    def replacing(self: origins.ObjectFile, span: Any) -> bytes:
        reads[0] += 1
        if reads[0] == 3:
            bucket[1].pipe_file("scans/a/image.bin", other)
        return read(self, span)

    monkeypatch.setattr(origins.ObjectFile, "_read", replacing)
    try:
        assert download([wanted], keyed)[0].path.read_bytes() == other
    finally:
        bucket[1].pipe_file("scans/a/image.bin", CONTENT)


def test_a_refusal_is_not_repeated(wanted: Wanted, keyed: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [0]

    def refusing(self: origins.ObjectFile) -> dict[str, Any]:
        asked[0] += 1
        raise PermissionError("no")

    monkeypatch.setattr(origins.ObjectFile, "_info", refusing)
    with pytest.raises(AcquisitionError, match=r"host.refused"):
        download([wanted], keyed)
    assert asked == [1]


def test_keys_are_not_written_down(wanted: Wanted, keyed: Web, tmp_path: Path) -> None:
    fetched = download([wanted], keyed)

    assert "planted" not in repr((fetched, wanted, keyed.secrets))
    assert all(b"planted" not in path.read_bytes() for path in tmp_path.iterdir())
