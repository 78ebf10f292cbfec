"""Requests over HTTP(S): redirects by hand, credentials for their own origin only, mirrors, cookies, proxies.

The only module that knows aiohttp.
"""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from medshard import __version__
from medshard.errors import AcquisitionError
from medshard.registry.acquisition.transfer.addresses import mirrored, origin_of, public_address, unmirrored
from medshard.registry.acquisition.transfer.faults import FaultError
from medshard.registry.acquisition.transfer.settings import TransferSettings
from medshard.registry.hosts.host import Secret

MOST_REDIRECTS = 10
CONNECT_S = 30.0
# What one turn of the loop can receive fits in, so that reading never stops for a moment that gains nothing.
BUFFER_BYTES = 1 << 20
# Everything that an address may hold; only what it may not is encoded, since a signature covers each character.
_KEPT = "%/:=&?~#+!$,;'@()*[]"
_SHORT_BODY_BYTES = 64 << 10
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, kw_only=True)
class Answer:
    """url: the address that answered, as the host knows it; it may hold a signature and is never shown.

    trusted: whether that address may be asked with the credentials of the first one. instead: the mirror's address
    that was asked in its place, as it may be shown; None where none stands in for it.
    """

    status: int
    headers: Mapping[str, str]
    url: str
    trusted: bool
    instead: str | None
    _response: aiohttp.ClientResponse

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises FaultError when it is cut or stalls."""
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise FaultError(in_words(error)) from None

    async def read(self, longest: int) -> bytes:
        """The body, at most `longest` bytes and one."""
        body = bytearray()
        async for chunk in self.chunks():
            body += chunk
            if len(body) > longest:
                break
        return bytes(body[: longest + 1])


class Client:
    """Belongs to one event loop. secrets: origin -> headers."""

    def __init__(self, settings: TransferSettings, secrets: Mapping[str, Secret]) -> None:
        self._settings = settings
        self._secrets = secrets
        self._proxies = getproxies()
        self._session = aiohttp.ClientSession(
            # The context is made here, so that SSL_CERT_FILE is heard even when it was set after the start.
            connector=aiohttp.TCPConnector(limit=0, ssl=ssl.create_default_context()),
            cookie_jar=aiohttp.CookieJar(unsafe=True),  # also for mirrors that are named by a number
            timeout=aiohttp.ClientTimeout(connect=CONNECT_S, sock_read=settings.stall_s),
            headers={"User-Agent": f"medshard/{__version__}", "Accept-Encoding": "identity"},
            read_bufsize=BUFFER_BYTES,
            auto_decompress=False,
        )

    async def close(self) -> None:
        await self._session.close()

    @asynccontextmanager
    async def ask(
        self,
        url: str,
        *,
        where: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        trusted: bool = True,
    ) -> AsyncIterator[Answer]:
        """The answer at the end of the redirects, open until the block is left.

        body: sent as JSON. trusted: whether credentials may be sent. Raises FaultError for what may be tried again,
        AcquisitionError[host.insecure_redirect, host.redirects, host.address, host.proxy].
        """
        first = origin_of(url)
        current = url
        for _ in range(MOST_REDIRECTS + 1):
            trusted = trusted and origin_of(current) == first
            response = await self._send(current, method, self._all_headers(current, headers, trusted), body, where)
            try:
                if response.status not in _REDIRECTS or "Location" not in response.headers:
                    yield Answer(
                        status=response.status,
                        headers=response.headers,
                        url=current,
                        trusted=trusted,
                        instead=self._instead(current),
                        _response=response,
                    )
                    return
                current = self._next(current, str(response.url), response.headers["Location"], where=where)
                await _read_short_body(response)
                if response.status == HTTPStatus.SEE_OTHER or (response.status in {301, 302} and method == "POST"):
                    method, body = "GET", None
            finally:
                # A body that was not read to its end is not worth the connection.
                response.release() if response.content.at_eof() else response.close()
        raise AcquisitionError(
            "host.redirects",
            where=where,
            problem=f"the host answers with more than {MOST_REDIRECTS} redirects",
            details={"address": public_address(url), "last": public_address(current)},
            action="Open the address in a browser; if it works there, report this.",
        )

    def _all_headers(self, url: str, headers: Mapping[str, str] | None, trusted: bool) -> dict[str, str]:
        secret = self._secrets.get(origin_of(url)) if trusted else None
        return {**(headers or {}), **(secret.headers if secret else {})}

    async def _send(
        self, url: str, method: str, headers: Mapping[str, str], body: Any, where: str
    ) -> aiohttp.ClientResponse:
        actual = mirrored(url, self._settings.mirrors)
        try:
            return await self._session.request(
                method,
                URL(quote(actual, safe=_KEPT, errors="surrogateescape"), encoded=True),
                headers={**headers, **({"Content-Type": "application/json"} if body is not None else {})},
                data=None if body is None else json.dumps(body).encode(),
                allow_redirects=False,
                proxy=self._proxy_of(actual, where),
            )
        except aiohttp.InvalidURL:
            raise _bad_address(url, where) from None
        except aiohttp.ClientConnectorCertificateError as error:
            raise _bad_certificate(url, error, where) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise FaultError(in_words(error)) from None
        except ValueError:
            raise _bad_address(url, where) from None

    def _instead(self, url: str) -> str | None:
        actual = mirrored(url, self._settings.mirrors)
        return public_address(actual) if actual != url else None

    def _proxy_of(self, url: str, where: str) -> str | None:
        parts = urlsplit(url)
        proxy = self._proxies.get(parts.scheme) or self._proxies.get("all")
        if not proxy or proxy_bypass(parts.netloc.rpartition("@")[2]):
            return None
        proxy = proxy if "://" in proxy else f"http://{proxy}"
        if not proxy.startswith(("http://", "https://")):
            raise AcquisitionError(
                "host.proxy",
                where=where,
                problem="the proxy of the environment is of a kind that is not supported",
                details={"expected": "http:// or https://", "found": f"{proxy.partition(':')[0]}://"},
                action="Set HTTPS_PROXY and HTTP_PROXY to a proxy that speaks HTTP, or list the host in NO_PROXY.",
            )
        return proxy

    def _next(self, current: str, actual: str, location: str, *, where: str) -> str:
        """Where a redirect leads to. Raises AcquisitionError[host.insecure_redirect, host.address]."""
        try:
            target = unmirrored(urljoin(actual, location.strip()), self._settings.mirrors)
            scheme = urlsplit(target).scheme
            origin_of(target)
        except ValueError:
            raise _bad_address(location, where) from None
        if scheme not in {"http", "https"}:
            raise _bad_address(target, where)
        if scheme == "http" and (current.startswith("https:") or actual.startswith("https:")):
            raise AcquisitionError(
                "host.insecure_redirect",
                where=where,
                problem="an https address leads to an http address, where anybody on the way can change the bytes",
                details={"address": public_address(current), "leads to": public_address(target)},
                action="Look for a secure address of the file; if the catalog's is outdated, report it.",
            )
        return target


async def _read_short_body(response: aiohttp.ClientResponse) -> None:
    """So that the connection can be used again."""
    if (response.content_length or 0) <= _SHORT_BODY_BYTES and not response.content.at_eof():
        with suppress(aiohttp.ClientError, OSError):
            await response.content.readany()


def _bad_address(url: str, where: str) -> AcquisitionError:
    try:
        shown = public_address(url)
    except ValueError:
        shown = "not readable"
    return AcquisitionError(
        "host.address",
        where=where,
        problem="this is no web address",
        details={"address": shown},
        action="Mend the address in the catalog, or report what the host answers.",
    )


def _bad_certificate(url: str, error: aiohttp.ClientConnectorCertificateError, where: str) -> AcquisitionError:
    reason = getattr(error.certificate_error, "verify_message", "") or "not accepted"
    return AcquisitionError(
        "host.certificate",
        where=where,
        problem=f"{origin_of(url)} does not prove who it is",
        details={"address": public_address(url), "certificate": reason},
        action="Behind an institution's proxy, set SSL_CERT_FILE to its certificates; otherwise ask the host.",
    )


_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (aiohttp.ClientConnectorSSLError, "no secure connection"),
    (aiohttp.ClientConnectorDNSError, "the host's name cannot be resolved"),
    (aiohttp.ConnectionTimeoutError, f"no connection within {CONNECT_S:.0f} s"),
    (TimeoutError, "the connection stalled"),
    (aiohttp.ClientPayloadError, "the connection was cut"),
    (aiohttp.ServerDisconnectedError, "the connection was cut"),
)


def in_words(error: Exception) -> str:
    """What happened, without the text of the exception, which may hold an address with a signature."""
    words = next((words for kind, words in _WORDS if isinstance(error, kind)), None)
    if words is not None:
        return words
    number = error.errno if isinstance(error, OSError) else None
    return f"network error: {os.strerror(number) if number else type(error).__name__}"
