"""What `pip install medshard` puts into site-packages: the rooms as `medshard`, the catalog, nothing else."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("commands", "registry", "converters", "loaders", "training", "pipelines")
TOP_LEVEL_FILES = (
    "__init__.py",
    "cli.py",
    "errors.py",
    "catalog.yaml",
    "catalog.schema.json",
    "py.typed",
)


def tracked_files() -> set[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return {line for line in listed.stdout.splitlines() if (ROOT / line).is_file()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Members of a wheel that is built from a copy of the tracked tree, so that nothing stray gets in."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in tracked_files():
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(out),
        str(source),
    ]
    subprocess.run(command, check=True, capture_output=True, text=True)
    (built,) = out.glob("medshard-*.whl")
    with zipfile.ZipFile(built) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_the_rooms_and_nothing_else(wheel: set[str]) -> None:
    tracked = tracked_files()
    expected = {f"medshard/{name}" for name in tracked if name.split("/")[0] in ROOMS or name in TOP_LEVEL_FILES}
    packaged = {name for name in wheel if ".dist-info/" not in name}
    # What the compiled sources become has a name that depends on the machine; the sources themselves stay out.
    compiled = {name for name in packaged if name.endswith((".so", ".pyd"))}
    sources = {name for name in expected if name.endswith((".c", ".h"))}
    assert packaged - compiled == expected - sources
    assert {name.split(".")[0] for name in compiled} == {
        name.removesuffix(".c") for name in sources if name.endswith(".c")
    }


def test_no_top_level_name_but_medshard(wheel: set[str]) -> None:
    assert {name.split("/")[0] for name in wheel if ".dist-info/" not in name} == {"medshard"}


def test_the_wheel_carries_the_catalog_and_the_licence_of_its_data(wheel: set[str]) -> None:
    assert {"medshard/catalog.yaml", "medshard/registry/examples/NOTICE.md"} <= wheel
    assert any(name.endswith("licenses/LICENSE") for name in wheel)


def test_torch_is_pinned_and_its_vision_packages_are_nowhere() -> None:
    constraints = (ROOT / "constraints.txt").read_text()
    assert "\ntorch==2.13.0\n" in constraints
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *declared["dependencies"],
        *(line for extra in declared["optional-dependencies"].values() for line in extra),
    ]
    for text in (constraints, *wanted):
        assert "torchvision" not in text.replace(
            "# torch is the CPU build; torchvision and torchaudio must never appear here.", ""
        )
        assert not text.startswith("torchaudio")


def test_every_pinned_family_of_dagster_is_one_set() -> None:
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    assert {pins[name] for name in ("dagster", "dagster-webserver", "dagster-graphql", "dagster-pipes")} == {"1.13.27"}
