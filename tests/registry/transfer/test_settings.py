"""How a user sets transfers, and what is shown of them."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stderr

import pytest
from fault_server import Cut, FaultServer, random_bytes

from medshard.errors import AcquisitionError
from medshard.registry.acquisition.transfer.addresses import mirrored, origin_of, unmirrored
from medshard.registry.acquisition.transfer.download import Wanted, download
from medshard.registry.acquisition.transfer.progress import Bars
from medshard.registry.acquisition.transfer.settings import TransferSettings
from medshard.registry.acquisition.transfer.web import Web


def test_the_environment_names_mirrors_and_connections() -> None:
    settings = TransferSettings.from_environment(
        {"MEDSHARD_MIRRORS": "https://a.org=http://127.0.0.1:8/a  https://b.org/x=https://c.org?q=1",
         "MEDSHARD_CONNECTIONS": "2"}
    )  # fmt: skip
    assert settings.connections_per_host == 2
    assert dict(settings.mirrors) == {"https://a.org": "http://127.0.0.1:8/a", "https://b.org/x": "https://c.org?q=1"}
    assert TransferSettings.from_environment({}) == TransferSettings()


@pytest.mark.parametrize(
    ("name", "value"),
    [("MEDSHARD_MIRRORS", "a.org=b.org"), ("MEDSHARD_MIRRORS", "https://a.org"), ("MEDSHARD_CONNECTIONS", "0"),
     ("MEDSHARD_CONNECTIONS", "many"), ("MEDSHARD_CONNECTIONS", "99")],
)  # fmt: skip
def test_settings_that_make_no_sense_are_named(name: str, value: str) -> None:
    with pytest.raises(AcquisitionError) as caught:
        TransferSettings.from_environment({name: value})
    assert caught.value.where == name


def test_the_longest_fitting_prefix_decides_on_the_mirror() -> None:
    mirrors = {"https://a.org": "http://m/a", "https://a.org/files/": "http://m/files/"}

    assert mirrored("https://a.org/files/1", mirrors) == "http://m/files/1"
    assert mirrored("https://a.org?x", mirrors) == "http://m/a?x"
    assert mirrored("https://a.org.evil.net/1", mirrors) == "https://a.org.evil.net/1"
    assert unmirrored("http://m/a/1", mirrors) == "https://a.org/1"


@pytest.mark.parametrize(
    ("url", "origin"),
    [("https://A.org/x", "https://a.org"), ("https://a.org:443", "https://a.org"), ("http://a.org:81/", "http://a.org:81"),
     ("https://u:p@a.org/", "https://a.org"), ("http://[::1]:80/x", "http://[::1]")],
)  # fmt: skip
def test_origins_are_compared_in_one_form(url: str, origin: str) -> None:
    assert origin_of(url) == origin


def test_bars_are_shown_per_file_and_in_total(server: FaultServer, web: Web, wanted: Callable[..., Wanted]) -> None:
    content = random_bytes(300_000, seed=1)
    files = [
        wanted(server.add(f"/{name}", content, faults=[Cut(1000)]), name=name, size=size)
        for name, size in [("first.bin", 300_000), ("second.bin", None)]
    ]
    shown = io.StringIO()
    with redirect_stderr(shown):
        download(files, web, Bars("made", shown=True))

    last = shown.getvalue().rstrip().rpartition("made, 2 files")[2]
    assert "586k/586k" in last
    assert "first.bin" in shown.getvalue()
    assert "second.bin" in shown.getvalue()


def test_bars_are_silent_where_nobody_watches(server: FaultServer, web: Web, wanted: Callable[..., Wanted]) -> None:
    shown = io.StringIO()
    with redirect_stderr(shown):
        download([wanted(server.add("/a", b"data"))], web, Bars("made"))
    assert shown.getvalue() == ""
