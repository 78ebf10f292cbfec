"""Numbers on surfaces out of files of their own."""

from __future__ import annotations

import json
from importlib.resources import files as package_files
from pathlib import Path

import nibabel
import numpy as np
import pytest
from made_meshes import cube, save, soup

from medshard.converters.meshes.labels import read_mesh_labels, unknown_values
from medshard.converters.reading import read_mesh
from medshard.converters.volume import Mesh, MeshLabel
from medshard.errors import CaseError

FSAVERAGE = Path(str(package_files("nilearn.datasets.data"))) / "fsaverage5"
TEETH = {"0": "gingiva", "11": "tooth 11", "48": "tooth 48"}
FDI = [0, 11, 11, 48, 48, 0, 0, 11]


def read(files: list[Path], format: str, *, mesh: Mesh | None = None, per: str = "vertex") -> dict[str, MeshLabel]:  # noqa: A002
    return read_mesh_labels(files, mesh or cube(), where="e/c", format=format, per=per, classes=TEETH)


def test_labels_of_teeth_are_classes_and_instances_and_the_patient_is_not_kept(tmp_path):
    content = {"id_patient": "0JN50XQR", "jaw": "upper", "labels": FDI, "instances": [0, 1, 1, 2, 2, 0, 0, 1]}
    found = read(save(tmp_path / "a.json", json.dumps(content)), "json")
    assert set(found) == {"labels", "instances"}
    assert found["labels"].array.tolist() == FDI
    assert found["labels"].classes == {0: "gingiva", 11: "tooth 11", 48: "tooth 48"}
    assert (found["labels"].kind, found["instances"].kind, found["instances"].classes) == ("semantic", "instance", {})
    assert unknown_values(found["labels"]) == ()
    assert "0JN50XQR" not in repr(found)


def test_a_number_that_the_entry_does_not_know_is_named(tmp_path):
    found = read(save(tmp_path / "a.json", json.dumps({"labels": [*FDI[:-2], 19, 99]})), "json")
    assert unknown_values(found["labels"]) == (19, 99)
    assert unknown_values(MeshLabel(array=np.array([7]), per="vertex", kind="instance")) == ()


@pytest.mark.parametrize(
    ("name", "format", "content"),
    [
        ("a.csv", "csv", "label\n" + "\n".join(map(str, FDI))),
        ("a.csv", "csv", "\r\n".join(map(str, FDI)) + "\r\n"),
        ("a.txt", "txt", "\n".join(f"{number}.0" for number in FDI)),
    ],
)
def test_one_number_on_each_line(tmp_path, name, format, content):  # noqa: A002
    assert read(save(tmp_path / name, content), format)["labels"].array.tolist() == FDI


@pytest.mark.parametrize("dtype", ["u1", "i8", "f4"])
def test_an_array_of_numpy(tmp_path, dtype):
    np.save(tmp_path / "a.npy", np.array(FDI, dtype))
    found = read([tmp_path / "a.npy"], "npy")["labels"]
    assert (found.array.tolist(), found.array.dtype) == (FDI, np.int32)


@pytest.mark.parametrize("name", ["sulc_left", "curv_left", "thick_right"])
def test_real_measures_of_vertices_are_what_nibabel_reads(name):
    side = name.rpartition("_")[2]
    mesh = read_mesh([FSAVERAGE / f"pial_{side}.gii.gz"], where="e/c")
    found = read([FSAVERAGE / f"{name}.gii.gz"], "gifti", mesh=mesh)["data"]
    np.testing.assert_array_equal(found.array, nibabel.load(FSAVERAGE / f"{name}.gii.gz").agg_data())
    assert found.kind == "scalar"


def test_classes_of_a_gifti_go_by_number_or_by_the_name_in_its_table(tmp_path):
    table = nibabel.gifti.GiftiLabelTable()
    for key, name in ((0, "none"), (5, "insula"), (7, "cuneus")):
        label = nibabel.gifti.GiftiLabel(key)
        label.label = name
        table.labels.append(label)
    numbers = nibabel.gifti.GiftiDataArray(
        np.array([0, 5, 5, 7, 7, 0, 0, 5], "i4"), "NIFTI_INTENT_LABEL", "NIFTI_TYPE_INT32"
    )
    image = nibabel.gifti.GiftiImage(darrays=[numbers], labeltable=table)
    files = save(tmp_path / "a.label.gii", image.to_bytes())
    classes = {"insula": "insular cortex", "7": "cuneus"}
    found = read_mesh_labels(files, cube(), where="e/c", format="gifti", per="vertex", classes=classes)["labels"]
    assert found.array.tolist() == [0, 5, 5, 7, 7, 0, 0, 5]
    assert found.classes == {5: "insular cortex", 7: "cuneus"}


def test_measures_of_freesurfer_are_what_nibabel_reads(tmp_path):
    values = np.linspace(-1, 2, 8).astype("f4")
    nibabel.freesurfer.write_morph_data(tmp_path / "lh.curv", values)
    np.testing.assert_array_equal(read([tmp_path / "lh.curv"], "curv")["data"].array, values)


@pytest.mark.parametrize(("per", "count"), [("vertex", 12), ("vertex", 9), ("face", 8)])
def test_another_count_is_refused_with_both(tmp_path, per, count):
    files = save(tmp_path / "a.txt", "0\n" * count)
    with pytest.raises(CaseError) as error:
        read(files, "txt", per=per)
    assert error.value.code == "mesh.labels_count"
    details = error.value.details
    assert (details["numbers"], details["vertices"], details["faces"]) == (str(count), "8", "12")


def test_numbers_of_merged_vertices_are_told_from_others(tmp_path):
    with pytest.raises(CaseError, match="merged vertices") as error:
        read(save(tmp_path / "a.txt", "0\n" * 8), "txt", mesh=soup(cube()))
    assert (error.value.details["vertices"], error.value.details["welded vertices"]) == ("36", "8")


@pytest.mark.parametrize(
    ("format", "content", "code"),
    [
        ("json", "{}", "read.unreadable"),
        ("json", '{"labels": {"a": 1}}', "read.unreadable"),
        ("json", '{"labels": [0, 0.5, 0, 0, 0, 0, 0, 0]}', "read.unreadable"),
        ("json", '{"labels": [true, 0, 0, 0, 0, 0, 0, 0]}', "read.unreadable"),
        ("json", '{"labels": [99999999999, 0, 0, 0, 0, 0, 0, 0]}', "read.unreadable"),
        ("json", '{"labels": [' + "9" * 5000, "read.unreadable"),
        ("json", "[" * 100_000, "read.unreadable"),
        ("csv", "1,2\n3,4\n", "read.unsupported"),
        ("csv", "label\n1\nJaneDoe\n", "read.unreadable"),
        ("txt", "nan\n" * 8, "read.unreadable"),
        ("txt", "0.5\n" * 8, "read.unreadable"),
        ("npy", "no array at all", "read.unreadable"),
        ("gifti", "<GIFTI></GIFTI>", "read.unreadable"),
        ("curv", "\xff", "read.unsupported"),
        ("mat", "1", "read.unsupported"),
        ("txt", "", "read.truncated"),
    ],
)
def test_what_are_no_labels_is_refused(tmp_path, format, content, code):  # noqa: A002
    with pytest.raises(CaseError) as error:
        read(save(tmp_path / "a", content), format)
    assert (error.value.code, error.value.where) == (code, "e/c")
    assert "Jane" not in str(error.value)


def test_an_array_that_promises_more_than_it_holds_costs_nothing(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(8, "u1"))
    path = tmp_path / "a.npy"
    path.write_bytes(path.read_bytes().replace(b"(8,), }         ", b"(9999999999,), }"))
    with pytest.raises(CaseError, match="read"):
        read([path], "npy")
