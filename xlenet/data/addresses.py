"""Which addresses data may come from, and how an address or a server's word is shown to a user."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urljoin, urlsplit

from ..errors import printable

_LONGEST_SHOWN = 120


def objection(url: str) -> str:
    """Return why nothing is fetched from `url`, or an empty text where it may be: https, or http to this machine.

    Example:
        >>> objection("https://example.org/mnist/"), objection("http://127.0.0.1:8000/mnist/")
        ('', '')
        >>> objection("http://example.org/mnist/")
        'which is plain http to another machine'
    """
    parts = _split(url)
    if parts is None or not parts.hostname:
        return "which is no address of http or https"
    if "@" in parts.netloc:
        return "which has a user name in it"
    if parts.scheme == "http" and not _is_this_machine(parts.hostname):
        return "which is plain http to another machine"
    return ""


def redirected(source: str, place: str) -> tuple[str, str]:
    """Return where a redirect leads, and why it is not followed, or an empty text where it is.

    It may lead to https. It leads to http only where it stays with the server that sent it.

    Args:
        source: an address without `objection`.
        place: the address that its server names, whole or below its own.

    Example:
        >>> redirected("http://localhost:8000/a", "/b")
        ('http://localhost:8000/b', '')
        >>> redirected("https://example.org/a", "http://example.org/a")
        ('http://example.org/a', 'a redirect to http')
        >>> redirected("https://example.org/a", "file:///a")
        ('file:///a', 'a redirect to file')
    """
    try:
        target = urljoin(source, place)
    except ValueError:
        return place, "a bad redirect"
    here, there = _split(source), _split(target)
    if here is None or there is None:
        scheme = re.match(r"(?!https?:)[a-z][a-z0-9+.-]{,20}(?=:)", target, re.IGNORECASE)
        return target, f"a redirect to {scheme[0]}" if scheme else "a bad redirect"
    if there.scheme == "http" and _origin(here) != _origin(there):
        return target, "a redirect to http"
    return target, "a bad redirect" if objection(target) else ""


def _split(url: str) -> SplitResult | None:
    """Return the parts of an address of http or https, or None for anything else."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port  # looked at late, by a property that raises
    except ValueError:
        return None
    return parts if parts.scheme in ("http", "https") else None


def _origin(parts: SplitResult) -> tuple[str, str | None, int]:
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"


def without_secrets(url: str) -> str:
    """Return `url` as it may be printed: without user name, password and query, which may hold secrets.

    Example:
        >>> without_secrets("https://me:secret@example.org/mnist/?key=secret")
        'https://example.org/mnist/'
    """
    return printable(re.split(r"[?#]", re.sub(r"//[^/?#]*@", "//", url))[0], _LONGEST_SHOWN)
