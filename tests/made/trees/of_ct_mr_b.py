"""CT and MR volumes with masks: entries from `brats-tcga-gbm` to `cseg-2022`."""

from __future__ import annotations

from collections.abc import Mapping

from trees.dicom_files import write_series
from trees.phantom import Phantom
from trees.picture_files import write_picture
from trees.scans import SHAPE, scan_with_mask, write_scan
from trees.table_files import write_json, write_lines
from trees.tree import Expected, Tree, tree

ISO = (1.0, 1.0, 1.0)
BRATS_WORDS = {"t1": "t1", "t1c": "t1ce", "t2": "t2", "flair": "flair"}
BRATS_2023_WORDS = {"t1": "t1n", "t1c": "t1c", "t2": "t2w", "flair": "t2f"}


def four_sequences(
    pack: Tree, start: str, words: Mapping[str, str], concepts: Mapping[int, str], *, masks: tuple[str, ...] = ()
) -> dict[str, int]:
    """START plus the word of each sequence plus .nii.gz, on one grid; the same mask under each name of `masks`."""
    body = Phantom(start, (14, 24, 24), values=concepts)
    for word in words.values():
        write_scan(pack / f"{start}{word}.nii.gz", body.mr(), ISO)
    for mask in masks:
        write_scan(pack / f"{start}{mask}.nii.gz", body.labels, ISO)
    return body.counts(concepts)


def tcga(root: Tree, folder: str, scans: Mapping[str, tuple[str, bool]]) -> Expected:
    """Each patient with an automatic mask, and some with one that was corrected by hand."""
    package = folder.replace("Pre-operative_TCGA_", "").split("_")[0]
    pack = root.archive(f"BraTS-TCGA-{package}.zip")
    concepts = {1: "non-enhancing tumour core", 2: "peritumoural oedema", 4: "enhancing tumour"}
    words = {"t1": "t1", "t1c": "t1Gd", "t2": "t2", "flair": "flair"}
    labels = {}
    for patient, (date, corrected) in scans.items():
        masks = ("GlistrBoost", "GlistrBoost_ManuallyCorrected") if corrected else ("GlistrBoost",)
        start = f"PKG - BraTS-TCGA-{package}/BraTS-TCGA-{package}/{folder}/{patient}/{patient}_{date}_"
        found = four_sequences(pack, start, words, concepts, masks=masks)
        labels[f"{patient}_{date}"] = {"automatic": found} | ({"corrected": found} if corrected else {})
    return Expected(cases={case: case.split("_")[0] for case in labels}, labels=labels)


@tree(
    "brats-tcga-gbm",
    evidence=("listing b-brain-eyes: github:openmedlab/Awesome-Medical-Dataset resources/BraTS-TCGA-GBM.md",),
)
def brats_tcga_gbm(root: Tree) -> Expected:
    told = {
        "TCGA-02-0006": ("1996.08.23", True),
        "TCGA-02-0009": ("1997.06.14", False),
        "TCGA-06-0119": ("2001.01.12", True),
    }
    return tcga(root, "Pre-operative_TCGA_GBM_NIfTI_and_Segmentations", told)


@tree(
    "brats-tcga-lgg",
    evidence=("listing b-brain-eyes: github:openmedlab/Awesome-Medical-Dataset resources/BraTS-TCGA-LGG.md",),
)
def brats_tcga_lgg(root: Tree) -> Expected:
    told = {
        "TCGA-CS-4942": ("1997.02.22", True),
        "TCGA-CS-4944": ("2001.02.08", False),
        "TCGA-DU-5849": ("1995.04.05", True),
    }
    return tcga(root, "Pre-operative_TCGA_LGG_NIfTI_and_Segmentations", told)


@tree(
    "brats18",
    evidence=("find_string 'MICCAI_BraTS_2018_Data_Training/HGG' (file ids 15050264432, 39065359264, 1477469468)",),
)
def brats18(root: Tree) -> Expected:
    pack = root.archive("MICCAI_BraTS_2018_Data_Training.zip")
    concepts = {1: "necrotic tumour core", 2: "peritumoural oedema", 4: "enhancing tumour"}
    labels = {}
    for grade, case in (("HGG", "Brats18_2013_2_1"), ("HGG", "Brats18_CBICA_AAB_1"), ("LGG", "Brats18_2013_0_1")):
        start = f"MICCAI_BraTS_2018_Data_Training/{grade}/{case}/{case}_"
        labels[case] = {"tumour": four_sequences(pack, start, BRATS_WORDS, concepts, masks=("seg",))}
    write_lines(pack / "MICCAI_BraTS_2018_Data_Training/survival_data.csv", "Brats18ID,Age,Survival,ResectionStatus")
    return Expected(
        cases={case: case for case in labels},
        labels=labels,
        split=dict.fromkeys(labels, "train"),
        left=("*survival_data.csv",),
    )


def brats_2023(root: Tree, word: str, archives: Mapping[str, tuple[str, tuple[str, ...]]]) -> Expected:
    """archives: name of the zip -> folder in it, and the cases as NUMBER-TIMEPOINT."""
    concepts = {1: "non-enhancing tumour core", 2: "peritumoural oedema", 3: "enhancing tumour"}
    labels, patients, parts = {}, {}, {}
    for archive, (folder, cases) in archives.items():
        pack = root.archive(archive)
        is_train = "Train" in folder
        for number in cases:
            case = f"BraTS-{word}-{number}"
            start = f"{folder}/{case}/{case}-"
            found = four_sequences(pack, start, BRATS_2023_WORDS, concepts, masks=("seg",) if is_train else ())
            labels[case] = {"tumour": found} if is_train else {}
            patients[case], parts[case] = case.rsplit("-", 1)[0], "train" if is_train else "validation"
    return Expected(cases=patients, labels=labels, split=parts)


@tree(
    "brats2023-men",
    evidence=("listing b-brain-eyes: github:openmedlab/Awesome-Medical-Dataset resources/BraTS2023-MEN.md",),
)
def brats2023_men(root: Tree) -> Expected:
    name = "ASNR-MICCAI-BraTS2023-MEN-Challenge-"
    archives = {
        f"{name}TrainingData.zip": (f"{name}TrainingData", ("00004-000", "01435-000", "01435-001")),
        f"{name}ValidationData.zip": (f"{name}ValidationData", ("00000-000",)),
    }
    return brats_2023(root, "MEN", archives)


@tree(
    "brats2023-met",
    evidence=(
        "listing b-brain-eyes: github:openmedlab/Awesome-Medical-Dataset resources/BraTS2023-MET.md",
        "listing b-brain-eyes: github:zhaoziheng/SAT-DS data/jsonl/BraTS2023_MET.jsonl (the second archive)",
    ),
)
def brats2023_met(root: Tree) -> Expected:
    name = "ASNR-MICCAI-BraTS2023-MET-Challenge-"
    archives = {
        f"{name}TrainingData.zip": (f"{name}TrainingData", ("00002-000", "00003-000")),
        f"{name}TrainingData_Additional.zip": (f"{name}TrainingData_Additional", ("00810-000",)),
        f"{name}ValidationData.zip": (f"{name}ValidationData", ("00001-000",)),
    }
    return brats_2023(root, "MET", archives)


@tree(
    "brats2023-ped",
    evidence=("listing b-brain-eyes: github:openmedlab/Awesome-Medical-Dataset resources/BraTS2023-PED.md",),
)
def brats2023_ped(root: Tree) -> Expected:
    name = "ASNR-MICCAI-BraTS2023-PED-Challenge-"
    archives = {
        f"{name}TrainingData.zip": (f"{name}TrainingData", ("00002-000", "00003-000")),
        f"{name}ValidationData.zip": (f"{name}ValidationData", ("00001-000",)),
    }
    return brats_2023(root, "PED", archives)


@tree(
    "brats2023-ssa",
    evidence=(
        "listing b-brain-eyes: github:openmedlab/Awesome-Medical-Dataset resources/BraTS2023-SSA.md",
        "listing b-brain-eyes: github:zhaoziheng/SAT-DS data/jsonl/BraTS2023_SSA.jsonl (TrainingData_V2)",
    ),
)
def brats2023_ssa(root: Tree) -> Expected:
    name = "ASNR-MICCAI-BraTS2023-SSA-Challenge-"
    archives = {
        f"{name}TrainingData_V2.zip": (f"{name}TrainingData_V2", ("00002-000", "00007-000")),
        f"{name}ValidationData.zip": (f"{name}ValidationData", ("00001-000",)),
    }
    return brats_2023(root, "SSA", archives)


@tree(
    "brats21",
    evidence=(
        "listing b-brain-eyes: github:MIC-DKFZ/nnUNet nnunetv2/dataset_conversion/Dataset137_BraTS21.py",
        "github:openmedlab/Awesome-Medical-Dataset resources/BraTS2021.md",
    ),
)
def brats21(root: Tree) -> Expected:
    """The copy in tars of which two hold a single case each: they unpack straight to the case folders."""
    concepts = {1: "necrotic tumour core", 2: "peritumoural oedema", 4: "enhancing tumour"}
    labels = {}
    archives = {
        "BraTS2021_Training_Data.tar": ("BraTS2021_00000", "BraTS2021_00081"),
        "BraTS2021_00495.tar": ("BraTS2021_00495",),
        "BraTS2021_00621.tar": ("BraTS2021_00621",),
    }
    for archive, cases in archives.items():
        pack = root.archive(archive, source=1)
        for case in cases:
            found = four_sequences(pack, f"{case}/{case}_", BRATS_WORDS, concepts, masks=("seg",))
            labels[case] = {"tumour": found}
    return Expected(cases={case: case for case in labels}, labels=labels, split=dict.fromkeys(labels, "train"))


@tree(
    "btcv-abdomen",
    evidence=("listing d-abdomen: github:zhaoziheng/SAT-DS data/jsonl/BTCV.jsonl",),
)
def btcv_abdomen(root: Tree) -> Expected:
    pack = root.archive("RawData.zip")
    words = (
        "spleen", "right kidney", "left kidney", "gallbladder", "oesophagus", "liver", "stomach", "aorta",
        "inferior vena cava", "portal vein and splenic vein", "pancreas", "right adrenal gland", "left adrenal gland",
    )  # fmt: skip
    concepts = dict(enumerate(words, start=1))
    labels = {}
    for n in ("0001", "0040", "0061"):
        part, mask = ("Testing", None) if n > "0060" else ("Training", f"RawData/Training/label/label{n}.nii.gz")
        image = pack / f"RawData/{part}/img/img{n}.nii.gz"
        found = scan_with_mask(image, pack / mask if mask else None, concepts, spacing=(3.0, 0.75, 0.75))
        labels[f"img{n}"] = {"organs": found} if found else {}
    return Expected(
        cases={case: case for case in labels},
        labels=labels,
        split={case: "train" if found else "test" for case, found in labels.items()},
        spacing=dict.fromkeys(labels, (3.0, 0.75, 0.75)),
    )


@tree(
    "btcv-cervix",
    evidence=(
        "listing d-abdomen: github:zhaoziheng/SAT-DS data/jsonl/BTCV_Cervix.jsonl",
        "github:openmedlab/Awesome-Medical-Dataset resources/BTCV_Cervix.md",
    ),
)
def btcv_cervix(root: Tree) -> Expected:
    pack = root.archive("CervixRawData.zip")
    concepts = {1: "urinary bladder", 2: "uterus", 3: "rectum", 4: "small bowel"}
    labels = {}
    for case, part in (("0507688", "Training"), ("9570942", "Training"), ("1258230", "Testing")):
        mask = pack / f"RawData/Training/label/{case}-Mask.nii.gz" if part == "Training" else None
        found = scan_with_mask(pack / f"RawData/{part}/img/{case}-Image.nii.gz", mask, concepts)
        labels[case] = {"organs": found} if found else {}
    return Expected(
        cases={case: case for case in labels},
        labels=labels,
        split={case: "train" if found else "test" for case, found in labels.items()},
    )


@tree(
    "chaos-ct",
    evidence=("listing d-abdomen: find_string 'liver_GT_000.png' (file id 23983641805), 'i0000,0000b.dcm'",),
)
def chaos_ct(root: Tree) -> Expected:
    """A comma in the names of the slices; masks pair with them by position, from the head down as the slices are."""
    train, test = root.archive("CHAOS_Train_Sets.zip"), root.archive("CHAOS_Test_Sets.zip")
    labels = {}
    for patient in ("1", "10"):
        body = Phantom(f"chaos ct {patient}", SHAPE, values=(1,))
        folder = f"Train_Sets/CT/{patient}"
        write_series(train.folder / folder / "DICOM_anon", body.ct(), name="i{n:04d},0000b.dcm", first=0)
        for z, mask in enumerate(body.of(1)):
            write_picture(train / f"{folder}/Ground/liver_GT_{z:03d}.png", mask)
        labels[f"train_{patient}"] = {"liver": body.counts({1: "liver"})}
    write_series(
        test.folder / "Test_Sets/CT/3/DICOM_anon", Phantom("chaos ct 3", SHAPE).ct(), name="i{n:04d},0000b.dcm"
    )
    return Expected(
        cases={**{case: case.removeprefix("train_") for case in labels}, "test_3": "3"},
        labels=labels,
        split={**dict.fromkeys(labels, "train"), "test_3": "test"},
    )


@tree("cseg-2022", evidence=("listing b-brain-eyes: github:openmedlab/Awesome-Medical-Dataset resources/cSeg2022.md",))
def cseg(root: Tree) -> Expected:
    pack = root.archive("cSeg-2022.zip")
    concepts = {1: "cerebrospinal fluid", 2: "cerebellar grey matter", 3: "cerebellar white matter"}
    labels = {}
    for n in (1, 2, 13):
        image, mask = pack / f"imagesTr/subject-{n}.nii.gz", pack / f"labelsTr/subject-{n}.nii.gz"
        labels[f"subject-{n}"] = {"cerebellum": scan_with_mask(image, mask, concepts, kind="mr")}
    write_json(pack / "dataset.json", {"numTraining": 13})
    return Expected(
        cases={case: case for case in labels},
        labels=labels,
        split=dict.fromkeys(labels, "train"),
        left=("dataset.json",),
    )
