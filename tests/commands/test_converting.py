"""`medshard convert`: what lies in a folder becomes Zarr, and what cannot is named."""

from __future__ import annotations

import json
from pathlib import Path

import made_dicom
import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner

from medshard.cli import cli
from medshard.converters.canonical import read_volume


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    (folder / "nifti").mkdir(parents=True)
    nib.save(nib.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4)), folder / "nifti" / "a.nii.gz")
    made_dicom.write(made_dicom.frames(made_dicom.planes(4), series="a", number=2), folder / "dicom", prefix="x")
    made_dicom.write(made_dicom.frames(made_dicom.planes(5), series="b", number=3), folder / "dicom", prefix="y")
    (folder / "pair.mhd").write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 2 3 4\nElementSpacing = 1 1 2\nElementType = MET_UCHAR\n"
        "ElementDataFile = pair.raw\n"
    )
    (folder / "pair.raw").write_bytes(bytes(range(24)))
    return folder


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["convert", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result.exit_code, result.output


def test_a_folder_of_everything(scans: Path, tmp_path: Path) -> None:
    code, output = run(scans, "-o", tmp_path / "out", "--json")
    assert code == 0, output
    rows = {row["name"]: row for row in json.loads(output)}
    assert sorted(rows) == ["dicom-1", "dicom-2", "nifti_a.nii.gz", "pair.mhd"]
    assert [rows[f"dicom-{number}"]["shape"] for number in (1, 2)] == [[4, 6, 8], [5, 6, 8]]
    volume = read_volume(Path(rows["pair.mhd"]["zarr"]))
    assert volume.images["image"].array.reshape(-1).size == 24
    assert read_volume(Path(rows["dicom-1"]["zarr"])).images["image"].rescale.unit == "HU"


def test_one_bad_file_is_named_and_the_others_are_converted(scans: Path, tmp_path: Path) -> None:
    file = scans / "nifti" / "a.nii.gz"
    file.write_bytes(file.read_bytes()[:-10])
    code, output = run(scans, "-o", tmp_path / "out")
    assert code == 1
    assert "nifti_a.nii.gz: not converted" in output
    assert "read.truncated" in output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "dicom-1.zarr",
        "dicom-2.zarr",
        "pair.mhd.zarr",
    ]


def test_a_bad_series_leaves_the_other_of_its_folder(scans: Path, tmp_path: Path) -> None:
    (scans / "dicom" / "y-0002.dcm").unlink()
    code, output = run(scans / "dicom", "-o", tmp_path / "out")
    assert code == 1
    assert "dicom.missing_slices" in output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["dicom-1.zarr"]


def test_a_bad_file_of_a_folder_is_named_and_the_series_says_that_it_may_lack_it(scans: Path, tmp_path: Path) -> None:
    file = scans / "dicom" / "y-0005.dcm"
    file.write_bytes(file.read_bytes()[:200])
    code, output = run(scans / "dicom", "-o", tmp_path / "out")
    assert code == 1
    assert "y-0005.dcm" in output
    assert "1 files beside the image cannot be read" in output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["dicom-1.zarr", "dicom-2.zarr"]


def test_only_the_series_that_is_selected(scans: Path, tmp_path: Path) -> None:
    code, output = run(scans / "dicom", "-o", tmp_path / "out", "--select", "SeriesNumber=3")
    assert code == 0, output
    (folder,) = (tmp_path / "out").iterdir()
    assert read_volume(folder).images["image"].shape == (5, 6, 8)


def test_a_pattern_without_equals_is_refused(scans: Path, tmp_path: Path) -> None:
    code, output = run(scans, "-o", tmp_path / "out", "--select", "SeriesNumber")
    assert code == 2
    assert "NAME=PATTERN" in output


def test_an_empty_folder_converts_nothing_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, output = run(tmp_path / "empty", "-o", tmp_path / "out")
    assert code == 1
    assert "no image was found" in output


def test_a_second_run_leaves_what_is_there_and_says_so(scans: Path, tmp_path: Path) -> None:
    assert run(scans / "nifti", "-o", tmp_path / "out")[0] == 0
    code, output = run(scans, "-o", tmp_path / "out")
    assert code == 0, output
    code, output = run(scans / "nifti", "-o", tmp_path / "out")
    assert code == 1
    assert "convert.exists" in output


def test_single_dicom_files_have_their_own_names(scans: Path, tmp_path: Path) -> None:
    code, output = run(scans / "dicom" / "x-0001.dcm", scans / "dicom" / "x-0002.dcm", "-o", tmp_path / "out")
    assert code == 0, output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["x-0001.dcm.zarr", "x-0002.dcm.zarr"]


def test_files_of_no_known_format_are_counted_and_no_failure(scans: Path, tmp_path: Path) -> None:
    for name in ("README", "notes.txt"):
        (scans / name).write_text("to whom it may concern")
    code, output = run(scans, "-o", tmp_path / "out")
    assert code == 0, output
    assert "passed over: 2 files" in output


def test_an_output_that_is_a_file_is_refused(scans: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    code, output = run(scans, "-o", tmp_path / "out")
    assert code == 2
    assert "is a file" in output
