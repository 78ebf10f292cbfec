"""Record hosts: what each API says becomes a list of files, with sizes, digests and addresses."""

from __future__ import annotations

import hashlib
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter
from record_fakes import Answers, asking, made_commit, made_files, record_answers, serve

from medshard.errors import AcquisitionError
from medshard.registry import Catalog
from medshard.registry.hosts import host_of
from medshard.registry.hosts.host import HttpAddress, Listing
from medshard.registry.schema import Source

KINDS = ("zenodo", "figshare", "dataverse", "mendeley", "osf", "github", "http", "huggingface")
COMMIT = "65f1f295873a326230153c7e1de0c7dba10f0b29"

FILES = [("scans.zip", b"PK made scans"), ("notes/read me.txt", b"two words and a few more")]


def source(**fields: Any) -> Any:
    return TypeAdapter(Source).validate_python(fields)


ZENODO = source(kind="zenodo", record="7262581")
FIGSHARE = source(kind="figshare", article="25459174")
COLLECTION = source(kind="figshare", collection="4107803")
DATAVERSE = source(kind="dataverse", server="https://dataverse.nl/", doi="10.34894/AECRSD")
MENDELEY = source(kind="mendeley", dataset="ftmp4cvtmb", version=1)
OSF = source(kind="osf", project="kysnj")
GITHUB = source(kind="github", repository="neheller/kits19", revision="master")
HUB = source(kind="huggingface", repository="neheller/KiTS")

DATASET = "https://dataverse.nl/api/datasets/:persistentId/versions/:latest-published?persistentId=doi:10.34894/AECRSD"

RECORDS = [ZENODO, FIGSHARE, DATAVERSE, MENDELEY, OSF, HUB]
by_kind = pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.kind)


def listing_of(record: Any, answers: Answers) -> Listing:
    list_files = host_of(record.kind).list_files
    assert list_files is not None
    listing = list_files(record, asking(answers))
    assert isinstance(listing, Listing)
    return listing


def urls(listing: Listing) -> list[str]:
    return [file.address.url for file in listing.files if isinstance(file.address, HttpAddress)]


def refused(record: Any, answers: Answers) -> AcquisitionError:
    with pytest.raises(AcquisitionError) as caught:
        listing_of(record, answers)
    return caught.value


class TestEveryHost:
    @by_kind
    def test_names_and_sizes_are_those_of_the_record_and_folders_are_kept(self, record: Any) -> None:
        listing = listing_of(record, record_answers(record, FILES))
        assert {file.name: file.size for file in listing.files} == {name: len(data) for name, data in FILES}

    @by_kind
    def test_every_address_leads_to_the_bytes_that_the_checksum_is_of(self, record: Any) -> None:
        answers = record_answers(record, FILES)
        wanted = dict(FILES)
        for file in listing_of(record, answers).files:
            assert isinstance(file.address, HttpAddress)
            assert followed(answers, file.address.url) == wanted[file.name]
            if file.checksum:
                kind, _, digest = file.checksum.partition(":")
                assert hashlib.new(kind, wanted[file.name]).hexdigest() == digest

    @by_kind
    def test_it_asks_first_what_it_says_it_asks_first(self, record: Any) -> None:
        answers = record_answers(record, FILES)
        host, asked = host_of(record.kind), asking(answers)
        assert host.list_files is not None
        host.list_files(record, asked)
        assert host.first_requests(record)[0] == asked.web.asked[0]  # type: ignore[attr-defined]

    @by_kind
    def test_an_empty_record_is_an_empty_listing(self, record: Any) -> None:
        assert listing_of(record, record_answers(record, [])).files == ()

    @by_kind
    def test_no_address_holds_a_signature(self, record: Any) -> None:
        assert not any(
            "ignature" in url or "token" in url for url in urls(listing_of(record, record_answers(record, FILES)))
        )

    @by_kind
    def test_an_answer_that_is_no_record_at_all_is_refused(self, record: Any) -> None:
        answers = record_answers(record, FILES)
        answers.change(host_of(record.kind).first_requests(record)[0], lambda _: "down for maintenance")
        assert refused(record, answers).code == "host.answer"

    @by_kind
    def test_a_record_that_is_gone_is_told_as_such(self, record: Any) -> None:
        assert refused(record, Answers()).code == "host.gone"

    @pytest.mark.parametrize("name", ["../outside.txt", "a/../../outside.txt", "a\0b"])
    @by_kind
    def test_a_name_that_leaves_the_record_is_refused(self, record: Any, name: str) -> None:
        assert refused(record, record_answers(record, [(name, b"x")])).code == "host.answer"

    def test_files_that_the_catalog_addresses_are_listed_without_asking(self) -> None:
        file = {"name": "a.zip", "url": "https://made.example/a.zip", "size": 7, "checksum": "md5:" + "0" * 32}
        for record in (*RECORDS, GITHUB, source(kind="http", files=[file])):
            addressed = source(**{**record.model_dump(exclude_defaults=True), "kind": record.kind, "files": [file]})
            listing = listing_of(addressed, Answers())
            assert urls(listing) == ["https://made.example/a.zip"]
            assert (listing.files[0].size, listing.files[0].checksum) == (7, "md5:" + "0" * 32)
            assert host_of(record.kind).first_requests(addressed) == ("https://made.example/a.zip",)


def followed(answers: Answers, url: str) -> bytes:
    for _ in range(3):
        reply = answers.answer(url)
        assert reply is not None, url
        if reply[0] != 302:
            return reply[2]
        url = reply[1]["Location"]
    raise AssertionError(f"too many redirects: {url}")


def without(*path: str | int) -> Callable[[Any], Any]:
    """The answer without one field."""

    def edit(told: Any) -> Any:
        inner = told
        for step in path[:-1]:
            inner = inner[step]
        del inner[path[-1]]
        return told

    return edit


@pytest.mark.parametrize(
    ("record", "address", "path"),
    [
        (ZENODO, "https://zenodo.org/api/records/7262581", ("files",)),
        (ZENODO, "https://zenodo.org/api/records/7262581", ("files", 0, "key")),
        (ZENODO, "https://zenodo.org/api/records/7262581", ("files", 1, "links", "self")),
        (FIGSHARE, "https://api.figshare.com/v2/articles/25459174", ("files", 0, "id")),
        (DATAVERSE, DATASET, ("data", "files", 0, "dataFile", "filesize")),
        (MENDELEY, "https://data.mendeley.com/public-api/datasets/ftmp4cvtmb/folders/1", (0, "name")),
        (MENDELEY, "https://data.mendeley.com/public-api/datasets/ftmp4cvtmb/files", (0, "filename")),
        (OSF, "https://api.osf.io/v2/nodes/kysnj/files/osfstorage/", ("data", 0, "attributes", "path")),
        (OSF, "https://api.osf.io/v2/nodes/kysnj/files/osfstorage/", ("links", "next")),
        (GITHUB, "https://api.github.com/repos/neheller/kits19/commits", (0, "sha")),
        (HUB, "https://huggingface.co/api/datasets/neheller/KiTS/revision/main", ("sha",)),
        (HUB, "https://huggingface.co/api/datasets/neheller/KiTS/revision/main", ("siblings", 0, "rfilename")),
    ],
)
def test_an_answer_without_a_field_is_refused_and_names_the_field(
    record: Any, address: str, path: tuple[str | int, ...]
) -> None:
    answers = record_answers(record, FILES)
    answers.change(address, without(*path))
    error = refused(record, answers)
    assert error.code == "host.answer"
    assert error.details["field"] == ".".join(str(step) for step in path)
    assert error.where == "made-entry"


class TestZenodo:
    def test_digests_are_the_records_and_the_revision_is_the_version_that_answered(self) -> None:
        answers = record_answers(ZENODO, FILES)
        answers.change("https://zenodo.org/api/records/7262581", lambda told: told | {"id": 7262599})
        listing = listing_of(ZENODO, answers)
        assert listing.revision == "7262599"
        assert listing.files[0].checksum == "md5:" + hashlib.md5(FILES[0][1]).hexdigest()
        assert urls(listing)[1] == "https://zenodo.org/api/records/7262581/files/notes/read%20me.txt/content"

    def test_a_restricted_record_says_what_to_do(self) -> None:
        error = refused(ZENODO, record_answers(ZENODO, FILES, restricted=True))
        assert error.code == "host.refused"
        assert "restricted" in error.problem
        assert "ZENODO_TOKEN" in error.action

    def test_a_restricted_record_opens_to_a_token(self) -> None:
        answers = record_answers(ZENODO, FILES, restricted=True, token="made-token")
        list_files = host_of("zenodo").list_files
        assert list_files is not None
        assert len(list_files(ZENODO, asking(answers, {"Authorization": "Bearer made-token"})).files) == 2

    def test_a_signature_in_a_link_is_not_kept(self) -> None:
        answers = record_answers(ZENODO, FILES)

        def signed(told: Any) -> Any:
            told["files"][0]["links"]["self"] += "?token=made-secret"
            return told

        answers.change("https://zenodo.org/api/records/7262581", signed)
        assert "made-secret" not in repr(listing_of(ZENODO, answers))

    def test_a_link_without_encryption_is_refused(self) -> None:
        answers = record_answers(ZENODO, FILES)

        def plain(told: Any) -> Any:
            told["files"][0]["links"]["self"] = "http://zenodo.org/x"
            return told

        answers.change("https://zenodo.org/api/records/7262581", plain)
        assert refused(ZENODO, answers).code == "host.answer"


class TestFigshare:
    def test_an_article_of_many_files_is_read_to_its_last_page(self) -> None:
        many = [(f"slide_{number:03d}.tiff", b"x" * number) for number in range(1, 216)]
        listing = listing_of(FIGSHARE, record_answers(FIGSHARE, many))
        assert [file.name for file in listing.files] == [name for name, _ in many]
        assert listing.revision == "4"

    def test_single_files_by_id_need_no_record(self) -> None:
        single = source(kind="figshare", files=[{"name": "KiTS.zip", "id": "30950821"}])
        assert urls(listing_of(single, Answers())) == ["https://ndownloader.figshare.com/files/30950821"]

    def test_a_file_of_an_article_is_known_by_its_id(self) -> None:
        named = source(kind="figshare", article="1", files=[{"name": "EBHI-SEG.rar", "id": "38179080"}])
        listing = listing_of(named, record_answers(named, [("EBHI-SEG.rar", b"Rar!")]))
        assert listing.files[0].id == "38179080"
        assert listing.files[0].checksum == "md5:" + hashlib.md5(b"Rar!").hexdigest()

    def test_a_collection_is_all_of_its_articles_and_equal_names_are_told_apart(self) -> None:
        files = [
            ("11/PAT001.zip", b"one"),
            ("11/readme.txt", b"r1"),
            ("12/PAT002.zip", b"two"),
            ("12/readme.txt", b"r2"),
        ]
        listing = listing_of(COLLECTION, record_answers(COLLECTION, files))
        assert {file.name: file.size for file in listing.files} == {
            "PAT001.zip": 3,
            "11/readme.txt": 2,
            "PAT002.zip": 3,
            "12/readme.txt": 2,
        }
        assert listing.revision == "2"

    def test_a_collection_of_many_articles_is_read_to_its_last_page(self) -> None:
        files = [(f"{1000 + number}/PAT{number:03d}.zip", b"x") for number in range(150)]
        assert len(listing_of(COLLECTION, record_answers(COLLECTION, files)).files) == 150

    def test_files_of_one_name_in_one_article_lie_in_folders_of_their_ids(self) -> None:
        listing = listing_of(FIGSHARE, record_answers(FIGSHARE, [("a.csv", b"1"), ("a.csv", b"22")]))
        assert [file.name for file in listing.files] == ["9001/a.csv", "9002/a.csv"]

    def test_a_file_that_lies_elsewhere_keeps_that_address(self) -> None:
        answers = record_answers(FIGSHARE, FILES)

        def elsewhere(told: Any) -> Any:
            told["files"][0] |= {"is_link_only": True, "download_url": "https://made.example/big.zip", "size": 0}
            return told

        answers.change("https://api.figshare.com/v2/articles/25459174", elsewhere)
        first = listing_of(FIGSHARE, answers).files[0]
        assert (first.address, first.size) == (HttpAddress(url="https://made.example/big.zip"), None)

    def test_an_embargo_is_told(self) -> None:
        error = refused(FIGSHARE, record_answers(FIGSHARE, FILES, restricted=True))
        assert (error.code, "embargo" in error.problem) == ("host.refused", True)

    def test_a_server_that_never_ends_its_pages_is_left(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("medshard.registry.hosts.figshare.MOST_PAGES", 3)
        answers = record_answers(COLLECTION, [("11/a.zip", b"a")])
        answers.change(
            "https://api.figshare.com/v2/collections/4107803/articles", lambda _: [{"id": n} for n in range(100)]
        )
        assert refused(COLLECTION, answers).details["field"] == "page"

    def test_a_named_file_without_id_or_address_is_the_catalogs_fault(self) -> None:
        assert refused(source(kind="figshare", files=[{"name": "a.zip"}]), Answers()).code == "source.unaddressed"


class TestDataverse:
    def test_folders_come_from_the_labels_and_the_revision_is_the_version(self) -> None:
        listing = listing_of(DATAVERSE, record_answers(DATAVERSE, FILES))
        assert listing.files[1].name == "notes/read me.txt"
        assert listing.revision == "2.1"
        assert urls(listing)[0] == "https://dataverse.nl/api/access/datafile/9001"

    def test_a_table_is_taken_as_it_was_deposited_without_the_digest_of_the_other_form(self) -> None:
        deposited = b"a,b\n1,2\n"
        answers = record_answers(DATAVERSE, [("tables/scores.csv", deposited)])
        (file,) = listing_of(DATAVERSE, answers).files
        assert (file.name, file.size, file.checksum) == ("tables/scores.csv", len(deposited), None)
        assert isinstance(file.address, HttpAddress)
        assert file.address.url.endswith("?format=original")
        assert followed(answers, file.address.url) == deposited

    @pytest.mark.parametrize(
        ("kind", "digest", "expected"),
        [
            ("SHA-1", "A" * 40, "sha1:" + "a" * 40),
            ("SHA-256", "b" * 64, "sha256:" + "b" * 64),
            ("SHA-512", "c" * 128, None),
            ("MD5", "not a digest of md5 not a digest", None),
        ],
    )
    def test_the_digests_of_an_installation_are_its_own_choice(
        self, kind: str, digest: str, expected: str | None
    ) -> None:
        answers = record_answers(DATAVERSE, FILES)

        def other(told: Any) -> Any:
            told["data"]["files"][0]["dataFile"]["checksum"] = {"type": kind, "value": digest}
            return told

        answers.change(DATASET, other)
        assert listing_of(DATAVERSE, answers).files[0].checksum == expected

    def test_an_unpublished_data_set_is_refused(self) -> None:
        assert refused(DATAVERSE, record_answers(DATAVERSE, FILES, restricted=True)).code == "host.refused"


class TestMendeley:
    def test_folders_in_folders_are_walked_and_digests_are_sha256(self) -> None:
        files = [("First Set/100x/a.jpg", b"a"), ("First Set/400x/a.jpg", b"b"), ("read.txt", b"c")]
        listing = listing_of(MENDELEY, record_answers(MENDELEY, files))
        assert {file.name: file.checksum for file in listing.files} == {
            name: "sha256:" + hashlib.sha256(data).hexdigest() for name, data in files
        }
        assert listing.revision == "1"

    def test_without_a_version_the_newest_is_taken_and_remembered(self) -> None:
        newest = source(kind="mendeley", dataset="s384w7kv78")
        assert listing_of(newest, record_answers(newest, FILES)).revision == "3"

    def test_a_folder_of_many_files_is_read_to_its_last_page(self) -> None:
        files = [(f"set/{number:05d}.jpg", b"x") for number in range(2100)]
        assert len(listing_of(MENDELEY, record_answers(MENDELEY, files)).files) == 2100

    def test_a_server_without_pages_or_folders_lists_every_file_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("medshard.registry.hosts.mendeley.PAGE_SIZE", 2)
        answers = record_answers(MENDELEY, [("set/a.jpg", b"a"), ("set/b.jpg", b"b")])
        everything = answers.json(
            "https://data.mendeley.com/public-api/datasets/ftmp4cvtmb/files?version=1&folder_id="
            + answers.json("https://data.mendeley.com/public-api/datasets/ftmp4cvtmb/folders/1")[0]["id"]
        )
        answers.change("https://data.mendeley.com/public-api/datasets/ftmp4cvtmb/files", lambda _: everything)
        assert [file.name for file in listing_of(MENDELEY, answers).files] == ["set/a.jpg", "set/b.jpg"]

    def test_folders_that_hold_each_other_are_refused(self) -> None:
        answers = record_answers(MENDELEY, FILES)
        circle = [{"id": "a", "name": "a", "parent_id": "b"}, {"id": "b", "name": "b", "parent_id": "a"}]
        answers.change("https://data.mendeley.com/public-api/datasets/ftmp4cvtmb/folders/1", lambda _: circle)
        assert refused(MENDELEY, answers).details["field"] == "parent_id"


class TestOsf:
    def test_pages_and_folders_are_read_to_the_last(self) -> None:
        files = [(f"data/train/class_{number:03d}.zip", b"x" * number) for number in range(1, 251)] + FILES
        listing = listing_of(OSF, record_answers(OSF, files))
        assert {file.name for file in listing.files} == {name for name, _ in files}
        assert listing.files[0].checksum is not None

    def test_single_files_by_id_need_no_project(self) -> None:
        single = source(kind="osf", files=[{"name": "data_part_1.zip", "id": "qhprs"}])
        assert urls(listing_of(single, Answers())) == ["https://osf.io/download/qhprs/"]

    def test_md5_serves_where_there_is_no_sha256(self) -> None:
        answers = record_answers(OSF, [("a.zip", b"a")])
        answers.change(
            "https://api.osf.io/v2/nodes/kysnj/files/osfstorage/",
            without("data", 0, "attributes", "extra", "hashes", "sha256"),
        )
        assert listing_of(OSF, answers).files[0].checksum == "md5:" + hashlib.md5(b"a").hexdigest()

    def test_a_private_project_is_refused(self) -> None:
        assert refused(OSF, record_answers(OSF, FILES, restricted=True)).code == "host.refused"


class TestGitHub:
    def test_a_branch_becomes_a_commit_and_the_archive_is_of_that_commit(self) -> None:
        listing = listing_of(GITHUB, record_answers(GITHUB, FILES))
        commit = made_commit(GITHUB)
        (file,) = listing.files
        assert listing.revision == commit
        assert file.address == HttpAddress(
            url=f"https://codeload.github.com/neheller/kits19/zip/{commit}", ranges=False
        )
        assert (file.archive, file.strip, file.include, file.size) == ("zip", 1, ("*",), None)

    def test_the_branch_is_named_in_the_question_and_left_out_for_the_default_branch(self) -> None:
        asked = host_of("github").first_requests
        assert asked(GITHUB)[0].endswith("/commits?per_page=1&sha=master")
        assert asked(source(kind="github", repository="a/b"))[0].endswith("/commits?per_page=1")

    def test_a_commit_is_not_looked_up(self) -> None:
        pinned = source(kind="github", repository="neheller/kits19", revision=COMMIT)
        assert listing_of(pinned, Answers()).revision == COMMIT
        assert host_of("github").first_requests(pinned) == (
            f"https://codeload.github.com/neheller/kits19/zip/{COMMIT}",
        )

    def test_patterns_fit_the_members_with_the_archives_own_folder_in_front(self) -> None:
        some = source(kind="github", repository="a/pubmedqa", revision=COMMIT, include=["data/*.json", "splits.csv"])
        include = listing_of(some, Answers()).files[0].include
        members = ["data/ori.json", "splits.csv", "code/run.py"]
        wanted = [name for name in members if any(fnmatchcase(f"pubmedqa-{COMMIT}/{name}", each) for each in include)]
        assert wanted == ["data/ori.json", "splits.csv"]

    def test_named_files_are_taken_one_by_one_at_the_commit(self) -> None:
        named = source(kind="github", repository="a/b", revision="main", files=[{"name": "data/the split.csv"}])
        listing = listing_of(named, record_answers(named, [("data/the split.csv", b"x")]))
        commit = made_commit(named)
        assert urls(listing) == [f"https://raw.githubusercontent.com/a/b/{commit}/data/the%20split.csv"]

    def test_a_repository_without_commits_is_told(self) -> None:
        answers = record_answers(GITHUB, FILES)
        answers.change("https://api.github.com/repos/neheller/kits19/commits", lambda _: [])
        assert refused(GITHUB, answers).code == "host.gone"


class TestHuggingFace:
    def test_addresses_name_the_commit_that_the_branch_was_at(self) -> None:
        listing = listing_of(HUB, record_answers(HUB, FILES))
        assert listing.revision == made_commit(HUB)
        assert all(f"/resolve/{listing.revision}/" in url for url in urls(listing))

    def test_digests_are_known_of_files_in_lfs_only(self) -> None:
        listing = listing_of(HUB, record_answers(HUB, [("small.txt", b"s"), ("large.zip", b"l" * 99)]))
        digests = {file.name: file.checksum for file in listing.files}
        assert digests == {"small.txt": None, "large.zip": "sha256:" + hashlib.sha256(b"l" * 99).hexdigest()}

    def test_only_what_include_selects_is_listed_and_never_gitattributes(self) -> None:
        some = source(kind="huggingface", repository="a/b", include=["images/case_00[0-2]*.nii.gz"])
        files = [("images/case_00012.nii.gz", b"a"), ("images/case_00412.nii.gz", b"b"), ("README.md", b"c")]
        listing = listing_of(some, record_answers(some, files))
        assert [file.name for file in listing.files] == ["images/case_00012.nii.gz"]

    def test_patterns_that_select_nothing_are_an_error(self) -> None:
        some = source(kind="huggingface", repository="a/b", include=["pictures/*"])
        assert refused(some, record_answers(some, FILES)).code == "source.empty"

    def test_a_list_too_long_to_be_trusted_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("medshard.registry.hosts.huggingface.MOST_FILES", 2)
        assert refused(HUB, record_answers(HUB, FILES)).details["trusted up to"] == "2"

    def test_another_endpoint_is_asked_where_the_environment_names_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_ENDPOINT", "https://hub.made.example/")
        asked = host_of("huggingface").first_requests(HUB)[0]
        assert asked == "https://hub.made.example/api/datasets/neheller/KiTS/revision/main?blobs=true"

    def test_a_revision_with_a_slash_is_one_step_of_the_address(self) -> None:
        converted = source(kind="huggingface", repository="a/b", revision="refs/convert/parquet")
        assert "/revision/refs%2Fconvert%2Fparquet?" in host_of("huggingface").first_requests(converted)[0]
        assert listing_of(converted, record_answers(converted, FILES)).files


class TestCredentials:
    @pytest.mark.parametrize(
        ("kind", "variable", "header"),
        [
            ("zenodo", "ZENODO_TOKEN", "Authorization"),
            ("dataverse", "DATAVERSE_TOKEN", "X-Dataverse-key"),
            ("osf", "OSF_TOKEN", "Authorization"),
            ("github", "GITHUB_TOKEN", "Authorization"),
            ("huggingface", "HF_TOKEN", "Authorization"),
        ],
    )
    def test_a_token_of_the_environment_goes_into_a_header_and_nowhere_else(
        self, kind: str, variable: str, header: str, tmp_path: Path
    ) -> None:
        credential = host_of(kind).credential
        assert credential is not None
        assert credential.variables == (variable,)
        assert credential.read({"HOME": str(tmp_path)}) is None
        assert credential.read({"HOME": str(tmp_path), variable: "  "}) is None
        secret = credential.read({"HOME": str(tmp_path), variable: " made-token\n"})
        assert secret is not None
        assert secret.headers[header].split(" ")[-1] == "made-token"
        assert "made-token" not in f"{secret!r} {secret} {credential!r}"
        assert "made-token" in secret.words
        assert not credential.needed

    def test_the_hubs_own_login_is_found_in_each_of_its_places(self, tmp_path: Path) -> None:
        credential = host_of("huggingface").credential
        assert credential is not None
        for number, (variable, path) in enumerate(
            [("HOME", ".cache/huggingface/token"), ("HF_HOME", "token"), ("HF_TOKEN_PATH", "")]
        ):
            place = tmp_path / str(number)
            file = place / path if path else place
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"token-{number}\n")
            secret = credential.read({"HOME": str(tmp_path / "nobody"), variable: str(place)})
            assert secret is not None
            assert secret.headers == {"Authorization": f"Bearer token-{number}"}

    def test_headers_go_to_the_host_itself_and_of_dataverse_to_the_server_of_the_source(self) -> None:
        origins = {kind: credential.origins for kind in KINDS if (credential := host_of(kind).credential)}
        assert origins.pop("dataverse") == ()
        assert all(origin.startswith("https://") for each in origins.values() for origin in each)


@pytest.fixture(scope="module")
def sources() -> list[Any]:
    entries = Catalog.load().entries.values()
    return [source for entry in entries for source in entry.acquisition if source.kind in KINDS]


class TestCatalog:
    def test_every_source_says_what_it_asks_first(self, sources: list[Any]) -> None:
        assert len(sources) > 100
        for each in sources:
            first = host_of(each.kind).first_requests(each)
            assert first, each
            assert all(url.startswith(("https://", "http://")) for url in first), each

    def test_every_source_can_be_listed_from_its_made_record(self, sources: list[Any]) -> None:
        for each in sources:
            files = made_files(each)
            listing = listing_of(each, record_answers(each, files, as_stated=True))
            named = {file.name for file in each.files}
            assert listing.files, each
            assert named <= {file.name for file in listing.files}, each


class TestLoopback:
    @pytest.fixture
    def server(self) -> Iterator[Any]:
        hosts = [record_answers(each, FILES) for each in (ZENODO, FIGSHARE, OSF, HUB)]
        with serve(*hosts) as serving:
            yield serving

    def test_the_original_host_name_is_the_first_part_of_the_path(self, server: Any) -> None:
        with urllib.request.urlopen(f"{server.mirrors['https://zenodo.org']}/api/records/7262581") as reply:
            assert json.load(reply)["files"][0]["key"] == "scans.zip"

    def test_bytes_come_in_ranges_and_behind_a_redirect(self, server: Any) -> None:
        address = f"{server.mirrors['https://ndownloader.figshare.com']}/files/9001"
        request = urllib.request.Request(address, headers={"Range": "bytes=3-6"})
        with urllib.request.urlopen(request) as reply:
            assert (reply.status, reply.read()) == (206, FILES[0][1][3:7])
            assert reply.headers["Content-Range"] == f"bytes 3-6/{len(FILES[0][1])}"
        assert "storage.made.example" in server.requests[-1][0]

    def test_an_address_that_nobody_serves_is_not_found(self, server: Any) -> None:
        with pytest.raises(urllib.error.HTTPError, match="404") as caught:
            urllib.request.urlopen(f"{server.url}/made.example/nothing")
        caught.value.close()
