"""Endoscopes that know where they are: frames with poses, depth and surfaces."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from trees.phantom import Phantom
from trees.picture_files import write_picture
from trees.recordings import write_surface, write_video
from trees.table_files import write_json, write_lines, write_sheet
from trees.tree import Expected, Tree, tree

SIDE = (40, 48)
UNITY = "tX,tY,tZ,rX,rY,rZ,rW,time(s)"


def turn(number: int) -> tuple[float, float, float, float]:
    """A quaternion x, y, z, w: a little further about the second axis with each number."""
    half = 0.05 * number
    return (0.0, round(float(np.sin(half)), 9), 0.0, round(float(np.cos(half)), 9))


def unity_rows(count: int) -> list[str]:
    """Poses as the simulator writes them, 30 a second."""
    return [
        ",".join(str(value) for value in (0.66, 8.98, -3.13 + 0.01 * number, *turn(number), round(number / 30, 6)))
        for number in range(count)
    ]


def frame(path: Path, seed: str, side: Sequence[int] = SIDE) -> None:
    write_picture(path, Phantom(seed, side).rgb())


def sixteen(number: int) -> str:
    """The matrix of a camera as 16 numbers along its columns, commas between them."""
    x, y, z, w = turn(number)
    matrix = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w), 10.0 + number],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w), 20.0],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y), 30.0],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )
    return ",".join(f"{value:.9f}" for value in matrix.T.reshape(16))


def deep(seed: str, channels: int = 1) -> NDArray[np.uint16]:
    """Numbers of 16 bits for each pixel."""
    grey = Phantom(seed, SIDE, values=(1, 2)).grey().astype(np.uint16) * 257
    return grey if channels == 1 else np.repeat(grey[..., None], channels, axis=-1)


@tree(
    "c3vd",
    evidence=(
        "listing d-abdomen: github:openmedlab/Awesome-Medical-Dataset resources/C3VD.md",
        "github:DurrLab/C3VD utils/exampleDataLoader.py: {:04d}_depth.tiff, pose.txt; numbers along the columns",
    ),
)
def c3vd(root: Tree) -> Expected:
    """A zip for each sequence; pictures of 16 bits; one file of poses for all frames; a surface that nobody needs."""
    told = {"cecum_t1_a": (0, 2), "cecum_t1_b": (1, 1), "trans_t2_c": (17, 1)}
    said, patients, images = {}, {}, {}
    for sequence, (source, count) in told.items():
        pack = root.archive(f"{sequence}.zip", source=source)
        for number in range(count):
            place = f"{sequence}/{number:04d}"
            seed = f"{sequence} {number}"
            frame(pack / f"{place}_color.png", seed)
            write_picture(pack / f"{place}_depth.tiff", deep(seed))
            write_wide(pack / f"{place}_normals.tiff", deep(seed + " n", 3))
            write_picture(pack / f"{place}_occlusion.png", Phantom(seed, SIDE, values=(1,)).of(1))
            names = ["frame", "depth", "normals", "occlusion"]
            if number:
                write_wide(pack / f"{place}_flow.tiff", deep(seed + " f", 3))
                names.append("flow")
            case = f"{sequence}_{number:04d}"
            said[case], patients[case] = {"pose": 1}, sequence.rpartition("_")[0]
            images[case] = dict.fromkeys(names, (1, *SIDE))
        write_lines(pack / f"{sequence}/pose.txt", *(sixteen(number) for number in range(count)))
        write_surface(pack / f"{sequence}/coverage_mesh.obj")
    return Expected(
        cases=patients, images=images, annotations=said, left=("*/coverage_mesh.obj",), modality={}, aligned=False
    )


def write_wide(path: Path, pixels: NDArray[np.uint16]) -> None:
    """Colours of 16 bits, which Pillow does not write."""
    import tifffile

    tifffile.imwrite(path, pixels, photometric="rgb")


@tree(
    "endomapper",
    evidence=(
        "listing e-extras: find_string 'EndoMapper/Seq_', 'meta-data/colmap'",
        "openmedlab/Awesome-Medical-Dataset resources/EndoMapper.md (drawing of the tree)",
        "file id 682529695: rgb/image_%04d.png, depth/aov_image_%04d.exr, trajectory.csv with semicolons",
    ),
)
def endomapper(root: Tree) -> Expected:
    """Videos with much beside them that no case needs, and simulated clips with poses as text."""
    said: dict[str, dict[str, int]] = {}
    for number, sequence in enumerate(("003", "027")):
        frames = np.stack([Phantom(f"{sequence} {at}", SIDE).rgb() for at in range(6)])
        place = f"Sequences/Seq_{sequence}"
        write_video(root / f"{place}/Seq_{sequence}.mov", frames, rate=40)
        write_video(root / f"{place}/Seq_{sequence}_thumbnail.mov", frames[:2, :20, :24], rate=40)
        write_lines(root / f"{place}/Seq_{sequence}.srt", "1", "00:00:00,000 --> 00:00:01,000", "none")
        write_json(root / f"{place}/Seq_{sequence}_info.json", {"Endoscope": number})
        with zipfile.ZipFile(root / f"{place}/meta-data/colmap/Seq_{sequence}.zip", "w") as reconstruction:
            reconstruction.writestr("cameras.txt", "# none")
        said[f"Seq_{sequence}"] = {}
    for count, sequence in ((4, "1"), (3, "2")):
        place = f"Simulated Sequences/Seq_{sequence}"
        for number in range(count):
            frame(root / f"{place}/rgb/image_{number:04d}.png", f"simulated {sequence} {number}")
            (root / f"{place}/depth/aov_image_{number:04d}.exr").parent.mkdir(parents=True, exist_ok=True)
            (root / f"{place}/depth/aov_image_{number:04d}.exr").write_bytes(b"v/1\1\2\0\0\0")
        rows = [UNITY, *unity_rows(count)]
        write_lines(root / f"{place}/trajectory.csv", *(row.replace(",", ";") for row in rows))
        said[f"simulated_Seq_{sequence}"] = {"poses": count}
    write_lines(root / "Calibrations/Endoscope_01/calibration.txt", "none")
    write_json(root / "SamePatient.json", {})
    return Expected(
        cases={case: case for case in said},
        contents={case: ["frames" if "simulated" in case else "video"] for case in said},
        annotations=said,
        split={case: "extra" for case in said if "simulated" in case},
        left=("*_thumbnail.mov", "*.srt", "*_info.json", "Calibrations/*", "SamePatient.json"),
    )


@tree(
    "endoslam",
    evidence=(
        "listing e-extras: find_string 'Cameras/HighCam/', 'UnityCam/Colon/Frames', 'aov_image_0000'",
        "file ids 59950007756, 51875754011: columns of the sheets and of the csv, frame_%06d.jpg, last line broken off",
    ),
)
def endoslam(root: Tree) -> Expected:
    """Sheets whose frames are numbers of the names; a csv that breaks off in its last line; depth in four channels."""
    pack = root.archive("cd2rtzm23r-1.zip")
    said: dict[str, dict[str, int]] = {}
    contents, patients = {}, {}
    for camera, specimen in (("HighCam", "Colon-IV"), ("LowCam", "Stomach-I")):
        place = f"Cameras/{camera}/{specimen}/TumorfreeTrajectory_1"
        for number in (60, 61, 64):
            frame(pack / f"{place}/Frames/frame_{number:06d}.jpg", f"{camera} {number}")
        rows = [
            {"": at, "ImageFrame": number, "Pose_Index": 7 * at, "trans_x": 0.18, "trans_y": 0.45, "trans_z": 0.01 * at}
            | dict(zip(("quot_x", "quot_y", "quot_z", "quot_w"), turn(at), strict=True))
            for at, number in enumerate((60, 61, 64, 65))
        ]
        write_sheet(pack / f"{place}/Poses/{specimen}_poses.xlsx", rows)
        write_lines(pack / f"Cameras/{camera}/Calibration/cam.txt", "156.0, 0, 178.5, 0, 155.7, 181.8, 0, 0, 1")
        case = f"{camera}_{specimen}_TumorfreeTrajectory_1"
        said[case], contents[case], patients[case] = {"poses": 4}, ["frames"], specimen
    place = "UnityCam/Stomach"
    for number in range(4):
        frame(pack / f"{place}/Frames/image_{number:04d}.png", f"unity {number}", (32, 32))
        grey = Phantom(f"depth {number}", (32, 32)).grey()
        write_picture(pack / f"{place}/Pixelwise Depths/aov_image_{number:04d}.png", np.stack([grey] * 4, axis=-1))
    text = "\r\n".join([UNITY, *unity_rows(3), "0.66,8.98,-3.1,0.0"])
    (pack / f"{place}/Poses/stomach_position_rotation.csv").write_text(text)
    case = "UnityCam_Stomach"
    said[case], contents[case], patients[case] = {"poses": 3}, ["frames", "depth"], case
    frame(pack / "OlympusCam/Colon_phantom/Frames/frame_000001.jpg", "olympus 1")
    frame(pack / "OlympusCam/Colon_phantom/Frames/frame_000002.jpg", "olympus 2")
    case = "OlympusCam_Colon_phantom"
    said[case], contents[case], patients[case] = {}, ["frames"], case
    write_surface(pack / "3D_Scanners/Stomach-I/scan_1.ply")
    write_surface(pack / "3D_Scanners/Stomach-I/scan_1.stl")
    case = "scan_Stomach-I_scan_1"
    said[case], contents[case], patients[case] = {}, ["scan"], "Stomach-I"
    return Expected(
        cases=patients,
        contents=contents,
        annotations=said,
        split={"OlympusCam_Colon_phantom": "extra", "scan_Stomach-I_scan_1": "extra"},
        left=("*/cam.txt", "*.stl"),
    )
