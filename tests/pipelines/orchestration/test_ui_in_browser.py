"""The user interface as a person uses it: `dagster dev`, a browser, and clicks.

With MEDSHARD_SCREENSHOTS=<folder> the pages are kept as pictures.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from medshard.registry.store import Store, read_head

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright's Python client is not installed")
CHROMIUM = shutil.which("chromium")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed; on Debian: apt-get install chromium"),
]

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
LOCATION = "medshard.pipelines.definitions"
START_S, RUN_S, PAGE_MS = 90.0, 120.0, 60_000
DAGSTER_YAML = Path(__file__).parents[3] / "pipelines" / "dagster.yaml"


def wait_for(what: str, check: Callable[[], Any], *, seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := check():
            return found
        time.sleep(0.5)
    pytest.fail(f"no {what} within {seconds:.0f} s")


class Server:
    """What is known of the running server: its address, and the store that it works on."""

    def __init__(self, port: int, root: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.root = root

    def is_up(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/server_info", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def ask(self, query: str) -> Any:
        body = json.dumps({"query": query}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)["data"]

    def runs(self) -> list[tuple[str, str]]:
        """(run id, status), the newest first."""
        found = self.ask("{ runsOrError { ... on Runs { results { runId status } } } }")
        return [(run["runId"], run["status"]) for run in found["runsOrError"]["results"]]

    def finished_run(self, count: int) -> tuple[str, str] | None:
        """The newest run, once there are `count` and none is under way."""
        runs = self.runs()
        done = len(runs) == count and all(status in ("SUCCESS", "FAILURE", "CANCELED") for _, status in runs)
        return runs[0] if done else None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`dagster dev` with its daemon, on a free port and with a home and a store of its own."""
    folder = tmp_path_factory.mktemp("ui")
    home = folder / "dagster"
    home.mkdir()
    shutil.copy(DAGSTER_YAML, home / "dagster.yaml")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"DAGSTER_HOME": str(home), "MEDSHARD_ROOT": str(folder / "store"), "MEDSHARD_WORKERS": "1"}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MEDSHARD_", "DAGSTER_"))}
    command = [sys.executable, "-m", "dagster", "dev", "-m", LOCATION, "-h", "127.0.0.1", "-p", str(port)]
    log = folder / "log.txt"
    with log.open("w") as stream:
        process = subprocess.Popen(
            command, cwd=folder, env=inherited | settings, stdout=stream, stderr=stream, start_new_session=True
        )
        try:
            running = Server(port, folder / "store")
            wait_for("server", lambda: running.is_up() or process.poll() is not None, seconds=START_S)
            assert process.poll() is None, log.read_text()
            yield running
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the server and all that it has started: they are one process group."""
    for number, seconds in ((signal.SIGINT, 20), (signal.SIGTERM, 10), (signal.SIGKILL, 10)):
        try:
            os.killpg(process.pid, number)
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            pass
        break
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def page(server: Server, tmp_path: Path) -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            tmp_path / "profile",
            executable_path=CHROMIUM,
            headless=True,
            args=list(FLAGS),
            viewport={"width": 1600, "height": 900},
        )
        browser.set_default_timeout(PAGE_MS)
        yield browser.pages[0]
        browser.close()


def keep_picture(page: Any, name: str, *, height: int = 900) -> None:
    """For a person to look at; docs/images/asset-graph.png is made here."""
    if folder := os.environ.get("MEDSHARD_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.mouse.move(800, 880)
        page.wait_for_timeout(1500)
        page.screenshot(path=Path(folder) / f"{name}.png", clip={"x": 0, "y": 0, "width": 1600, "height": height})


def test_a_group_and_then_one_asset_are_materialised_by_clicking(server: Server, page: Any) -> None:
    page.goto(f"{server.url}/locations/{LOCATION}/asset-groups/format_families/lineage")
    page.get_by_text("Never materialized").nth(4).wait_for()
    page.get_by_text("Hide navigation").click()
    page.get_by_role("button", name="Materialize all").click()
    run, status = wait_for("end of the group's run", lambda: server.finished_run(1), seconds=RUN_S)
    assert status == "SUCCESS", run
    page.get_by_text("Materialized", exact=True).nth(4).wait_for()
    page.get_by_text("3 / 3 Passed").wait_for()
    keep_picture(page, "asset-graph", height=640)

    page.get_by_text("default", exact=True).click()
    page.get_by_role("link", name="View in Asset Catalog").click()
    page.wait_for_url("**/assets/format-families/shards/default*")
    page.get_by_text("Latest materialization").wait_for()
    page.get_by_text("One small case of each format family").wait_for()
    keep_picture(page, "asset")

    page.get_by_role("button", name="Materialize").first.click()
    run, status = wait_for("end of the asset's run", lambda: server.finished_run(2), seconds=RUN_S)
    assert status == "SUCCESS", run
    page.goto(f"{server.url}/runs/{run}")
    page.get_by_text("Success", exact=True).first.wait_for()
    keep_picture(page, "run")

    head = read_head(Store.open(server.root, create=False), "format-families", "shards", "default")
    assert head is not None
    assert data_version(server, run) == head.data_version


def data_version(server: Server, run: str) -> str:
    """What the server has recorded as the data version of the shards, and in which run."""
    found = server.ask(
        '{ assetNodeOrError(assetKey: {path: ["format-families", "shards", "default"]}) '
        "{ ... on AssetNode { assetMaterializations(limit: 1) { runId tags { key value } } } } }"
    )
    newest = found["assetNodeOrError"]["assetMaterializations"][0]
    assert newest["runId"] == run
    tags = {tag["key"]: tag["value"] for tag in newest["tags"]}
    return str(tags["dagster/data_version"])
