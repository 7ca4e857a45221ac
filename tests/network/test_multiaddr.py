"""Multiaddresses: text and binary say the same, hostile ones are refused, and parts are found and replaced."""

from __future__ import annotations

from base64 import b32decode
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network.identity import peer_id_from_bytes
from network.multiaddr import MAX_BYTES, MAX_TEXT, AddressTransport, Multiaddr, MultiaddrError, verify_multiaddr
from tests.support.fuzz import examples

PEER = "QmNQ4jky6uVqLDrPU7snqxARuNGWNLgSrTnssbRuy3ij2W"
OTHER = peer_id_from_bytes(b"\x12\x20" + bytes(range(32)))
ONION = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd"


@pytest.mark.parametrize(
    ("text", "raw"),
    [
        ("/ip4/127.0.0.1/tcp/8115", "047f000001061fb3"),
        ("/ip6/2001:db8::1/tcp/1", "2920010db8000000000000000000000001060001"),
        ("/ip6/::ffff:1.2.3.4/tcp/1", "2900000000000000000000ffff01020304060001"),
        ("/dns4/node.example/tcp/443/wss", "360c6e6f64652e6578616d706c650601bbde03"),
        ("/dns6/a/tcp/0/ws", "370161060000dd03"),
        ("/ip4/1.2.3.4/tcp/20/tls/main", "0401020304060014c003046d61696e"),
        ("/memory/258", "89060000000000000102"),
        (f"/onion3/{ONION}:8115", "bd03" + b32decode(ONION.upper()).hex() + "1fb3"),
    ],
)
def test_text_and_binary_are_two_forms_of_one(text: str, raw: str) -> None:
    address = Multiaddr.parse(text)
    assert address.to_bytes().hex() == raw
    assert Multiaddr.from_bytes(bytes.fromhex(raw)) == address
    assert str(Multiaddr.from_bytes(bytes.fromhex(raw))) == text


def test_a_peer_id_is_a_multihash_behind_its_length() -> None:
    raw = Multiaddr.parse(f"/p2p/{OTHER}").to_bytes()
    assert raw == b"\xa5\x03\x22\x12\x20" + bytes(range(32))
    assert Multiaddr.from_bytes(raw).peer_id == OTHER


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid multiaddr"),
        ("/", "invalid multiaddr"),
        ("ip4/1.2.3.4", "invalid multiaddr"),
        ("/ip4/1.2.3.4/" + "x" * MAX_TEXT, "invalid multiaddr"),
        ("/ip4/1.2.3.4/udp/1", "unknown protocol string"),
        ("/ip4/1.2.3.4/", "unknown protocol string"),
        ("/ip4", "invalid protocol string"),
        ("/ip4/1.2.3.4/tcp", "invalid protocol string"),
        ("/ip4/1.2.3.256", "failed to parse: ip4: "),
        ("/ip4/01.2.3.4", "failed to parse: ip4: "),
        ("/ip6/fe80::1%eth0", "failed to parse: ip6: "),
        ("/ip4/1.2.3.4/tcp/65536", "failed to parse: tcp: expected a port"),
        ("/ip4/1.2.3.4/tcp/+1", "failed to parse: tcp: expected a port"),
        ("/ip4/1.2.3.4/tcp/١", "failed to parse: tcp: expected a port"),
        ("/dns4//tcp/1", "failed to parse: dns4: expected a name"),
        (f"/dns4/{'a' * 254}", "failed to parse: dns4: expected a name"),
        (f"/p2p/{PEER[:-1]}", "failed to parse: p2p: invalid peer id"),
        (f"/p2p/{PEER[:-1]}0", "failed to parse: p2p: invalid peer id"),
        (f"/onion3/{ONION}:0", "failed to parse: onion3: "),
        (f"/onion3/{ONION}", "failed to parse: onion3: "),
        (f"/onion3/{ONION[:-1]}1:1", "failed to parse: onion3: expected base32"),
    ],
)
def test_what_is_no_multiaddress_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(MultiaddrError) as caught:
        verify_multiaddr(text)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "raw",
    [
        "04010203",  # cut off
        "06",
        "0600",
        "9102",  # udp: one unknown protocol spoils the address
        "84000102030406",  # a code that is not in its shortest form
        "ffffffffff01",  # a code that does not end
        "36",  # a length is missing
        "36ff01",
        "36ffffffff0f61",
        "3603612f62",  # a name with a slash would be two parts as a text
        "3602610a",  # a line break
        "3602c328",  # no UTF-8
        "3600",  # no name
        "a503221220" + "00" * 31,
        "a503221320" + "00" * 32,  # another hash
        "a50321" + "1220" + "00" * 31,
        "bd03" + "00" * 36,
        "bd03" + "00" * 37,  # port 0, which has no text
    ],
)
def test_hostile_bytes_are_refused(raw: str) -> None:
    with pytest.raises(MultiaddrError):
        Multiaddr.from_bytes(bytes.fromhex(raw))


def test_long_bytes_are_refused_before_they_are_read() -> None:
    with pytest.raises(MultiaddrError):
        Multiaddr.from_bytes(b"\xdd\x03" * (MAX_BYTES // 2 + 1))
    assert Multiaddr.from_bytes(b"").parts == ()


@settings(max_examples=examples(300))
@given(st.binary(max_size=80))
def test_random_bytes_are_an_address_or_a_named_error(raw: bytes) -> None:
    try:
        address = Multiaddr.from_bytes(raw)
    except MultiaddrError:
        return
    assert Multiaddr.of_parts(address.parts).to_bytes() == raw


HOSTS = st.one_of(
    st.ip_addresses(v=4).map(lambda ip: f"/ip4/{ip}"),
    st.ip_addresses(v=6).map(lambda ip: f"/ip6/{ip}"),
    st.from_regex(r"[a-z0-9]{1,20}(\.[a-z]{2,5})?", fullmatch=True).map(lambda name: f"/dns4/{name}"),
)


@settings(max_examples=examples(200))
@given(HOSTS, st.integers(0, 65535), st.sampled_from(["", "/ws", "/wss"]), st.binary(min_size=32, max_size=32))
def test_any_address_round_trips(host: str, port: int, carrier: str, digest: bytes) -> None:
    peer_id = peer_id_from_bytes(b"\x12\x20" + digest)
    text = f"{host}/tcp/{port}{carrier}/p2p/{peer_id}"
    address = Multiaddr.parse(text)
    assert Multiaddr.from_bytes(address.to_bytes()) == address
    assert Multiaddr.parse(str(address)) == address
    assert hash(Multiaddr.parse(str(address))) == hash(address)
    assert address.port == port
    assert address.is_dialable == (port > 0)


def test_parts_are_found() -> None:
    address = Multiaddr.parse(f"/ip4/1.2.3.4/tcp/8115/ws/p2p/{PEER}")
    assert (address.ip, address.port, address.peer_id) == (ip_address("1.2.3.4"), 8115, PEER)
    assert address.transport is AddressTransport.WS
    assert address.dns_name is None
    named = Multiaddr.parse("/dns4/node.example/tcp/443/wss")
    assert (named.ip, named.dns_name, named.transport) == (None, "node.example", AddressTransport.WSS)
    onion = Multiaddr.parse(f"/onion3/{ONION.upper()}:80")
    assert onion.onion is not None
    assert (onion.onion.name, onion.port, onion.ip) == (ONION, 80, None)


def test_an_ipv4_address_is_one_also_inside_an_ipv6_address() -> None:
    assert Multiaddr.parse("/ip6/::ffff:1.2.3.4/tcp/1").ip == ip_address("1.2.3.4")
    assert str(Multiaddr.of_socket(ip_address("::ffff:1.2.3.4"), 5, PEER)) == f"/ip4/1.2.3.4/tcp/5/p2p/{PEER}"
    assert str(Multiaddr.of_socket(ip_address("2001:db8::1"), 5)) == "/ip6/2001:db8::1/tcp/5"


def test_parts_are_replaced() -> None:
    address = Multiaddr.parse(f"/ip4/1.2.3.4/tcp/8115/ws/p2p/{PEER}")
    assert str(address.stored) == f"/ip4/1.2.3.4/tcp/8115/p2p/{PEER}"
    assert str(address.without_peer_id()) == "/ip4/1.2.3.4/tcp/8115/ws"
    assert str(address.with_peer_id(OTHER)) == f"/ip4/1.2.3.4/tcp/8115/ws/p2p/{OTHER}"
    assert str(address.with_port(1)) == f"/ip4/1.2.3.4/tcp/1/ws/p2p/{PEER}"
    assert str(address.with_transport(AddressTransport.TCP)) == f"/ip4/1.2.3.4/tcp/8115/p2p/{PEER}"
    assert str(address.stored.with_transport(AddressTransport.WSS)) == f"/ip4/1.2.3.4/tcp/8115/wss/p2p/{PEER}"
    assert str(Multiaddr.parse("/ip4/1.2.3.4/tcp/1").with_transport(AddressTransport.WS)) == "/ip4/1.2.3.4/tcp/1/ws"


@pytest.mark.parametrize(
    ("text", "is_dialable"),
    [
        (f"/ip4/1.2.3.4/tcp/8115/p2p/{PEER}", True),
        (f"/dns6/x/tcp/8115/ws/p2p/{PEER}", True),
        (f"/onion3/{ONION}:8115/p2p/{PEER}", True),
        ("/ip4/1.2.3.4/tcp/8115", False),
        (f"/ip4/1.2.3.4/tcp/0/p2p/{PEER}", False),
        (f"/ip4/1.2.3.4/p2p/{PEER}", False),
        (f"/p2p/{PEER}/ip4/1.2.3.4/tcp/8115", False),
        (f"/ip4/1.2.3.4/tcp/1/ip4/1.2.3.4/tcp/8115/p2p/{PEER}", False),
        (f"/ip4/1.2.3.4/tcp/1/ws/ws/ws/ws/ws/p2p/{PEER}", False),
        (f"/memory/1/p2p/{PEER}", False),
        (f"/p2p/{PEER}", False),
    ],
)
def test_what_can_be_dialled(text: str, is_dialable: bool) -> None:
    assert Multiaddr.parse(text).is_dialable is is_dialable


@pytest.mark.parametrize(
    ("host", "is_reachable"),
    [
        ("/ip4/8.8.8.8", True),
        ("/ip4/10.1.2.3", False),
        ("/ip4/127.0.0.1", False),
        ("/ip4/169.254.0.1", False),
        ("/ip4/192.0.2.1", False),
        ("/ip4/100.64.0.1", False),
        ("/ip4/224.0.0.1", False),
        ("/ip4/240.0.0.1", False),
        ("/ip4/255.255.255.255", False),
        ("/ip4/0.0.0.0", False),
        ("/ip6/2606:4700::1", True),
        ("/ip6/::1", False),
        ("/ip6/::", False),
        ("/ip6/fe80::1", False),
        ("/ip6/fec0::1", False),
        ("/ip6/fd00::1", False),
        ("/ip6/ff02::1", False),
        ("/ip6/2001:db8::1", False),
        ("/ip6/::ffff:127.0.0.1", False),
        ("/ip6/::ffff:8.8.8.8", True),
        ("/dns4/localhost", False),
    ],
)
def test_what_others_may_reach(host: str, is_reachable: bool) -> None:
    assert Multiaddr.parse(f"{host}/tcp/1").is_reachable is is_reachable


def test_an_onion_service_may_be_reached() -> None:
    assert Multiaddr.parse(f"/onion3/{ONION}:1").is_reachable
