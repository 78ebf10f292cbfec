"""An export appears whole: written beside its place, and renamed when it is done."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medshard.errors import MedshardError


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder beside `target` that becomes it at the end; nothing is left of it after an error.

    A process that is killed leaves `.NAME.partial-...` beside the target, which may be removed.
    Raises MedshardError[export.not_empty] when there is something in the target already.
    """
    _refuse_content(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
    draft.chmod(0o777 & ~_umask())
    try:
        yield draft
        _refuse_content(target)
        if target.exists():
            target.rmdir()  # empty, or this fails
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _refuse_content(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise MedshardError(
            "export.not_empty",
            where=str(target),
            problem="there is something already, and an export replaces nothing",
            action="Remove it, or name another place with --output.",
        )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
