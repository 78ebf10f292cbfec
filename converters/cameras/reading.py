"""Reading poses and depth. Every bad file becomes a `CaseError` of its case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from medshard.converters.annotation_table import rows_table
from medshard.converters.cameras.depth import Channel, coloured, distance_of_buffer, exr_depth
from medshard.converters.cameras.exr import is_exr
from medshard.converters.cameras.pose_files import is_itk, itk_pose, stated_poses
from medshard.converters.cameras.pose_request import ANY_POSES, RIGHT_HANDED, UNITY_AXES, PoseRequest, StatedPose
from medshard.converters.cameras.pose_text import breaks_off, rows_of
from medshard.converters.cameras.rotations import Matrix, axes_matrix, fault_of
from medshard.converters.formats.faults import bad_file, errors_of_case, refuse_no_files
from medshard.converters.formats.format import Files
from medshard.converters.geometry import pixel_grid_affine
from medshard.converters.reading import read_image
from medshard.converters.volume import Image, Rescale

_READER = "poses"


def read_poses(files: Files, *, where: str, request: PoseRequest = ANY_POSES) -> pa.Table:
    """The poses of one file, with the columns of `COLUMNS["transforms"]`, in the order of the file.

    frame: as a column of the file states it, placed among `request.frames`, null where the video has no such frame;
    else counted from `first_frame`; null of an ITK transform. origin and target: `camera` and `world` as the request's
    direction says, or `fixed` and `moving`.
    Raises CaseError[poses.* | read.*], MissingExtraError; ValueError on a request that contradicts itself.
    """
    change = axes_matrix(request.axes)
    mirrors = np.linalg.det(change) < 0
    if mirrors != (request.handedness == "left"):
        raise ValueError(f"the axes {request.axes} do not fit a {request.handedness}-handed source")
    refuse_no_files(files, where)
    with errors_of_case(files, _READER, where):
        if len(files) > 1:
            raise bad_file("poses.several_files", files[0], "several files are given for the poses of one case")
        itk = request.format == "itk" or (request.format is None and is_itk(files[0]))
        poses = [itk_pose(files[0])] if itk else stated_poses(files[0], request)
        frames = [None] if itk else _frames(poses, request)
        rows = []
        for pose, frame in zip(poses, frames, strict=True):
            matrix = change @ np.array(pose.matrix).reshape(4, 4) @ change.T
            if fault := fault_of(matrix, affine=request.affine or itk):
                raise bad_file(
                    "poses.not_rigid",
                    files[0],
                    "a pose is no rotation and translation",
                    details={"row": pose.row, "found": fault},
                )
            rows.append(_row(matrix, frame, pose, request, itk=itk))
        return rows_table("transforms", rows)


def file_doubts(files: Files, *, where: str) -> list[str]:
    """What is in doubt about a file of poses that `read_poses` reads; one sentence each. Errors as there."""
    with errors_of_case(files, _READER, where):
        if is_itk(files[0]) or not breaks_off(files[0], list(rows_of(files[0]))):
            return []
    return ["The file of poses breaks off within its last row, which is left out."]


def pose_doubts(poses: pa.Table, frames: int) -> list[str]:
    """What does not fit between the poses and a video of so many frames; one sentence each."""
    numbers = [number for number in poses["frame"].to_pylist() if number is not None]
    doubts = []
    if strangers := poses["frame"].null_count:
        doubts.append(f"{strangers} poses are of no frame of the video.")
    without = frames - len({number for number in numbers if number < frames})
    if without:
        doubts.append(f"{without} of {frames} frames have no pose.")
    if beyond := sum(1 for number in numbers if number >= frames):
        doubts.append(f"{beyond} poses name frames that the video does not have.")
    if twice := len(numbers) - len(set(numbers)):
        doubts.append(f"{twice} poses are of a frame that has one already.")
    if poses.num_rows > 1 and len({tuple(matrix) for matrix in poses["matrix"].to_pylist()}) == 1:
        doubts.append("All poses are the same.")
    return doubts


def read_depth(
    files: Files,
    *,
    where: str,
    slope: float = 1.0,
    intercept: float = 0.0,
    unit: str = "unknown",
    channel: Channel = "grey",
    near_far: tuple[float, float] | None = None,
) -> Image:
    """A picture of depth: (1, 1, y, x), the stored numbers, and slope, intercept and unit beside them.

    channel: `red` takes the first channel of a picture in colour, and of those with alpha; `grey` refuses one.
    near_far: the two planes of a reversed depth buffer; then the array holds distances, float32.
    Raises CaseError[depth.* | read.*], MissingExtraError; ValueError where 0 < near < far does not hold.
    """
    if near_far is not None and not 0 < near_far[0] < near_far[1]:
        raise ValueError(f"{near_far} are no planes in front of a camera")
    refuse_no_files(files, where)
    rescale = Rescale(slope=(slope,), intercept=(intercept,), unit=unit)
    if is_exr(files[0]):
        with errors_of_case(files, "depth", where):
            if len(files) > 1:
                raise bad_file("read.several_images", files[0], "several files are given for one picture of depth")
            array = exr_depth(files[0], channel)[None, None]
        image = Image(array=array, affine=pixel_grid_affine(), trusted_geometry=False)
    else:
        image = read_image(files, where=where)
        if image.array.ndim != 4 or (channel == "grey" and image.array.shape[0] > 1):
            with errors_of_case(files, "depth", where):
                raise coloured(files[0])
        image = replace(image, array=image.array[:1])
    if near_far is not None:
        image = replace(image, array=distance_of_buffer(image.array.astype(np.float32), *near_far))
    return replace(image, rescale=rescale)


def _frames(poses: Sequence[StatedPose], request: PoseRequest) -> Sequence[int | None]:
    """The place of the frame of each pose; None where the video has no such frame."""
    stated = [pose.frame for pose in poses]
    if all(number is None for number in stated):
        return range(request.first_frame, request.first_frame + len(poses))
    if request.frames is None:
        return stated
    places = {number: place for place, number in enumerate(request.frames)}
    return [places.get(number) for number in stated if number is not None]


def _row(matrix: Matrix, frame: int | None, pose: StatedPose, request: PoseRequest, *, itk: bool) -> dict[str, object]:
    origin, _, target = ("fixed", "", "moving") if itk else request.direction.partition("-to-")
    return {
        "frame": frame,
        "time_s": pose.time_s,
        "origin": origin,
        "target": target,
        "unit": "mm" if itk else request.unit,
        "matrix": matrix.reshape(16).tolist(),
    }


__all__ = [
    "ANY_POSES",
    "RIGHT_HANDED",
    "UNITY_AXES",
    "PoseRequest",
    "file_doubts",
    "pose_doubts",
    "read_depth",
    "read_poses",
]
