"""The web as acquisition sees it: plain calls that ask record APIs, patiently and without giving secrets away."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import urlencode

from medshard.errors import AcquisitionError, MissingExtraError
from medshard.registry.acquisition.transfer.addresses import origin_of, public_address
from medshard.registry.acquisition.transfer.background_loop import BackgroundLoop
from medshard.registry.acquisition.transfer.error_pages import redacted, title_of
from medshard.registry.acquisition.transfer.faults import FaultError
from medshard.registry.acquisition.transfer.retries import Origins, Patience
from medshard.registry.acquisition.transfer.settings import TransferSettings
from medshard.registry.hosts.host import Secret

if TYPE_CHECKING:
    from medshard.registry.acquisition.transfer.client import Client

LONGEST_ANSWER_BYTES = 64 << 20
_READING_THREADS = 8
T = TypeVar("T")


class Web:
    """Use in a `with` block. secrets: origin, such as `https://www.kaggle.com`, to what is sent there and only there.

    All requests of one `Web` share connections, cookies and the pauses that hosts ask for.
    """

    def __init__(
        self, settings: TransferSettings | None = None, secrets: Mapping[str, Secret] = MappingProxyType({})
    ) -> None:
        self.settings = settings or TransferSettings()
        self.secrets = {_whole_origin(origin): secret for origin, secret in secrets.items()}
        self.origins = Origins(self.settings)
        self._loop: BackgroundLoop | None = None
        self._client: Client | None = None
        self._threads: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        client_class = _client_class()
        self._loop = BackgroundLoop()
        self._threads = ThreadPoolExecutor(_READING_THREADS, thread_name_prefix="medshard-transfer")
        self._client = self._loop.run(_made(lambda: client_class(self.settings, self.secrets)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop_in_use.run(self.client.close())
        self._loop_in_use.stop()
        self.threads.shutdown(wait=False, cancel_futures=True)
        self._loop = self._client = self._threads = None

    @property
    def client(self) -> Client:
        return _open(self._client)

    @property
    def threads(self) -> ThreadPoolExecutor:
        """For what would hold the event loop up: hashing, flushing, reading buckets."""
        return _open(self._threads)

    @property
    def _loop_in_use(self) -> BackgroundLoop:
        return _open(self._loop)

    @property
    def secret_words(self) -> tuple[str, ...]:
        """What must appear in no message."""
        return tuple(word for secret in self.secrets.values() for word in secret.words)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for work of the event loop; an interrupt cancels it."""
        if self._loop is None:
            work.close()
        return self._loop_in_use.run(work)

    def get_json(self, url: str, *, params: Mapping[str, Any] | None = None, where: str) -> Any:
        """The JSON document behind an address; params: its query.

        Raises AcquisitionError: host.unreachable and host.busy after all tries, host.refused (401, 403), host.gone
        (404, 410), host.answer (no JSON, longer than 64 MiB, another status), host.insecure_redirect, host.redirects,
        host.certificate, host.proxy, host.address.
        """
        address = _with_query(url, params)
        return _parsed(self.run(self._ask("GET", address, None, where)), address, where, self.secret_words)

    def get_text(self, url: str, *, params: Mapping[str, Any] | None = None, where: str) -> str:
        """The text, in UTF-8, behind an address. Raises as `get_json`."""
        address = _with_query(url, params)
        return self.run(self._ask("GET", address, None, where)).decode("utf8", errors="replace")

    def post_json(self, url: str, *, body: Any, where: str) -> Any:
        """The JSON document that answers a JSON document; sent again when the answer is lost. Raises as `get_json`."""
        return _parsed(self.run(self._ask("POST", url, body, where)), url, where, self.secret_words)

    async def _ask(self, method: str, url: str, body: Any, where: str) -> bytes:
        origin = origin_of(url)
        patience = Patience(self.settings, self.origins, origin=origin, address=public_address(url), where=where)
        while True:
            try:
                async with self.origins.turn(origin):
                    return await self._once(method, url, body, where)
            except FaultError as fault:
                await _bear(fault, patience)

    async def _once(self, method: str, url: str, body: Any, where: str) -> bytes:
        # Known only once the extra is there, as all that speaks of answers.
        from medshard.registry.acquisition.transfer.answers import require_success  # noqa: PLC0415

        async with self.client.ask(url, where=where, method=method, body=body) as answer:
            await require_success(answer, asked=url, where=where, secrets=self.secret_words, good=frozenset({200, 201}))
            content = _unpacked(await answer.read(LONGEST_ANSWER_BYTES), answer.headers.get("Content-Encoding", ""))
        if len(content) > LONGEST_ANSWER_BYTES:
            raise _bad_answer(url, {"expected": f"at most {LONGEST_ANSWER_BYTES >> 20} MiB"}, where)
        return content


def _client_class() -> type[Client]:
    try:
        from medshard.registry.acquisition.transfer.client import Client  # noqa: PLC0415 (needs the extra)
    except ImportError as error:
        raise MissingExtraError(
            "acquisition.extra",
            where="acquisition",
            problem="fetching from the web needs a package that is not installed",
            details={"missing": error.name or "aiohttp"},
            action="pip install medshard[acquisition]",
        ) from error
    return Client


async def _bear(fault: FaultError, patience: Patience) -> None:
    """As `Patience.after`; the end names its reason in the problem, which is all that a short report shows."""
    try:
        await patience.after(fault)
    except AcquisitionError as error:
        if error.code != "host.unreachable":
            raise
        raise AcquisitionError(
            error.code,
            where=error.where,
            problem=f"{error.problem} ({fault.reason})",
            details=error.details,
            action=error.action,
        ) from None


async def _made(make: Callable[[], T]) -> T:
    """Something that wants to be made while its event loop runs."""
    return make()


def _open(part: T | None) -> T:
    if part is None:
        raise RuntimeError("a Web is used inside its `with` block only")
    return part


def _whole_origin(origin: str) -> str:
    # `s3://` and `gcs://` have no host.
    return origin_of(origin) if origin.startswith("http") else origin


def _with_query(url: str, params: Mapping[str, Any] | None) -> str:
    if not params:
        return url
    return f"{url}{'&' if '?' in url else '?'}{urlencode(params, doseq=True)}"


def _unpacked(body: bytes, encoding: str) -> bytes:
    """Some hosts pack although they were asked not to."""
    if encoding.lower() != "gzip":
        return body
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as stream:
            return stream.read(LONGEST_ANSWER_BYTES + 1)
    except (OSError, EOFError, zlib.error):
        raise FaultError("a packed answer that cannot be unpacked") from None


def _parsed(content: bytes, url: str, where: str, secrets: tuple[str, ...]) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        found = redacted(title_of(content), secrets) or f"{len(content)} bytes"
        raise _bad_answer(url, {"expected": "JSON", "found": found}, where) from None


def _bad_answer(url: str, details: Mapping[str, str], where: str) -> AcquisitionError:
    return AcquisitionError(
        "host.answer",
        where=where,
        problem=f"{origin_of(url)} gives an answer that is not expected",
        details={"address": public_address(url), **details},
        action="Try again later; if it stays so, the host's interface has changed: report this.",
    )


__all__ = ["Web", "public_address"]
