"""How providers are reached: their addresses are set by tenants, who must not reach our own network by them."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from enterprise_ai.identity.sso import Web
from enterprise_ai.identity.sso.errors import AddressNotAllowed, ProviderUnreachable

TRIAL = Web(allow_loopback=True, timeout=1)


@contextmanager
def provider(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[tuple[str, list[str]]]:
    """A server on loopback: its address, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            answer(self)

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def say(body: bytes, *headers: tuple[str, str], status: int = 200) -> Callable[[Any], None]:
    def answer(handler: Any) -> None:
        handler.send_response(status)
        for name, value in (("Content-Length", str(len(body))), *headers):
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "10.0.0.8", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
        "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fd00::1", "fec0::1", "ff02::1", "::127.0.0.1",
        "::ffff:10.0.0.8", "64:ff9b::a00:8", "64:ff9b:1::1", "2002:a00:8::1", "2001:db8::1",
    ],
)  # fmt: skip
def test_names_that_lead_into_a_private_network_are_not_asked(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    def look_up(host: str, port: int, *arguments: Any) -> list[Any]:
        return [(0, 0, 0, "", ("93.184.215.14", port)), (0, 0, 0, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(AddressNotAllowed, match="no public address"):
        Web().get_json("https://login.example.com/")
    Web(allow_private=True).check("https://login.example.com/")


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "2606:2800:21f::1", "::ffff:93.184.215.14", "64:ff9b::5db8:d70e"]
)
def test_names_of_the_internet_are_asked(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, port, *more: [(0, 0, 0, "", (address, port))])
    Web().check("https://login.example.com/")


@pytest.mark.parametrize(
    "url", ["http://login.example.com/", "file:///etc/passwd", "ftp://login.example.com/", "//login.example.com/", ""]
)  # fmt: skip
def test_only_https_is_spoken(url: str) -> None:
    for web in (Web(), TRIAL, Web(allow_private=True)):
        with pytest.raises(AddressNotAllowed, match="not an https address"):
            web.check(url)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "127.1", "0"])
def test_this_machine_is_asked_in_trials_only(host: str) -> None:
    with pytest.raises(AddressNotAllowed):
        Web().check(f"https://{host}/")


def test_what_a_provider_publishes_is_read() -> None:
    with provider(say(b'{"issuer": "x"}')) as (address, _):
        assert TRIAL.get_json(address) == {"issuer": "x"}
        with pytest.raises(AddressNotAllowed):
            Web().get_json(address)
    packed = say(gzip.compress(b'{"issuer": "y"}'), ("Content-Encoding", "gzip"))
    with provider(packed) as (address, _):
        assert TRIAL.get_json(address) == {"issuer": "y"}


@pytest.mark.parametrize("body", [b"", b"[1]", b"<html>", b"\xff"])
def test_anything_but_an_object_is_no_answer(body: bytes) -> None:
    with provider(say(body)) as (address, _), pytest.raises(ProviderUnreachable):
        TRIAL.get_json(address)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int) -> None:
    with (
        provider(say(b"", ("Location", "/secret"), status=status)) as (address, asked),
        pytest.raises(ProviderUnreachable),
    ):
        TRIAL.get_json(address)
    assert asked == ["/"]


@pytest.mark.parametrize("packed", [False, True])
def test_more_than_a_megabyte_is_not_read(packed: bool) -> None:
    body = b'{"x": "' + b"x" * 1_000_000 + b'"}'
    answer = say(gzip.compress(body), ("Content-Encoding", "gzip")) if packed else say(body)
    with provider(answer) as (address, _), pytest.raises(ProviderUnreachable, match="more than"):
        TRIAL.get_text(address)


def test_nobody_keeps_us_reading_by_a_byte_now_and_then() -> None:
    def drip(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        for _ in range(1000):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.1)

    started = time.monotonic()
    with provider(drip) as (address, _):
        with pytest.raises(ProviderUnreachable, match="takes too long"):
            TRIAL.get_text(address)
        assert time.monotonic() - started < 10


def test_nobody_keeps_us_waiting_by_silence() -> None:
    with provider(lambda handler: time.sleep(3)) as (address, _), pytest.raises(ProviderUnreachable):
        TRIAL.get_text(address)
