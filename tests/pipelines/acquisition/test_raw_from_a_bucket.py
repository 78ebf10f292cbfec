"""`raw` of an entry whose files lie in a bucket: a real S3 server on loopback, read through fsspec."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from remote_entry import FILES

from medshard.errors import AcquisitionError

pytest.importorskip("s3fs")
moto_server = pytest.importorskip("moto.server")

BUCKET = "made-bucket"


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket that everybody may read, with the files below `release/`."""
    import boto3

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    monkeypatch.setenv("MEDSHARD_S3_ENDPOINT", url)
    login = {"aws_access_key_id": "made", "aws_secret_access_key": "made", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=url, **login)
    client.create_bucket(Bucket=BUCKET)
    everybody = {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": [f"arn:aws:s3:::{BUCKET}/*"]}
    client.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps({"Version": "2012-10-17", "Statement": [everybody]}))
    for name, data in FILES.items():
        client.put_object(Bucket=BUCKET, Key=f"release/{name}", Body=data, ACL="public-read")
    yield client
    client.close()
    server.stop()


@pytest.fixture
def bucket(make_remote: Callable[..., Any]) -> Any:
    return make_remote({"kind": "s3", "bucket": BUCKET, "prefix": "release/"})


def test_all_objects_below_the_prefix_become_the_tree(bucket: Any, client: Any) -> None:
    result = bucket.build()
    manifest = bucket.manifest(result)
    assert len(manifest) == 9
    assert manifest["patients.csv"].url == f"s3://{BUCKET}/release/patients.csv"
    assert bucket.raw_file(result, "patients.csv").read_bytes() == FILES["patients.csv"]
    assert result.details["transferred"] == sum(len(data) for data in FILES.values())


def test_a_second_build_asks_nobody(bucket: Any, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.build()
    monkeypatch.setenv("MEDSHARD_S3_ENDPOINT", "http://127.0.0.1:9")
    assert bucket.build().done == 0


def test_an_object_that_was_replaced_is_noticed(bucket: Any, client: Any) -> None:
    result = bucket.build()
    bucket.store.remove(result.manifest.records[0].output)
    client.put_object(Bucket=BUCKET, Key="release/patients.csv", Body=b"case,age\n", ACL="public-read")
    with pytest.raises(AcquisitionError, match=r"source\.changed(.|\n)*patients\.csv: size"):
        bucket.build()


def test_a_bucket_that_is_not_there_is_named(make_remote: Callable[..., Any], client: Any) -> None:
    remote = make_remote({"kind": "s3", "bucket": "no-such-bucket", "files": [{"name": "a.zip"}]})
    with pytest.raises(AcquisitionError, match=r"host\.(gone|refused)(.|\n)*no-such-bucket"):
        remote.build()
