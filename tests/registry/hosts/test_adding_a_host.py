"""Adding a host is one file: the example of the documentation, taken from there, is one."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from record_fakes import Answers, FakeWeb

from medshard.registry import hosts
from medshard.registry.hosts.host import Asking, Host, HttpAddress

PAGE = Path(__file__).parents[3] / "docs" / "acquisition.md"


def example() -> str:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf8"), re.DOTALL)
    return str(code)


def told() -> Answers:
    record = {"version": "4", "files": [{"name": "a.zip", "bytes": 9, "url": "https://my-host.example/a.zip"}]}
    return Answers({"my-host.example/api/r1": lambda _query, _headers: (200, {}, json.dumps(record).encode())})


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mapping[str, Host[Any]]]:
    """The hosts, with the documented one as a file beside them."""
    (tmp_path / "my_host.py").write_text(example(), encoding="utf8")
    monkeypatch.setattr(hosts, "__path__", [*hosts.__path__, str(tmp_path)])
    yield hosts._found()
    sys.modules.pop("medshard.registry.hosts.my_host", None)


def test_a_file_in_the_folder_is_found_by_its_name_and_lists_its_files(found: Mapping[str, Host[Any]]) -> None:
    host = found["my-host"]
    source = host.source.model_validate({"kind": "my-host", "record": "r1"})
    assert host.list_files is not None
    listing = host.list_files(source, Asking(web=cast(Any, FakeWeb(told(), {})), base=Path(), where="made"))
    (file,) = listing.files
    assert (listing.revision, file.name, file.size) == ("4", "a.zip", 9)
    assert file.address == HttpAddress(url="https://my-host.example/a.zip")
    assert host.place(source) == "My Host r1"


def test_every_kind_of_the_schema_is_a_file_and_every_file_a_kind() -> None:
    files = {path.stem.replace("_", "-") for path in Path(hosts.__file__).parent.glob("*.py")}
    assert files - {"--init--", "host", "selection", "source"} == set(hosts.HOSTS)
    for kind, host in hosts.HOSTS.items():
        assert host.source.model_fields["kind"].annotation.__args__ == (kind,)  # type: ignore[union-attr]
