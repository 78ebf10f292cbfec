"""Buckets: listed and named objects of S3, on moto's server, and of Google Cloud Storage, on a stand-in."""

from __future__ import annotations

import json
import logging
import threading
from base64 import b64encode
from collections.abc import Iterator
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from medshard.errors import AcquisitionError, MissingExtraError
from medshard.registry.hosts import host_of
from medshard.registry.hosts.host import Asking, Listing, ObjectAddress

pytest.importorskip("s3fs")
pytest.importorskip("gcsfs")
moto_server = pytest.importorskip("moto.server")

OBJECTS = {
    "SET1/a.tif": b"slide",
    "SET1/deep/b.xml": b"outline",
    "SET1/": b"",
    "SET10/c.tif": b"other",
    "top.txt": b"top",
}


def list_files(kind: str, **fields: Any) -> Listing:
    host = host_of(kind)
    source = host.source.model_validate({"kind": kind, "bucket": "made", **fields})
    assert host.list_files is not None
    return host.list_files(source, Asking(web=cast(Any, None), base=Path(), where="made-entry"))


def refusal_of(kind: str, **fields: Any) -> AcquisitionError:
    with pytest.raises(AcquisitionError) as caught:
        list_files(kind, **fields)
    return caught.value


def stated(listing: Listing) -> dict[str, tuple[int | None, str | None]]:
    return {file.name: (file.size, file.checksum) for file in listing.files}


def digest(data: bytes) -> str:
    return f"md5:{md5(data).hexdigest()}"


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    import boto3

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client = boto3.client(
        "s3", endpoint_url=url, aws_access_key_id="made", aws_secret_access_key="made", region_name="us-east-1"
    )
    client.create_bucket(Bucket="made")
    everybody = {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": ["arn:aws:s3:::made/*"]}
    client.put_bucket_policy(Bucket="made", Policy=json.dumps({"Version": "2012-10-17", "Statement": [everybody]}))
    for key, data in OBJECTS.items():
        client.put_object(Bucket="made", Key=key, Body=data, ACL="public-read")
    upload = client.create_multipart_upload(Bucket="made", Key="parts/large.bin")["UploadId"]
    part = client.upload_part(Bucket="made", Key="parts/large.bin", UploadId=upload, PartNumber=1, Body=b"one piece")
    client.complete_multipart_upload(
        Bucket="made",
        Key="parts/large.bin",
        UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )
    yield url
    client.close()
    server.stop()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A loopback S3, and no credentials of whoever runs the tests."""
    monkeypatch.setenv("MEDSHARD_S3_ENDPOINT", s3_server)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    return s3_server


@pytest.mark.usefixtures("s3")
class TestS3:
    def test_objects_below_a_prefix_are_listed_without_credentials(self) -> None:
        assert stated(list_files("s3", prefix="SET1/", region="us-west-2")) == {
            "a.tif": (5, digest(b"slide")),
            "deep/b.xml": (7, digest(b"outline")),
        }

    def test_a_prefix_need_not_end_at_a_folder(self) -> None:
        assert list(stated(list_files("s3", prefix="SET1"))) == ["SET1/a.tif", "SET1/deep/b.xml", "SET10/c.tif"]
        assert list(stated(list_files("s3", prefix="SET1/de"))) == ["deep/b.xml"]

    def test_a_whole_bucket_is_listed(self) -> None:
        assert "top.txt" in stated(list_files("s3"))

    def test_named_objects_are_asked_for_alone(self) -> None:
        assert stated(list_files("s3", prefix="SET1/", files=[{"name": "deep/b.xml"}])) == {
            "deep/b.xml": (7, digest(b"outline"))
        }

    def test_an_etag_of_several_pieces_is_no_digest(self) -> None:
        assert stated(list_files("s3", prefix="parts/")) == {"large.bin": (9, None)}

    def test_an_address_opens_the_object_and_holds_no_secret(self, s3: str) -> None:
        import fsspec

        (file,) = list_files("s3", files=[{"name": "top.txt"}], region="us-west-2").files
        address = file.address
        assert isinstance(address, ObjectAddress)
        assert address.path == "made/top.txt"
        assert address.options == {
            "anon": True,
            "client_kwargs": {"region_name": "us-west-2"},
            "endpoint_url": s3,
        }
        assert fsspec.filesystem(address.protocol, **address.options).cat_file(address.path) == b"top"

    def test_a_change_at_the_source_is_seen(self, s3: str) -> None:
        import fsspec

        writer = fsspec.filesystem("s3", key="made", secret="made", endpoint_url=s3)
        writer.pipe_file("made/changing/x.bin", b"1")
        before = stated(list_files("s3", prefix="changing/"))
        writer.pipe_file("made/changing/x.bin", b"22")
        assert (before["x.bin"][0], stated(list_files("s3", prefix="changing/"))["x.bin"][0]) == (1, 2)

    def test_a_bucket_or_an_object_that_is_not_there_is_named(self) -> None:
        error = refusal_of("s3", bucket="nothing-here")
        assert (error.code, error.details["asked"]) == ("host.gone", "s3://nothing-here/")
        assert refusal_of("s3", files=[{"name": "no.txt"}]).details["asked"] == "s3://made/no.txt"

    def test_without_the_credentials_that_a_bucket_asks_for(self) -> None:
        assert refusal_of("s3", anonymous=False).code == "host.refused"

    def test_credentials_come_from_where_the_library_looks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "made")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "pl4nted")
        listing = list_files("s3", anonymous=False, prefix="SET10/", region="eu-west-1")
        assert [(file.name, file.checksum) for file in listing.files] == [("c.tif", None)]
        assert "pl4nted" not in repr(listing)

    def test_a_server_that_is_not_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MEDSHARD_S3_ENDPOINT", "http://127.0.0.1:9")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        import s3fs.core

        monkeypatch.setattr(s3fs.core.S3FileSystem, "retries", 1)
        assert refusal_of("s3").code == "host.unreachable"

    def test_the_extra_is_named_where_it_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import fsspec

        def missing(protocol: str, **options: Any) -> None:
            raise ImportError("Install s3fs to access S3")

        monkeypatch.setattr(fsspec, "filesystem", missing)
        with pytest.raises(MissingExtraError, match=r"medshard\[object-stores\]"):
            list_files("s3")


class _GoogleStorage(BaseHTTPRequestHandler):
    """The listing and the metadata of objects, in the documented JSON."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        steps = parts.path.strip("/").split("/")
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        told: dict[str, Any] | None = None
        if steps[:4] == ["storage", "v1", "b", "made"] and steps[4:] == ["o"]:
            prefix = query.get("prefix", "")
            told = {"kind": "storage#objects", "items": [_object(key) for key in OBJECTS if key.startswith(prefix)]}
        elif steps[:5] == ["storage", "v1", "b", "made", "o"] and unquote(steps[5]) in OBJECTS:
            told = _object(unquote(steps[5]))
        body = json.dumps(told or {"error": {"code": 404, "message": "not found"}}).encode()
        self.send_response(200 if told else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the name of the base class)
        pass


def _object(key: str) -> dict[str, Any]:
    data = OBJECTS[key]
    hashed = {} if key.endswith(".xml") else {"md5Hash": b64encode(md5(data).digest()).decode()}
    return {"kind": "storage#object", "name": key, "bucket": "made", "size": str(len(data)), "etag": "x", **hashed}


@pytest.fixture
def gcs(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _GoogleStorage)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
    import gcsfs.core

    # What gcsfs registers asks the real service over gRPC for the kind of the bucket, whatever the endpoint is.
    known = import_module("fsspec.registry")._registry
    monkeypatch.setitem(known, "gcs", gcsfs.core.GCSFileSystem)
    gcsfs.core.GCSFileSystem.clear_instance_cache()
    yield url
    gcsfs.core.GCSFileSystem.clear_instance_cache()
    server.shutdown()
    server.server_close()
    thread.join(timeout=5)


@pytest.mark.usefixtures("gcs")
class TestGcs:
    def test_objects_are_listed_with_the_digests_that_the_store_has(self) -> None:
        assert stated(list_files("gcs", prefix="SET1/")) == {
            "a.tif": (5, digest(b"slide")),
            "deep/b.xml": (7, None),
        }

    def test_named_objects_are_asked_for_alone(self) -> None:
        (file,) = list_files("gcs", files=[{"name": "top.txt"}]).files
        assert (file.size, file.checksum) == (3, digest(b"top"))
        assert file.address == ObjectAddress(protocol="gcs", path="made/top.txt", options={"token": "anon"})

    def test_an_object_that_is_not_there_is_named(self) -> None:
        error = refusal_of("gcs", files=[{"name": "no.txt"}])
        assert (error.code, error.details["asked"]) == ("host.gone", "gcs://made/no.txt")

    def test_its_place_and_first_request(self) -> None:
        host = host_of("gcs")
        source = host.source.model_validate({"kind": "gcs", "bucket": "made", "prefix": "x/"})
        assert host.place(source) == "Google Cloud Storage bucket gs://made/x/"
        assert host.first_requests(source) == ("gs://made/x/",)
