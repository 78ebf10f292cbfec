"""What hosts are asked, and what they are told: credentials for their own origin only, patience, no insecure way."""

from __future__ import annotations

import gzip
import json
import logging
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from fault_server import HASTY, Cut, FaultServer, Request, Status, random_bytes

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.transfer.download import Wanted, download
from medshard.registry.acquisition.transfer.web import Web, public_address
from medshard.registry.hosts.host import PageInstead, Secret

Make = Callable[..., Wanted]
TOKEN = "planted-secret-0b5f"
BEARER = Secret(headers={"Authorization": f"Bearer {TOKEN}"})


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    """A server whose certificate is trusted, as an institution's would be: by SSL_CERT_FILE."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with FaultServer(tls=context) as running:
        yield running


def redirect(location: str, status: int = 302) -> Status:
    return Status(status, {"Location": location})


def echo(request: Request) -> tuple[int, Mapping[str, str], bytes]:
    headers = {name: value for name, value in request.headers.items() if name not in {"host", "accept"}}
    body = {"method": request.method, "query": request.query, "headers": headers, "body": request.body.decode()}
    return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()


def test_json_is_asked_for_with_a_query(server: FaultServer, web: Web) -> None:
    found = web.get_json(server.answer("/api", echo), params={"page": 2, "name": "a b&c"}, where="made")

    assert (found["method"], found["query"]) == ("GET", "page=2&name=a+b%26c")
    assert found["headers"]["user-agent"].startswith("medshard/")


def test_json_is_answered_with_json(server: FaultServer, web: Web) -> None:
    found = web.post_json(server.answer("/api", echo), body={"id": [1]}, where="made")

    assert (found["method"], json.loads(found["body"])) == ("POST", {"id": [1]})
    assert found["headers"]["content-type"] == "application/json"


def test_text_is_text(server: FaultServer, web: Web) -> None:
    url = server.answer("/sums", lambda _: (200, {}, "é  a.nii.gz\n".encode()))
    assert web.get_text(url, where="made") == "é  a.nii.gz\n"


def test_packed_answers_are_unpacked(server: FaultServer, web: Web) -> None:
    url = server.answer("/api", lambda _: (200, {"Content-Encoding": "gzip"}, gzip.compress(b'{"a": 1}')))
    assert web.get_json(url, where="made") == {"a": 1}


def test_questions_are_asked_again_like_downloads(server: FaultServer, web: Web) -> None:
    url = server.add("/api", b'{"a": 1}', faults=[Status(502), Cut(3), Status(429)])
    assert web.get_json(url, where="made") == {"a": 1}


@pytest.mark.parametrize(
    ("status", "code"), [(401, "host.refused"), (403, "host.refused"), (404, "host.gone"), (418, "host.answer"),
                         (500, "host.unreachable")],
)  # fmt: skip
def test_statuses_have_codes(status: int, code: str, server: FaultServer, web: Web) -> None:
    url = server.answer("/api", lambda _: (status, {}, b'{"message": "no such record"}'))
    with pytest.raises(AcquisitionError) as caught:
        web.get_json(url, where="made")
    assert caught.value.code == code
    assert status == 500 or caught.value.details["it says"] == "no such record"


def test_what_is_no_json_is_named(server: FaultServer, web: Web) -> None:
    url = server.answer("/api", lambda _: (200, {}, b"<html><title>Log in</title></html>"))
    with pytest.raises(AcquisitionError) as caught:
        web.get_json(url, where="made")
    assert (caught.value.code, caught.value.details["found"]) == ("host.answer", "Log in")


def test_answers_have_a_limit(server: FaultServer, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medshard.registry.acquisition.transfer.web.LONGEST_ANSWER_BYTES", 10)
    with pytest.raises(AcquisitionError, match=r"host.answer"):
        web.get_text(server.answer("/api", lambda _: (200, {}, b"x" * 11)), where="made")


def test_cookies_are_kept(server: FaultServer, web: Web) -> None:
    web.get_text(server.answer("/in", lambda _: (200, {"Set-Cookie": "seen=1; Path=/"}, b"")), where="made")
    assert web.get_json(server.answer("/api", echo), where="made")["headers"]["cookie"] == "seen=1"


def test_a_web_is_of_use_in_its_block_only() -> None:
    with pytest.raises(RuntimeError, match="with"):
        Web(HASTY).get_text("http://127.0.0.1:1/", where="made")


def test_without_the_extra_its_name_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "medshard.registry.acquisition.transfer.client", None)
    with pytest.raises(ImportError, match=r"pip install medshard\[acquisition\]"):
        Web(HASTY).__enter__()


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(status: int, server: FaultServer, web: Web) -> None:
    server.answer("/there", echo)
    url = server.answer("/here", lambda _: (status, {"Location": "/there?x=1"}, b"moved"))

    assert web.get_json(url, where="made")["query"] == "x=1"
    found = web.post_json(url, body=1, where="made")
    assert (found["method"], found["body"]) == (("POST", "1") if status in {307, 308} else ("GET", ""))


def test_redirects_end(server: FaultServer, web: Web) -> None:
    url = server.answer("/here", lambda _: (302, {"Location": "/here"}, b""))
    with pytest.raises(AcquisitionError, match=r"host.redirects"):
        web.get_json(url, where="made")
    assert len(server.requests) == 11


def test_https_is_never_left_for_http(secure: FaultServer, server: FaultServer, wanted: Make) -> None:
    open_way = server.add("/a", b"data")
    url = secure.add("/a", b"data", faults=[redirect(f"{open_way}?X-Amz-Signature={TOKEN}")])

    with Web(HASTY) as web, pytest.raises(AcquisitionError) as caught:
        download([wanted(url)], web)

    assert caught.value.code == "host.insecure_redirect"
    assert server.requests == []
    assert TOKEN not in str(caught.value)


def test_https_is_verified(secure: FaultServer, wanted: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    url = secure.add("/a", b"data")
    with Web(HASTY) as web:
        assert download([wanted(url)], web)[0].path.read_bytes() == b"data"

    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "other.pem"))
    with Web(HASTY) as web, pytest.raises(AcquisitionError) as caught:
        web.get_text(url, where="made")
    assert caught.value.code == "host.certificate"


def test_cuts_of_secure_connections_cost_little(secure: FaultServer, wanted: Make) -> None:
    content = random_bytes(5_000_000, seed=1)
    url = secure.add("/a", content, cuts=range(100_000, 5_000_000, 400_000))

    with Web(HASTY) as web:
        assert download([wanted(url)], web)[0].path.read_bytes() == content

    assert secure.sent["/a"] <= 1.02 * len(content)


def test_pieces_are_asked_for_behind_the_redirect_until_its_signature_expires(
    server: FaultServer, web: Web, wanted: Make
) -> None:
    content = random_bytes(2_000_000, seed=1)
    signed = server.add("/signed", content, faults=[None, None, Status(403)])
    url = server.answer("/front", lambda _: (302, {"Location": f"{signed}?sig={TOKEN}"}, b""))

    [fetched] = download([wanted(url)], web)

    assert fetched.path.read_bytes() == content
    assert len(server.requests_of("/front")) == 2
    assert fetched.url == url


def test_an_address_with_spaces_is_asked_for(server: FaultServer, web: Web) -> None:
    server.answer("/a%20b.zip", lambda _: (200, {}, b"ok"))
    assert web.get_text(server.url("/a b.zip"), where="made") == "ok"
    assert web.get_text(server.url("/a%20b.zip"), where="made") == "ok"


# Credentials


def test_credentials_go_to_their_origin_and_to_no_other(server: FaultServer, wanted: Make) -> None:
    with FaultServer() as elsewhere, Web(HASTY, {server.origin: BEARER}) as web:
        signed = elsewhere.answer("/signed", echo)
        url = server.answer("/file", lambda _: (302, {"Location": signed}, b""))

        assert "authorization" not in web.get_json(url, where="made")["headers"]
        assert "authorization" not in web.get_json(signed, where="made")["headers"]
        assert server.requests[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_credentials_do_not_come_back_by_way_of_another_origin(server: FaultServer) -> None:
    with FaultServer() as elsewhere, Web(HASTY, {server.origin: BEARER}) as web:
        back = elsewhere.answer("/back", lambda _: (302, {"Location": server.answer("/api", echo)}, b""))
        url = server.answer("/file", lambda _: (302, {"Location": back}, b""))

        assert "authorization" not in web.get_json(url, where="made")["headers"]


def test_credentials_go_to_the_mirror_of_their_origin(server: FaultServer) -> None:
    server.answer("/kaggle/api", echo)
    settings = replace(HASTY, mirrors={"https://www.kaggle.com": server.url("/kaggle")})
    with Web(settings, {"https://www.kaggle.com": BEARER}) as web:
        found = web.get_json("https://www.kaggle.com/api", where="made")

    assert found["headers"]["authorization"] == f"Bearer {TOKEN}"


def test_redirects_of_a_mirror_stay_within_the_mirrors(server: FaultServer) -> None:
    server.answer("/b/file", echo)
    server.answer("/a/relative", lambda _: (302, {"Location": "file"}, b""))
    server.answer("/a/file", lambda _: (302, {"Location": "https://b.example/file"}, b""))
    settings = replace(HASTY, mirrors={"https://a.example": server.url("/a"), "https://b.example": server.url("/b")})
    with Web(settings, {"https://a.example": BEARER}) as web:
        found = web.get_json("https://a.example/relative", where="made")

    assert "authorization" not in found["headers"]
    assert [request.headers.get("authorization") for request in server.requests] == [f"Bearer {TOKEN}"] * 2 + [None]


def test_a_mirror_does_not_lead_https_to_an_open_address(server: FaultServer) -> None:
    server.answer("/a/file", lambda _: (302, {"Location": server.answer("/open", echo)}, b""))
    with (
        Web(replace(HASTY, mirrors={"https://a.example": server.url("/a")})) as web,
        pytest.raises(AcquisitionError, match=r"host.insecure_redirect"),
    ):
        web.get_json("https://a.example/file", where="made")


@pytest.mark.parametrize("status", [401, 404, 418, 200, 503])
def test_secrets_appear_nowhere(
    status: int, server: FaultServer, wanted: Make, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    page = f"<html><title>{TOKEN} of Bearer {TOKEN}</title></html>".encode()
    signed = server.answer(f"/signed-{status}", lambda _: (status, {"Content-Type": "text/html"}, page))
    url = server.answer(f"/f-{status}", lambda _: (302, {"Location": f"{signed}?X-Amz-Signature={TOKEN}"}, b""))
    good = server.add("/good", b"data")
    file = wanted(f"{url}?token={TOKEN}&version=2")
    with Web(HASTY, {server.origin: BEARER}) as web:
        with pytest.raises(AcquisitionError) as caught:
            download([file], web)
        with pytest.raises(AcquisitionError) as asked:
            web.get_json(f"{url}?token={TOKEN}", where="made")
        fetched = download([wanted(f"{good}?token={TOKEN}&version=2", name="good")], web)

    error: BaseException | None = caught.value
    while error is not None:
        assert TOKEN not in str(error)
        error = None if error.__suppress_context__ else error.__cause__ or error.__context__
    assert TOKEN not in str(asked.value)
    assert TOKEN not in repr((fetched, web.secrets, web.settings, file.url))
    assert fetched[0].url == f"{good}?token=...&version=2"
    assert TOKEN not in caplog.text
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or TOKEN.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a.org/f?X-Amz-Signature=abc&X-Amz-Credential=k%2F1&part=2",
         "https://a.org/f?X-Amz-Signature=...&X-Amz-Credential=...&part=2"),
        ("https://a.org/f?Expires=1&Key-Pair-Id=K&token=t&id=7", "https://a.org/f?Expires=...&Key-Pair-Id=...&token=...&id=7"),
        ("https://user:word@a.org/f#part", "https://a.org/f"),
        ("https://a.org/f?download=1", "https://a.org/f?download=1"),
        ("https://b.blob.core.windows.net/c?sv=1&sig=abc", "https://b.blob.core.windows.net/c?sv=1&sig=..."),
    ],
)  # fmt: skip
def test_addresses_are_shown_without_their_secrets(url: str, shown: str) -> None:
    assert public_address(url) == shown


def test_a_page_before_the_file_is_passed(server: FaultServer, web: Web, wanted: Make) -> None:
    content = random_bytes(2_000_000, seed=1)
    behind = server.add("/behind", content)
    page = b"<!DOCTYPE html><html><title>Too large to scan</title></html>"
    url = server.answer("/front", lambda _: (200, {"Content-Type": "text/html", "Set-Cookie": "warned=1"}, page))
    seen: list[PageInstead] = []

    def through(instead: PageInstead) -> str | None:
        seen.append(instead)
        return behind

    [fetched] = download([wanted(url, through_page=through)], web)

    assert fetched.path.read_bytes() == content
    assert (seen[0].url, "Too large" in seen[0].html) == (url, True)
    assert len(seen) == 1
    assert fetched.url == url


def test_pages_without_end_are_an_error(server: FaultServer, web: Web, wanted: Make) -> None:
    url = server.answer("/front", lambda _: (200, {"Content-Type": "text/html"}, b"<html><title>Again</title></html>"))
    with pytest.raises(AcquisitionError) as caught:
        download([wanted(url, through_page=lambda page: page.url)], web)
    assert (caught.value.code, caught.value.details["it says"]) == ("download.page", "Again")
    assert len(server.requests) == 4


def test_a_host_may_know_better_what_its_page_means(server: FaultServer, web: Web, wanted: Make) -> None:
    def quota(page: PageInstead) -> str | None:
        raise AcquisitionError("host.quota", where="made", problem="too many downloads today")

    url = server.answer("/front", lambda _: (200, {"Content-Type": "text/html"}, b"<html>"))
    with pytest.raises(AcquisitionError, match=r"host.quota"):
        download([wanted(url, through_page=quota)], web)


def test_a_refusal_names_the_mirror_that_was_asked_instead(server: FaultServer) -> None:
    settings = replace(HASTY, mirrors={"https://a.example": server.url("/none")})
    with Web(settings) as web, pytest.raises(AcquisitionError) as caught:
        web.get_json("https://a.example/b.json", where="made")
    assert caught.value.code == "host.gone"
    assert caught.value.details["address"] == "https://a.example/b.json"
    assert caught.value.details["asked instead"] == server.url("/none/b.json")


def test_a_host_that_cannot_be_reached_says_why_in_a_few_words(web: Web) -> None:
    with pytest.raises(AcquisitionError, match=r"does not deliver \(network error: Connection refused\)") as caught:
        web.get_json("http://127.0.0.1:9/api", where="made")
    assert caught.value.code == "host.unreachable"
