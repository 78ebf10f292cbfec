"""What the hosts with credentials, Google Drive and TCIA list, against answers in the shapes of their APIs."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from account_fakes import (
    LOGIN,
    TOKEN,
    AccountAnswers,
    account_answers,
    asking,
    behind_large_file_page,
    folder_view,
    large_file_page,
    quota_page,
    sign_in_page,
)
from record_fakes import Reply, Route, made_files, serve

from medshard.errors import AcquisitionError
from medshard.registry import Catalog
from medshard.registry.acquisition.transfer.settings import TransferSettings
from medshard.registry.acquisition.transfer.web import Web
from medshard.registry.hosts import host_of
from medshard.registry.hosts.host import HttpAddress, ListedFile, Listing, PageInstead, Secret
from medshard.registry.schema import RemoteSource
from medshard.registry.templates import match_template

ACCOUNT_KINDS = ("gcs", "gdrive", "grand-challenge", "kaggle", "manual", "physionet", "s3", "synapse", "tcia")
FILES = [("a.zip", b"first"), ("images/b.png", b"second"), ("images/deep/c.csv", b"third")]


def source_of(kind: str, **fields: Any) -> RemoteSource:
    return host_of(kind).source.model_validate({"kind": kind, **fields})


def listing_of(source: RemoteSource, answers: AccountAnswers, headers: Mapping[str, str] | None = None) -> Listing:
    list_files = host_of(source.kind).list_files
    assert list_files is not None
    return list_files(source, asking(answers, headers))


def refusal_of(source: RemoteSource, answers: AccountAnswers) -> AcquisitionError:
    with pytest.raises(AcquisitionError) as caught:
        listing_of(source, answers)
    return caught.value


def address_of(file: ListedFile) -> str:
    assert isinstance(file.address, HttpAddress)
    return file.address.url


def names(listing: Listing) -> list[str]:
    return [file.name for file in listing.files]


def always(body: object) -> Route:
    """A route that answers the same to whatever is asked: bytes as they are, all else as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    def answered(asked: Any, headers: Mapping[str, str]) -> Reply:
        return 200, {}, content

    return answered


def md5(data: bytes) -> str:
    return f"md5:{hashlib.md5(data).hexdigest()}"


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def basic(name: str, password: str) -> str:
    return "Basic " + b64encode(f"{name}:{password}".encode()).decode()


KAGGLE = source_of("kaggle", dataset="made/lungs")
COMPETITION = source_of("kaggle", competition="made-challenge")
PROJECT = source_of("synapse", id="syn100")
MITDB = source_of("physionet", project="mitdb", version="1.0.0")
DRIVE_FILE = source_of("gdrive", id="1madeFile", files=[{"name": "scans.zip"}])
DRIVE_FOLDER = source_of("gdrive", id="1madeFolder", folder=True)
COLLECTION = source_of("tcia", collection="Made-CT")


class TestKaggle:
    @pytest.mark.parametrize("source", [KAGGLE, COMPETITION], ids=["data set", "competition"])
    def test_files_of_all_pages_are_listed_one_by_one(self, source: RemoteSource) -> None:
        listing = listing_of(source, account_answers(source, FILES, page_size=2))
        assert names(listing) == ["a.zip", "images/b.png", "images/deep/c.csv"]

    def test_a_size_is_stated_only_where_kaggle_does_not_pack_the_file_by_itself(self) -> None:
        sizes = {file.name: file.size for file in listing_of(KAGGLE, account_answers(KAGGLE, FILES)).files}
        assert sizes == {"a.zip": 5, "images/b.png": 6, "images/deep/c.csv": None}

    def test_addresses_are_those_of_the_api(self) -> None:
        spaced = [("images/b (1).png", b"x")]
        assert address_of(listing_of(KAGGLE, account_answers(KAGGLE, spaced)).files[0]) == (
            "https://www.kaggle.com/api/v1/datasets/download/made/lungs/images/b%20%281%29.png"
        )
        assert address_of(listing_of(COMPETITION, account_answers(COMPETITION, FILES)).files[0]) == (
            "https://www.kaggle.com/api/v1/competitions/data/download/made-challenge/a.zip"
        )

    @pytest.mark.parametrize(
        ("place", "end"),
        [({"dataset": "made/lungs"}, "datasets/download/made/lungs"), ({"competition": "x"}, "data/download-all/x")],
    )
    def test_archive_without_files_is_the_whole_as_one_zip_and_asks_nothing(
        self, place: dict[str, str], end: str
    ) -> None:
        source = source_of("kaggle", archive="zip", **place)
        (whole,) = listing_of(source, AccountAnswers()).files
        assert address_of(whole).endswith(end)
        assert (whole.archive, whole.size, whole.name.endswith(".zip")) == ("zip", None, True)

    def test_older_competitions_answer_with_a_bare_list(self) -> None:
        answers = account_answers(COMPETITION, FILES)
        answers.change(
            "https://www.kaggle.com/api/v1/competitions/data/list/made-challenge", lambda told: told["files"]
        )
        assert len(listing_of(COMPETITION, answers).files) == 3

    def test_without_credentials_it_is_refused(self) -> None:
        answers = account_answers(KAGGLE, FILES, authorization=LOGIN)
        assert refusal_of(KAGGLE, answers).code == "host.refused"
        assert listing_of(KAGGLE, answers, {"Authorization": LOGIN}).files

    @pytest.mark.parametrize(
        ("source", "answer", "field"),
        [
            (KAGGLE, {"files": []}, "datasetFiles"),
            (KAGGLE, {"datasetFiles": [{"totalBytes": 3}]}, "datasetFiles.0.name"),
            (KAGGLE, {"datasetFiles": [{"name": "../../etc/passwd"}]}, "'../../etc/passwd'"),
            (COMPETITION, {"message": "?"}, "files"),
        ],
    )
    def test_an_answer_of_another_shape_names_the_field(self, source: RemoteSource, answer: Any, field: str) -> None:
        place = "datasets/list/made/lungs" if source is KAGGLE else "competitions/data/list/made-challenge"
        answers = AccountAnswers({f"www.kaggle.com/api/v1/{place}": always(answer)})
        error = refusal_of(source, answers)
        assert error.code == "host.answer"
        assert field in str(error)


class TestSynapse:
    def test_folders_are_gone_through_and_pages_too(self) -> None:
        answers = account_answers(PROJECT, [*FILES, ("d.nii.gz", b"fourth")], page_size=1)
        listing = listing_of(PROJECT, answers)
        assert sorted(names(listing)) == ["a.zip", "d.nii.gz", "images/b.png", "images/deep/c.csv"]

    def test_size_and_md5_are_those_of_the_file_and_not_of_its_preview(self) -> None:
        first = listing_of(PROJECT, account_answers(PROJECT, FILES)).files[0]
        assert (first.name, first.size, first.checksum) == ("a.zip", 5, md5(b"first"))

    def test_an_address_is_one_that_redirects_and_holds_no_signature(self) -> None:
        answers = account_answers(PROJECT, FILES)
        first = listing_of(PROJECT, answers).files[0]
        status, headers, _ = answers.answer(address_of(first)) or (0, {}, b"")
        assert (status, "ignature" in headers["Location"], "ignature" in address_of(first)) == (307, True, False)

    def test_named_files_with_an_id_need_no_listing_of_folders(self) -> None:
        source = source_of("synapse", id="syn100", files=[{"name": "train.zip", "id": "syn7"}])
        answers = account_answers(source, [("train.zip", b"data"), ("other.zip", b"more")])
        listing = listing_of(source, answers)
        assert [(file.name, file.id, file.checksum) for file in listing.files] == [("train.zip", "syn7", md5(b"data"))]
        assert not [place for place in answers.posted if place.endswith("children")]

    def test_an_entity_may_itself_be_a_file(self) -> None:
        source = source_of("synapse", id="syn7", files=[{"name": "train.zip", "id": "syn7"}])
        answers = account_answers(source, [("train.zip", b"data")])
        answers.posts["repo-prod.prod.sagebase.org/repo/v1/entity/children"] = always({"page": []})
        assert names(listing_of(source_of("synapse", id="syn7"), answers)) == ["train.zip"]

    def test_an_empty_project_lists_nothing(self) -> None:
        assert listing_of(PROJECT, account_answers(PROJECT, [])).files == ()

    def test_without_a_token_it_is_refused(self) -> None:
        answers = account_answers(PROJECT, FILES, authorization=TOKEN)
        assert refusal_of(PROJECT, answers).code == "host.refused"
        assert listing_of(PROJECT, answers, {"Authorization": TOKEN}).files

    @pytest.mark.parametrize(
        ("answer", "field"),
        [
            ({"nextPageToken": None}, "page"),
            ({"page": [{"id": "syn1", "type": "x"}]}, "page.0.name"),
            ([], "the whole answer"),
        ],
    )
    def test_an_answer_of_another_shape_names_the_field(self, answer: Any, field: str) -> None:
        answers = account_answers(PROJECT, FILES)
        place = "repo-prod.prod.sagebase.org/repo/v1/entity/children"
        answers.posts[place] = always(answer)
        error = refusal_of(PROJECT, answers)
        assert (error.code, error.details["field"]) == ("host.answer", field)


class TestPhysioNet:
    def test_names_and_digests_come_from_the_list_of_digests(self) -> None:
        listing = listing_of(MITDB, account_answers(MITDB, FILES))
        assert [(file.name, file.checksum) for file in listing.files] == [
            (name, sha256(data)) for name, data in sorted(FILES)
        ]
        assert listing.revision == "1.0.0"

    def test_the_three_forms_of_a_line_are_read(self) -> None:
        answers = account_answers(MITDB, [])
        digest = "a" * 64
        lines = f"{digest} a b.dat\n{digest}  c.dat\n{digest} *./d.dat\n\n"
        answers.routes["physionet.org/files/mitdb/1.0.0/SHA256SUMS.txt"] = always(lines.encode())
        listing = listing_of(MITDB, answers)
        assert names(listing) == ["a b.dat", "c.dat", "d.dat"]
        assert address_of(listing.files[0]) == "https://physionet.org/files/mitdb/1.0.0/a%20b.dat"

    def test_include_selects(self) -> None:
        source = source_of("physionet", project="mitdb", version="1.0.0", include=["images/*.png"])
        assert names(listing_of(source, account_answers(source, FILES))) == ["images/b.png"]

    def test_an_include_that_selects_nothing_is_an_error(self) -> None:
        source = source_of("physionet", project="mitdb", version="1.0.0", include=["*.dcm"])
        assert refusal_of(source, account_answers(source, FILES)).code == "source.empty"

    def test_without_a_list_of_digests_the_pages_of_the_folders_are_gone_through(self) -> None:
        answers = account_answers(MITDB, [*FILES, ("100% sure.txt", b"x")])
        place = "physionet.org/files/mitdb/1.0.0/"
        del answers.routes[f"{place}SHA256SUMS.txt"]
        elsewhere = (
            '<a href="../">..</a><a href="?C=M">x</a><a href="/about/">y</a><a href="https://made.example/">z</a>'
        )
        below = '<a href="a.zip">a.zip</a><a href="images/">images/</a><a href="100%25%20sure.txt">100</a>'
        answers.routes[place] = always(f"{elsewhere}{below}".encode())
        listing = listing_of(MITDB, answers)
        assert names(listing) == ["100% sure.txt", "a.zip", "images/b.png", "images/deep/c.csv"]
        assert {file.checksum for file in listing.files} == {None}

    def test_named_files_with_a_checksum_ask_nothing(self) -> None:
        named = [{"name": "a.zip", "checksum": sha256(b"first")}]
        source = source_of("physionet", project="mitdb", version="1.0.0", files=named)
        (file,) = listing_of(source, AccountAnswers()).files
        assert (file.name, file.checksum) == ("a.zip", sha256(b"first"))

    def test_archive_is_the_project_as_one_zip_without_its_top_folder(self) -> None:
        source = source_of("physionet", project="mitdb", version="1.0.0", archive="zip")
        (whole,) = listing_of(source, AccountAnswers()).files
        assert address_of(whole) == "https://physionet.org/content/mitdb/get-zip/1.0.0/"
        assert (whole.archive, whole.strip) == ("zip", 1)

    def test_a_refusal_says_what_can_be_done_by_hand(self) -> None:
        error = refusal_of(MITDB, account_answers(MITDB, FILES, authorization=LOGIN))
        assert error.code == "host.refused"
        assert "wget" in error.action
        assert "https://physionet.org/content/mitdb/1.0.0/" in str(error)

    def test_a_line_that_is_no_digest_is_named(self) -> None:
        answers = account_answers(MITDB, FILES)
        place = "physionet.org/files/mitdb/1.0.0/SHA256SUMS.txt"
        answers.routes[place] = always(b"<html>withdrawn</html>")
        error = refusal_of(MITDB, answers)
        assert (error.code, error.details["field"]) == ("host.answer", "line 1")


class TestTcia:
    def test_a_collection_is_one_zip_per_series_in_a_folder_of_its_own(self) -> None:
        files = [("P1/CT chest.dcm", b"1"), ("P1/CT head.dcm", b"2"), ("P2/CT.dcm", b"3")]
        listing = listing_of(COLLECTION, account_answers(COLLECTION, files))
        folders = [file.name.rsplit("/", 1)[0] for file in listing.files]
        assert len(set(folders)) == 3
        assert [folder.split("/")[:2] for folder in folders] == [
            ["Made-CT", "P1"],
            ["Made-CT", "P1"],
            ["Made-CT", "P2"],
        ]

    def test_a_zip_is_packed_anew_for_every_request(self) -> None:
        file = listing_of(COLLECTION, account_answers(COLLECTION, FILES)).files[0]
        assert isinstance(file.address, HttpAddress)
        assert (file.address.ranges, file.archive, file.size, file.checksum) == (False, "zip", None, None)
        assert file.id in file.address.url

    def test_a_manifest_is_read_and_its_series_bear_its_name(self) -> None:
        url = "https://wiki.made.example/download/made%20set.tcia"
        source = source_of("tcia", collection="Made-CT", files=[{"name": "made set.tcia", "url": url}])
        answers = account_answers(source, [("P1/x.dcm", b"1"), ("P2/y.dcm", b"2")])
        listing = listing_of(source, answers)
        assert [file.name.split("/")[:3] for file in listing.files] == [
            ["manifest-made set", "Made-CT", "P1"],
            ["manifest-made set", "Made-CT", "P2"],
        ]
        assert {file.id for file in listing.files} == {"made set.tcia"}

    def test_series_of_a_manifest_outside_the_collection_are_asked_for_one_by_one(self) -> None:
        url = "https://wiki.made.example/made.tcia"
        source = source_of("tcia", collection="Made-CT", files=[{"name": "made.tcia", "url": url}])
        answers = account_answers(source, [("P1/x.dcm", b"1")])
        place = "https://nbia.cancerimagingarchive.net/nbia-api/services/v4/getSeries?Collection=Made-CT"
        answers.routes[place.removeprefix("https://")] = always(b"")
        assert len(listing_of(source, answers).files) == 1

    @pytest.mark.parametrize(
        ("pattern", "fields"),
        [
            ("**/PANCREAS_{number}/*/*/*.dcm", {"collection": "Pancreas-CT"}),
            (
                "manifest-*/NSCLC-Radiomics/{patient}/*/*/*.dcm",
                {"collection": "NSCLC-Radiomics", "files": [{"name": "m.tcia", "url": "https://made.example/m.tcia"}]},
            ),
        ],
    )
    def test_the_folders_are_those_that_the_catalog_describes(self, pattern: str, fields: dict[str, Any]) -> None:
        source = source_of("tcia", **fields)
        (file,) = listing_of(source, account_answers(source, [("PANCREAS_0001/1.dcm", b"1")])).files
        assert match_template(pattern, f"{file.name.rsplit('/', 1)[0]}/1-001.dcm")

    def test_what_the_service_does_not_have_is_got_by_hand_from_its_page(self) -> None:
        page = "https://www.cancerimagingarchive.net/analysis-result/made/"
        source = source_of("tcia", collection="made", archive="zip", page=page)
        error = refusal_of(source, account_answers(source, []))
        assert error.code == "host.by_hand"
        assert page in error.action
        assert "inbox" in error.action

    @pytest.mark.parametrize(
        ("answer", "field"),
        [
            (b'[{"Collection": "Made-CT", "PatientID": "P1", "StudyInstanceUID": "1.2"}]', "0.SeriesInstanceUID"),
            (b"<html>maintenance</html>", "the whole answer"),
            (b'{"error": "?"}', "the whole answer"),
        ],
    )
    def test_an_answer_of_another_shape_names_the_field(self, answer: bytes, field: str) -> None:
        answers = account_answers(COLLECTION, FILES)
        place = "nbia.cancerimagingarchive.net/nbia-api/services/v4/getSeries?Collection=Made-CT"
        answers.routes[place] = always(answer)
        error = refusal_of(COLLECTION, answers)
        assert (error.code, error.details["field"]) == ("host.answer", field)

    def test_a_file_that_is_no_manifest_is_an_error(self) -> None:
        url = "https://wiki.made.example/made.tcia"
        source = source_of("tcia", collection="Made-CT", files=[{"name": "made.tcia", "url": url}])
        answers = account_answers(source, FILES)
        answers.routes["wiki.made.example/made.tcia"] = always(b"<html>moved</html>")
        assert refusal_of(source, answers).details["field"] == "ListOfSeriesToDownload"


class TestGoogleDrive:
    def test_a_single_file_is_listed_without_asking(self) -> None:
        (file,) = listing_of(DRIVE_FILE, AccountAnswers()).files
        assert (file.name, file.size, file.checksum) == ("scans.zip", None, None)
        assert address_of(file) == (
            "https://drive.usercontent.google.com/download?id=1madeFile&export=download&confirm=t"
        )

    def test_a_file_that_the_catalog_does_not_name_has_the_ending_of_its_packing(self) -> None:
        listing = listing_of(source_of("gdrive", id="1madeFile", archive="zip"), AccountAnswers())
        assert [(file.name, file.archive) for file in listing.files] == [("1madeFile.zip", "zip")]

    def test_folders_are_gone_through(self) -> None:
        files = [*FILES, ("scan & label <1>.nii", b"fourth")]
        listing = listing_of(DRIVE_FOLDER, account_answers(DRIVE_FOLDER, files))
        assert sorted(names(listing)) == ["a.zip", "images/b.png", "images/deep/c.csv", "scan & label <1>.nii"]
        assert len({file.id for file in listing.files}) == 4

    def test_a_resource_key_of_the_page_goes_with_the_question(self) -> None:
        page = "https://drive.google.com/drive/folders/1madeFolder?resourcekey=0-made"
        source = source_of("gdrive", id="1madeFolder", folder=True, page=page)
        answers = account_answers(source, FILES)
        del answers.routes["drive.google.com/embeddedfolderview?id=1madeFolder"]
        assert len(listing_of(source, answers).files) == 3
        assert "resourcekey=0-made" in host_of("gdrive").first_requests(source)[0]

    def test_two_files_of_one_name_are_told_apart_by_their_ids(self) -> None:
        link = "https://drive.google.com/file/d/{}/view"
        page = folder_view([("1x", "a.zip", link.format("1x")), ("1y", "a.zip", link.format("1y"))])
        assert names(listing_of(DRIVE_FOLDER, _folder_page(page))) == ["1x-a.zip", "1y-a.zip"]

    def test_documents_of_googles_editors_and_links_elsewhere_are_left_out(self) -> None:
        page = folder_view(
            [
                ("1d", "notes", "https://docs.google.com/document/d/1d/edit"),
                ("1e", "elsewhere", "https://made.example/file/d/1e/view"),
                ("1f", "../up.zip", "https://drive.google.com/file/d/1f/view"),
            ]
        )
        assert names(listing_of(DRIVE_FOLDER, _folder_page(page))) == [".._up.zip"]

    def test_a_folder_that_leads_back_to_itself_ends(self) -> None:
        page = folder_view(
            [
                ("1madeFolder", "again", "https://drive.google.com/drive/folders/1madeFolder"),
                ("1f", "a.zip", "https://drive.google.com/file/d/1f/view"),
            ]
        )
        assert names(listing_of(DRIVE_FOLDER, _folder_page(page))) == ["a.zip"]

    def test_an_empty_folder_page_is_an_error_with_a_way_out(self) -> None:
        error = refusal_of(DRIVE_FOLDER, _folder_page(folder_view([])))
        assert (error.code, "inbox" in error.action) == ("host.answer", True)

    def test_a_folder_behind_a_sign_in_page_is_refused(self) -> None:
        assert refusal_of(DRIVE_FOLDER, _folder_page(sign_in_page())).code == "host.refused"

    def test_the_page_before_large_files_leads_to_the_file(self) -> None:
        answers = behind_large_file_page("1madeFile", b"large")
        asked = address_of(listing_of(DRIVE_FILE, answers).files[0])
        _, _, page = answers.answer(asked) or (0, {}, b"")
        behind = host_of("gdrive").through_page(PageInstead(url=asked, html=page.decode()))
        assert behind is not None
        assert answers.answer(behind) is not None
        assert (answers.answer(behind) or (0, {}, b""))[2] == b"large"

    @pytest.mark.parametrize("action", ["https://evil.example/download", "http://drive.google.com/download"])
    def test_a_form_that_leads_away_from_google_is_not_followed(self, action: str) -> None:
        page = PageInstead(
            url="https://drive.usercontent.google.com/download?id=1", html=large_file_page("1", action=action)
        )
        assert host_of("gdrive").through_page(page) is None

    def test_a_used_up_quota_says_what_to_do(self) -> None:
        page = PageInstead(url="https://drive.usercontent.google.com/download?id=1", html=quota_page())
        with pytest.raises(AcquisitionError) as caught:
            host_of("gdrive").through_page(page)
        assert caught.value.code == "host.quota"
        assert "tomorrow" in caught.value.action
        assert "inbox" in caught.value.action

    def test_a_sign_in_page_is_a_refusal_and_any_other_page_is_none_of_ours(self) -> None:
        through_page = host_of("gdrive").through_page
        with pytest.raises(AcquisitionError, match=r"host\.refused"):
            through_page(PageInstead(url="https://drive.google.com/x", html=sign_in_page()))
        assert through_page(PageInstead(url="https://drive.google.com/x", html="<p>an HTML data set</p>")) is None


def _folder_page(page: str) -> AccountAnswers:
    place = "drive.google.com/embeddedfolderview?id=1madeFolder"
    return AccountAnswers({place: always(page.encode())})


def read_secret(kind: str, environment: Mapping[str, str]) -> Secret | None:
    credential = host_of(kind).credential
    assert credential is not None
    return credential.read(environment)


class TestCredentials:
    @pytest.mark.parametrize(
        ("kind", "environment", "header"),
        [
            ("kaggle", {"KAGGLE_USERNAME": "me", "KAGGLE_KEY": "k3y"}, basic("me", "k3y")),
            ("kaggle", {"KAGGLE_API_TOKEN": "t0ken"}, "Bearer t0ken"),
            ("synapse", {"SYNAPSE_AUTH_TOKEN": "t0ken"}, "Bearer t0ken"),
            ("physionet", {"PHYSIONET_USERNAME": "me", "PHYSIONET_PASSWORD": "p:w"}, basic("me", "p:w")),
        ],
    )
    def test_are_read_from_the_environment(
        self, kind: str, environment: dict[str, str], header: str, tmp_path: Path
    ) -> None:
        secret = read_secret(kind, {"HOME": str(tmp_path), **environment})
        assert secret is not None
        assert secret.headers == {"Authorization": header}

    @pytest.mark.parametrize(
        ("kind", "file", "text", "header"),
        [
            ("kaggle", ".kaggle/kaggle.json", '{"username": "me", "key": "k3y"}', basic("me", "k3y")),
            ("kaggle", ".kaggle/access_token", "t0ken\n", "Bearer t0ken"),
            ("kaggle", ".config/kaggle/kaggle.json", '{"username": "me", "key": "k3y"}', basic("me", "k3y")),
            ("synapse", ".synapseConfig", "[default]\nauthtoken = t0ken\n", "Bearer t0ken"),
            ("synapse", ".synapseConfig", "[authentication]\nusername = me\nauthtoken = t0%ken\n", "Bearer t0%ken"),
            ("physionet", ".netrc", "machine physionet.org login me password p4ss\n", basic("me", "p4ss")),
        ],
    )
    def test_are_read_from_the_file_of_the_hosts_own_client(
        self, kind: str, file: str, text: str, header: str, tmp_path: Path
    ) -> None:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
        secret = read_secret(kind, {"HOME": str(tmp_path)})
        assert secret is not None
        assert secret.headers == {"Authorization": header}

    def test_are_read_from_where_the_environment_points_to(self, tmp_path: Path) -> None:
        (tmp_path / "kaggle.json").write_text('{"username": "me", "key": "k3y"}')
        (tmp_path / "netrc").write_text("machine physionet.org login me password p4ss\n")
        config = "[default]\nauthtoken = a\n[profile work]\nauthtoken = b\n"
        (tmp_path / ".synapseConfig").write_text(config)
        assert read_secret("kaggle", {"HOME": "/nowhere", "KAGGLE_CONFIG_DIR": str(tmp_path)})
        assert read_secret("physionet", {"HOME": "/nowhere", "NETRC": str(tmp_path / "netrc")})
        other = read_secret("synapse", {"HOME": str(tmp_path), "SYNAPSE_PROFILE": "work"})
        assert other is not None
        assert other.headers == {"Authorization": "Bearer b"}

    @pytest.mark.parametrize("kind", ["kaggle", "synapse", "physionet"])
    def test_there_may_be_none(self, kind: str, tmp_path: Path) -> None:
        (tmp_path / ".netrc").write_text(
            "default login anonymous password x\nmachine made.example login a password b\n"
        )
        (tmp_path / ".synapseConfig").write_text("[cache]\nlocation = somewhere\n")
        assert read_secret(kind, {"HOME": str(tmp_path)}) is None

    @pytest.mark.parametrize(
        ("kind", "file", "text"),
        [
            ("kaggle", ".kaggle/kaggle.json", '{"username": "me", "key": "pl4nted"'),
            ("kaggle", ".kaggle/kaggle.json", '{"token": "pl4nted"}'),
            ("synapse", ".synapseConfig", "authtoken = pl4nted\n"),
            ("physionet", ".netrc", "machine physionet.org login me pl4nted\n"),
        ],
    )
    def test_an_unreadable_file_is_named_and_not_shown(self, kind: str, file: str, text: str, tmp_path: Path) -> None:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
        with pytest.raises(AcquisitionError) as caught:
            read_secret(kind, {"HOME": str(tmp_path)})
        assert (caught.value.code, caught.value.where) == ("credential.unreadable", str(tmp_path / file))
        assert caught.value.__suppress_context__
        assert "pl4nted" not in str(caught.value)

    @pytest.mark.parametrize("kind", ["kaggle", "synapse", "physionet"])
    def test_are_never_printed_and_go_to_one_https_origin(self, kind: str) -> None:
        credential = host_of(kind).credential
        assert credential is not None
        environment = dict.fromkeys(credential.variables, "pl4nted")
        secret = credential.read({"HOME": "/nowhere", **environment})
        assert secret is not None
        assert secret.words
        assert not [word for word in (*secret.words, "pl4nted") if word in f"{secret}{secret!r}{credential!r}"]
        assert [origin.startswith("https://") for origin in credential.origins] == [True]

    def test_only_hosts_that_give_nothing_away_need_one_always(self) -> None:
        needed = {kind: credential.needed for kind in ACCOUNT_KINDS if (credential := host_of(kind).credential)}
        assert needed == {"kaggle": True, "synapse": True, "physionet": False}

    def test_stay_at_their_host_when_it_redirects_to_a_storage(self) -> None:
        answers = account_answers(KAGGLE, FILES, authorization=LOGIN)
        with serve(answers) as server:
            settings = TransferSettings(mirrors=server.mirrors, attempts=1)
            with Web(settings, {"https://www.kaggle.com": Secret(headers={"Authorization": LOGIN})}) as web:
                listing = host_of("kaggle").list_files(KAGGLE, _asking(web))  # type: ignore[misc]
                content = web.get_text(address_of(listing.files[0]), where="made-entry")
        assert content == "first"
        told = {path.split("/")[1]: headers.get("Authorization") for path, headers in server.requests}
        assert told == {"www.kaggle.com": LOGIN, "storage.made.example": None}


def _asking(web: Web) -> Any:
    from medshard.registry.hosts.host import Asking

    return Asking(web=web, base=Path(), where="made-entry")


def catalog_sources() -> list[Any]:
    return [
        pytest.param(source, id=f"{entry.id}-{number}-{source.kind}")
        for entry in Catalog.load()
        for number, source in enumerate(entry.acquisition)
        if source.kind in ACCOUNT_KINDS
    ]


@pytest.mark.parametrize("source", catalog_sources())
def test_every_source_of_the_catalog_has_a_plan_or_is_got_by_hand(source: RemoteSource) -> None:
    host = host_of(source.kind)
    if host.by_hand:
        assert host.list_files is None
        return
    assert host.first_requests(source)
    assert all(address.startswith(("https://", "s3://", "gs://")) for address in host.first_requests(source))
    if source.kind in {"s3", "gcs"}:
        return
    unserved = source.kind == "tcia" and source.archive is not None
    answers = account_answers(source, [] if unserved else made_files(source))
    if unserved:
        assert refusal_of(source, answers).code == "host.by_hand"
        return
    listing = listing_of(source, answers)
    assert listing.files
    assert not [file for file in listing.files if not address_of(file).startswith("https://")]
