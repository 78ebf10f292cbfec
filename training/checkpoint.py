"""What is kept of a training: the weights, a JSON that needs no torch to read, and the loss curve."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from medshard.errors import StoreError
from medshard.registry.store import ObjectRef
from medshard.registry.store.digests import canonical_json, sha256_file
from medshard.training.curve import CurvePoint, summarise_losses, write_curve_picture, write_curve_table
from medshard.training.manifest import TrainingManifest

FORMAT_VERSION = 1
WEIGHTS = "checkpoint.pt"
DOCUMENT = "checkpoint.json"

Kind = Literal["masked_autoencoder", "segmentation_network"]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """model: what the network is built from: the recipe's `model` section and, for segmentation, `classes`."""

    kind: Kind
    model: Mapping[str, Any]
    state_dict: Mapping[str, Tensor]
    training_manifest: str


def save_checkpoint(
    folder: Path,
    network: nn.Module,
    *,
    kind: Kind,
    model: Mapping[str, Any],
    manifest: TrainingManifest,
    manifest_ref: ObjectRef,
    curve: Sequence[CurvePoint],
) -> dict[str, Any]:
    """Write `checkpoint.pt`, `checkpoint.json`, `curve.csv` and `curve.png` into a folder.

    Equal trainings give equal bytes.

    Returns the content of `checkpoint.json`, which holds the whole training manifest beside its digest.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    weights = {
        "format_version": FORMAT_VERSION,
        "kind": kind,
        "model": dict(model),
        "training_manifest": manifest_ref.digest,
        "state_dict": state,
    }
    # Written through a stream: given a path, torch puts the file's name into the archive.
    with (folder / WEIGHTS).open("wb") as stream:
        torch.save(weights, stream)
    document = {
        "format_version": FORMAT_VERSION,
        "kind": kind,
        "claim": manifest.claim,
        "model": dict(model),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "step": len(curve),
        "losses": summarise_losses(curve),
        "checkpoint_sha256": sha256_file(folder / WEIGHTS),
        "training_manifest": manifest_ref.digest,
        "manifest": manifest.to_json(),
    }
    (folder / DOCUMENT).write_bytes(canonical_json(document) + b"\n")
    write_curve_table(curve, folder / "curve.csv")
    write_curve_picture(curve, folder / "curve.png", title=f"{manifest.recipe}: {manifest.stage}")
    return document


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint folder, weights only.

    Raises StoreError when a file is missing or unreadable, when the weights are not those that `checkpoint.json` names,
    or when another format version wrote them.
    """
    document = _read_document(folder / DOCUMENT)
    weights = folder / WEIGHTS
    found = sha256_file(weights) if weights.is_file() else "no such file"
    if found != document.get("checkpoint_sha256"):
        raise StoreError(
            "checkpoint.corrupt",
            where=str(weights),
            problem="the weights are not those that checkpoint.json names",
            details={"expected": f"sha256 {document.get('checkpoint_sha256')}", "found": found},
            action="Remove the checkpoint and train the stage again.",
        )
    try:
        content = torch.load(weights, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise StoreError(
            "checkpoint.unreadable",
            where=str(weights),
            problem="torch cannot read the weights",
            details={"reader": error},
        ) from error
    return Checkpoint(
        kind=content["kind"],
        model=content["model"],
        state_dict=content["state_dict"],
        training_manifest=content["training_manifest"],
    )


def _read_document(path: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StoreError(
            "checkpoint.unreadable",
            where=str(path),
            problem="there is no readable checkpoint.json",
            details={"reader": error},
            action="Name the folder of a checkpoint.",
        ) from error
    if document.get("format_version") != FORMAT_VERSION:
        raise StoreError(
            "checkpoint.format_version",
            where=str(path),
            problem="written by another version of the format",
            details={"expected": FORMAT_VERSION, "found": document.get("format_version")},
            action="Install the medshard that wrote it.",
        )
    return document
