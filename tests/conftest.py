"""What tests of several rooms need: an empty store, and the catalogs that they build from."""

from __future__ import annotations

import locale
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from medshard.registry.store import Store

# So that a failing comparison of a source tree shows what differs, whichever test reads the trees first.
pytest.register_assert_rewrite(
    "trees.checks", "trees.annotation_checks", "trees.content_checks", "trees.offering", "trees.tree"
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


@pytest.fixture(autouse=True, scope="module")
def signals_as_python_has_them() -> None:
    """A shell that runs the tests in the background has them ignore SIGINT, and what a test starts inherits that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})


@pytest.fixture(autouse=True, scope="module")
def locale_of_the_session() -> Iterator[None]:
    """SimpleITK's writer of VTK files leaves the process in the C locale, where text without an encoding is ASCII."""
    before = locale.setlocale(locale.LC_ALL)
    yield
    locale.setlocale(locale.LC_ALL, before)
