"""What a file of poses does not say itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

PoseFormat = Literal["matrices", "kitti", "tum", "quaternions", "table", "itk"]
"""How a pose stands in the file:

matrices: 16 numbers a line, a whole (4, 4). kitti: 12 numbers a line, its first three rows, row by row.
tum: `time x y z quaternion`. quaternions: `x y z quaternion`. table: named columns (csv, txt or xlsx).
itk: one affine or rigid ITK transform (.tfm, .txt, .mat, .h5), LPS in the file and RAS here.
"""

RIGHT_HANDED = ("x", "y", "z")
# Unity: x to the right, y up, z forward. Of a camera as OpenCV and COLMAP have it, y points down.
UNITY_AXES = ("x", "-y", "z")


@dataclass(frozen=True, kw_only=True)
class PoseRequest:
    """How to read the poses of a camera.

    format: None to tell matrices, kitti, table and ITK by their content; the others have to be stated.
    stored: of matrices, whether the 16 numbers run along the rows or the columns of the matrix that maps column
        vectors; None to tell by where 0 0 0 1 stands.
    quaternion: order of its four numbers where columns have no names.
    columns: role (`frame`, `time_s`, `x`, `y`, `z`, `qx`, `qy`, `qz`, `qw`) -> name of the column, in a table; names
        that are in use (`trans_x`, `tX`, `quot_x`, `rX`, ...) are known without it.
    axes: which axis of the source, with its sign, becomes x, y and z; applied to the world and to the camera.
    handedness: of the source. A left-handed one needs axes that turn it right-handed, such as `UNITY_AXES`.
    direction: what the numbers map; they are kept as they are, and `origin` and `target` say it.
    unit: of the translation. affine: whether scale and shear are allowed.
    first_frame: number of the frame of the first row, where no column states one.
    frames: of each frame of the video in order, the number that the source gives it (`videos.picture_numbers`), so
        that a stated number becomes the place of the frame; None where the stated numbers are places already.
    """

    format: PoseFormat | None = None
    stored: Literal["rows", "columns"] | None = None
    quaternion: Literal["xyzw", "wxyz"] = "xyzw"
    columns: Mapping[str, str] = field(default_factory=dict)
    axes: tuple[str, str, str] = RIGHT_HANDED
    handedness: Literal["right", "left"] = "right"
    direction: Literal["camera-to-world", "world-to-camera"] = "camera-to-world"
    unit: str = "unknown"
    affine: bool = False
    first_frame: int = 0
    frames: tuple[int, ...] | None = None


ANY_POSES = PoseRequest()


@dataclass(frozen=True, kw_only=True)
class StatedPose:
    """One pose as the file has it. row: its line or row, from 1. matrix: 16 numbers, row by row, of the (4, 4)."""

    row: int
    matrix: tuple[float, ...]
    frame: int | None = None
    time_s: float | None = None
