"""Every entry of the public catalog, in a dry run: a request plan, or a gate that a person can act on."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from account_fakes import AccountAnswers, AccountWeb, account_answers
from record_fakes import made_files, record_answers

from medshard.registry import Catalog
from medshard.registry.acquisition.options import AcquisitionOptions
from medshard.registry.acquisition.parts import parts_of
from medshard.registry.acquisition.request_plan import PlannedPart, PlannedSource, plan_part
from medshard.registry.acquisition.workplace import Workplace
from medshard.registry.hosts import host_of
from medshard.registry.schema import Source
from medshard.registry.store import Store

moto_server = pytest.importorskip("moto.server")

CATALOG = Catalog.load()
RECORD_HOSTS = {"zenodo", "figshare", "dataverse", "mendeley", "osf", "github", "huggingface", "http"}
BUCKETS = {"s3", "gcs"}
LOGGED_IN = {
    "KAGGLE_USERNAME": "made-user",
    "KAGGLE_KEY": "made-key",
    "SYNAPSE_AUTH_TOKEN": "made-token",
    "PHYSIONET_USERNAME": "made-user",
    "PHYSIONET_PASSWORD": "made-password",
    "HF_TOKEN": "made-token",
    "ZENODO_TOKEN": "made-token",
    "HOME": "/nonexistent",
}


def web_for(source: Source) -> AccountWeb:
    """The host of a source, which says what the catalog says of its files."""
    if source.kind in BUCKETS or host_of(source.kind).local or host_of(source.kind).by_hand:
        return AccountWeb(AccountAnswers({}), {})
    if source.kind in RECORD_HOSTS:
        return AccountWeb(AccountAnswers(record_answers(source, made_files(source), as_stated=True).routes), {})
    return AccountWeb(account_answers(source, made_files(source), as_stated=True), {})


@pytest.fixture(scope="module")
def buckets() -> Iterator[str]:
    """Every bucket of the catalog, with what its entries name, on loopback."""
    import boto3

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    login = {"aws_access_key_id": "made", "aws_secret_access_key": "made", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=url, **login)
    wanted: dict[str, set[str]] = {}
    for entry in CATALOG:
        for source in entry.acquisition:
            if source.kind == "s3":
                bucket = cast(Any, source)
                names = [file.name for file in bucket.files] or ["made.tif"]
                wanted.setdefault(bucket.bucket, set()).update(f"{bucket.prefix}{name}" for name in names)
    for name, keys in wanted.items():
        client.create_bucket(Bucket=name)
        rule = {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": [f"arn:aws:s3:::{name}/*"]}
        client.put_bucket_policy(Bucket=name, Policy=json.dumps({"Version": "2012-10-17", "Statement": [rule]}))
        for key in keys:
            put_in_parts(client, name, key)
    yield url
    client.close()
    server.stop()


def put_in_parts(client: Any, bucket: str, key: str) -> None:
    """As large objects are: their ETag is no digest, which could contradict the catalog's."""
    named = {"Bucket": bucket, "Key": key}
    upload = client.create_multipart_upload(**named)["UploadId"]
    part = client.upload_part(**named, UploadId=upload, PartNumber=1, Body=b"made")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    client.complete_multipart_upload(**named, UploadId=upload, MultipartUpload=parts)


def plans(entry_id: str, root: Path, environment: dict[str, str], *, ask: bool = False) -> list[PlannedPart]:
    """One plan for each source, so that two sources of one record have an answer each."""
    entry = CATALOG.entry(entry_id)
    options = AcquisitionOptions(environment=environment)
    parts = [
        replace(part, sources=(source,), numbers=(number,))
        for part in parts_of(entry, optional=True)
        for number, source in zip(part.numbers, part.sources, strict=True)
    ]
    assert len(parts) == len(entry.acquisition) > 0
    places = [
        Workplace(
            store=Store.open(root),
            entry=entry,
            part=part,
            base=CATALOG.folder(entry_id),
            options=options,
            connect=partial(cast(Any, web_for), part.sources[0]) if ask else None,
        )
        for part in parts
    ]
    return [plan_part(place, None) for place in places]


def says_something(source: PlannedSource) -> bool:
    return bool(source.gate or source.requests or source.files)


def test_without_credentials_every_source_is_a_plan_or_a_gate(tmp_path: Path) -> None:
    for entry in CATALOG:
        for part in plans(entry.id, tmp_path / "store", {"HOME": "/nonexistent"}):
            for source in part.sources:
                assert says_something(source), (entry.id, part.name, source.place)
                if source.gate:
                    assert len(source.gate.text.splitlines()) == 3, source.gate.text


def test_asked_every_open_source_lists_its_files_and_the_others_say_what_to_do(
    tmp_path: Path, buckets: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDSHARD_S3_ENDPOINT", buckets)
    problems, asked, gated = [], 0, 0
    for entry in CATALOG:
        for part in plans(entry.id, tmp_path / "store", LOGGED_IN, ask=True):
            for source in part.sources:
                gated += source.gate is not None
                asked += source.asked
                if source.problem or not (source.gate or source.files):
                    problems.append((entry.id, part.name, source.place, source.problem))
    # The made bucket holds no 9 GB: the size that the catalog states is compared, and the difference named.
    assert [(entry_id, problem.split(":")[0]) for entry_id, _, _, problem in problems] == [
        ("msd-task06-lung", "source.differs")
    ]
    assert asked > 200
    assert gated > 50


def test_a_plan_never_shows_a_secret(tmp_path: Path) -> None:
    for entry in CATALOG:
        shown = json.dumps([part.to_json() for part in plans(entry.id, tmp_path / "store", LOGGED_IN)])
        assert "made-key" not in shown
        assert "made-token" not in shown
