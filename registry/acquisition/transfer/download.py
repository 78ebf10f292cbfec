"""Files from addresses to targets: several at once, gone on with where an earlier call stopped."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence

from medshard.registry.acquisition.transfer.assembly import together
from medshard.registry.acquisition.transfer.disk_space import require_space
from medshard.registry.acquisition.transfer.journal import read_journal
from medshard.registry.acquisition.transfer.part import journal_path
from medshard.registry.acquisition.transfer.progress import NoProgress, Progress
from medshard.registry.acquisition.transfer.sidecar import find_done
from medshard.registry.acquisition.transfer.wanted import Fetched, Wanted
from medshard.registry.acquisition.transfer.web import Web


def download(wanted: Sequence[Wanted], web: Web, progress: Progress | None = None) -> list[Fetched]:
    """Fetch files, in the order given; those that are there already cost no request and no hashing.

    When one file fails, or the call is interrupted, the others stop in a state that the next call goes on with, and
    the error of the first failing file is raised: AcquisitionError host.unreachable and host.busy after all tries,
    host.refused, host.gone, host.answer, host.insecure_redirect, host.redirects, host.certificate, host.proxy,
    host.address; download.page, download.size, download.changing, download.encoded, download.busy;
    checksum.mismatch; disk.full. MissingExtraError for buckets without their library.
    """
    # Known only once the extra is there.
    from medshard.registry.acquisition.transfer.one_file import fetch_one, fetched  # noqa: PLC0415

    watching = progress or NoProgress()
    found: dict[int, Fetched] = {}
    for number, file in enumerate(wanted):
        done = find_done(file.target, url=file.url, size=file.size, checksum=file.checksum)
        if done is not None:
            found[number] = fetched(file, done)
    missing = [number for number in range(len(wanted)) if number not in found]
    if not missing:
        return [found[number] for number in range(len(wanted))]

    begun = {number: _begun(wanted[number]) for number in missing}
    sizes = {number: max((wanted[number].size or 0) - begun[number], 0) for number in missing}
    require_space([(wanted[number].target, size) for number, size in sizes.items()], where=wanted[missing[0]].where)

    async def work_off(queue: deque[int]) -> None:
        while queue:
            number = queue.popleft()
            found[number] = await fetch_one(wanted[number], web, watching)

    queues = _by_origin(wanted, missing)
    finished = sum(file.size for file in found.values())
    here = finished + sum(begun.values())
    watching.begin(files=len(wanted), size=here + sum(sizes.values()), done=here)
    try:
        connections = web.settings.connections_per_host
        web.run(together(work_off(queue) for queue in queues for _ in range(min(connections, len(queue)))))
    finally:
        watching.end()
    return [found[number] for number in range(len(wanted))]


def _begun(wanted: Wanted) -> int:
    """Bytes that an earlier call has left."""
    known = read_journal(journal_path(wanted.target))
    return known[1].total if known is not None and known[0].url == wanted.url else 0


def _by_origin(wanted: Sequence[Wanted], numbers: Sequence[int]) -> list[deque[int]]:
    queues: dict[str, deque[int]] = defaultdict(deque)
    for number in numbers:
        queues[wanted[number].origin].append(number)
    return list(queues.values())


__all__ = ["Fetched", "Wanted", "download"]
