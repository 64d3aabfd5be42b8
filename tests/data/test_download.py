"""Downloads, from a mirror on this machine: what comes, and every way in which a mirror can fail."""

import re
import socket
import subprocess
import sys
import threading
import time

import pytest

from tests.data import fakes
from tests.data.fakes import memory_below, serving
from xlenet.data.addresses import objection
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


@pytest.fixture
def proxy(mirror, monkeypatch):
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    for variable in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, mirror.url)
    return mirror


def test_the_proxy_of_the_environment_is_asked_for_https(proxy):
    proxy.answers["mirror.invalid:443"] = fakes.status(403)
    with pytest.raises(MirrorError, match="403"):
        get("https://mirror.invalid/file")
    assert proxy.asked == ["mirror.invalid:443"]


def test_no_proxy_is_asked_for_this_machine(proxy):
    """It would take the request to another machine, in plain http."""
    with serving() as server:
        server.answers["/file"] = BODY
        assert get(f"{server.url}/file") == BODY
    assert proxy.asked == []


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

ELSEWHERE = "http://127.0.0.2:1/file"
FAILURES = {
    "forbidden": (fakes.status(403), "^got HTTP status 403$"),
    "not found": (fakes.status(404), "^got HTTP status 404$"),
    "broken server": (fakes.status(500), "^got HTTP status 500$"),
    "too busy": (fakes.status(503), "^got HTTP status 503$"),
    "too busy for now": (
        fakes.status(503, Retry_After="3600"),
        r"^got HTTP status 503 and the wish to be asked again later \(3600\), which is not waited for$",
    ),
    "asked too often": (
        fakes.status(429, Retry_After="Wed, 21 Oct 2026 07:28:00 GMT"),
        r"^got HTTP status 429 and the wish .* later \(Wed, 21 Oct 2026 07:28:00 GMT\), which is not waited for$",
    ),
    "rude about it": (
        fakes.status(429, Retry_After="\x1b[31m" + "9" * 5000),
        r"later \(\\x1b\[31m9{29}\.\.\.\), which",
    ),
    "not modified": (fakes.status(304), "^got HTTP status 304$"),
    "redirect to itself": (
        fakes.redirect("/file"),
        r"^got a redirect loop, back to http://\S+/file; expected the file$",
    ),
    "redirect to itself and on": (fakes.redirect("/file?"), "^got a redirect loop, back to"),
    "redirect to nowhere": (fakes.status(302), "^got HTTP status 302$"),
    "redirect to http": (
        fakes.redirect(ELSEWHERE),
        r"^got a redirect to http \(http://127\.0\.0\.2:1/file\); expected one to https$",
    ),
    "redirect to another port": (fakes.redirect("http://127.0.0.1:1/file"), "^got a redirect to http "),
    "redirect to a name": (fakes.redirect("http://example.org/file"), "^got a redirect to http "),
    "redirect to a file": (fakes.redirect("file:///etc/hosts"), r"^got a redirect to file \(file:///etc/hosts\);"),
    "redirect to ftp": (fakes.redirect("ftp://127.0.0.1/file"), "^got a redirect to ftp "),
    "redirect with a password": (
        fakes.redirect("https://me:secret@127.0.0.1/file?key=secret"),
        r"^got a bad redirect \(https://127\.0\.0\.1/file\);",
    ),
    "redirect to rubbish": (fakes.redirect("http://[::1/"), r"^got a bad redirect \("),
    "cut short": (fakes.truncated(BODY), r"got 38,400 bytes and then the end; expected 76,800"),
    "broken off": (fakes.resets(BODY), r"^got (Connection reset|.*forcibly closed)"),
    "announced too large": (lambda h: fakes.send(h, b"", length=10**12), "got 1,000,000,000,000 bytes announced"),
    "too large": (lambda h: fakes.send(h, BODY + b"x"), "got 76,801 bytes announced; expected at most 76,800"),
    "in chunks": (fakes.chunks, "got an answer in chunks, without a length"),
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


def test_a_chain_of_redirects_is_followed_five_times(mirror):
    mirror.answers |= {f"/{k}": fakes.redirect(f"/{k + 1}") for k in range(9)} | {"/5": BODY}
    assert get(f"{mirror.url}/0") == BODY
    mirror.answers["/5"] = fakes.redirect("/6")
    mirror.asked.clear()
    with pytest.raises(MirrorError, match=r"^got 6 redirects, the last to http://\S+/6; expected the file$"):
        get(f"{mirror.url}/0")
    assert mirror.asked == [f"/{k}" for k in range(6)]


def test_a_redirect_loop_is_named(mirror):
    mirror.answers |= {"/file": fakes.redirect("/other"), "/other": fakes.redirect("/file")}
    with pytest.raises(MirrorError, match=r"^got a redirect loop, back to http://\S+/file; expected the file$"):
        get(f"{mirror.url}/file")
    assert mirror.asked == ["/file", "/other"]


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
        get("https://mirror.invalid/file", timeout=TIMEOUT)
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
        get("https://mirror.invalid/file")


@pytest.mark.parametrize("url", ["http://[::1/file", "http://127.0.0.1:port/file", "http://a b/file", "nonsense", ""])
def test_an_address_that_is_none_is_a_mirror_error(url):
    with pytest.raises(MirrorError, match=r"^got '.*', which is no address of http or https; expected https$"):
        get(url)


@pytest.mark.parametrize("host", ["mirror.invalid", "10.0.0.1", "[::2]", "localhost.example.org", "127.0.0.1.nip.io"])
def test_plain_http_is_for_this_machine_alone(host, no_network):
    with pytest.raises(MirrorError, match=rf"^got 'http://{re.escape(host)}/file', which is plain http to another"):
        get(f"http://{host}/file")


def test_this_machine_has_several_names():
    for host in ("localhost", "127.0.0.1", "127.8.9.10", "[::1]", "LOCALHOST"):
        assert objection(f"http://{host}:8000/folder/") == ""


def test_a_password_is_neither_used_nor_printed(no_network):
    with pytest.raises(MirrorError) as caught:
        get("https://me:secret@mirror.invalid/file?key=secret")
    assert str(caught.value) == "got 'https://mirror.invalid/file', which has a user name in it; expected https"


@pytest.mark.parametrize("scheme", ["file", "ftp", "data"])
def test_other_schemes_are_refused(scheme, tmp_path):
    (tmp_path / "file").write_bytes(BODY)
    with pytest.raises(MirrorError, match="which is no address of http or https"):
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


def test_what_a_server_says_is_shortened_and_has_no_control_characters(mirror):
    def answer(handler):
        fakes.send(handler, b"", length=10**4000)

    mirror.answers["/file"] = answer
    mirror.answers["/moved/file"] = fakes.redirect("ftp://host/\x1b[2J\x07" + "x" * 5000)
    with pytest.raises(MirrorError) as caught:
        ask([mirror.url, f"{mirror.url}/moved"])
    said = str(caught.value)
    assert "got 10,000,000" in said
    assert r"a redirect to ftp (ftp://host/\x1b[2J\x07xxx" in said
    assert said.isprintable()
    assert len(said) < 1000


def test_no_mirrors_give_nothing():
    with pytest.raises(MirrorError, match="there was none to ask"):
        ask([])


# ==== https ====


def test_https_works(https_mirror, trusting):
    https_mirror.answers["/file"] = BODY
    assert get(f"{https_mirror.url}/file") == BODY


def test_http_of_this_machine_may_lead_to_https(mirror, https_mirror, trusting):
    mirror.answers["/file"] = fakes.redirect(f"{https_mirror.url}/file")
    https_mirror.answers["/file"] = fakes.redirect("/other")
    https_mirror.answers["/other"] = BODY
    assert get(f"{mirror.url}/file") == BODY


def test_https_never_leads_to_http(mirror, https_mirror, trusting):
    mirror.answers["/file"] = BODY
    https_mirror.answers["/file"] = fakes.redirect(f"{mirror.url}/file")
    with pytest.raises(MirrorError, match=rf"^got a redirect to http \({mirror.url}/file\); expected one to https$"):
        get(f"{https_mirror.url}/file")
    assert mirror.asked == []


def test_a_certificate_that_nobody_has_signed_is_refused(https_mirror):
    https_mirror.answers["/file"] = BODY
    with pytest.raises(MirrorError, match=r"^got .*certificate verify failed: self.signed certificate"):
        get(f"{https_mirror.url}/file")
    assert https_mirror.asked == []


def test_a_certificate_for_another_name_is_refused(https_mirror, trusting):
    https_mirror.answers["/file"] = BODY
    with pytest.raises(MirrorError, match=r"^got .*certificate is not valid for 'localhost'"):
        get(f"https://localhost:{https_mirror.server_port}/file")
    assert https_mirror.asked == []


def test_the_data_package_loads_no_network_code():
    code = (
        "import sys, xlenet.data; "
        "assert not {'urllib.request', 'http.client', 'ssl', 'xlenet.data.download'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
