"""Archives: what kind a file is, and how its members become files, never outside the target folder."""

from medshard.registry.acquisition.archives.kinds import archive_kind, is_archive
from medshard.registry.acquisition.archives.limits import Limits
from medshard.registry.acquisition.archives.members import Damaged, LeftOut, Member
from medshard.registry.acquisition.archives.names import safe_path
from medshard.registry.acquisition.archives.passwords import archive_password
from medshard.registry.acquisition.archives.unpack import Unpacked, unpack
from medshard.registry.acquisition.archives.volumes import volumes_of

__all__ = [
    "Damaged",
    "LeftOut",
    "Limits",
    "Member",
    "Unpacked",
    "archive_kind",
    "archive_password",
    "is_archive",
    "safe_path",
    "unpack",
    "volumes_of",
]
