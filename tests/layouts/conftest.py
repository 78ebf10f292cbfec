"""Stores that need not outlive the machine: waiting for the disk is half of the time of a tiny build."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a crash of the machine leaves is not asked here; tests of the store ask it."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
