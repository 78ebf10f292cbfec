"""Trees that settled how trees are written: one of each kind of volume."""

from __future__ import annotations

from trees.dicom_files import write_series
from trees.phantom import Phantom
from trees.table_files import write_lines
from trees.tree import Expected, Tree, tree
from trees.voxel_files import SPACING, ras_affine, write_itk, write_nifti


@tree(
    "promise12",
    evidence=("listing d-abdomen: promise12", "constantinpape/torch-em:torch_em/data/datasets/medical/promise12.py"),
)
def promise12(root: Tree) -> Expected:
    pack = root.archive("training_data.zip")
    labels = {}
    for case in ("Case00", "Case01", "Case49"):
        body = Phantom(case, (8, 32, 32), values=(1,))
        write_itk(pack / f"{case}.mhd", body.mr(), (3.6, 0.6, 0.6), compressed=False)
        write_itk(pack / f"{case}_segmentation.mhd", body.labels.astype("int8"), (3.6, 0.6, 0.6), compressed=False)
        labels[case] = {"prostate": body.counts({1: "prostate"})}
    return Expected(
        cases={case: case for case in labels},
        labels=labels,
        images={case: {"t2": (8, 32, 32)} for case in labels},
        spacing=dict.fromkeys(labels, (3.6, 0.6, 0.6)),
        split=dict.fromkeys(labels, "train"),
    )


@tree("acdc", evidence=("listing c-thorax: acdc", "MIC-DKFZ/nnUNet:nnunetv2/dataset_conversion/Dataset027_ACDC.py"))
def acdc(root: Tree) -> Expected:
    """Two annotated frames of each patient, beside the whole cine, which no case needs."""
    pack = root.archive("ACDC.zip")
    concepts = {1: "right ventricle cavity", 2: "myocardium", 3: "left ventricle cavity"}
    told = {"patient001": ("DCM", 1, 12), "patient101": ("NOR", 1, 14)}
    labels, patients, parts = {}, {}, {}
    for patient, (group, *frames) in told.items():
        part = "training" if patient < "patient101" else "testing"
        folder = f"database/{part}/{patient}"
        write_lines(pack / f"{folder}/Info.cfg", "ED: 1", f"ES: {frames[1]}", f"Group: {group}", "Height: 184.0",
                    "NbFrame: 30", "Weight: 95.0")  # fmt: skip
        for frame in frames:
            case = f"{patient}_frame{frame:02d}"
            body = Phantom(case, (6, 40, 36), values=(1, 2, 3))
            write_nifti(pack / f"{folder}/{case}.nii.gz", body.mr(), (10.0, 1.56, 1.56))
            write_nifti(pack / f"{folder}/{case}_gt.nii.gz", body.labels, (10.0, 1.56, 1.56))
            labels[case], patients[case], parts[case] = {"heart": body.counts(concepts)}, patient, part
        write_nifti(pack / f"{folder}/{patient}_4d.nii.gz", Phantom(patient, (6, 40, 36)).mr(), (10.0, 1.56, 1.56))
    return Expected(
        cases=patients,
        labels=labels,
        split={case: {"training": "train", "testing": "test"}[part] for case, part in parts.items()},
        annotations={
            case: {"diagnosis": {"patient001": "dilated cardiomyopathy", "patient101": "normal"}[patient]}
            for case, patient in patients.items()
        },
        left=("*_4d.nii.gz",),
    )


@tree(
    "abdomenct-1k",
    evidence=("listing d-abdomen: abdomenct-1k", "openmedlab/Awesome-Medical-Dataset:resources/AbdomenCT-1K.md"),
)
def abdomenct_1k(root: Tree) -> Expected:
    """Images in three zips, the masks in a 7z; the last image has no mask."""
    concepts = {1: "liver", 2: "kidney", 3: "spleen", 4: "pancreas"}
    masks = root.archive("Mask.7z", source=3)
    labels = {}
    for number, case in enumerate(("Case_00001", "Case_00400", "Case_01062"), start=1):
        images = root.archive(f"AbdomenCT-1K-ImagePart{number}.zip", source=number - 1)
        body = Phantom(case, (10, 32, 36), values=concepts)
        write_nifti(images / f"AbdomenCT-1K-ImagePart{number}/{case}_0000.nii.gz", body.ct(), SPACING)
        if number < 3:
            write_nifti(masks / f"{case}.nii.gz", body.labels, SPACING)
        labels[case] = {"organs": body.counts(concepts)} if number < 3 else {}
    return Expected(cases={case: case for case in labels}, labels=labels)


@tree("3d-ircadb", evidence=("listing d-abdomen: 3d-ircadb",))
def ircadb(root: Tree) -> Expected:
    """DICOM slices without an ending; a folder of binary slices for each structure; zips in the zip."""
    pack = root.archive("3Dircadb1.zip")
    labels = {}
    structures = {1: "skin", 2: "liver", 3: "bone", 4: "livercyst", 5: "portalvein"}
    for number in (1, 2, 17):
        case = f"3Dircadb1.{number}"
        body = Phantom(case, (5, 36, 36), values=(1, 2, 3, 4, 5, 6, 7))
        inner = pack.archive(f"3Dircadb1/{case}/PATIENT_DICOM.zip")
        write_series(inner.folder / "PATIENT_DICOM", body.ct(), name="image_{n}", first=0)
        masks = pack.archive(f"3Dircadb1/{case}/MASKS_DICOM.zip")
        words = {**structures, 6: "livertumor01", 7: "livertumor02"}
        for value, word in words.items():
            write_series(
                masks.folder / "MASKS_DICOM" / word, body.of(value).astype("uint8") * 255, name="image_{n}", first=0
            )
        labels[case] = {
            "structures": body.counts(
                {1: "skin", 2: "liver", 3: "bone", 4: "liver cyst", 5: "portal vein and splenic vein"}
            ),
            "liver_tumours": body.counts({6: "liver tumour", 7: "liver tumour"}),
        }
    return Expected(cases={case: case for case in labels}, labels=labels)


@tree("totalsegmentator-v2", evidence=("listing a-wholebody: totalsegmentator-v2", "file ids 54503606937, 37328064359"))
def totalsegmentator_v2(root: Tree) -> Expected:
    """A binary file for each structure, of which three are filled and the others empty."""
    pack = root.archive("Totalsegmentator_dataset_v201.zip")
    words = {1: "liver", 2: "kidney_left", 3: "vertebrae_L5", 4: "rib_left_1"}
    concepts = {1: "liver", 2: "left kidney", 3: "L5 vertebra", 4: "left rib 1"}
    labels = {}
    for case in ("s0000", "s0011", "s0738"):
        body = Phantom(case, (24, 24, 24), values=words)
        write_nifti(pack / f"{case}/ct.nii.gz", body.ct(), (1.5, 1.5, 1.5), affine=ras_affine((1.5, 1.5, 1.5)))
        for value, word in words.items():
            write_nifti(
                pack / f"{case}/segmentations/{word}.nii.gz", body.of(value), affine=ras_affine((1.5, 1.5, 1.5))
            )
        labels[case] = {"structures": body.counts(concepts)}
    write_lines(pack / "meta.csv", "image_id;age;gender;institute;study_type;split", "s0000;70;m;I;ct;train")
    return Expected(cases={case: case for case in labels}, labels=labels, left=("meta.csv",))
