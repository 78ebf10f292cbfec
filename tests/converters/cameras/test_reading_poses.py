"""Poses: the files of the data sets that have them, other rows of numbers, ITK transforms; bad ones are refused.

The oracle of rotations is scipy, of ITK's transforms SimpleITK itself.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from medshard.converters.annotation_table import COLUMNS
from medshard.converters.cameras.reading import UNITY_AXES, PoseRequest, file_doubts, pose_doubts, read_poses
from medshard.converters.cameras.rotations import rotation_of_quaternion
from medshard.errors import CaseError

WHERE = "entry/case"
COUNT = 5
ROTATIONS = Rotation.random(COUNT, rng=np.random.default_rng(11))
PLACES = np.random.default_rng(5).normal(size=(COUNT, 3)) * 30
POSES = np.tile(np.eye(4), (COUNT, 1, 1))
POSES[:, :3, :3], POSES[:, :3, 3] = ROTATIONS.as_matrix(), PLACES


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def lines_of(numbers: NDArray[np.float64], separator: str = ",") -> str:
    return "\n".join(separator.join(f"{value:.9f}" for value in row) for row in numbers.reshape(len(numbers), -1))


def matrices(table: pa.Table) -> NDArray[np.float64]:
    assert table.schema.equals(COLUMNS["transforms"])
    return np.array(table["matrix"].to_pylist()).reshape(-1, 4, 4)


def refusal(path: Path, request: PoseRequest | None = None) -> CaseError:
    with pytest.raises(CaseError) as found:
        read_poses([path], where=WHERE, request=request or PoseRequest())
    assert found.value.where == WHERE
    return found.value


@pytest.mark.parametrize("separator", [",", " ", "\t", ";"])
def test_sixteen_numbers_a_line_say_themselves_how_they_are_stored(separator: str, tmp_path: Path) -> None:
    rows = written(tmp_path / "rows.txt", lines_of(POSES, separator))
    # As C3VD has them: the translation is the last row.
    columns = written(tmp_path / "pose.txt", lines_of(POSES.transpose(0, 2, 1), separator) + "\n")
    for path in (rows, columns):
        table = read_poses([path], where=WHERE, request=PoseRequest(unit="mm"))
        np.testing.assert_allclose(matrices(table), POSES, atol=1e-8)
        assert table["frame"].to_pylist() == list(range(COUNT))
        assert set(table["origin"].to_pylist()) == {"camera"}
        assert set(table["target"].to_pylist()) == {"world"}
        assert set(table["unit"].to_pylist()) == {"mm"}


def test_a_camera_that_never_moves_does_not_say_how_it_is_stored(tmp_path: Path) -> None:
    still = POSES.copy()
    still[:, :3, 3] = 0
    path = written(tmp_path / "pose.txt", lines_of(still.transpose(0, 2, 1)))
    assert refusal(path).code == "poses.unclear_order"
    table = read_poses([path], where=WHERE, request=PoseRequest(stored="columns"))
    np.testing.assert_allclose(matrices(table), still, atol=1e-8)


def test_what_an_entry_states_wrongly_is_found(tmp_path: Path) -> None:
    path = written(tmp_path / "pose.txt", lines_of(POSES.transpose(0, 2, 1)))
    assert refusal(path, PoseRequest(stored="rows")).code == "poses.not_rigid"


def test_kitti_and_tum(tmp_path: Path) -> None:
    kitti = written(tmp_path / "00.txt", lines_of(POSES[:, :3], " "))
    np.testing.assert_allclose(matrices(read_poses([kitti], where=WHERE)), POSES, atol=1e-8)
    times = np.arange(COUNT)[:, None] / 30
    tum = written(
        tmp_path / "groundtruth.txt",
        "# timestamp tx ty tz qx qy qz qw\n" + lines_of(np.hstack([times, PLACES, ROTATIONS.as_quat()]), " "),
    )
    table = read_poses([tum], where=WHERE, request=PoseRequest(format="tum", unit="m"))
    np.testing.assert_allclose(matrices(table), POSES, atol=1e-7)
    np.testing.assert_allclose(table["time_s"].to_pylist(), times[:, 0], atol=1e-8)
    assert refusal(tum).code == "poses.unclear_format"


def test_the_order_of_a_quaternion_without_names_is_stated(tmp_path: Path) -> None:
    scalar_first = np.roll(ROTATIONS.as_quat(), 1, axis=1)
    path = written(tmp_path / "poses.txt", lines_of(np.hstack([PLACES, scalar_first]), " "))
    table = read_poses([path], where=WHERE, request=PoseRequest(format="quaternions", quaternion="wxyz"))
    np.testing.assert_allclose(matrices(table), POSES, atol=1e-7)


def endoslam_sheet(path: Path, numbers: list[int], *, sheets: int = 1) -> Path:
    """As EndoSLAM's HighCam has them: a row number, the frame, the pose, its place and its quaternion."""
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    names = ["trans_x", "trans_y", "trans_z", "quot_x", "quot_y", "quot_z", "quot_w"]
    sheet.append([None, "ImageFrame", "Pose_Index", *names])
    for row, number in enumerate(numbers):
        sheet.append([row, number, row * 4, *PLACES[row].tolist(), *ROTATIONS[row].as_quat().tolist()])
    for _ in range(sheets - 1):
        book.create_sheet()
    book.save(path)
    return path


def test_endoslams_sheet_names_frames_by_the_number_of_the_file(tmp_path: Path) -> None:
    path = endoslam_sheet(tmp_path / "low_high_pose_colon_test_1_high_images.xlsx", [10, 12, 13, 14, 99])
    table = read_poses([path], where=WHERE, request=PoseRequest(unit="m", frames=(10, 11, 12, 13, 14)))
    np.testing.assert_allclose(matrices(table), POSES, atol=1e-9)
    assert table["frame"].to_pylist() == [0, 2, 3, 4, None]
    doubts = pose_doubts(table, 5)
    assert any("1 poses are of no frame" in doubt for doubt in doubts)
    assert any("1 of 5 frames have no pose" in doubt for doubt in doubts)


def test_a_workbook_of_two_sheets_is_refused(tmp_path: Path) -> None:
    path = endoslam_sheet(tmp_path / "poses.xlsx", [0, 1, 2, 3, 4], sheets=2)
    assert refusal(path).code == "poses.unclear_table"


@pytest.mark.parametrize("separator", [",", ";"])
def test_unitys_left_handed_axes_become_right_handed(separator: str, tmp_path: Path) -> None:
    """UnityCam and the simulated EndoMapper: a point keeps its place in space when both worlds see it."""
    header = separator.join(["tX", "tY", "tZ", "rX", "rY", "rZ", "rW", "time(s)"])
    times = np.arange(COUNT)[:, None] / 30
    numbers = np.hstack([PLACES, ROTATIONS.as_quat(), times])
    path = written(tmp_path / "trajectory.csv", header + "\n" + lines_of(numbers, separator))
    request = PoseRequest(axes=UNITY_AXES, handedness="left", unit="m")
    table = read_poses([path], where=WHERE, request=request)
    found = matrices(table)
    assert (np.linalg.det(found[:, :3, :3]) > 0).all()
    mirror = np.array([1.0, -1.0, 1.0])
    seen = np.array([0.3, -0.2, 1.7])  # by Unity's camera
    in_unity = ROTATIONS.apply(seen) + PLACES
    in_ours = np.einsum("nij,j->ni", found[:, :3, :3], seen * mirror) + found[:, :3, 3]
    np.testing.assert_allclose(in_ours, in_unity * mirror, atol=1e-6)
    # A rotation seen in a mirror: the parts of the quaternion along the other two axes change their sign.
    np.testing.assert_allclose(
        found[:, :3, :3], Rotation.from_quat(ROTATIONS.as_quat() * [-1, 1, -1, 1]).as_matrix(), atol=1e-7
    )
    np.testing.assert_allclose(table["time_s"].to_pylist(), times[:, 0], atol=1e-8)


def test_axes_have_to_fit_the_hand(tmp_path: Path) -> None:
    path = written(tmp_path / "pose.txt", lines_of(POSES))
    for request in (PoseRequest(handedness="left"), PoseRequest(axes=UNITY_AXES), PoseRequest(axes=("x", "x", "z"))):
        with pytest.raises(ValueError, match="axes|axis"):
            read_poses([path], where=WHERE, request=request)


def test_columns_with_other_names_are_stated(tmp_path: Path) -> None:
    roles = ["frame", "x", "y", "z", "qw", "qx", "qy", "qz"]
    numbers = np.hstack([np.arange(COUNT)[:, None] * 2, PLACES, np.roll(ROTATIONS.as_quat(), 1, axis=1)])
    text = ",".join(f"col {role}" for role in roles) + "\n" + lines_of(numbers)
    path = written(tmp_path / "poses.csv", text)
    assert refusal(path).code == "poses.unclear_table"
    request = PoseRequest(columns={role: f"Col {role}" for role in roles}, direction="world-to-camera")
    table = read_poses([path], where=WHERE, request=request)
    np.testing.assert_allclose(matrices(table), POSES, atol=1e-7)
    assert table["frame"].to_pylist() == [0, 2, 4, 6, 8]
    assert table["origin"].to_pylist()[0] == "world"
    assert table["target"].to_pylist()[0] == "camera"


@pytest.mark.parametrize("suffix", ["tfm", "txt", "h5", "mat"])
def test_itk_transforms_map_points_of_ras(suffix: str, tmp_path: Path) -> None:
    transform = SimpleITK.AffineTransform(3)
    rng = np.random.default_rng(2)
    transform.SetMatrix((np.eye(3) + rng.normal(size=(3, 3)) * 0.1).ravel().tolist())
    transform.SetTranslation((3.0, -4.0, 5.5))
    transform.SetCenter((10.0, 20.0, -30.0))
    path = tmp_path / f"affine.{suffix}"
    SimpleITK.WriteTransform(transform, str(path))
    table = read_poses([path], where=WHERE)
    flip = np.array([-1.0, -1.0, 1.0])
    point = np.array([12.0, -7.0, 40.0])  # RAS
    expected = np.array(transform.TransformPoint((point * flip).tolist())) * flip
    np.testing.assert_allclose((matrices(table)[0] @ [*point, 1])[:3], expected, atol=1e-5)
    assert table.to_pylist()[0] | {"matrix": None} == {
        "frame": None, "time_s": None, "origin": "fixed", "target": "moving", "unit": "mm", "matrix": None,
    }  # fmt: skip


def test_a_transform_that_bends_is_refused(tmp_path: Path) -> None:
    bend = SimpleITK.BSplineTransform(3)
    SimpleITK.WriteTransform(bend, str(tmp_path / "bend.tfm"))
    assert refusal(tmp_path / "bend.tfm").code == "read.unsupported"
    written(tmp_path / "broken.tfm", "#Insight Transform File V1.0\nTransform: Nonsense\n")
    assert refusal(tmp_path / "broken.tfm").code == "read.unreadable"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda p: p[2, :3, :3].__imul__(1.01), "orthonormal"),
        (lambda p: p[2, :3, 0].__imul__(-1), "mirrors"),
        (lambda p: p[2, 0, :3].__iadd__([0.01, 0, 0]), "orthonormal"),
    ],
)
def test_what_is_no_rotation_is_refused_unless_affine(change, word: str, tmp_path: Path) -> None:
    poses = POSES.copy()
    change(poses)
    path = written(tmp_path / "pose.txt", lines_of(poses))
    error = refusal(path)
    assert error.code == "poses.not_rigid"
    assert word in error.details["found"]
    assert error.details["row"] == "3"
    np.testing.assert_allclose(
        matrices(read_poses([path], where=WHERE, request=PoseRequest(affine=True))), poses, atol=1e-8
    )


@pytest.mark.parametrize("quaternion", [(0.0, 0.0, 0.0, 0.0), (0.5, 0.5, 0.5, 0.6)])
def test_a_quaternion_that_is_not_of_length_one_is_refused(quaternion: tuple[float, ...], tmp_path: Path) -> None:
    path = written(tmp_path / "poses.txt", lines_of(np.array([[1.0, 2, 3, *quaternion]]), " "))
    assert refusal(path, PoseRequest(format="quaternions")).code == "poses.not_rigid"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "read.truncated"),
        ("# nothing but a comment\n", "read.unreadable"),
        ("1,2,3\n", "poses.unclear_format"),
        (lines_of(POSES) + "\n1,2,3\n", "poses.not_numbers"),
        (lines_of(POSES) + "\n" + ",".join(["nan"] * 16), "poses.not_numbers"),
        (lines_of(POSES) + "\n" + ",".join(["Zaqx"] * 16), "poses.not_numbers"),
        ("tx,ty,tz,qx,qy,qz\n1,2,3,0,0,0\n", "poses.unclear_table"),
        ("tx,ty,tz,qx,qy,qz,qw,rx\n1,2,3,0,0,0,1,0\n", "poses.unclear_table"),
        ("frame,tx,ty,tz,qx,qy,qz,qw\n1.5,1,2,3,0,0,0,1\n", "poses.not_numbers"),
        ("tx,ty,tz,qx,qy,qz,qw\n1,2,3,0,0,0\n", "poses.not_numbers"),
        ("tx;ty;tz;qx;qy;qz;qw\n1,5;2;3;0;0;0;1\n", "poses.not_numbers"),
    ],
)
def test_other_texts_are_refused_by_name_and_never_quoted(text: str, code: str, tmp_path: Path) -> None:
    error = refusal(written(tmp_path / "poses.txt", text))
    assert error.code == code
    assert "Zaqx" not in str(error)


def test_bytes_that_are_no_text_and_no_workbook_are_refused(tmp_path: Path) -> None:
    for name, content in {"a.txt": b"\0\1\2" * 99, "b.xlsx": b"PK\x03\x04" + b"x" * 99}.items():
        (tmp_path / name).write_bytes(content)
        assert refusal(tmp_path / name).code.startswith("read.")


def test_doubts_between_poses_and_a_video(tmp_path: Path) -> None:
    path = written(tmp_path / "pose.txt", lines_of(POSES))
    table = read_poses([path], where=WHERE)
    assert pose_doubts(table, COUNT) == []
    assert any("2 of 7 frames" in doubt for doubt in pose_doubts(table, 7))
    assert any("2 poses name frames" in doubt for doubt in pose_doubts(table, 3))
    still = read_poses([written(tmp_path / "still.txt", lines_of(POSES[[1, 1, 1]]))], where=WHERE)
    assert any("the same" in doubt for doubt in pose_doubts(still, 3))


@given(st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 0.01))
def test_a_quaternion_is_the_rotation_that_scipy_makes_of_it(quaternion: tuple[float, ...]) -> None:
    unit = np.array(quaternion) / np.linalg.norm(quaternion)
    np.testing.assert_allclose(rotation_of_quaternion(*unit.tolist()), Rotation.from_quat(unit).as_matrix(), atol=1e-12)


UNITY_HEADER = "tX,tY,tZ,rX,rY,rZ,rW,time(s)"
STILL = "0,0,0,0,0,0,1,0"


@pytest.mark.parametrize("end", ["0.66,8.98", "0.66,8.98,-3.1,0.0,0.0,0.0"])
def test_a_last_row_that_breaks_off_is_left_out_and_told(end: str, tmp_path: Path) -> None:
    path = written(tmp_path / "poses.csv", "\r\n".join([UNITY_HEADER, STILL, STILL, end]))
    assert len(read_poses([path], where=WHERE)) == 2
    assert file_doubts([path], where=WHERE) == ["The file of poses breaks off within its last row, which is left out."]


def test_a_short_row_that_was_finished_is_no_broken_end(tmp_path: Path) -> None:
    assert refusal(written(tmp_path / "a.csv", f"{UNITY_HEADER}\n{STILL}\n0.66,8.98\n")).code == "poses.not_numbers"
    middle = written(tmp_path / "b.csv", f"{UNITY_HEADER}\n0.66,8.98\n{STILL}")
    assert refusal(middle).code == "poses.not_numbers"
    assert file_doubts([written(tmp_path / "c.csv", f"{UNITY_HEADER}\n{STILL}\n{STILL}")], where=WHERE) == []
