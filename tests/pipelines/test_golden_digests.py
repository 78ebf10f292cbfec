"""What each stage makes of the shipped examples, as digests.

When one differs, the stage's output has changed: raise its entry in CODE_VERSIONS, so that stores are built anew, and
put the digest that the failure prints here, under the new version.
"""

from __future__ import annotations

import pytest

from medshard.pipelines.build import build
from medshard.pipelines.stages.stage import CODE_VERSIONS, StageResult
from medshard.registry import Catalog
from medshard.registry.store import Store
from medshard.registry.store.digests import sha256_json

GOLDEN: dict[tuple[str, str], str] = {
    ("raw", "2"): "44dc503f8078ee4481bc554c8f28eab06e5d598a2812188b4f4b8e006206f96a",
    ("cases", "4"): "8491adaaa71025e0561dba501f97f9b030cc6d83a6dea3b880691864c03f944e",
    ("volumes", "3"): "f78eb6eb07391bd45b8420e27dc1c7232b410d8b407958c5ae230cb51b999a4f",
    ("fingerprint", "2"): "9bb633cf1faa4cfd133840cba8fbd2aa9afb09d84d94ca17b4b84960a9ab2b07",
    ("shards", "3"): "45e3050660ebe13e95a801dd237138e6d97075f5b257045277a067822074202e",
    ("shard file", "3"): "7fd1619f0252709f781c6d45aa888dcf94535c9d0d6fd1f799066e4b85979ee2",
}


def digest_of(result: StageResult) -> str:
    """Of all that the stage says of its cases but the versions of the libraries that decoded them."""
    return sha256_json(
        [
            {
                "case": record.case,
                "output": record.output.digest if record.output else None,
                "facts": dict(record.facts),
                "verdicts": dict(record.verdicts),
                "error": record.error,
            }
            for record in result.manifest.records
        ]
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, StageResult]:
    store = Store.open(tmp_path_factory.mktemp("golden") / "store")
    return {result.stage: result for result in build(store, "format-families", catalog=Catalog.load())}


@pytest.mark.parametrize("stage", list(CODE_VERSIONS))
def test_a_stage_that_changes_its_output_changes_its_version(results: dict[str, StageResult], stage: str) -> None:
    assert {(stage, CODE_VERSIONS[stage]): digest_of(results[stage])} == {
        key: digest for key, digest in GOLDEN.items() if key == (stage, CODE_VERSIONS[stage])
    }


def test_the_packed_shard_has_golden_bytes(results: dict[str, StageResult]) -> None:
    attachments = results["shards"].head.attachments
    assert attachments["shard-00000"].digest == GOLDEN["shard file", CODE_VERSIONS["shards"]]
