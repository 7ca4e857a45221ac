"""The client of SOCKS5: its bytes, all kinds of targets, each refusal, any cut."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.ckb_wire.socks5 import (
    REPLIES,
    Credentials,
    Socks5Client,
    Socks5Error,
    Socks5Fault,
    random_credentials,
)
from tests.support.fuzz import examples
from tests.support.secio import seeded_entropy

USER = Credentials("user", "pass word")
ONION = "a" * 56 + ".onion"
GRANTED_V4 = bytes.fromhex("05000001 00000000 0000")
GRANTED_V6 = bytes.fromhex("05000004") + bytes(18)
GRANTED_NAME = bytes.fromhex("0500000304") + b"nameXX"
GRANTED_NO_NAME = bytes.fromhex("05000003000000")


@pytest.mark.parametrize(
    ("host", "packed"),
    [
        (IPv4Address("192.0.2.8"), b"\1\xc0\0\2\x08"),
        (IPv6Address("2001:db8::8"), b"\4" + IPv6Address("2001:db8::8").packed),
        ("node.example", b"\3\x0cnode.example"),
        (ONION, b"\3\x3e" + ONION.encode()),
        ("x" * 255, b"\3\xff" + b"x" * 255),
    ],
)
def test_without_credentials(host: str | IPv4Address | IPv6Address, packed: bytes) -> None:
    client = Socks5Client(host, 8115)
    assert client.data_to_send() == b"\5\1\0"
    assert client.data_to_send() == b""
    client.receive(b"\5\0")
    assert client.data_to_send() == b"\5\1\0" + packed + b"\x1f\xb3"
    client.receive(GRANTED_V4 + b"from the target")
    assert client.is_done
    assert client.rest() == b"from the target"
    assert client.data_to_send() == b""


def test_with_credentials() -> None:
    client = Socks5Client(ONION, 8115, USER)
    assert client.data_to_send() == b"\5\2\0\2"
    client.receive(b"\5\2")
    assert client.data_to_send() == b"\1\4user\x09pass word"
    client.receive(b"\1\0")
    assert client.data_to_send()[:4] == b"\5\1\0\3"
    client.receive(GRANTED_NO_NAME)
    assert client.is_done


def test_a_proxy_that_wants_no_credentials_gets_none() -> None:
    client = Socks5Client("a", 1, USER)
    client.data_to_send()
    client.receive(b"\5\0")
    assert client.data_to_send() == b"\5\1\0\3\1a\0\1"


@pytest.mark.parametrize("reply", [GRANTED_V4, GRANTED_V6, GRANTED_NAME, GRANTED_NO_NAME])
@pytest.mark.parametrize("credentials", [None, USER])
def test_any_cut(reply: bytes, credentials: Credentials | None) -> None:
    stream = (b"\5\2\1\0" if credentials else b"\5\0") + reply + b"rest"
    for cut in range(len(stream) - len(b"rest")):
        client = Socks5Client("a", 1, credentials)
        client.receive(stream[:cut])
        was_done = client.is_done
        client.receive(memoryview(stream)[cut:])
        assert not was_done
        assert client.is_done
        assert client.rest() == b"rest"
    client = Socks5Client("a", 1, credentials)
    for at in range(len(stream) - len(b"rest")):
        assert not client.is_done
        client.receive(stream[at : at + 1])
    assert client.is_done
    assert client.rest() == b""
    with pytest.raises(RuntimeError, match="the target's"):
        client.receive(b"more")


@pytest.mark.parametrize(
    ("stream", "fault"),
    [
        (b"\4\0", Socks5Fault.MALFORMED),
        (b"HT", Socks5Fault.MALFORMED),
        (b"\5\xff", Socks5Fault.NO_METHOD),
        (b"\5\1", Socks5Fault.MALFORMED),
        (b"\5\2\1\1", Socks5Fault.BAD_CREDENTIALS),
        (b"\5\2\5\0", Socks5Fault.MALFORMED),
        (b"\5\0\4\0\0\1\0", Socks5Fault.MALFORMED),
        (b"\5\0\5\0\0\2\0", Socks5Fault.MALFORMED),
    ],
)
def test_faults(stream: bytes, fault: Socks5Fault) -> None:
    client = Socks5Client("a", 1, USER)
    with pytest.raises(Socks5Error) as caught:
        client.receive(stream)
    assert caught.value.fault is fault
    assert caught.value.reply is None
    assert not client.is_done


def test_a_method_that_was_not_offered() -> None:
    with pytest.raises(Socks5Error) as caught:
        Socks5Client("a", 1).receive(b"\5\2")
    assert caught.value.fault is Socks5Fault.MALFORMED


@pytest.mark.parametrize("code", [*REPLIES, 9, 255])
def test_a_refusal_tells_why(code: int) -> None:
    client = Socks5Client("a", 1)
    with pytest.raises(Socks5Error) as caught:
        client.receive(b"\5\0" + bytes([5, code, 0, 1]) + bytes(6))
    assert caught.value.fault is Socks5Fault.REFUSED
    assert caught.value.reply == code
    assert REPLIES.get(code, str(code)) in str(caught.value)


@settings(max_examples=examples(100))
@given(st.binary(max_size=600))
def test_garbage_is_refused_or_awaited_within_bounds(garbage: bytes) -> None:
    client = Socks5Client("a", 1, USER)
    try:
        client.receive(garbage)
    except Socks5Error:
        return
    assert client.is_done or len(client._buffer) <= 4 + 256 + 2


@pytest.mark.parametrize("host", ["", "x" * 256, "é" * 128])
def test_a_name_that_does_not_fit(host: str) -> None:
    with pytest.raises(ValueError, match="bytes"):
        Socks5Client(host, 1)


@pytest.mark.parametrize("credentials", [Credentials("", "p"), Credentials("u" * 256, ""), Credentials("u", "p" * 256)])
def test_credentials_that_do_not_fit(credentials: Credentials) -> None:
    with pytest.raises(ValueError, match="bytes"):
        Socks5Client("a", 1, credentials)


def test_random_credentials_differ_and_do_not_show() -> None:
    entropy = seeded_entropy(1)
    first, second = random_credentials(entropy), random_credentials(entropy)
    assert first != second
    assert (len(first.user), len(first.password)) == (8, 16)
    assert (first.user + first.password).isalnum()
    assert first.password not in repr(first)
