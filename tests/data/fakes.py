"""Stand-ins for the world outside: a mirror on this machine, and data sets small enough to send in no time."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import socket
import ssl
import struct
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import numpy as np

from xlenet.data.datafile import DataFile
from xlenet.data.registry import Source


class FakeMirror(ThreadingHTTPServer):
    """Serves `answers`: for each path the bytes to send, or a function that is given the handler of the request."""

    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.scheme = "http" if tls is None else "https"
        if tls is not None:  # the handshake is left to the thread of the request
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.answers: dict[str, bytes | Callable[[Any], None]] = {}
        self.asked: list[str] = []
        self.closing = threading.Event()  # for answers that stall: they must not outlive the test

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle is what several tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: FakeMirror

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        answer = self.server.answers.get(self.path, status(404))
        if callable(answer):
            answer(self)
        else:
            send(self, answer)

    def do_CONNECT(self) -> None:
        """As a proxy is asked for a tunnel to a server of https."""
        self.do_GET()

    def log_message(self, *args: Any) -> None:
        """Not on the screen of whoever runs the tests."""


@contextlib.contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[FakeMirror]:
    with FakeMirror(tls) as mirror:
        thread = threading.Thread(target=mirror.serve_forever, kwargs={"poll_interval": 0.005})
        thread.start()
        try:
            yield mirror
        finally:
            mirror.closing.set()
            mirror.shutdown()
            thread.join()


def send(handler: Any, body: bytes, *, length: int | None = None) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    handler.end_headers()
    handler.wfile.write(body)


# ==== ways for a mirror to fail ====


def status(code: int, **headers: str) -> Callable[[Any], None]:
    def answer(handler: Any) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def redirect(to: str) -> Callable[[Any], None]:
    def answer(handler: Any) -> None:
        handler.send_response(302)
        handler.send_header("Location", to)
        handler.end_headers()
        flood(handler)  # nobody should read it

    return answer


def truncated(body: bytes) -> Callable[[Any], None]:
    return lambda handler: send(handler, body[: len(body) // 2], length=len(body))


def silent(handler: Any) -> None:
    handler.server.closing.wait()


def stalling(body: bytes) -> Callable[[Any], None]:
    def answer(handler: Any) -> None:
        send(handler, body[: len(body) // 2], length=len(body))
        handler.server.closing.wait()

    return answer


def dripping(handler: Any) -> None:
    """One byte every 20 ms: no single wait is long."""
    send(handler, b"", length=1000)
    with contextlib.suppress(OSError):
        while not handler.server.closing.wait(0.02):
            handler.wfile.write(b"x")


def chunks(handler: Any) -> None:
    """The length of a chunk, a figure at a time: no single wait is long."""
    handler.protocol_version = "HTTP/1.1"
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    with contextlib.suppress(OSError):
        while not handler.server.closing.wait(0.02):
            handler.wfile.write(b"0")


def endless(handler: Any) -> None:
    """No length announced, and no end."""
    handler.send_response(200)
    handler.end_headers()
    flood(handler)


def flood(handler: Any) -> None:
    """Send without end, or nearly: a reader without a limit should fail its test, not fill the memory."""
    with contextlib.suppress(OSError):
        for _ in range(1000):
            handler.wfile.write(bytes(1 << 16))


def resets(body: bytes) -> Callable[[Any], None]:
    """Half of the body, and then the connection is broken off (RST) and not closed."""

    def answer(handler: Any) -> None:
        send(handler, body[: len(body) // 2], length=len(body))
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()

    return answer


def not_http(handler: Any) -> None:
    handler.wfile.write(b"\x1b[31m220 ready\r\n")


def hangs_up(handler: Any) -> None:
    handler.connection.close()


# ==== small data sets ====


def idx_bytes(array: Any) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def small_source(
    name: str = "small", *, seed: int = 0, by_package: bool = False, pixels: tuple[int, int] = (5, 4)
) -> SimpleNamespace:
    """A data set with 6 training and 3 test images of so many `pixels`, its arrays and its files.

    With `by_package`, what is known of the files is what is known of Fashion-MNIST's, else what is known of MNIST's.
    """
    rng = np.random.default_rng(seed)
    arrays = {}
    for part, n in (("train", 6), ("t10k", 3)):
        arrays[f"{part}-images-idx3-ubyte"] = rng.integers(0, 256, (n, *pixels), np.uint8)
        arrays[f"{part}-labels-idx1-ubyte"] = rng.integers(0, 3, n, np.uint8)
    plain = {file: idx_bytes(array) for file, array in arrays.items()}
    packed = {file: gzip.compress(content) for file, content in plain.items()}
    files = []
    for file, array in arrays.items():
        if by_package:
            digests = (
                f"md5:{hashlib.md5(plain[file]).hexdigest()}",
                f"sha256:{hashlib.sha256(packed[file]).hexdigest()}",
            )
        else:
            digests = (f"sha256:{hashlib.sha256(plain[file]).hexdigest()}", "")
        files.append(DataFile(file, array.shape, *digests))
    source = Source(name, name.upper(), tuple(files), ("https://mirror.invalid/",), ("a", "b", "c"))  # type: ignore[arg-type]
    return SimpleNamespace(source=source, arrays=arrays, plain=plain, packed=packed)


@contextlib.contextmanager
def memory_below(limit: int) -> Iterator[None]:
    """Assert that the block never holds more than `limit` bytes of its own."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()
