"""What nnU-Net itself makes of cases: run by a Python that has nnunetv2, in a process of its own.

    python nnunet_peer.py ROOT

Each folder of ROOT that has a `cases.json` is a data set: {"channels": [names], "cases": {name: spacing (z, y, x)}},
with `<case>.npz` beside it: image (c, z, y, x) float32 and label (z, y, x) uint8. "intensity", {channel number: {mean,
...}}, takes the place of what the planner found, so that voxels can be compared to the last digit. Written are
`facts.json`, what fingerprint and planner say, and `<case>.out.npz` with data and seg of the preprocessor.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np


def main(root: Path) -> None:
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        (root / name).mkdir(exist_ok=True)
        os.environ[name] = str(root / name)
    for number, folder in enumerate(sorted(path.parent for path in root.glob("*/cases.json")), start=1):
        preprocess(root, folder, number)


def preprocess(root: Path, folder: Path, number: int) -> None:
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    stated = json.loads((folder / "cases.json").read_text())
    name = f"Dataset{number:03d}_Cases"
    dataset_json = write_raw(root / "nnUNet_raw" / name, folder, stated)
    (root / "nnUNet_preprocessed" / name).mkdir(exist_ok=True)
    fingerprint = DatasetFingerprintExtractor(number, 1, verbose=False).run(overwrite_existing=True)
    plans = ExperimentPlanner(number).plan_experiment()
    own = plans["foreground_intensity_properties_per_channel"]
    for channel, numbers in stated.get("intensity", {}).items():
        own[channel] = {**own[channel], **numbers}
    manager = PlansManager(plans)
    full = manager.get_configuration("3d_fullres")
    facts: dict[str, Any] = {
        "spacing": list(full.spacing),
        "transpose": list(manager.transpose_forward),
        "schemes": list(full.normalization_schemes),
        "mask": list(full.use_mask_for_norm),
        "intensity": fingerprint["foreground_intensity_properties_per_channel"],
        "relative_size": float(fingerprint["median_relative_size_after_cropping"]),
        "cases": {},
    }
    for case, spacing in stated["cases"].items():
        with np.load(folder / f"{case}.npz") as arrays:
            data, seg = arrays["image"], arrays["label"][None].astype(np.int16)
        data, seg, properties = DefaultPreprocessor(verbose=False).run_case_npy(
            data, seg, {"spacing": spacing}, manager, full, dataset_json
        )
        np.savez(folder / f"{case}.out.npz", data=data, seg=seg)
        facts["cases"][case] = {
            "shape": list(data.shape),
            "crop": [[int(edge) for edge in side] for side in properties["bbox_used_for_cropping"]],
        }
    (folder / "facts.json").write_text(json.dumps(facts, default=float))


def write_raw(raw: Path, folder: Path, stated: dict[str, Any]) -> dict[str, Any]:
    """The folder that nnU-Net reads, with images as NIfTI."""
    import SimpleITK as sitk  # noqa: N813 (the name that everybody knows it by)

    for part in ("imagesTr", "labelsTr"):
        (raw / part).mkdir(parents=True, exist_ok=True)
    values = {0}
    for case, spacing in stated["cases"].items():
        with np.load(folder / f"{case}.npz") as arrays:
            image, label = arrays["image"], arrays["label"]
        values |= {int(value) for value in np.unique(label)}
        files = {f"imagesTr/{case}_{number:04d}.nii.gz": channel for number, channel in enumerate(image)}
        for name, array in {**files, f"labelsTr/{case}.nii.gz": label}.items():
            written = sitk.GetImageFromArray(array)
            written.SetSpacing([float(step) for step in reversed(spacing)])
            sitk.WriteImage(written, str(raw / name))
    dataset_json = {
        "channel_names": {str(number): name for number, name in enumerate(stated["channels"])},
        "labels": {"background": 0, **{f"class {value}": value for value in sorted(values - {0})}},
        "numTraining": len(stated["cases"]),
        "file_ending": ".nii.gz",
    }
    (raw / "dataset.json").write_text(json.dumps(dataset_json))
    return dataset_json


if __name__ == "__main__":
    main(Path(sys.argv[1]))
