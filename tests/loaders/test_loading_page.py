"""The page on loading says what is so: its code runs, block after block, as a reader would run it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from made_items import build_item_store

from medshard.registry.store import Head

PAGE = Path(__file__).parents[2] / "docs" / "loading.md"


def test_the_code_of_the_page_runs(
    tmp_path: Path, publish: Callable[..., Head], monkeypatch: pytest.MonkeyPatch
) -> None:
    build_item_store(tmp_path / "data", publish)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 12
    names: dict[str, object] = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"{PAGE.name}, block {number}", "exec"), names)
