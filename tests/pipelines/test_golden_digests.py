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
    ("cases", "2"): "d72a6eb9071a6a874f7c33acea65bf1591e7f8aa5ff9db71cc774ef8b9cbbed2",
    ("volumes", "2"): "76dc5a552c2d33e553b2e255d4cb64367044aa7345cf65861666b1ed1d9a8499",
    ("fingerprint", "1"): "377ea701258f0d19d8d8080aeda5ccf839fac7500c13c08b4d504915cd4ba820",
    ("shards", "1"): "33b2bbd43c431c8ee43381aba686ee39b719a63a98acc481fb5164febd64b1da",
    ("shard file", "1"): "dd8295cc4add02fb5184fa44bacc9cec337ff3b7c7deaef5abd20c20c513c65e",
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
