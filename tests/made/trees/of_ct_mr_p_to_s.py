"""CT and MR volumes with masks: entries from `pancreas-ct` to `sppin`."""

from __future__ import annotations

from trees.dicom_files import write_series
from trees.phantom import Phantom
from trees.scans import SHAPE, scan_with_mask, write_scan
from trees.tree import Expected, Tree, tree
from trees.voxel_files import lps_affine, ras_affine, write_itk, write_nifti, write_slicer_segment


@tree(
    "pansegdata",
    evidence=("listing d-abdomen: find_string 't1/imagesTr/' (file ids 70251785763, 11623407725)",),
)
def panseg(root: Tree) -> Expected:
    """One mask of the site MCF has a header of another orientation, while its voxels lie as those of the image."""
    labels = {}
    for word, cases in (("t1", ("NYU_0162", "MCF_0001")), ("t2", ("NYU_0162",))):
        pack = root.archive(f"{word}.zip")
        for case in cases:
            name = f"{word.upper()}_{case}"
            body = Phantom(name, SHAPE, values=(1,))
            turned = ras_affine((3.0, 1.2, 1.2)) if case == "MCF_0001" else lps_affine((3.0, 1.2, 1.2))
            write_nifti(pack / f"{word}/imagesTr/{case}_0000.nii.gz", body.mr(), (3.0, 1.2, 1.2))
            write_nifti(pack / f"{word}/labelsTr/{case}.nii.gz", body.labels, affine=turned)
            labels[name] = {"pancreas": body.counts({1: "pancreas"})}
    return Expected(cases={case: case for case in labels}, labels=labels)


@tree("parse2022", evidence=("listing c-thorax: github:zhaoziheng/SAT-DS data/jsonl/PARSE2022.jsonl (train/train)",))
def parse2022(root: Tree) -> Expected:
    """Nothing free writes RAR: a zip under its name."""
    pack = root.archive("train.rar", kind="zip")
    labels = {}
    for case in ("PA000005", "PA000174", "PA000317"):
        folder = f"train/{case}"
        image, mask = pack / f"{folder}/image/{case}.nii.gz", pack / f"{folder}/label/{case}.nii.gz"
        labels[case] = {"artery": scan_with_mask(image, mask, {1: "pulmonary artery"})}
    return Expected(cases={case: case for case in labels}, labels=labels, split=dict.fromkeys(labels, "train"))


@tree(
    "pengwin-2024-ct",
    evidence=("listing a-wholebody: github:constantinpape/torch-em torch_em/data/datasets/medical/pengwin.py",),
)
def pengwin(root: Tree) -> Expected:
    """Flat archives with the same names for images and masks; ten fragments of each bone."""
    masks = root.archive("PENGWIN_CT_train_labels.zip", source=1)
    concepts = {1: "sacrum", 2: "sacrum", 11: "left hip bone", 12: "left hip bone", 21: "right hip bone"}
    labels = {}
    for part, cases in ((1, ("001", "050")), (2, ("100",))):
        pack = root.archive(f"PENGWIN_CT_train_images_part{part}.zip")
        for case in cases:
            image, mask = pack / f"{case}.mha", masks / f"{case}.mha"
            labels[case] = {"fragments": scan_with_mask(image, mask, concepts, seed=f"pengwin {case}")}
    return Expected(cases={case: case for case in labels}, labels=labels, split=dict.fromkeys(labels, "train"))


@tree(
    "plethora",
    evidence=("listing c-thorax: github:zhaoziheng/SAT-DS processor.py preprocess_NSCLC",),
)
def plethora(root: Tree) -> Expected:
    """DICOM of one source, masks of two raters and more of another, stored in another orientation."""
    cavities = root.archive("PleThora Thoracic_Cavities June 2020.zip")
    effusions = root.archive("PleThora Effusions June 2020.zip")
    scans = root.archive("NSCLC-Radiomics-OriginalCTs.tcia", source=1, kind="zip")
    labels = {}
    for patient in ("LUNG1-001", "LUNG1-002", "LUNG1-420"):
        body = Phantom(patient, SHAPE, values=(1, 2))
        series = f"manifest-1586193031612/NSCLC-Radiomics/{patient}/09-18-2008-StudyID-NA-69331/0.000000-NA-82046"
        write_series(
            scans.folder / series, body.ct(), spacing=(3.0, 0.98, 0.98), name="1-{n:03d}.dcm", PatientID=patient
        )
        affine = lps_affine((3.0, 0.98, 0.98))
        cavity = cavities / f"Thoracic_Cavities/{patient}/{patient}_thor_cav_primary_reviewer.nii.gz"
        write_nifti(cavity, body.of(1).astype("uint8") * 255, affine=affine)
        labels[patient] = {"cavity-primary": body.counts({1: "thoracic cavity"})}
        if patient == "LUNG1-001":
            for rater in ("first", "second"):
                path = effusions / f"Effusions/{patient}/{patient}_effusion_{rater}_reviewer.nii.gz"
                write_nifti(path, body.of(2), affine=affine)
                labels[patient][f"effusion-{rater}"] = body.counts({2: "pleural effusion"})
    return Expected(cases={case: case for case in labels}, labels=labels)


@tree(
    "qubiq2021-3d-ct",
    evidence=(
        "listing d-abdomen: github:openmedlab/Awesome-Medical-Dataset resources/QUBIQ2021.md",
        "find_string 'training_data_v3_QC/pancreas' (file id 32153146729)",
    ),
)
def qubiq(root: Tree) -> Expected:
    """Two raters for each scan; two scans of one patient."""
    train = root.archive("training_data_v3_QC.zip")
    validation = root.archive("validation_data_qubiq2021_QC.zip")
    told = (
        (train, "training_data_v3_QC/pancreas/case1-1", "pancreas", "pancreas"),
        (train, "training_data_v3_QC/pancreas/case1-2", "pancreas", "pancreas"),
        (train, "training_data_v3_QC/pancreatic-lesion/case1-2", "lesion", "pancreatic lesion"),
        (validation, "validation_data_qubiq2021_QC/pancreas/Validation/case13-1", "pancreas", "pancreas"),
    )
    labels, patients, parts = {}, {}, {}
    for pack, folder, layer, concept in told:
        task = folder.split("/")[1]
        scan = folder.rpartition("/")[2]
        case = f"{task}_{scan}"
        body = Phantom(folder, SHAPE, values=(1,))
        write_scan(pack / f"{folder}/image.nii.gz", body.ct())
        for rater in ("1", "2"):
            write_scan(pack / f"{folder}/task01_seg0{rater}.nii.gz", body.labels)
        labels[case] = {f"{layer}-{rater}": body.counts({1: concept}) for rater in ("1", "2")}
        patients[case] = f"{task}_{scan.removeprefix('case').partition('-')[0]}"
        parts[case] = "train" if pack is train else "validation"
    return Expected(cases=patients, labels=labels, split=parts)


@tree(
    "sega-2023",
    evidence=("listing a-wholebody: github:zhaoziheng/SAT-DS processor.py preprocess_SEGA and data/jsonl/SEGA.jsonl",),
)
def sega(root: Tree) -> Expected:
    """A folder for each case, with a word in brackets after some names."""
    labels = {}
    for part, folder, case in (("KiTS", "K19", "K19"), ("Rider", "R1 (AD)", "R1"), ("Dongyang", "D1", "D1")):
        pack = root.archive(f"{part}.zip")
        body = Phantom(case, SHAPE, values=(1,))
        write_itk(pack / f"{part}/{folder}/{case}.nrrd", body.ct() + (1000 if case != "D1" else 0))
        write_slicer_segment(pack / f"{part}/{folder}/{case}.seg.nrrd", body.of(1), "Aorta")
        labels[case] = {"aorta": body.counts({1: "aortic vessel tree"})}
    return Expected(cases={case: case for case in labels}, labels=labels)


@tree(
    "segthor",
    evidence=(
        "listing c-thorax: github:zhaoziheng/SAT-DS data/jsonl/SegTHOR.jsonl",
        "github:openmedlab/Awesome-Medical-Dataset resources/SegTHOR.md",
    ),
)
def segthor(root: Tree) -> Expected:
    pack = root.archive("SegTHOR.zip")
    concepts = {1: "oesophagus", 2: "heart", 3: "trachea", 4: "aorta"}
    labels = {}
    for case in ("Patient_01", "Patient_21"):
        folder = f"SegTHOR/train/{case}"
        image, mask = pack / f"{folder}/{case}.nii.gz", pack / f"{folder}/GT.nii.gz"
        labels[case] = {"organs": scan_with_mask(image, mask, concepts)}
    scan_with_mask(pack / "SegTHOR/test/Patient_41.nii.gz", None, {})
    return Expected(
        cases={case: case for case in (*labels, "Patient_41")},
        labels=labels,
        split={**dict.fromkeys(labels, "train"), "Patient_41": "test"},
    )


@tree("sliver07", evidence=("listing d-abdomen: github:openmedlab/Awesome-Medical-Dataset resources/SLIVER07.md",))
def sliver07(root: Tree) -> Expected:
    """Detached headers: the voxels lie in .raw files beside them."""
    scans, masks = root.archive("training-scans.zip"), root.archive("training-labels.zip", source=1)
    labels = {}
    for n in ("001", "002", "020"):
        body = Phantom(n, SHAPE, values=(1,))
        write_itk(scans / f"liver-orig{n}.mhd", body.ct(), (2.0, 0.7, 0.7), compressed=False)
        write_itk(masks / f"liver-seg{n}.mhd", body.of(1), (2.0, 0.7, 0.7), compressed=False)
        labels[f"liver-orig{n}"] = {"liver": body.counts({1: "liver"})}
    return Expected(cases={case: case for case in labels}, labels=labels, split=dict.fromkeys(labels, "train"))


@tree("sppin", evidence=("listing d-abdomen: github:openmedlab/Awesome-Medical-Dataset resources/SPPIN.md",))
def sppin(root: Tree) -> Expected:
    """Several dates of one child; T2 and diffusion on grids of their own, and not at each date."""
    pack = root.archive("SPPIN_Dataset.zip")
    labels, patients = {}, {}
    for patient, date in (("PT_06", "20180628"), ("PT_06", "20180815"), ("PT_92", "20200102")):
        case, start = f"{patient}_{date}", f"SPPIN_train/{patient}/{date}/{patient}"
        body = Phantom(case, SHAPE, values=(1,))
        write_scan(pack / f"{start}_T1_gd_{date}.nii", body.mr(), (1.5, 0.8, 0.8))
        write_scan(pack / f"{start}_NB_{date}.nii.gz", body.labels, (1.5, 0.8, 0.8))
        if date == "20180628":
            write_scan(pack / f"{start}_T2_{date}.nii", Phantom(f"{case} t2", (6, 40, 40)).mr(), (4.0, 0.7, 0.7))
            write_scan(pack / f"{start}_DWI_b0_{date}.nii", Phantom(f"{case} b0", (6, 24, 24)).mr(), (4.0, 1.2, 1.2))
            write_scan(pack / f"{start}_DWI_b100_{date}.nii", Phantom(f"{case} b", (6, 24, 24)).mr(), (4.0, 1.2, 1.2))
        labels[case], patients[case] = {"tumour": body.counts({1: "neuroblastoma"})}, patient
    return Expected(cases=patients, labels=labels, split=dict.fromkeys(labels, "train"))


@tree(
    "pancreas-ct",
    evidence=("find_string 'TCIA_pancreas_labels-02-05-2017'", "TCIA: one folder for each patient, study and series"),
)
def pancreas_ct(root: Tree) -> Expected:
    """A series of one host, masks of another, called by the number of the patient."""
    masks = root.archive("TCIA_pancreas_labels-02-05-2017.zip", source=1)
    labels = {}
    for number in ("0001", "0002", "0082"):
        case = f"PANCREAS_{number}"
        body = Phantom(case, SHAPE, values=(1,))
        series = f"Pancreas-CT/{case}/1.2.826.0.1.3680043.2.1125.1.{number}/1.2.826.0.1.3680043.2.1125.2.{number}"
        write_series(root.folder / series, body.ct(), name="{n:06d}.dcm", PatientID=case)
        write_scan(masks / f"label{number}.nii.gz", body.labels)
        labels[case] = {"pancreas": body.counts({1: "pancreas"})}
    return Expected(cases={case: case for case in labels}, labels=labels)
