"""Downloads, from a mirror on this machine: what comes, and every way in which a mirror can fail."""

import socket
import subprocess
import sys
import threading
import time

import pytest

from tests.data import fakes
from tests.data.fakes import memory_below, serving
from xlenet.data.download import MirrorError, fetch, fetch_from_mirrors
from xlenet.errors import DataError

BODY = bytes(range(256)) * 300
TIMEOUT = 0.15  # seconds: on this machine an answer takes milliseconds
PATIENCE = 5.0  # seconds: where an answer does come, however busy the machine is
SOON = 2.0  # seconds: far above TIMEOUT, far below a wait without one


def get(url, **options):
    return fetch(url, **{"max_bytes": len(BODY), "timeout": PATIENCE} | options)


# ==== one address ====


def test_the_bytes_come(mirror):
    mirror.answers["/file"] = BODY
    assert get(f"{mirror.url}/file") == BODY


def test_bytes_without_an_announced_length_come(mirror):
    def answer(handler):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(BODY)

    mirror.answers["/file"] = answer
    assert get(f"{mirror.url}/file") == BODY


def test_an_empty_file_comes(mirror):
    mirror.answers["/file"] = b""
    assert get(f"{mirror.url}/file") == b""


def test_redirects_are_followed_without_reading_what_they_carry(mirror):
    mirror.answers |= {"/old": fakes.redirect("/new"), "/new": fakes.redirect(f"{mirror.url}/file"), "/file": BODY}
    with memory_below(3_000_000):
        assert get(f"{mirror.url}/old") == BODY


def test_the_proxy_of_the_environment_is_asked(mirror, monkeypatch):
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("http_proxy", mirror.url)
    mirror.answers["http://mirror.invalid/file"] = BODY
    assert get("http://mirror.invalid/file") == BODY


def test_progress_is_told_piece_by_piece(mirror):
    mirror.answers["/folder/file.gz"] = BODY
    told = []
    get(f"{mirror.url}/folder/file.gz", progress=lambda *what: told.append(what))
    assert {name for name, _, _ in told} == {"file.gz"}
    assert {total for _, _, total in told} == {len(BODY)}
    received = [done for _, done, _ in told]
    assert len(received) >= 2
    assert received == sorted(set(received))
    assert received[-1] == len(BODY)


def test_an_error_of_the_progress_callback_is_its_own(mirror):
    def broken(*_):
        raise BrokenPipeError("the screen is gone")

    mirror.answers["/file"] = BODY
    with pytest.raises(BrokenPipeError, match="the screen is gone"):
        get(f"{mirror.url}/file", progress=broken)


# ==== ways to fail ====

FAILURES = {
    "not found": (fakes.status(404), "got HTTP status 404"),
    "broken server": (fakes.status(500), "got HTTP status 500"),
    "too busy": (fakes.status(503), "got HTTP status 503"),
    "redirect to itself": (fakes.redirect("/file"), "got HTTP status 302"),
    "redirect to a file": (fakes.redirect("file:///etc/hosts"), "got HTTP status 302"),
    "redirect to ftp": (fakes.redirect("ftp://127.0.0.1/file"), "unknown url type: ftp"),
    "cut short": (fakes.truncated(BODY), r"got 38,400 bytes and then the end; expected 76,800"),
    "announced too large": (lambda h: fakes.send(h, b"", length=10**12), "got 1,000,000,000,000 bytes announced"),
    "too large": (lambda h: fakes.send(h, BODY + b"x"), "got 76,801 bytes announced; expected at most 76,800"),
    "endless": (fakes.endless, "got more than 76,800 bytes"),
    "another protocol": (fakes.not_http, r"got no valid HTTP answer \(BadStatusLine\)$"),
    "hangs up": (fakes.hangs_up, "got "),
}
SLOW = {
    "silent": (fakes.silent, "(no answer in 0.15 s|timed out)"),
    "stalls": (fakes.stalling(BODY), "timed out"),
    "drips": (fakes.dripping, "expected 4,096 a second"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_failure_is_named(mirror, case):
    mirror.answers["/file"], message = FAILURES[case]
    with pytest.raises(MirrorError, match=message):
        get(f"{mirror.url}/file")


@pytest.mark.parametrize("case", SLOW)
def test_a_slow_mirror_is_given_up_soon(mirror, case):
    mirror.answers["/file"], message = SLOW[case]
    start = time.monotonic()
    with pytest.raises(MirrorError, match=message):
        get(f"{mirror.url}/file", timeout=TIMEOUT)
    assert time.monotonic() - start < SOON


def test_an_endless_answer_takes_little_memory(mirror):
    mirror.answers["/file"] = fakes.endless
    with memory_below(3_000_000), pytest.raises(MirrorError, match="got more than 100,000 bytes"):
        get(f"{mirror.url}/file", max_bytes=100_000)


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(MirrorError, match="refused"):
        get(f"http://127.0.0.1:{port}/file")


def test_a_name_server_that_does_not_answer_is_not_waited_for(monkeypatch):
    released = threading.Event()

    def hang(*_, **__):
        released.wait(10)
        raise socket.gaierror(socket.EAI_AGAIN, "no name server")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    start = time.monotonic()
    with pytest.raises(MirrorError, match=r"got no answer in 0\.15 s"):
        get("http://mirror.invalid/file", timeout=TIMEOUT)
    assert time.monotonic() - start < SOON
    released.set()
    for thread in threading.enumerate():
        if thread.name == "xlenet-open":
            thread.join(5)


def test_an_answer_that_comes_too_late_is_closed(mirror, monkeypatch):
    late, closed = threading.Event(), threading.Event()

    class Response:
        def close(self):
            closed.set()

    def open_late(url, timeout):
        late.wait(5)
        return Response()

    monkeypatch.setattr("xlenet.data.download._open", open_late)
    with pytest.raises(MirrorError, match="no answer"):
        get(mirror.url, timeout=0.01)
    assert not closed.is_set()
    late.set()
    assert closed.wait(5)


def test_an_unknown_name_is_named(monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(MirrorError, match=r"^got Name or service not known$"):
        get("http://mirror.invalid/file")


@pytest.mark.parametrize("url", ["http://[::1/file", "http://127.0.0.1:port/file", "http://a b/file", "nonsense", ""])
def test_an_address_that_is_none_is_a_mirror_error(url):
    with pytest.raises(MirrorError, match="got "):
        get(url)


@pytest.mark.parametrize("scheme", ["file", "ftp", "data"])
def test_other_schemes_are_refused(scheme, tmp_path):
    (tmp_path / "file").write_bytes(BODY)
    with pytest.raises(MirrorError, match=f"unknown url type: {scheme}"):
        get(f"{scheme}://{(tmp_path / 'file').as_posix()}")


# ==== several mirrors ====


def accept(data):
    if data != BODY:
        raise DataError("got other bytes; expected the body")
    return len(data)


def ask(mirrors, timeout=PATIENCE):
    return fetch_from_mirrors(mirrors, "file", accept, max_bytes=len(BODY), timeout=timeout)


@pytest.fixture
def second():
    with serving() as server:
        server.answers["/file"] = BODY
        yield server


def test_only_the_first_mirror_is_asked_if_it_gives(mirror, second):
    mirror.answers["/file"] = BODY
    assert ask([mirror.url, second.url]) == (BODY, len(BODY))
    assert (mirror.asked, second.asked) == (["/file"], [])


BAD_BYTES = {"other bytes": (b"x" + BODY[1:], ""), "fewer bytes": (BODY[:-1], ""), "none": (b"", "")}


@pytest.mark.parametrize("case", FAILURES | BAD_BYTES)
def test_the_second_mirror_gives_what_the_first_does_not(mirror, second, case):
    mirror.answers["/file"], _ = (FAILURES | BAD_BYTES)[case]
    assert ask([mirror.url, second.url]) == (BODY, len(BODY))
    assert second.asked == ["/file"]


@pytest.mark.parametrize("case", SLOW)
def test_the_second_mirror_gives_soon_what_the_first_delays(mirror, second, case):
    mirror.answers["/file"], _ = SLOW[case]
    start = time.monotonic()
    assert ask([mirror.url, second.url], timeout=TIMEOUT * 2) == (BODY, len(BODY))
    assert time.monotonic() - start < SOON


def test_a_mirror_that_failed_comes_last_from_then_on(mirror, second):
    mirrors = [mirror.url, second.url]
    ask(mirrors)
    assert mirrors == [second.url, mirror.url]
    ask(mirrors)
    assert (len(mirror.asked), len(second.asked)) == (1, 2)


def test_each_mirror_has_its_say_when_none_gives(mirror, second):
    second.answers["/file"] = b"x"
    mirrors = [mirror.url, f"{second.url}/"]
    with pytest.raises(MirrorError) as caught:
        ask(mirrors)
    assert str(caught.value) == (
        f"{mirror.url}: got HTTP status 404; {second.url}/: got other bytes; expected the body"
    )
    assert mirrors == [mirror.url, f"{second.url}/"]


def test_no_mirrors_give_nothing():
    with pytest.raises(MirrorError, match="there was none to ask"):
        ask([])


def test_the_data_package_loads_no_network_code():
    code = (
        "import sys, xlenet.data; "
        "assert not {'urllib.request', 'http.client', 'ssl', 'xlenet.data.download'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
