"""Web addresses: what may be shown of them, whose they are, and which mirror stands in for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

_SECRET_NAME = re.compile(r"sig|token|key|expir|credential|auth|secret|passw|policy|access.?id", re.IGNORECASE)
_USUAL_PORTS = {"http": 80, "https": 443}


def public_address(url: str) -> str:
    """The address as it may be written down: values of signatures, tokens, keys and the like become `...`."""
    parts = urlsplit(url)
    query = "&".join(_public_field(field) for field in parts.query.split("&")) if parts.query else ""
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, query, ""))


def _public_field(field: str) -> str:
    name, equals, _ = field.partition("=")
    return f"{name}=..." if equals and _SECRET_NAME.search(name) else field


def origin_of(url: str) -> str:
    """Scheme and host, with the port only where it is not the usual one: `https://zenodo.org`."""
    parts = urlsplit(url)
    port = parts.port
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    suffix = "" if port is None or port == _USUAL_PORTS.get(parts.scheme) else f":{port}"
    return f"{parts.scheme}://{host}{suffix}"


def mirrored(url: str, mirrors: Mapping[str, str]) -> str:
    """The address that is asked in place of `url`: the longest prefix that has a mirror decides."""
    return _replaced(url, list(mirrors.items()))


def unmirrored(url: str, mirrors: Mapping[str, str]) -> str:
    """What an address of a mirror stands for."""
    return _replaced(url, [(instead, asked) for asked, instead in mirrors.items()])


def _replaced(url: str, pairs: list[tuple[str, str]]) -> str:
    fitting = [(prefix, instead) for prefix, instead in pairs if _is_below(url, prefix)]
    if not fitting:
        return url
    prefix, instead = max(fitting, key=lambda pair: len(pair[0]))
    return instead + url[len(prefix) :]


def _is_below(url: str, prefix: str) -> bool:
    # `https://zenodo.org` is no prefix of `https://zenodo.org.elsewhere.net`.
    return url.startswith(prefix) and (prefix.endswith("/") or url[len(prefix) : len(prefix) + 1] in {"", "/", "?"})
