"""Shards -> torch: the sample stream, patches, mixing and resume. The shard reader itself needs numpy only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medshard.loaders.dataset import ShardDataset
    from medshard.loaders.stream import SampleStream

__all__ = ["SampleStream", "ShardDataset"]


def __getattr__(name: str) -> Any:
    # On demand, so that `import medshard.loaders.shard_reader` works without torch.
    if name == "ShardDataset":
        from medshard.loaders.dataset import ShardDataset  # noqa: PLC0415

        return ShardDataset
    if name == "SampleStream":
        from medshard.loaders.stream import SampleStream  # noqa: PLC0415

        return SampleStream
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
