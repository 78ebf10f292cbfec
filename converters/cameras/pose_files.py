"""Files of poses: lines of matrices, trajectories, tables with named columns, ITK transforms.

What the sources look like was seen in public loaders. C3VD's `pose.txt` has 16 numbers a line, separated by commas, of
the matrix that multiplies row vectors from the right: its translation is the last row, so that the numbers run along
the columns of the matrix that maps column vectors (DurrLab/C3VD, python/exampleDataLoader.py and issue 20, although the
page calls the lines row-major). EndoSLAM's xlsx has `ImageFrame`, `trans_x` and `quot_x` and so on, UnityCam's and the
simulated EndoMapper's csv `tX` ... `rW`, `time(s)`, in Unity's left-handed axes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medshard.converters.cameras.pose_request import PoseFormat, PoseRequest, StatedPose
from medshard.converters.cameras.pose_text import Row, breaks_off, is_sheet, rows_of
from medshard.converters.cameras.rotations import Matrix, pose_matrix, rotation_of_quaternion
from medshard.converters.formats.faults import bad_file
from medshard.converters.formats.format import first_bytes
from medshard.errors import CaseError

_ITK_TEXT = b"#Insight Transform File"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_QUATERNION = ("qx", "qy", "qz", "qw")
_PLACE = ("x", "y", "z")
_KNOWN_NAMES: Mapping[str, tuple[str, ...]] = {
    "frame": ("imageframe", "image_frame", "frame", "frame_id", "frame_number"),
    "time_s": ("time_s", "time(s)", "time [s]", "timestamp"),
    **{axis: (f"trans_{axis}", f"t{axis}", f"p{axis}", f"pos_{axis}", axis) for axis in _PLACE},
    **{f"q{axis}": (f"quot_{axis}", f"quat_{axis}", f"q{axis}", f"q_{axis}", f"r{axis}") for axis in "xyzw"},
}
_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def stated_poses(path: Path, request: PoseRequest) -> list[StatedPose]:
    """The poses of a file of rows as it has them, before axes are changed; without a last row that breaks off.

    Raises CaseError[poses.unclear_format | poses.unclear_table | poses.not_numbers | poses.unclear_order |
    poses.not_rigid | read.unreadable], MissingExtraError.
    """
    rows = list(rows_of(path))
    if not rows:
        raise bad_file("read.unreadable", path, "the file holds no poses")
    if breaks_off(path, rows):
        rows.pop()
    found = request.format or _format_of(path, rows)
    if found == "table":
        return _table_poses(path, rows, request)
    numbers = [(row, _numbers(path, row, cells)) for row, cells in rows]
    if found == "matrices":
        return _matrix_poses(path, numbers, request)
    if found == "kitti":
        _check_count(path, numbers, 12)
        return [StatedPose(row=row, matrix=(*twelve, 0.0, 0.0, 0.0, 1.0)) for row, twelve in numbers]
    return _trajectory(path, numbers, request, timed=found == "tum")


def _format_of(path: Path, rows: Sequence[Row]) -> PoseFormat:
    first = rows[0][1]
    if any(not _is_number(cell) for cell in first):
        return "table"
    if len(first) in {12, 16} and not is_sheet(path):
        return "matrices" if len(first) == 16 else "kitti"
    raise bad_file(
        "poses.unclear_format",
        path,
        "the rows of numbers do not say what they are",
        details={"expected": "12 or 16 numbers a row, or named columns", "found": f"{len(first)} numbers"},
        action="The case is excluded. State the format in the entry.",
    )


def _matrix_poses(
    path: Path, numbers: Sequence[tuple[int, tuple[float, ...]]], request: PoseRequest
) -> list[StatedPose]:
    _check_count(path, numbers, 16)
    stack = np.array([sixteen for _, sixteen in numbers]).reshape(-1, 4, 4)
    if (request.stored or _stored(path, stack)) == "columns":
        stack = stack.transpose(0, 2, 1)
    return [StatedPose(row=row, matrix=_flat(matrix)) for (row, _), matrix in zip(numbers, stack, strict=True)]


def _stored(path: Path, stack: Matrix) -> str:
    """Whether 0 0 0 1 is the last row or the last column of all matrices."""
    last = np.array([0.0, 0.0, 0.0, 1.0])
    in_rows = bool(np.allclose(stack[:, 3, :], last, atol=1e-6))
    in_columns = bool(np.allclose(stack[:, :, 3], last, atol=1e-6))
    if in_rows != in_columns:
        return "rows" if in_rows else "columns"
    raise bad_file(
        "poses.unclear_order",
        path,
        "the matrices do not say whether their numbers run along rows or columns",
        details={
            "expected": "0 0 0 1 as the last row of all, or as the last column of all",
            "found": "both, since nothing moves" if in_rows else "neither",
        },
        action="The case is excluded. State the order in the entry.",
    )


def _trajectory(
    path: Path, numbers: Sequence[tuple[int, tuple[float, ...]]], request: PoseRequest, *, timed: bool
) -> list[StatedPose]:
    _check_count(path, numbers, 8 if timed else 7)
    poses = []
    for row, values in numbers:
        *time, x, y, z, a, b, c, d = values
        quaternion = (a, b, c, d) if request.quaternion == "xyzw" else (b, c, d, a)
        matrix = _quaternion_pose(path, row, quaternion, (x, y, z))
        poses.append(StatedPose(row=row, matrix=matrix, time_s=time[0] if time else None))
    return poses


def _table_poses(path: Path, rows: Sequence[Row], request: PoseRequest) -> list[StatedPose]:
    places = _places(path, [name.lower() for name in rows[0][1]], request)
    poses = []
    for row, cells in rows[1:]:
        missing = [role for role, place in places.items() if place >= len(cells)]
        wanted = [cells[place] for place in places.values()] if not missing else [""]
        values = dict(zip(places, _numbers(path, row, wanted), strict=True))
        frame = values.get("frame")
        if frame is not None and not (frame.is_integer() and 0 <= frame < 2**31):
            raise _not_numbers(path, row, "a number of a frame, a whole one")
        quaternion = tuple(values[role] for role in _QUATERNION)
        matrix = _quaternion_pose(path, row, quaternion, tuple(values[axis] for axis in _PLACE))
        poses.append(
            StatedPose(row=row, matrix=matrix, frame=None if frame is None else int(frame), time_s=values.get("time_s"))
        )
    return poses


def _places(path: Path, names: list[str], request: PoseRequest) -> dict[str, int]:
    """Role -> place of its column. Names that the request states come first; two columns for a role are refused."""
    places: dict[str, int] = {}
    for role, known in _KNOWN_NAMES.items():
        stated = request.columns.get(role)
        candidates = (stated.lower(),) if stated else known
        found = [place for place, name in enumerate(names) if name in candidates]
        if len(found) == 1:
            places[role] = found[0]
        elif found or stated or role not in {"frame", "time_s"}:
            raise bad_file(
                "poses.unclear_table",
                path,
                "the table of poses has no one column for a role",
                details={"role": role, "expected": "one of " + ", ".join(candidates), "found": f"{len(found)} columns"},
                action="The case is excluded. State the columns in the entry.",
            )
    return places


def _quaternion_pose(
    path: Path, row: int, quaternion: Sequence[float], translation: Sequence[float]
) -> tuple[float, ...]:
    try:
        rotation = rotation_of_quaternion(*quaternion)
    except ValueError as error:
        raise bad_file(
            "poses.not_rigid", path, "a pose has no rotation", details={"row": row, "found": str(error)}
        ) from error
    return _flat(pose_matrix(rotation, translation))


def is_itk(path: Path) -> bool:
    """Whether the first bytes are those of an ITK transform: text, MATLAB 4 or HDF5."""
    start = first_bytes(path, len(_ITK_TEXT))
    return start == _ITK_TEXT or start.startswith(_HDF5) or b"Transform_" in first_bytes(path, 64)


def itk_pose(path: Path) -> StatedPose:
    """The one linear transform of a file. Raises CaseError[read.unsupported], and what SimpleITK raises."""
    return StatedPose(row=1, matrix=_flat(_itk_matrix(path)))


def _itk_matrix(path: Path) -> Matrix:
    """The (4, 4) of an ITK transform in RAS. It maps points of the fixed image into the moving one, in LPS."""
    import SimpleITK  # noqa: PLC0415

    transform: Any = SimpleITK.ReadTransform(str(path))
    if transform.GetDimension() != 3 or not transform.IsLinear():
        raise bad_file(
            "read.unsupported",
            path,
            "the transform is not a linear one of space",
            details={"expected": "an affine or rigid transform in 3 dimensions"},
        )
    # Of a linear map the images of the origin and of the three unit vectors say everything.
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    ends = [np.array(transform.TransformPoint(tuple(unit))) for unit in np.eye(3)]
    return _TO_RAS @ pose_matrix(np.stack([end - origin for end in ends], axis=1), origin.tolist()) @ _TO_RAS


def _numbers(path: Path, row: int, cells: Sequence[str]) -> tuple[float, ...]:
    if not all(_is_number(cell) for cell in cells):
        raise _not_numbers(path, row, "finite numbers")
    return tuple(float(cell) for cell in cells)


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _not_numbers(path: Path, row: int, expected: str) -> CaseError:
    return bad_file(
        "poses.not_numbers",
        path,
        "a row of the poses holds something else than numbers",
        details={"row": row, "expected": expected},
    )


def _check_count(path: Path, numbers: Sequence[tuple[int, tuple[float, ...]]], count: int) -> None:
    row, values = next(((row, values) for row, values in numbers if len(values) != count), (0, ()))
    if row:
        raise bad_file(
            "poses.not_numbers",
            path,
            "a row of the poses has another count of numbers",
            details={"row": row, "expected": f"{count} numbers", "found": len(values)},
        )


def _flat(matrix: Matrix) -> tuple[float, ...]:
    return tuple(float(number) for number in matrix.reshape(16))
