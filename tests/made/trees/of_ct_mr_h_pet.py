"""PET and CT of one patient on grids of their own: `hecktor-2022`."""

from __future__ import annotations

from trees.phantom import Phantom
from trees.table_files import write_lines, write_table
from trees.tree import Expected, Tree, tree
from trees.voxel_files import write_nifti


@tree(
    "hecktor-2022",
    evidence=(
        "listing a-wholebody: hecktor-2022 (both trees; CHUM-001, MDA-201)",
        "find_string 'endpoint_training.csv', file id 3225508501 (PatientID, Relapse, RFS; Task 1, Task 2, CenterID)",
    ),
)
def hecktor_2022(root: Tree) -> Expected:
    """PET on a grid of its own; a case without the node, one without an outcome."""
    pack = root.archive("hecktor2022_training_corrected_v3.zip")
    top = "hecktor2022_training_corrected_v3/hecktor2022_training/hecktor2022"
    concepts = {1: "primary gross tumour volume", 2: "nodal gross tumour volume"}
    labels = {}
    for case, values in (("CHUM-001", (1, 2)), ("CHUM-002", (1,)), ("MDA-201", (1, 2))):
        body = Phantom(case, (10, 36, 40), values=values)
        write_nifti(pack / f"{top}/imagesTr/{case}__CT.nii.gz", body.ct(), (3.0, 1.0, 1.0))
        uptake = Phantom(case, (8, 24, 24)).pet()
        write_nifti(pack / f"{top}/imagesTr/{case}__PT.nii.gz", uptake, (3.5, 2.0, 2.0))
        write_nifti(pack / f"{top}/labelsTr/{case}.nii.gz", body.labels, (3.0, 1.0, 1.0))
        labels[case] = {"tumours": body.counts({value: concepts[value] for value in values})}
    outcomes = {"CHUM-001": (0, 1704), "MDA-201": (1, 420)}
    write_table(
        pack / f"{top}/hecktor2022_endpoint_training.csv",
        [{"PatientID": case, "Relapse": relapse, "RFS": days} for case, (relapse, days) in outcomes.items()],
    )
    write_lines(
        pack / f"{top}/hecktor2022_clinical_info_training.csv",
        'PatientID,Task 1,Task 2,CenterID,Gender,Age,Weight,Tobacco,Alcohol,Performance status,"HPV status (0=-, 1=+)",'
        "Surgery,Chemotherapy",
        "CHUM-001,1,1,2,M,73,64,,,,0,,1",
    )
    return Expected(
        cases={case: case for case in labels},
        labels=labels,
        images={case: {"ct": (10, 36, 40), "pet": (8, 24, 24)} for case in labels},
        modality=dict.fromkeys(labels, "PET-CT"),
        annotations={
            case: {"outcome": {"Relapse": float(relapse), "RFS": float(days)}}
            for case, (relapse, days) in outcomes.items()
        },
        split=dict.fromkeys(labels, "train"),
        left=("*_clinical_info_training.csv",),
    )
