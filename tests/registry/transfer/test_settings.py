"""How a user sets transfers, and what is shown of them."""

from __future__ import annotations

import io
import re
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


def test_one_file_has_one_bar(server: FaultServer, web: Web, wanted: Callable[..., Wanted]) -> None:
    shown = io.StringIO()
    with redirect_stderr(shown):
        download([wanted(server.add("/a", random_bytes(300_000, seed=1)))], web, Bars("made", shown=True))
    assert "scans.bin" not in shown.getvalue()
    assert "293k/293k" in shown.getvalue()


def test_a_log_gets_the_end_as_a_line(server: FaultServer, web: Web, wanted: Callable[..., Wanted]) -> None:
    shown = io.StringIO()
    with redirect_stderr(shown):
        download([wanted(server.add("/a", random_bytes(300_000, seed=1)))], web, Bars("made"))
    assert re.fullmatch(r"made: 0\.3 MB of 0\.3 MB, [\d,.]+ MB/s\n", shown.getvalue())


class MadeStream:
    """One file of 300 MB, of which 27 MB are there; its size is told after the beginning, as by a host's answer."""

    def __init__(self, *, drawn: bool) -> None:
        self.now_s = 0.0
        self.bars = Bars("made", shown=drawn, clock=lambda: self.now_s)
        self.bars.begin(files=1, size=27_000_000, done=27_000_000)
        self.file = self.bars.file("scans.bin", size=None, done=27_000_000)

    def run(self) -> None:
        self.file.add(3_000_000)
        self.file.sized(300_000_000)
        for _ in range(27):
            self.now_s += 5.0
            self.file.add(10_000_000)
        self.file.close()
        self.bars.end()


def test_the_lines_of_a_log_come_every_15_s_with_the_size_once_it_is_known() -> None:
    shown = io.StringIO()
    with redirect_stderr(shown):
        MadeStream(drawn=False).run()
    lines = shown.getvalue().splitlines()
    assert lines[:2] == ["made: 60.0 MB of 300.0 MB, 2.2 MB/s", "made: 90.0 MB of 300.0 MB, 2.0 MB/s"]
    assert lines[-1] == "made: 300.0 MB of 300.0 MB, 2.0 MB/s"
    assert len(lines) == 135 / 15 + 1


def test_what_a_host_says_of_the_size_of_a_file_that_is_partly_there_is_the_total() -> None:
    shown = io.StringIO()
    with redirect_stderr(shown):
        MadeStream(drawn=True).run()
    assert "286M/286M" in shown.getvalue()


def test_what_begins_anew_is_not_counted_twice() -> None:
    shown = io.StringIO()
    with redirect_stderr(shown):
        stream = MadeStream(drawn=False)
        stream.file.sized(300_000_000)
        stream.file.restart()
        stream.file.sized(200_000_000)
        stream.file.add(200_000_000)
        stream.bars.end()
    assert shown.getvalue().startswith("made: 200.0 MB of 200.0 MB")


def test_a_long_wait_is_told_and_a_short_one_is_not(caplog: pytest.LogCaptureFixture) -> None:
    from medshard.registry.acquisition.transfer.faults import FaultError
    from medshard.registry.acquisition.transfer.retries import Origins, Patience

    origin = "https://host.example"
    patience = Patience(TransferSettings(), Origins(TransferSettings()), origin=origin, address=origin, where="made")
    patience._tell(FaultError("the connection was cut"), 1)
    assert caplog.text == ""
    patience._tell(FaultError("the host answered 503"), 30)
    assert "https://host.example: the host answered 503; waiting 30 s" in caplog.text
