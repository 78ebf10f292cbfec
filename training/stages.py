"""How a training stage becomes part of the store: one record, one manifest, one HEAD, like any other stage.

The entry and the case of these records are the recipe's id. Nothing here imports torch, so that a stage that is done
already costs a look into the store and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from medshard.errors import StoreError
from medshard.registry.store import (
    CaseRecord,
    Head,
    Manifest,
    ObjectRef,
    RecordRef,
    Store,
    hold_lease,
    publish_manifest,
    read_manifest,
    read_record,
    record_key,
    swap_head,
    write_record,
)
from medshard.registry.store.manifests import require_head
from medshard.training.manifest import SUFFIX as MANIFEST_SUFFIX

CODE_VERSION = "1"

StageName = Literal["pretrained", "finetuned", "evaluation"]


@dataclass(frozen=True, kw_only=True)
class StageTask:
    """One stage of one recipe, by all that decides its outcome.

    parameters: what the recipe says, as plain JSON. split: the split table.
    inputs: records of the shards that are used, and of the stage before.
    """

    stage: StageName
    recipe: str
    parameters: Mapping[str, Any]
    split: ObjectRef
    inputs: tuple[RecordRef, ...]

    @property
    def key(self) -> str:
        return record_key(
            stage=self.stage,
            code_version=CODE_VERSION,
            entry=self.recipe,
            case=self.recipe,
            parameters={"recipe": dict(self.parameters), "split": self.split.digest},
            inputs=self.inputs,
        )

    @property
    def output_name(self) -> str:
        """What the output is called among the attachments of the HEAD, and its suffix."""
        return "evaluation" if self.stage == "evaluation" else "checkpoint"


def run_stage(store: Store, task: StageTask, work: Callable[[Path], Mapping[str, Any]]) -> Head:
    """The HEAD of a stage; `work` is done only when no record of the same inputs is there.

    work: fills an empty folder, which becomes the output, and returns the facts of the record; `training_manifest`
        among them is the digest of a training manifest in this store.
    """
    with hold_lease(store, f"{task.recipe}/{task.stage}"):
        record = read_record(store, task.key)
        if record is None:
            record = _work_and_record(store, task, work)
        return _make_current(store, task, record)


def stage_record(store: Store, recipe: str, stage: StageName) -> CaseRecord:
    """The current record of a stage of a recipe. Raises StoreError when the stage has not been run."""
    manifest = read_manifest(store, require_head(store, recipe, stage).manifest)
    return manifest.records[0]


def output_folder(store: Store, record: CaseRecord) -> Path:
    """Where the output of a stage lies. Raises StoreError when the record has none."""
    if record.output is None:
        raise StoreError(
            "object.missing",
            where=f"{record.entry}/{record.stage}",
            problem="the stage has no output",
            action="Run the stage again.",
        )
    return store.path(record.output)


def training_manifest_ref(store: Store, digest: str) -> ObjectRef:
    """The name of a training manifest in the store. Raises StoreError when it is not there."""
    size = len(store.read_bytes(ObjectRef(digest=digest, suffix=MANIFEST_SUFFIX, size=0, kind="file")))
    return ObjectRef(digest=digest, suffix=MANIFEST_SUFFIX, size=size, kind="file")


def _work_and_record(store: Store, task: StageTask, work: Callable[[Path], Mapping[str, Any]]) -> CaseRecord:
    with store.scratch() as scratch:
        folder = scratch / task.output_name
        folder.mkdir()
        facts = work(folder)
        output = store.publish_tree(folder, f".{task.output_name}")
    record = CaseRecord(
        stage=task.stage,
        entry=task.recipe,
        case=task.recipe,
        key=task.key,
        code_version=CODE_VERSION,
        inputs=task.inputs,
        output=output,
        facts=facts,
    )
    write_record(store, record)
    return record


def _make_current(store: Store, task: StageTask, record: CaseRecord) -> Head:
    manifest = Manifest(stage=task.stage, entry=task.recipe, code_version=CODE_VERSION, records=(record,))
    attachments = {
        "split": task.split,
        "training_manifest": training_manifest_ref(store, record.facts["training_manifest"]),
    }
    if record.output is not None:
        attachments[task.output_name] = record.output
    head = Head(manifest=publish_manifest(store, manifest), attachments=attachments)
    swap_head(store, task.recipe, task.stage, head)
    return head
