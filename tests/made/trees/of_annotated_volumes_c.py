"""Volumes and surfaces with tables, points and numbers on them: entries from `pi-cai` to `vessel12`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import SimpleITK
import trimesh
from trees.phantom import Phantom
from trees.picture_files import write_picture
from trees.scans import SHAPE
from trees.table_files import write_json, write_lines, write_table
from trees.tree import Expected, Tree, tree
from trees.voxel_files import write_itk, write_nifti

SIDE = (48, 56)


@tree(
    "pi-cai",
    evidence=(
        "listing d-abdomen: pi-cai",
        "github:DIAGNijmegen/picai_labels clinical_information/marksheet.csv at ce4a472 (columns, words, blanks)",
        "find_string 'picai_public_images_fold0' (file ids 20234736772, 57092511389: sag and cor beside t2w, adc, hbv)",
    ),
)
def pi_cai(root: Tree) -> Expected:
    """Two studies of one patient; a mask that is empty by design; a study of the other reader; coarser ADC."""
    labels_zip = root.archive("picai_labels.zip", source=1)
    top = "picai_labels-ce4a4723d7c46d882a6cbaacb40ed6c4be86282f"
    masks = f"{top}/csPCa_lesion_delineations"
    grades = {3: "ISUP grade 3", 2: "ISUP grade 2"}
    studies = {"10129_1000129": (3, 2), "10129_1000130": (), "10417_1000424": (1,)}
    labels = {}
    for fold, (study, values) in enumerate(studies.items()):
        pack = root.archive(f"picai_public_images_fold{fold}.zip")
        body = Phantom(study, SHAPE, values=values or (9,))
        patient = study.partition("_")[0]
        start = f"{patient}/{study}"
        write_itk(pack / f"{start}_t2w.mha", body.mr(), (3.6, 0.5, 0.5))
        for word in ("adc", "hbv"):
            write_itk(pack / f"{start}_{word}.mha", Phantom(f"{study}{word}", (10, 16, 18)).mr(), (3.6, 1.0, 1.0))
        if fold < 2:
            for word in ("sag", "cor"):
                write_itk(pack / f"{start}_{word}.mha", Phantom(f"{study}{word}", (9, 24, 24)).mr(), (3.6, 0.6, 0.6))
            human = np.where(np.isin(body.labels, tuple(grades)), body.labels, 0).astype(np.uint8)
            write_nifti(labels_zip / f"{masks}/human_expert/resampled/{study}.nii.gz", human, (3.6, 0.5, 0.5))
            write_nifti(labels_zip / f"{masks}/human_expert/original/{study}.nii.gz", human, (3.6, 0.5, 0.5))
            labels[study] = {"expert": body.counts({value: grades[value] for value in values})}
        else:
            write_nifti(labels_zip / f"{masks}/human_expert/Pooch25/{study}.nii.gz", body.of(1), (3.6, 0.5, 0.5))
            labels[study] = {"pooch25": {"clinically significant prostate cancer": body.count(1)}}
        found = body.of(*(values or (9,))[:1])
        write_nifti(labels_zip / f"{masks}/AI/Bosma22a/{study}.nii.gz", found, (3.6, 0.5, 0.5))
        labels[study]["automatic"] = {"clinically significant prostate cancer": int(found.sum())}
        gland = f"{top}/anatomical_delineations/whole_gland/AI/Bosma22b/{study}.nii.gz"
        write_nifti(labels_zip / gland, found, (3.6, 0.5, 0.5))
    columns = ("patient_id,study_id,mri_date,patient_age,psa,psad,prostate_volume,histopath_type,lesion_PIRADS,"
               "lesion_GS,lesion_ISUP,case_ISUP,case_csPCa,center")  # fmt: skip
    write_lines(
        labels_zip / f"{top}/clinical_information/marksheet.csv",
        columns,
        '10129,1000129,2019-05-06,62,8.8,0.2,81,MRBx,"4,4","4+3,3+4","3,2",3,YES,RUMC',
        "10129,1000130,2020-08-28,64,20.4,,104,,2,,,0,NO,RUMC",
        '10417,1000424,2021-04-18,58,,,74,SysBx+MRBx,"4,2","N/A,3+4",",2",2,YES,ZGT',
    )
    write_lines(labels_zip / f"{top}/README.md", "# Labels")
    absent = {f"ISUP grade {grade}": "absent" for grade in (2, 3, 4, 5)}
    cancer = "clinically significant prostate cancer"
    told = {"10129_1000129": (3, "present"), "10129_1000130": (0, "absent"), "10417_1000424": (2, "present")}
    return Expected(
        cases={study: study.partition("_")[0] for study in studies},
        labels=labels,
        annotations={
            study: {
                "csPCa": {cancer: state},
                "ISUP": {**absent, **({f"ISUP grade {grade}": "present"} if grade else {})},
            }
            for study, (grade, state) in told.items()
        },
        excluded={"10129_1000130": "annotation.empty"},
        left=("*/original/*", "*/whole_gland/*", "*/README.md"),
    )


@tree(
    "ribfrac-2020",
    evidence=(
        "listing a-wholebody: ribfrac-2020",
        "find_string 'ribfrac-train-info-1.csv', file ids 70375311493, 7679255909, 41057407759 (columns; Part1, Part2)",
        "the same: label_id 0 is a row of the background; words of the codes",
    ),
)
def ribfrac(root: Tree) -> Expected:
    """Values count the fractures of a scan; the table has a row of the background; a scan without any fracture."""
    codes = {
        1: "displaced rib fracture", 2: "non-displaced rib fracture", 3: "buckle rib fracture",
        4: "segmental rib fracture", -1: "rib fracture",
    }  # fmt: skip
    parts = {
        "RibFrac1": (0, "train-images-1", "train-labels-1", "Part1", (4, -1, 4)),
        "RibFrac301": (1, "train-images-2", "train-labels-2", "Part2", (1,)),
        "RibFrac421": (2, "val-images", "val-labels", "ribfrac-val-{}", (2, 3)),
        "RibFrac422": (2, "val-images", "val-labels", "ribfrac-val-{}", ()),
    }
    packs = {
        word: root.archive(f"ribfrac-{word}.zip", source=source)
        for word, source in {word: told[0] for told in parts.values() for word in told[1:3]}.items()
    }
    packs["test-images"] = root.archive("ribfrac-test-images.zip", source=3)
    tables = {0: root, 1: root.files(source=1), 2: root.files(source=2)}
    rows: dict[int, list[dict[str, object]]] = {0: [], 1: [], 2: []}
    labels, said = {}, {}
    for case, (source, images, masks, folder, fractures) in parts.items():
        body = Phantom(case, SHAPE, values=range(1, len(fractures) + 1))
        image = packs[images] / f"{folder.format('images')}/{case}-image.nii.gz"
        mask = packs[masks] / f"{folder.format('labels')}/{case}-label.nii.gz"
        write_nifti(image, body.ct().astype(np.int32), (1.25, 0.8, 0.8))
        write_nifti(mask, body.labels, (1.25, 0.8, 0.8))
        rows[source] += [{"public_id": case, "label_id": n, "label_code": code}
                         for n, code in enumerate((0, *fractures))]  # fmt: skip
        labels[case] = {"fractures": {"rib fracture": int((body.labels > 0).sum())} if fractures else {}}
        said[case] = {"types": ["0", *sorted({codes[code] for code in fractures})]}
    for source, name in enumerate(("train-info-1", "train-info-2", "val-info")):
        write_table(tables[source] / f"ribfrac-{name}.csv", rows[source])
    test = packs["test-images"] / "ribfrac-test-images/RibFrac501-image.nii.gz"
    write_nifti(test, Phantom("RibFrac501", SHAPE).ct(), (1.25, 0.8, 0.8))
    split = {"RibFrac1": "train", "RibFrac301": "train", "RibFrac421": "validation", "RibFrac422": "validation"}
    return Expected(
        cases={case: case for case in (*parts, "RibFrac501")},
        labels=labels,
        annotations=said,
        split={**split, "RibFrac501": "test"},
        excluded={"RibFrac422": "annotation.empty"},
    )


@tree(
    "sars-cov-2-ct-scan",
    evidence=("listing c-thorax: github:openmedlab/Awesome-Medical-Dataset resources/SARS-COV-2.md",),
)
def sars_cov_2_ct_scan(root: Tree) -> Expected:
    """Blanks and brackets in names; pictures of different sizes."""
    pack = root.archive("sarscov2-ctscan-dataset.zip")
    told = {"COVID/Covid (1).png": "COVID-19", "COVID/Covid (2).png": "COVID-19",
            "non-COVID/Non-Covid (1).png": "COVID-19 negative"}  # fmt: skip
    for path in told:
        shape = (44, 60) if "(2)" in path else SIDE
        write_picture(pack / path, Phantom(path, shape).rgb())
    cases = {Path(path).stem: concept for path, concept in told.items()}
    return Expected(
        cases={case: case for case in cases},
        annotations={case: {"finding": concept} for case, concept in cases.items()},
    )


@tree(
    "spider",
    evidence=(
        "listing a-wholebody: spider",
        "find_string 'Pfirrman grade', file ids 69082636520, 71381055481, 25666404624 (columns; blank grades)",
        "the same: stored LPS and PIR; float images from -1000; int16 masks that T1 and T2 share",
    ),
)
def spider(root: Tree) -> Expected:
    """T1 and T2 share a mask; SPACE is stored along other axes; a disc without a grade."""
    images, masks = root.archive("images.zip"), root.archive("masks.zip")
    values = {1: "vertebra", 2: "vertebra", 9: "vertebra", 100: "spinal canal", 201: "intervertebral disc",
              209: "intervertebral disc"}  # fmt: skip
    columns = ("Modic", "UP endplate", "LOW endplate", "Spondylolisthesis", "Disc herniation", "Disc narrowing",
               "Disc bulging", "Pfirrman grade")  # fmt: skip
    grades = {("1", 1): (0, 1, 0, 0, 0, 1, 1, 3), ("1", 2): (0, 0, 0, 0, 0, 0, 0, 2),
              ("241", 1): (2, 0, 1, 0, 1, 1, 0, "")}  # fmt: skip
    labels, scores = {}, {}
    for case in ("1_t1", "1_t2", "241_t2_SPACE"):
        patient = case.partition("_")[0]
        body = Phantom(f"spider {patient}", (10, 36, 40), values=values)
        scan = body.mr().astype(np.float32) + (0 if case.endswith("SPACE") else -1000) + (case == "1_t2")
        order = "PIR" if case.endswith("SPACE") else "LPS"
        write_oriented(images / f"images/{case}.mha", scan, order)
        write_oriented(masks / f"masks/{case}.mha", body.labels.astype(np.int16), order)
        labels[case] = {"spine": body.counts(values)}
        scores[case] = {
            f"{column} {disc}": float(grade)
            for (who, disc), row in grades.items()
            for column, grade in zip(columns, row, strict=True)
            if who == patient and grade != ""
        }
    table = [{"Patient": patient, "IVD label": disc, **dict(zip(columns, row, strict=True))}
             for (patient, disc), row in grades.items()]  # fmt: skip
    write_table(root / "radiological_gradings.csv", table)
    write_lines(root / "overview.csv", "new_file_name,num_vertebrae,num_discs,sex,birth_date,subset",
                "1_t1,7,7,F ,,training", "1_t2,7,7,F,,training", "241_t2_SPACE,7,7,M,,validation")  # fmt: skip
    return Expected(
        cases={case: case.partition("_")[0] for case in labels},
        labels=labels,
        annotations={case: {"gradings": found} for case, found in scores.items()},
        split={"1_t1": "train", "1_t2": "train", "241_t2_SPACE": "validation"},
    )


def write_oriented(path: Path, voxels: np.ndarray, order: str) -> Path:  # type: ignore[type-arg]
    """A volume whose sagittal slices are stored with their axes in this order."""
    image = SimpleITK.GetImageFromArray(voxels)
    image.SetSpacing((0.7, 0.7, 3.3))
    image.SetOrigin((-20.0, -30.0, 40.0))
    image.SetDirection(SimpleITK.DICOMOrientImageFilter.GetDirectionCosinesFromOrientation(order))
    SimpleITK.WriteImage(image, str(path), True)
    return path


VERTEBRAE = {7: "C7 vertebra", 8: "T1 vertebra", 19: "T12 vertebra", 20: "L1 vertebra", 25: "L6 vertebra",
             28: "T13 vertebra"}  # fmt: skip


@tree(
    "verse19",
    evidence=(
        "listing a-wholebody: github:zhaoziheng/SAT-DS data/jsonl/VerSe.jsonl",
        "find_string 'sub-verse409_split-verse226', file id 21518273872 (names of both editions)",
        "github:anjany/verse utils/sample/sub-verse004_seg-subreg_ctd.json (the axes first, then label, X, Y, Z)",
    ),
)
def verse19(root: Tree) -> Expected:
    """Two scans of one patient; points that count along axes of their own; a preview of each mask."""
    scans = {
        "sub-verse413_split-verse272": "training", "sub-verse413_split-verse239": "training",
        "sub-verse230": "validation", "sub-verse154": "test",
    }  # fmt: skip
    packs = {part: root.archive(f"dataset-verse19{part}.zip") for part in ("training", "validation", "test")}
    labels = {}
    for scan, part in scans.items():
        labels[scan] = write_verse(packs[part], f"dataset-verse19{part}", scan)
    return verse_expected(labels, scans)


@tree(
    "verse20",
    evidence=(
        "listing a-wholebody: verse20 (SAT-DS: dataset-01training; openmedlab: sub-gl003_dir-ax)",
        "find_string 'sub-verse409_split-verse226', file id 21518273872 (sub-gl479 and sub-verse816 without dir)",
    ),
)
def verse20(root: Tree) -> Expected:
    """Other names of the folders than of the archives; some names tell the orientation."""
    scans = {
        "sub-gl003_dir-ax": "training", "sub-verse506_dir-iso": "training", "sub-verse816": "validation",
        "sub-verse572_dir-sag": "test",
    }  # fmt: skip
    packs = {part: root.archive(f"dataset-verse20{part}.zip") for part in ("training", "validation", "test")}
    numbers = {"training": "01", "validation": "02", "test": "03"}
    labels = {}
    for scan, part in scans.items():
        labels[scan] = write_verse(packs[part], f"dataset-{numbers[part]}{part}", scan)
    return verse_expected(labels, scans)


def write_verse(pack: Tree, top: str, scan: str) -> dict[str, dict[str, int]]:
    """A scan, its mask, the centres of the vertebrae and the preview; the voxels of each vertebra."""
    patient = scan.partition("_")[0]
    body = Phantom(scan, (12, 36, 40), values=VERTEBRAE)
    derived = f"{top}/derivatives/{patient}/{scan}"
    write_nifti(pack / f"{top}/rawdata/{patient}/{scan}_ct.nii.gz", body.ct(), (1.0, 0.7, 0.7))
    write_nifti(pack / f"{derived}_seg-vert_msk.nii.gz", body.labels, (1.0, 0.7, 0.7))
    depth, _, width = body.shape
    centres: list[dict[str, object]] = [{"direction": ["P", "I", "R"]}]
    for value in VERTEBRAE:
        z, y, x = body.centre(value)
        # The scan is stored to the left, the back and the head.
        centres.append({"label": value, "X": y, "Y": depth - 1 - z, "Z": width - 1 - x})
    write_json(pack / f"{derived}_seg-subreg_ctd.json", centres)
    write_picture(pack / f"{derived}_seg-vert_snp.png", body.rgb()[6])
    return {"vertebrae": body.counts(VERTEBRAE)}


def verse_expected(labels: Mapping[str, dict[str, dict[str, int]]], scans: Mapping[str, str]) -> Expected:
    parts = {"training": "train", "validation": "validation", "test": "test"}
    return Expected(
        cases={scan: scan.partition("_")[0] for scan in scans},
        labels=labels,
        annotations={scan: {"centroids": list(VERTEBRAE.values())} for scan in scans},
        split={scan: parts[part] for scan, part in scans.items()},
        left=("*_snp.png",),
    )


@tree(
    "teeth3ds",
    evidence=(
        "listing a-wholebody: teeth3ds",
        "github:abenhamadou/3DTeethSeg22_challenge dataset/ (lists: two public sets and a private one)",
        "find_string 'data_part_1.zip', file ids 66121931405, 55185450376 (upper/; labels and instances of the json)",
    ),
)
def teeth3ds(root: Tree) -> Expected:
    """Both jaws of one patient; vertices with colours; lists of another split beside those of the challenge."""
    concepts = {0: "gingiva", 11: "tooth 11", 28: "tooth 28"}
    lower = {0: "gingiva", 31: "tooth 31", 48: "tooth 48"}
    scans = {"01FJT0PR_upper": 1, "01FJT0PR_lower": 1, "0EAKT1CU_upper": 2, "EJWZZZRF_lower": 6}
    packs = {part: root.archive(f"data_part_{part}.zip") for part in (1, 2, 6)}
    said = {}
    for scan, part in scans.items():
        patient, _, jaw = scan.partition("_")
        words = concepts if jaw == "upper" else lower
        start = f"{jaw}/{patient}/{scan}"
        count = write_jaw(packs[part] / f"{start}.obj", size_mm=40.0 + len(said))
        numbers = np.resize([0, 0, 0, *words], count)
        write_json(
            packs[part] / f"{start}.json",
            {"id_patient": patient, "jaw": jaw, "labels": numbers.tolist(),
             "instances": np.searchsorted(list(words), numbers).tolist()},
        )  # fmt: skip
        said[scan] = {
            "teeth": {concept: int((numbers == value).sum()) for value, concept in words.items()},
            "teeth-instances": {"instances": 2},
        }
    lists = root.files(source=2)
    challenge = "dataset/3DTeethSeg_challenge_split"
    write_lines(lists / f"{challenge}/public-training-set-1.txt", "01FJT0PR_lower", "01FJT0PR_upper")
    write_lines(lists / f"{challenge}/public-training-set-2.txt", "0EAKT1CU_upper", "0EAKT1CU_lower")
    write_lines(lists / f"{challenge}/private-testing-set.txt", "EJWZZZRF_lower", "EJWZZZRF_upper")
    write_lines(lists / "dataset/Teeth3DS_split/training_upper.txt", "01FJT0PR_upper")
    return Expected(
        cases={scan: scan.partition("_")[0] for scan in scans},
        contents=dict.fromkeys(scans, ("surface",)),
        annotations=said,
        split={scan: "test" if part == 6 else "train" for scan, part in scans.items()},
        left=("*/Teeth3DS_split/*",),
    )


def write_jaw(path: Path, *, size_mm: float) -> int:
    """A surface in mm as text, with a colour at each vertex. Returns the number of vertices."""
    ball = trimesh.creation.icosphere(subdivisions=2, radius=size_mm / 2)
    points = [f"v {x:.6f} {y:.6f} {z:.6f} 0.50 0.50 0.50" for x, y, z in ball.vertices]
    write_lines(path, *points, *(f"f {a} {b} {c}" for a, b, c in ball.faces + 1))
    return len(ball.vertices)


@tree(
    "vessel12",
    evidence=(
        "listing a-wholebody: vessel12",
        "find_string 'VESSEL12_21_Annotations', file ids 35556403983, 46486483175, 17671100675 (x, y, z, label)",
    ),
)
def vessel12(root: Tree) -> Expected:
    """Points that are vessel or not, for the example scans alone; lung masks under the names of the scans."""
    lungs = root.archive("VESSEL12_01-20_Lungmasks.tar.bz2")
    for archive, number in (("VESSEL12_01-05", "01"), ("VESSEL12_11_15", "11")):
        body = Phantom(f"vessel12 {number}", SHAPE, values=(1,))
        folder = "VESSEL12_11-15" if number == "11" else archive
        write_metaimage(root.archive(f"{archive}.tar.bz2") / f"{folder}/VESSEL12_{number}.mhd", body.ct())
        write_metaimage(lungs / f"VESSEL12_01-20_Lungmasks/VESSEL12_{number}.mhd", body.of(1).astype(np.uint8))
    examples = root.archive("VESSEL12_ExampleScans.tar.bz2")
    said = {}
    for number in ("21", "23"):
        body = Phantom(f"vessel12 {number}", SHAPE, values=(1, 2))
        write_metaimage(examples / f"VESSEL12_ExampleScans/Scans/VESSEL12_{number}.mhd", body.ct())
        lung = body.of(1, 2).astype(np.uint8)
        write_metaimage(examples / f"VESSEL12_ExampleScans/Lungmasks/VESSEL12_{number}.mhd", lung)
        points = [(*voxel(body, 1), 1), (*voxel(body, 2), 1), (3, 4, 5, 0)]
        lines = (",".join(map(str, point)) for point in points)
        write_lines(examples / f"VESSEL12_ExampleScans/Annotations/VESSEL12_{number}_Annotations.csv", *lines)
        said[number] = {"points": ["pulmonary vessel", "pulmonary vessel", "0"]}
    return Expected(
        cases={number: number for number in ("01", "11", "21", "23")},
        images={number: {"ct": SHAPE} for number in ("01", "11", "21", "23")},
        annotations=said,
        left=("*Lungmasks/*",),
    )


def write_metaimage(path: Path, voxels: np.ndarray) -> Path:  # type: ignore[type-arg]
    return write_itk(path, voxels, (1.0, 0.7, 0.7), compressed=False)


def voxel(body: Phantom, value: int) -> Iterable[int]:
    """x, y, z of the middle of a structure."""
    return tuple(round(place) for place in reversed(body.centre(value)))
