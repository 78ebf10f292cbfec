"""Volumes with boxes, points, spheres and surfaces: entries from `lld-mmri2023` to `pddca`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from trees.dicom_files import ORIGIN
from trees.phantom import Phantom
from trees.recordings import write_surface
from trees.scans import SHAPE, write_scan
from trees.table_files import write_json, write_lines, write_table
from trees.tree import Expected, Tree, tree
from trees.voxel_files import write_itk, write_nifti

MR_SPACING = (3.0, 0.7, 0.7)
CT_SPACING = (2.5, 0.7, 0.7)


def lps_of(body: Phantom, value: int, spacing: tuple[float, float, float]) -> tuple[float, float, float]:
    """The middle of a structure in mm LPS (x, y, z), of volumes as `voxel_files` places them."""
    z, y, x = body.centre(value)
    return ORIGIN[0] + x * spacing[2], ORIGIN[1] + y * spacing[1], ORIGIN[2] + z * spacing[0]


@tree(
    "lld-mmri2023",
    evidence=(
        "github:LMMMEng/LLD-MMRI2023 main/README.md (tree, phases, classes)",
        "github:LMMMEng/LLD-MMRI2023 main/preprocess/crop_roi.py (Annotation.json; the last slice lies inside)",
        "github:LMMMEng/LLD-MMRI2023 main/datasets/mp_liver_dataset.py (labels.txt: blanks between case and class)",
        "listing d-abdomen: lld-mmri2023 (MR-391135 and MR129136: with and without a hyphen)",
    ),
)
def lld_mmri(root: Tree) -> Expected:
    """Whole phases with boxes, and crops of the same patients; the class of one patient is withheld."""
    pack = root.archive("lld_mmri2023.zip")
    phases = ("T2WI", "DWI", "In Phase", "Out Phase", "C-pre", "C+A", "C+V", "C+Delay")
    images: dict[str, dict[str, tuple[int, ...]]] = {}
    boxes: dict[str, list[str]] = {}
    told: dict[str, list[object]] = {"MR-391135": [], "MR129136": []}
    lesions = {"MR-391135": (6, 6), "MR129136": (-1,)}
    for patient, study, series, phase in (
        ("MR-391135", "391135-1", "301", "T2WI"),
        ("MR-391135", "391135-1", "802", "C+A"),
        ("MR129136", "129136-1", "5", "DWI"),
    ):
        body = Phantom(f"{patient}{phase}", SHAPE, values=(1, 2))
        write_nifti(pack / f"images/{patient}/{study}/{study}-{series}.nii.gz", body.mr(), MR_SPACING)
        found = {}
        for number, category in enumerate(lesions[patient]):
            corners = dict(zip("zyx", body.box(number + 1), strict=True))
            cuboid = {f"{axis}_{end}": corner for axis, (low, high) in corners.items()
                      for end, corner in (("min", low), ("max", high - 1))}  # fmt: skip
            found[str(number)] = {"category": category, "bbox": {"2D_box": [], "3D_box": cuboid}}
        told[patient].append(
            {"studyUID": study, "seriesUID": f"{study}-{series}", "phase": phase, "pixel_spacing": [0.7, 0.7],
             "slice_thickness": 3.0, "annotation": {"num_targets": len(found), "lesion": found}}
        )  # fmt: skip
        case = f"{patient}_{study}_{study}-{series}"
        images[case] = {"mr": SHAPE}
        boxes[case] = ["hepatocellular carcinoma"] * 2 if patient == "MR-391135" else ["-1"]
    write_json(pack / "labels/Annotation.json", {"Annotation_info": told, "Category_info": {}})
    names = ("t2", "dwi", "in_phase", "out_phase", "t1", "t1_arterial", "t1_venous", "t1_delayed")
    for patient in told:
        for phase in phases:
            crop = Phantom(f"crop {patient}{phase}", (6, 24, 24)).mr()
            write_nifti(pack / f"classification_dataset/images/{patient}/{phase}.nii.gz", crop, (1.0, 1.0, 1.0))
        images[f"{patient}_crops"] = dict.fromkeys(names, (6, 24, 24))
    folder = "classification_dataset/labels"
    write_lines(pack / f"{folder}/labels.txt", "MR-391135 6", "MR-400851 2")
    write_lines(pack / f"{folder}/labels_val_inaccessible.txt", "MR129136 -1")
    write_lines(pack / f"{folder}/train_fold1.txt", "MR-391135 6")
    write_lines(pack / f"{folder}/val_fold1.txt", "MR-400851 2")
    return Expected(
        cases={case: case.partition("_")[0] for case in images},
        images=images,
        annotations={
            **{case: {"lesions": concepts} for case, concepts in boxes.items()},
            "MR-391135_crops": {"diagnosis": "hepatocellular carcinoma"},
        },
        left=("*_fold1.txt", "*_inaccessible.txt"),
    )


@tree(
    "lndb",
    evidence=(
        "listing c-thorax: lndb (data0 to data5, masks per radiologist)",
        "find_string 'trainNodules_gt.csv', file ids 70937436443, 6177177424 (columns; several RadID in a cell)",
        "the same: a mask's values are the findings of its reader; Nodule is 1 or 0; scans without a finding",
        "find_string, file id 55435271959 (masks/masks, trainset_csv/)",
    ),
)
def lndb(root: Tree) -> Expected:
    """Two readers who number the same findings otherwise; a finding that is no nodule; a scan without a finding."""
    masks, tables = root.archive("masks.rar", kind="zip"), root.archive("trainset_csv.zip")
    labels: dict[str, dict[str, dict[str, int]]] = {}
    rows = []
    told = {"LNDb-0001": {1: (1, 3), 2: (2, 1)}, "LNDb-0002": {1: (1,)}, "LNDb-0146": {1: ()}}
    for number, (case, readers) in enumerate(told.items()):
        pack = root.archive(f"data{number}.rar", kind="zip")
        body = Phantom(case, SHAPE, values=(1, 2, 3)[: len(readers[1])])
        write_itk(pack / f"data{number}/{case}.mhd", body.ct(), CT_SPACING, compressed=False)
        labels[case] = {}
        for reader, findings in readers.items():
            mask = np.zeros(SHAPE, np.uint8)
            for value, finding in zip(body.values, findings, strict=True):
                mask[body.of(value)] = finding
            write_itk(masks / f"masks/{case}_rad{reader}.mhd", mask, CT_SPACING, compressed=False)
            labels[case][f"nodules-{reader}"] = {"lung nodule": int((mask > 0).sum())} if findings else {}
        for finding, value in enumerate(body.values, start=1):
            place = dict(zip("xyz", lps_of(body, value, CT_SPACING), strict=True))
            reads = {"RadID": ",".join(map(str, readers)),
                     "RadFindingID": ",".join(str(found[finding - 1]) for found in readers.values())}  # fmt: skip
            rows.append({"LNDbID": int(case[-4:]), **reads, "FindingID": finding, **place, "AgrLevel": len(readers),
                         "Nodule": 1, "Volume": 63.2, "Text": 4.7})  # fmt: skip
    x, y, z = lps_of(Phantom("LNDb-0002", SHAPE, values=(1, 2)), 2, CT_SPACING)
    rows.append({"LNDbID": 2, "RadID": "1", "RadFindingID": "2", "FindingID": 2, "x": x, "y": y, "z": z, "AgrLevel": 1,
                 "Nodule": 0, "Volume": 0, "Text": 0})  # fmt: skip
    write_table(tables / "trainset_csv/trainNodules_gt.csv", rows)
    write_table(tables / "trainset_csv/trainNodules.csv", rows)
    write_lines(tables / "trainset_csv/trainCTs.csv", "LNDbID", "1", "2", "146")
    return Expected(
        cases={case: case for case in told},
        labels=labels,
        annotations={
            "LNDb-0001": {"findings": ["lung nodule"] * 2},
            "LNDb-0002": {"findings": ["0", "lung nodule"]},
            "LNDb-0146": {"findings": []},
        },
        split=dict.fromkeys(told, "train"),
        excluded={"LNDb-0146": "annotation.empty"},
        left=("*/trainNodules.csv", "*/trainCTs.csv"),
    )


@tree(
    "lumbosacral-spine-mri",
    evidence=(
        "listing e-extras: lumbosacral-spine-mri (tree, names of the three kinds)",
        "find_string '_nerveroots_', file id 18336000312 (markups of 3D Slicer, _L1_L and _L1_R)",
    ),
)
def lumbosacral(root: Tree) -> Expected:
    """Three sequences on grids of their own; files of points per slice, root and side; no surfaces of one."""
    images, points = {}, {}
    for subject in ("sub-01", "sub-02", "sub-14"):
        shapes = {"CISS": (10, 36, 40), "DESS": (8, 32, 36), "T2TSE": (6, 40, 40)}
        bodies = {name: Phantom(f"{subject} {name}", shape, values=(1, 2)) for name, shape in shapes.items()}
        for name, body in bodies.items():
            write_nifti(root / f"rawdata/{subject}/anat/{subject}_{name}.nii.gz", body.mr(), (1.0, 0.8, 0.8))
        start = f"derivatives/markers/{subject}/{subject}"
        drawn = bodies["CISS"]
        for word in ("cord_1", "cord_2", "dura_12", "ganglions_L5_L", "nerveroots_S1_R", "nerveroots_S1_L"):
            write_markers(root / f"{start}_{word}.json", drawn, curve=not word.startswith("ganglions"))
        if subject != "sub-14":
            for word in ("Cord", "Dura", "Nerveroots"):
                write_surface(root / f"derivatives/model/{subject}/{subject}_{word}.stl", size_mm=8.0)
        images[subject] = {"ciss": (10, 36, 40), "dess": (8, 32, 36), "t2": (6, 40, 40)}
        points[subject] = {
            "cord": ["spinal cord"] * 4, "dura": ["spinal dura mater"] * 2, "ganglions": ["spinal ganglion"],
            "nerve_roots": ["spinal nerve root"] * 4,
        }  # fmt: skip
    write_lines(root / "rawdata/participants.tsv", "participant_id\tage\tsex", "sub-01\t25\tM")
    return Expected(
        cases={subject: subject for subject in images},
        images=images,
        contents={subject: () if subject == "sub-14" else ("cord", "dura", "nerve_roots") for subject in images},
        annotations=points,
        left=("*/participants.tsv",),
    )


def write_markers(path: Path, body: Phantom, *, curve: bool) -> Path:
    """One point on a structure, two of a curve, as 3D Slicer writes them."""
    places = [lps_of(body, value, (1.0, 0.8, 0.8)) for value in ((1, 2) if curve else (1,))]
    points = [{"id": str(n), "label": f"C-{n}", "description": "", "associatedNodeID": "", "position": list(place),
               "orientation": [-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0], "positionStatus": "defined"}
              for n, place in enumerate(places, start=1)]  # fmt: skip
    markup = {"type": "Curve" if curve else "Fiducial", "coordinateSystem": "LPS", "controlPoints": points}
    return write_json(path, {"@schema": "markups-schema-v1.0.0.json#", "markups": [markup]})


@tree(
    "luna16",
    evidence=(
        "listing c-thorax: luna16 (subsets, seg-lungs-LUNA16, annotations.csv beside them)",
        "find_string 'seriesuid,coordX,coordY,coordZ,diameter_mm' (file ids 23842636718, 6650317013)",
    ),
)
def luna16(root: Tree) -> Expected:
    """Spheres in mm; a lung mask with compressed voxels; a scan without a nodule, which no row names."""
    concepts = {3: "left lung", 4: "right lung", 5: "trachea"}
    lungs = root.archive("seg-lungs-LUNA16.zip")
    start = "1.3.6.1.4.1.14519.5.2.1.6279.6001."
    subsets = {
        f"{start}566816709786169715745131047975": 0, f"{start}100225287222365663678666836860": 0,
        f"{start}268030488196493755113553009785": 9,
    }  # fmt: skip
    packs = {0: root.archive("subset0.zip"), 9: root.archive("subset9.zip", source=1)}
    labels, rows = {}, []
    for series, fold in subsets.items():
        body = Phantom(series, (12, 40, 40), values=(3, 4, 5, 6))
        image = body.ct()
        write_itk(packs[fold] / f"subset{fold}/{series}.mhd", image, (1.0, 0.7, 0.7), compressed=False)
        mask = np.where(body.labels < 6, body.labels, 0).astype(np.uint8)
        write_itk(lungs / f"seg-lungs-LUNA16/{series}.mhd", mask, (1.0, 0.7, 0.7))
        labels[series] = {"lungs": body.counts(concepts)}
        if not series.endswith("860"):
            x, y, z = lps_of(body, 6, (1.0, 0.7, 0.7))
            rows.append({"seriesuid": series, "coordX": x, "coordY": y, "coordZ": z, "diameter_mm": 4.224708481})
    write_table(root / "annotations.csv", rows)
    nodules = {series: [] if series.endswith("860") else ["lung nodule"] for series in subsets}
    return Expected(
        cases={series: series for series in subsets},
        labels=labels,
        annotations={series: {"nodules": found} for series, found in nodules.items()},
    )


@tree(
    "mood2022",
    evidence=(
        "listing e-extras: mood2022",
        "find_string 'brain_toy.zip', file id 1817991524 (members of the four zips: brain_train/, toy/, toy_label/)",
        "find_string 'toy_label/sample', file ids 6207984412, 942417559 (toy_0.nii.gz.txt holds one number)",
    ),
)
def mood2022(root: Tree) -> Expected:
    """The toy cases of both regions have the same names; one is normal."""
    labels: dict[str, dict[str, dict[str, int]]] = {}
    sample = {}
    for source, (region, kind) in enumerate((("brain", "mr"), ("abdom", "ct"))):
        train = root.archive(f"{region}_train.zip", source=source)
        toy = root.archive(f"{region}_toy.zip", source=source)
        for number in ("00000", "00001"):
            body = Phantom(f"{region}{number}", (16, 24, 24))
            write_scan(train / f"{region}_train/{number}.nii.gz", getattr(body, kind)(), (1.0, 1.0, 1.0))
        for number in (0, 1):
            case, is_odd = f"{region}_toy_{number}", (region, number) != ("abdom", 1)
            body = Phantom(case, (16, 24, 24), values=(1,) if is_odd else ())
            name = f"toy_{number}.nii.gz"
            write_scan(toy / f"toy/{name}", getattr(body, kind)(), (1.0, 1.0, 1.0))
            write_scan(toy / f"toy_label/pixel/{name}", body.labels, (1.0, 1.0, 1.0))
            write_lines(toy / f"toy_label/sample/{name}.txt", "1" if is_odd else "0")
            labels[case] = {"anomaly": body.counts({1: "anomaly"}) if is_odd else {}}
            sample[case] = {"sample": "anomaly" if is_odd else "normal"}
    train_cases = [f"{region}_{number}" for region in ("brain", "abdom") for number in ("00000", "00001")]
    return Expected(
        cases={case: case for case in (*train_cases, *labels)},
        labels=labels,
        modality={case: "MR" if case.startswith("brain") else "CT" for case in (*train_cases, *labels)},
        annotations=sample,
        split={**dict.fromkeys(train_cases, "train"), **dict.fromkeys(labels, "extra")},
        excluded={"abdom_toy_1": "annotation.empty"},
    )


@tree(
    "pddca",
    evidence=(
        "listing a-wholebody: pddca",
        "find_string 'odont_proc', file ids 68843390158, 49150232787 (0522c0001/ at the root of part 1)",
        "the same: Landmarks_0001.fcsv in RAS; chin, mand_r, mand_l, odont_proc, occ_bone",
    ),
)
def pddca(root: Tree) -> Expected:
    """A binary file for each organ, some absent; landmarks of the bones for some."""
    words = {
        1: "BrainStem", 2: "Chiasm", 3: "Mandible", 4: "OpticNerve_L", 5: "OpticNerve_R", 6: "Parotid_L",
        7: "Parotid_R", 8: "Submandibular_L", 9: "Submandibular_R",
    }  # fmt: skip
    concepts = {
        1: "brainstem", 2: "optic chiasm", 3: "mandible", 4: "left optic nerve", 5: "right optic nerve",
        6: "left parotid gland", 7: "right parotid gland", 8: "left submandibular gland",
        9: "right submandibular gland",
    }  # fmt: skip
    marks = {"chin": 3, "mand_r": 5, "mand_l": 4, "odont_proc": 1, "occ_bone": 2}
    labels, points = {}, {}
    cases = {"0522c0001": (), "0522c0479": (3, 8, 9), "0522c0555": ()}
    for part, (case, absent) in enumerate(cases.items(), start=1):
        pack = root.archive(f"PDDCA-1.4.1_part{part}.zip")
        body = Phantom(case, (12, 40, 40), values=words)
        write_itk(pack / f"{case}/img.nrrd", body.ct(), (3.0, 1.0, 1.0))
        for value in set(words) - set(absent):
            write_itk(pack / f"{case}/structures/{words[value]}.nrrd", body.of(value), (3.0, 1.0, 1.0))
        labels[case] = {"organs": body.counts({n: name for n, name in concepts.items() if n not in absent})}
        if case != "0522c0555":
            write_fcsv(pack / f"{case}/Landmarks_{case[-4:]}.fcsv", body, marks)
            points[case] = {"bone_landmarks": list(marks)}
    return Expected(
        cases={case: case for case in labels},
        labels=labels,
        annotations=points,
        split={case: "test" if case == "0522c0555" else "train" for case in labels},
    )


def write_fcsv(path: Path, body: Phantom, marks: Mapping[str, int]) -> Path:
    """Points on structures, in RAS as versions of Slicer before 4.11 write them."""
    rows = []
    for n, (word, value) in enumerate(marks.items()):
        x, y, z = lps_of(body, value, (3.0, 1.0, 1.0))
        rows.append(f"vtkMRMLMarkupsFiducialNode_{n},{-x:.4f},{-y:.4f},{z:.4f},0,0,0,1,1,1,0,{word},,")
    head = "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"
    return write_lines(path, "# Markups fiducial file version = 4.3", "# CoordinateSystem = 0", head, *rows)
