"""Fetching one file from the first mirror that has it: bounded in time and in bytes, and checked before anyone sees it.

A file is held in memory until it is whole and proven, so that a broken download never reaches the disk.
"""

from __future__ import annotations

import http.client
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, MutableSequence
from concurrent.futures import Future
from http.client import HTTPResponse
from typing import Any

from ..backend import Array
from ..errors import DataError, printable
from .addresses import objection, redirected, without_secrets

# Called with the file's name, the bytes received so far, and the bytes in all where the server has told.
Progress = Callable[[str, int, int | None], None]

_PIECE = 1 << 16  # bytes read at a time
_SLOWEST = 4096  # bytes per second, on average, below which a mirror counts as dead
_MOST_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_LONGEST_COMPLAINT = 400  # characters: two digests and some words


class MirrorError(Exception):
    """One mirror did not give the file; the message says why. There may be others."""


def fetch_from_mirrors(
    mirrors: MutableSequence[str],
    name: str,
    check: Callable[[bytes], Array],
    *,
    max_bytes: int,
    timeout: float,
    progress: Progress | None = None,
) -> tuple[bytes, Array]:
    """Return the file `name` from the first mirror whose bytes pass `check`, and what `check` made of them.

    Args:
        mirrors: addresses of folders. One that fails moves to the end, so that the next file need not wait for it. None
            is asked twice, whatever it says about trying again later.
        name: file name below each of them.
        check: raises DataError for bytes that are not the file.
        max_bytes: size in bytes beyond which a download is given up.
        timeout: seconds without an answer, or without a byte, after which a mirror is given up.
        progress: called after each piece.

    Raises:
        MirrorError: no mirror gave the file; the message has each one's reason.
    """
    complaints = []
    for _ in range(len(mirrors)):
        url = f"{mirrors[0].rstrip('/')}/{name}"
        try:
            data = fetch(url, max_bytes=max_bytes, timeout=timeout, progress=progress)
            return data, check(data)
        except (MirrorError, DataError) as error:
            complaints.append(f"{without_secrets(mirrors[0])}: {printable(str(error), _LONGEST_COMPLAINT)}")
            mirrors.append(mirrors.pop(0))
    raise MirrorError("; ".join(complaints) or "there was none to ask")


def fetch(url: str, *, max_bytes: int, timeout: float, progress: Progress | None = None) -> bytes:
    """Return what is at `url`, over https through the proxy that the environment names, or over http from this machine.

    Args:
        url: the address.
        max_bytes: size in bytes beyond which the download is given up.
        timeout: seconds without an answer, or without a byte, after which it is given up.
        progress: called after each piece.

    Raises:
        MirrorError: an address that may not be asked, no answer, another status than success, a redirect that may not
            be followed, too many bytes or too few, or too slow.
    """
    if reason := objection(url):
        raise MirrorError(f"got {without_secrets(url)!r}, {reason}; expected https")
    data, start = bytearray(), time.monotonic()
    with _open_in_time(url, timeout) as response:
        if response.chunked:  # each chunk, and what follows the last one, may take its time, which nothing bounds
            raise MirrorError("got an answer in chunks, without a length; expected the length of the file")
        total = response.length  # counts down while reading
        if total is not None and total > max_bytes:
            raise MirrorError(f"got {total:,} bytes announced; expected at most {max_bytes:,}")
        while piece := _read_piece(response):
            data += piece
            if len(data) > max_bytes:
                raise MirrorError(f"got more than {max_bytes:,} bytes; expected at most that")
            seconds = time.monotonic() - start
            if seconds > timeout + len(data) / _SLOWEST:
                raise MirrorError(f"got {len(data):,} bytes in {seconds:.1f} s; expected {_SLOWEST:,} a second")
            if progress is not None:
                progress(url.rpartition("/")[2], len(data), total)
    if total is not None and len(data) < total:
        raise MirrorError(f"got {len(data):,} bytes and then the end; expected {total:,}")
    return bytes(data)


def _open_in_time(url: str, timeout: float) -> HTTPResponse:
    """Open `url` or give up after `timeout` seconds in all.

    A socket's own time-out covers neither the name server nor the sum over several addresses, redirects and slow
    header lines, so the waiting is left to a thread of its own, which nobody has to outwait.
    """
    opened: Future[HTTPResponse] = Future()

    def work() -> None:
        try:
            opened.set_result(_open(url, timeout))
        except BaseException as error:
            opened.set_exception(error)

    threading.Thread(target=work, name="xlenet-open", daemon=True).start()
    try:
        return opened.result(timeout)
    except TimeoutError:
        opened.add_done_callback(_close_late)
        raise MirrorError(f"got no answer in {timeout:g} s") from None


def _close_late(opened: Future[HTTPResponse]) -> None:
    if opened.exception() is None:
        opened.result().close()


def _open(url: str, timeout: float) -> HTTPResponse:
    """Open `url`, or what it leads to."""
    opener, passed = _opener(), [url]
    while True:
        try:
            response: HTTPResponse = opener.open(passed[-1], timeout=timeout)
            return response
        except urllib.error.HTTPError as error:
            error.close()  # unread: whatever its size
            passed.append(_next_address(error, passed))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _as_mirror_error(error) from error


def _opener() -> urllib.request.OpenerDirector:
    """The standard opener would follow a redirect to ftp, or from https to http, and read what it carries."""
    proxies = {scheme: proxy for scheme, proxy in urllib.request.getproxies().items() if scheme == "https"}
    opener = urllib.request.OpenerDirector()
    handlers: tuple[Any, ...] = (
        urllib.request.ProxyHandler(proxies),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    )
    for handler in handlers:
        opener.add_handler(handler)
    return opener


def _next_address(answer: urllib.error.HTTPError, passed: list[str]) -> str:
    """Return where `answer`, which is none of success, leads to after the addresses `passed`."""
    place = answer.headers.get("Location")
    if answer.code not in _REDIRECTS or place is None:
        later = answer.headers.get("Retry-After", "")
        wish = f" and the wish to be asked again later ({printable(later, 40)}), which is not waited for"
        raise MirrorError(f"got HTTP status {answer.code}{wish if later else ''}") from answer
    target, reason = redirected(passed[-1], place)
    if reason:
        raise MirrorError(f"got {reason} ({without_secrets(target)}); expected one to https") from answer
    if target in passed:
        raise MirrorError(f"got a redirect loop, back to {without_secrets(target)}; expected the file") from answer
    if len(passed) > _MOST_REDIRECTS:
        raise MirrorError(
            f"got {len(passed)} redirects, the last to {without_secrets(target)}; expected the file"
        ) from answer
    return target


def _read_piece(response: HTTPResponse) -> bytes:
    try:
        return response.read1(_PIECE)  # what is there, without waiting for more
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _as_mirror_error(error) from error


def _as_mirror_error(error: Exception) -> MirrorError:
    if isinstance(error, http.client.HTTPException):  # its text may hold whatever the server sent
        return MirrorError(f"got no valid HTTP answer ({type(error).__name__})")
    reason = getattr(error, "reason", error)  # urllib wraps the error that tells
    return MirrorError(f"got {getattr(reason, 'strerror', None) or reason}")
