"""A stream of bytes through WebSocket: both ends, cut anywhere, and what strange or hostile ends send."""

from __future__ import annotations

import os
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.ckb_wire.forwarded import Forwarded
from network.ckb_wire.sniff import Wire, sniff
from network.ckb_wire.websocket import (
    MAX_FORWARDED,
    MAX_HEAD,
    MAX_SMALL_FRAMES,
    SMALL_FRAME,
    WebSocketClient,
    WebSocketError,
    WebSocketServer,
)
from tests.support.fuzz import examples

BINARY, TEXT, CONTINUATION, CLOSE, PING, PONG = 2, 1, 0, 8, 9, 10
MASK = b"\x11\x22\x33\x44"
HEADERS = {
    "Host": "192.0.2.8:8115",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""The answer to that key (RFC 6455, 1.3)."""


def request(line: str = "GET / HTTP/1.1", **changes: str | None) -> bytes:
    """A request to upgrade; `_` in names is `-`, None leaves a header out."""
    headers: dict[str, str | None] = {**HEADERS, **{name.replace("_", "-"): text for name, text in changes.items()}}
    lines = [line, *(f"{name}: {text}" for name, text in headers.items() if text is not None)]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def message(opcode: int, payload: bytes, *, fin: bool = True, mask: bytes = MASK, rsv: int = 0) -> bytes:
    """A frame as clients send them; without mask, as servers do."""
    first = bytes([(fin << 7) | rsv | opcode])
    masked = 0x80 if mask else 0
    if len(payload) < 126:
        length = bytes([masked | len(payload)])
    elif len(payload) < 1 << 16:
        length = bytes([masked | 126]) + len(payload).to_bytes(2, "big")
    else:
        length = bytes([masked | 127]) + len(payload).to_bytes(8, "big")
    if mask:
        pad = (mask * (len(payload) // 4 + 1))[: len(payload)]
        payload = (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(len(payload), "big")
    return first + length + mask + payload


def open_server() -> WebSocketServer:
    server = WebSocketServer()
    server.receive(request())
    assert server.is_open
    server.data_to_send()
    return server


def open_pair() -> tuple[WebSocketClient, WebSocketServer]:
    client, server = WebSocketClient("192.0.2.8:8115"), WebSocketServer()
    assert server.receive(client.data_to_send()) == b""
    assert client.receive(server.data_to_send()) == b""
    assert client.is_open
    assert server.is_open
    return client, server


def test_the_request_of_the_reference_is_answered_as_the_rfc_says() -> None:
    server = WebSocketServer()
    assert server.receive(request()) == b""
    head, _, rest = server.data_to_send().partition(b"\r\n\r\n")
    status, *headers = head.lower().split(b"\r\n")
    assert status == b"http/1.1 101 switching protocols"
    assert b"sec-websocket-accept: " + ACCEPT.lower() in headers
    assert ACCEPT in head
    assert rest == b""


def test_what_a_client_sends_is_recognised_as_http() -> None:
    for host in ("192.0.2.8:8115", "[2001:db8::8]:8115", "node.example:8115"):
        sent = WebSocketClient(host).data_to_send()
        assert sent.startswith(b"GET / HTTP/1.1\r\n")
        assert f"host: {host}\r\n".encode() in sent.lower()
        assert sniff(sent[:16]) is Wire.HTTP


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 3 << 20])
def test_bytes_go_both_ways(size: int) -> None:
    client, server = open_pair()
    data = os.urandom(size)
    for sender, receiver in ((client, server), (server, client)):
        sender.send(data)
        assert receiver.receive(sender.data_to_send()) == data


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_any_cut_of_both_streams(step: int) -> None:
    client, server = WebSocketClient("192.0.2.8:8115"), WebSocketServer()
    data = bytes(range(256)) * 4
    to_server = client.data_to_send()
    for at in range(0, len(to_server), step):
        server.receive(to_server[at : at + step])
    server.send(data)  # at once behind the answer
    to_client, received = server.data_to_send(), b""
    for at in range(0, len(to_client), step):
        received += client.receive(memoryview(to_client)[at : at + step])
    assert received == data
    client.send(data)
    to_server, received = client.data_to_send(), b""
    for at in range(0, len(to_server), step):
        received += server.receive(bytearray(to_server[at : at + step]))
    assert received == data


def test_a_client_that_does_not_wait_for_the_answer_loses_nothing() -> None:
    server = WebSocketServer()
    assert server.receive(request() + message(BINARY, b"early")) == b"early"


def test_messages_in_pieces_with_other_things_between_them() -> None:
    server = open_server()
    stream = [
        message(BINARY, b"ab", fin=False),
        message(PING, b"1"),
        message(CONTINUATION, b"", fin=False),
        message(CONTINUATION, b"cd"),
        message(TEXT, "täxt".encode(), fin=False),
        message(PONG, b"unasked"),
        message(CONTINUATION, b"more text"),
        message(BINARY, b""),
        message(BINARY, b"ef"),
    ]
    assert b"".join(map(server.receive, stream)) == b"abcdef"
    assert server.data_to_send() == message(PONG, b"1", mask=b"")


def test_the_beginning_of_a_long_message_is_handed_on_before_its_end() -> None:
    server = open_server()
    stream = message(BINARY, b"x" * 100_000)
    assert server.receive(stream[:50_000]) == b"x" * (50_000 - 14)
    endless = b"\x82\xff" + (1 << 62).to_bytes(8, "big") + MASK
    server = open_server()
    received = len(server.receive(endless))
    for _ in range(100):
        received += len(server.receive(bytes(50_000)))
        assert len(server._protocol.connection._proto._frame_decoder.buffer) < 200  # type: ignore[union-attr]
    assert received == 100 * 50_000


def test_of_many_pings_the_last_is_answered() -> None:
    server = open_server()
    server.receive(b"".join(message(PING, b"%d" % number) for number in range(1000)))
    assert server.data_to_send() == message(PONG, b"999", mask=b"")


@pytest.mark.parametrize(
    "small",
    [
        message(BINARY, b""),
        message(BINARY, b"x"),
        message(PING, b""),
        message(PONG, bytes(125)),
        message(TEXT, b"text"),
    ],
    ids=["empty", "one byte", "ping", "pong", "text"],
)
def test_a_flood_of_frames_that_carry_nothing_ends_soon(small: bytes) -> None:
    """Each costs as much time as kilobytes: 256 KiB of them would be a second's work."""
    server = open_server()
    with pytest.raises(WebSocketError, match="carry nothing"):
        server.receive(small * 20_000)
    assert server.frames_read == MAX_SMALL_FRAMES + 1


def test_small_frames_between_others_may_go_on_for_ever() -> None:
    server = open_server()
    for _ in range(3 * MAX_SMALL_FRAMES):
        server.receive(message(PING, b"") + message(BINARY, bytes(SMALL_FRAME)))
    assert server.frames_read == 6 * MAX_SMALL_FRAMES


def test_more_than_a_first_message_cannot_come_before_the_answer() -> None:
    server = WebSocketServer()
    with pytest.raises(WebSocketError, match="before the answer"):
        server.receive(request() + message(BINARY, bytes(32)) * 1000)


def test_closing() -> None:
    client, server = open_pair()
    client.send(b"last")
    client.close()
    client.send(b"too late")
    assert server.receive(client.data_to_send()) == b"last"
    assert server.is_closed
    server.send(b"too late")
    assert client.receive(server.data_to_send()) == b""
    assert client.is_closed
    assert client.receive(b"more") == b""
    assert client.data_to_send() == b""
    client.close()
    assert client.data_to_send() == b""


@pytest.mark.parametrize(
    "stream",
    [
        message(BINARY, b"x", mask=b""),
        message(3, b"x"),
        message(11, b"x"),
        message(BINARY, b"x", rsv=0x40),
        message(BINARY, b"x", rsv=0x10),
        message(PING, b"x" * 126),
        message(PING, b"x", fin=False),
        message(CONTINUATION, b"x"),
        message(BINARY, b"x", fin=False) + message(BINARY, b"x"),
        message(TEXT, b"\xff"),
        message(CLOSE, b"x"),
        message(CLOSE, (999).to_bytes(2, "big")),
        message(CLOSE, (1005).to_bytes(2, "big")),
        message(CLOSE, (1000).to_bytes(2, "big") + b"\xff"),
        b"\x82\xfe\x00\x01" + MASK + b"x",
        b"\x82\xff" + (1 << 63).to_bytes(8, "big") + MASK,
    ],
)
def test_broken_frames(stream: bytes) -> None:
    server = open_server()
    with pytest.raises(WebSocketError):
        server.receive(stream)
    assert server.is_closed
    assert server.data_to_send()[0] == 0x80 | CLOSE
    assert server.receive(message(BINARY, b"more")) == b""


@pytest.mark.parametrize("code", [b"", (1000).to_bytes(2, "big"), (1001).to_bytes(2, "big") + b"away"])
def test_an_end_is_answered(code: bytes) -> None:
    server = open_server()
    assert server.receive(message(BINARY, b"last") + message(CLOSE, code) + message(BINARY, b"more")) == b"last"
    assert server.is_closed
    assert server.data_to_send()[0] == 0x80 | CLOSE


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request("POST / HTTP/1.1"), b"400"),
        (request(Connection="keep-alive"), b"400"),
        (request(Connection=None), b"400"),
        (request(Upgrade="h2c"), b"400"),
        (request(Upgrade=None), b"400"),
        (request(Host=None), b"400"),
        (request(Sec_WebSocket_Key=None), b"400"),
        (request(Sec_WebSocket_Version=None), b"400"),
        (request(Sec_WebSocket_Version="8"), b"426"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"400"),
        (b"GET /\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nno header\r\n\r\n", b"400"),
        (b"\0\r\n\r\n", b"400"),
    ],
)
def test_requests_that_are_refused(sent: bytes, status: bytes) -> None:
    server = WebSocketServer()
    with pytest.raises(WebSocketError):
        server.receive(sent)
    assert server.data_to_send().startswith(b"HTTP/1.1 " + status)
    assert not server.is_open


@pytest.mark.parametrize(
    "sent",
    [
        request(Host="ä.example"),
        request(Connection="ä"),
        request(Sec_WebSocket_Extensions="ä"),
        request(Sec_WebSocket_Protocol="ä"),
        request(Host="." * 300),
        request("GET /ä HTTP/1.1"),
        request(Content_Length="5"),
        request(Transfer_Encoding="chunked"),
        request("GET / HTTP/1.0"),
        request(Expect="100-continue"),
    ],
)
def test_odd_requests_are_accepted_or_refused(sent: bytes) -> None:
    server = WebSocketServer()
    try:
        server.receive(sent)
    except WebSocketError:
        assert not server.is_open
    else:
        assert server.is_open


def test_compression_is_not_agreed_on() -> None:
    server = WebSocketServer()
    server.receive(request(Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits"))
    assert b"extensions" not in server.data_to_send().lower()


def test_a_request_without_end_is_bounded() -> None:
    server = WebSocketServer()
    sent = b"GET / HTTP/1.1\r\nX: " + b"x" * MAX_HEAD
    for at in range(MAX_HEAD - 1):
        server.receive(sent[at : at + 1])
    assert len(server._head) == MAX_HEAD - 1
    with pytest.raises(WebSocketError, match="bytes of HTTP"):
        server.receive(b"x" * 100_000)
    with pytest.raises(WebSocketError, match="bytes of HTTP"):
        WebSocketServer().receive(sent + b"\r\n\r\n")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n<html>",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
        b"\0\0\0\xad\xad\0\0\0\r\n\r\n",
        b"x" * (MAX_HEAD + 1),
        b"HTTP/1.1 101 \xff\r\nConnection: \xff\r\n\r\n",
    ],
)
def test_answers_that_are_no_upgrade(answer: bytes) -> None:
    client = WebSocketClient("192.0.2.8:8115")
    client.data_to_send()
    with pytest.raises(WebSocketError):
        client.receive(answer)
    assert not client.is_open
    assert client.data_to_send() == b""


def test_an_answer_with_an_extension_that_was_not_asked_for() -> None:
    client, server = WebSocketClient("192.0.2.8:8115"), WebSocketServer()
    server.receive(client.data_to_send())
    answer = server.data_to_send().replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
    with pytest.raises(WebSocketError):
        client.receive(answer)


def test_a_client_refuses_masked_frames() -> None:
    client, _ = open_pair()
    with pytest.raises(WebSocketError):
        client.receive(message(BINARY, b"x"))


@pytest.mark.parametrize(
    ("headers", "forwarded"),
    [
        ({}, None),
        ({"X_Forwarded_For": "203.0.113.7"}, ("203.0.113.7", None)),
        ({"x_forwarded_for": "203.0.113.7, 192.0.2.1", "X_FORWARDED_PORT": "4711"}, ("203.0.113.7", 4711)),
        ({"X_Forwarded_For": "2001:db8::7", "X_Forwarded_Port": "1,2"}, ("2001:db8::7", 1)),
        ({"X_Forwarded_For": "::ffff:203.0.113.7"}, ("203.0.113.7", None)),
        ({"X_Forwarded_For": "203.0.113.7", "X_Forwarded_Port": "65536"}, ("203.0.113.7", None)),
        ({"X_Forwarded_For": "unknown"}, None),
        ({"X_Forwarded_For": ""}, None),
        ({"X_Forwarded_For": "203.0.113.7:4711"}, None),
        ({"X_Forwarded_Port": "4711"}, None),
        ({"A": "a" * 3000, "X_Forwarded_For": "203.0.113.7"}, ("203.0.113.7", None)),
        ({"A": "a" * MAX_FORWARDED, "X_Forwarded_For": "203.0.113.7"}, None),
    ],
)
def test_the_client_of_a_proxy(headers: dict[str, str], forwarded: tuple[str, int | None] | None) -> None:
    server = WebSocketServer()
    server.receive(request(**headers))
    assert server.forwarded == (Forwarded(ip_address(forwarded[0]), forwarded[1]) if forwarded else None)


def test_a_header_at_the_edge_is_there_or_not_but_never_cut() -> None:
    for padding in range(MAX_FORWARDED - 260, MAX_FORWARDED):
        server = WebSocketServer()
        server.receive(request(A="a" * padding, X_Forwarded_For="203.0.113.7"))
        assert server.forwarded in (None, Forwarded(ip_address("203.0.113.7"), None))


def test_nothing_is_sent_before_the_upgrade() -> None:
    with pytest.raises(RuntimeError, match="not done"):
        WebSocketServer().send(b"x")


@settings(max_examples=examples(100))
@given(st.binary(max_size=600))
def test_garbage_behind_the_upgrade(garbage: bytes) -> None:
    for end in (open_server(), open_pair()[0]):
        try:
            end.receive(garbage)
        except WebSocketError:
            assert end.is_closed


NAMES = st.sampled_from([*HEADERS, "Transfer-Encoding", "Content-Length", "Expect", "Sec-WebSocket-Protocol", "A"])
TEXTS = st.one_of(st.sampled_from([*HEADERS.values(), "0", "5", "chunked", ""]), st.text(max_size=20))


@settings(max_examples=examples(100))
@given(st.lists(st.tuples(NAMES, TEXTS), max_size=10), st.sampled_from(["GET / HTTP/1.1", "GET / HTTP/1.0", "PRI * "]))
def test_garbage_in_place_of_the_upgrade(headers: list[tuple[str, str]], line: str) -> None:
    lines = [line, *(f"{name}: {text}" for name, text in headers)]
    sent = "\r\n".join(lines).encode("utf-8", "replace") + b"\r\n\r\n"
    for end in (WebSocketServer(), WebSocketClient("192.0.2.8:8115")):
        try:
            end.receive(sent)
        except WebSocketError:
            assert not end.is_open
