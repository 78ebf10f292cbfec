"""The store: immutable objects named by digest, records of finished cases, manifests, HEADs and leases."""

from medshard.registry.store.leases import Lease, hold_lease
from medshard.registry.store.manifests import Head, Manifest, publish_manifest, read_head, read_manifest, swap_head
from medshard.registry.store.objects import ObjectRef, Store
from medshard.registry.store.records import CaseRecord, RecordRef, read_record, record_key, write_record

__all__ = [
    "CaseRecord",
    "Head",
    "Lease",
    "Manifest",
    "ObjectRef",
    "RecordRef",
    "Store",
    "hold_lease",
    "publish_manifest",
    "read_head",
    "read_manifest",
    "read_record",
    "record_key",
    "swap_head",
    "write_record",
]
