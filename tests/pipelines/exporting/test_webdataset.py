"""Tar files of samples: read by Python's tarfile, and by webdataset where it is installed."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from made_exports import OBLIQUE, SIZE, Source, organs

from medshard.pipelines.exporting.request import ExportRequest
from medshard.pipelines.exporting.tar_files import TarShards
from medshard.pipelines.exporting.webdataset import export_webdataset

READ = """
import json, sys
import webdataset
samples = webdataset.WebDataset(sys.argv[1:], shardshuffle=False).decode()
print(json.dumps({s["json"]["case"]: int(s["image.ct.npy"].astype("int64").sum()) for s in samples}))
"""


def samples_of(folder: Path, part: str = "train") -> dict[str, dict[str, bytes]]:
    """Key -> what follows the first point -> bytes, as WebDataset groups them."""
    found: dict[str, dict[str, bytes]] = defaultdict(dict)
    for path in sorted(folder.glob(f"{part}-*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, extension = member.name.partition(".")
                stream = tar.extractfile(member)
                assert stream is not None
                found[key][extension] = stream.read()
    return found


def array_in(data: bytes) -> Any:
    return np.load(io.BytesIO(data))


@pytest.fixture
def request_of_four(tmp_path: Path) -> ExportRequest:
    source = Source(tmp_path)
    for number, case in enumerate(("a", "b.c", "d e", "f")):
        source.add_case(case, organs(number), seed=number)
    return source.build()


def test_a_sample_has_the_arrays_of_its_case_and_what_they_mean(tmp_path: Path) -> None:
    source = Source(tmp_path)
    mask = organs()
    voxels = source.add_case("a", mask)
    request = source.build()
    export_webdataset(request)
    sample = samples_of(request.output)["a"]
    meaning = json.loads(sample["json"])
    np.testing.assert_array_equal(array_in(sample["image.ct.npy"])[0], voxels.transpose(2, 1, 0))
    np.testing.assert_array_equal(array_in(sample["label.organs.npy"])[0], mask.transpose(2, 1, 0))
    image, label = meaning["arrays"]["image.ct"], meaning["arrays"]["label.organs"]
    np.testing.assert_allclose(np.array(image["affine_zyx"])[:, [2, 1, 0, 3]], OBLIQUE, atol=1e-5)
    assert label["classes"] == {"1": "liver", "2": "kidney"}
    assert label["examined"] == ["liver", "kidney"]
    assert (meaning["case"], meaning["licence"]) == ("a", "CC0-1.0")


def test_keys_hold_no_point_and_lead_back_to_the_cases(request_of_four: ExportRequest) -> None:
    export_webdataset(request_of_four)
    found = samples_of(request_of_four.output)
    assert {json.loads(sample["json"])["case"] for sample in found.values()} == {"a", "b.c", "d e", "f"}
    assert all(set(sample) == {"image.ct.npy", "label.organs.npy", "json"} for sample in found.values())


def test_files_are_no_larger_than_asked(request_of_four: ExportRequest) -> None:
    export_webdataset(replace(request_of_four, largest_mb=0.02))
    listed = json.loads((request_of_four.output / "shards.json").read_text())["train"]
    assert len(listed) > 1
    assert sum(facts["samples"] for facts in listed) == 4
    for facts in listed:
        assert facts["bytes"] == (request_of_four.output / facts["file"]).stat().st_size <= 20_000


def test_a_sample_larger_than_a_file_may_be_has_one_to_itself(tmp_path: Path) -> None:
    with TarShards(folder=tmp_path, prefix="x", largest=30_000) as shards:
        names = [shards.add(key, [("npy", bytes(size))]) for key, size in (("a", 10), ("b", 50_000), ("c", 10))]
    assert names == ["x-000000.tar", "x-000001.tar", "x-000002.tar"]


def test_equal_requests_have_equal_bytes(request_of_four: ExportRequest, tmp_path: Path) -> None:
    again = tmp_path / "again"
    for output in (request_of_four.output, again):
        export_webdataset(replace(request_of_four, output=output))
    for path in request_of_four.output.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes()


def test_arrays_may_be_nifti(request_of_four: ExportRequest, tmp_path: Path) -> None:
    export_webdataset(replace(request_of_four, arrays="nifti"))
    sample = samples_of(request_of_four.output)["a"]
    (tmp_path / "a.nii.gz").write_bytes(sample["image.ct.nii.gz"])
    assert nib.load(tmp_path / "a.nii.gz").shape == SIZE


def test_samples_of_a_plan_are_on_its_grid(tmp_path: Path) -> None:
    source = Source(tmp_path, fields={"plans": {"default": {"spacing_mm": [4.2, 1.4, 1.4]}}})
    source.add_case("a", organs())
    request = source.build(to="shards")
    export_webdataset(replace(request, plan="default"))
    (sample,) = samples_of(request.output).values()
    facts = json.loads(sample["json"])["arrays"]["image.image"]
    steps = np.linalg.norm(np.array(facts["affine_zyx"])[:3, :3], axis=0)
    shape = np.array(facts["shape"][1:])
    assert (shape < SIZE[::-1]).all()
    # Resampling keeps the outer edges, whatever the number of voxels between them.
    np.testing.assert_allclose(shape * steps, np.array(SIZE[::-1]) * [2.1, 0.7, 0.7], rtol=1e-5)
    assert array_in(sample["image.image.npy"]).shape[1:] == array_in(sample["label.organs.npy"]).shape[1:]


@pytest.mark.skipif("MEDSHARD_PEERS" not in os.environ, reason="MEDSHARD_PEERS names no Python")
def test_webdataset_reads_the_same(request_of_four: ExportRequest) -> None:
    export_webdataset(request_of_four)
    files = sorted(map(str, request_of_four.output.glob("*.tar")))
    run = subprocess.run([os.environ["MEDSHARD_PEERS"], "-c", READ, *files], capture_output=True, text=True, check=True)
    expected = {
        json.loads(sample["json"])["case"]: int(array_in(sample["image.ct.npy"]).astype(np.int64).sum())
        for sample in samples_of(request_of_four.output).values()
    }
    assert json.loads(run.stdout.splitlines()[-1]) == expected
