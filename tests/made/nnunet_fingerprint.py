"""Run with a Python that has nnunetv2: what its fingerprint extractor says of cases, and how far its draws scatter.

    python nnunet_fingerprint.py CASES.npz      (arrays image_0, label_0, image_1, ... of (z, y, x))

Prints {"large": numbers of a very large draw, "spread": standard deviation of each over 30 draws of the usual size,
"boxes": what each case is cropped to}.
"""

from __future__ import annotations

import json
import sys

import numpy as np

NAMES = ("mean", "std", "p0_5", "p50", "p99_5")
USUAL, LARGE = 10_000, 2_000_000
SEEDS = 30


def main(path: str) -> None:
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import (
        DatasetFingerprintExtractor,
    )
    from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero

    arrays = np.load(path)
    cases, boxes = [], []
    for n in range(len(arrays.files) // 2):
        image, label, box = crop_to_nonzero(arrays[f"image_{n}"][None], arrays[f"label_{n}"][None].astype(np.int8))
        cases.append((image, label))
        boxes.append([[int(end) for end in side] for side in box])

    def numbers(size: int, seed: int) -> list[float]:
        drawn = [
            DatasetFingerprintExtractor.collect_foreground_intensities(
                label, image, seed=seed + number, num_samples=size
            )[0][0]
            for number, (image, label) in enumerate(cases)
        ]
        values = np.concatenate(drawn)
        return [float(values.mean()), float(values.std()), *np.percentile(values, (0.5, 50.0, 99.5)).tolist()]

    spread = np.std([numbers(USUAL, 100 * seed) for seed in range(SEEDS)], axis=0).tolist()
    large = dict(zip(NAMES, numbers(LARGE, 1234), strict=True))
    json.dump({"large": large, "spread": dict(zip(NAMES, spread, strict=True)), "boxes": boxes}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
