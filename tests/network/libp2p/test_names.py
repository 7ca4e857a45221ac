"""Peer ids and addresses of libp2p. The ids are those of the specification and of js-libp2p."""

from __future__ import annotations

import pytest

from network.identity import Identity, base58
from network.libp2p.names import (
    address_bytes,
    key_of,
    libp2p_id,
    libp2p_id_text,
    parse_address,
    parse_address_bytes,
)
from network.multiaddr import MultiaddrError

ONE = Identity((1).to_bytes(32, "big"))
ED25519 = bytes.fromhex("0024080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e")


def test_the_id_holds_the_key() -> None:
    assert libp2p_id_text(ONE.public_key).startswith("16Uiu2HA")
    assert key_of(libp2p_id(ONE.public_key)) == ONE.public_key


def test_a_peer_has_the_name_that_it_has_on_the_other_wire() -> None:
    text = f"/ip4/192.0.2.8/tcp/8117/p2p/{libp2p_id_text(ONE.public_key)}"
    found = parse_address(text)
    assert found.address.peer_id == ONE.peer_id
    assert str(found.address) == f"/ip4/192.0.2.8/tcp/8117/p2p/{ONE.peer_id}"
    assert found.text == text


def test_keys_of_the_other_usual_kind() -> None:
    name = base58(ED25519)
    assert name == "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"
    assert key_of(ED25519) == ED25519[2:]
    peer_id = parse_address(f"/dns4/peer.example/tcp/1/p2p/{name}").address.peer_id
    assert peer_id is not None
    assert peer_id.startswith("Qm")


@pytest.mark.parametrize(
    "peer_id",
    [
        b"",
        b"\0",
        ED25519[:-1],
        ED25519 + b"\0",
        b"\x12\x20" + bytes(32),
        b"\0\x04\x08\x03\x12\x00",
        b"\0\x25" + bytes(37),
    ],
)
def test_ids_without_a_key_of_these_kinds(peer_id: bytes) -> None:
    with pytest.raises(ValueError, match="key"):
        key_of(peer_id)


@pytest.mark.parametrize(
    "text",
    [
        "/ip4/192.0.2.8/tcp/8117",
        "/ip4/192.0.2.8/tcp/8117/p2p/",
        f"/ip4/192.0.2.8/tcp/8117/p2p/{ONE.peer_id}",
        f"/ip4/192.0.2.8/tcp/8117/p2p/{base58(ED25519)}/ws",
        f"/ip4/192.0.2.8/tcp/8117/ws/p2p/{base58(ED25519)}",
        f"/ip4/192.0.2.8/udp/8117/quic-v1/p2p/{base58(ED25519)}",
        f"/ip4/192.0.2.8/tcp/8117/p2p/{base58(ED25519)}{'1' * 64}",
        f"/ip4/192.0.2.8/tcp/8117/p2p/{base58(ED25519)[:-1]}0",
    ],
)
def test_what_is_no_address_of_a_peer(text: str) -> None:
    with pytest.raises(MultiaddrError):
        parse_address(text)


@pytest.mark.parametrize("name", [libp2p_id_text(ONE.public_key), base58(ED25519)])
@pytest.mark.parametrize("place", ["/ip4/192.0.2.8/tcp/8117", "/ip6/2001:db8::1/tcp/1"])
def test_the_binary_form_is_read_back(place: str, name: str) -> None:
    address = parse_address(f"{place}/p2p/{name}")
    assert parse_address_bytes(address_bytes(address)) == address


def test_the_binary_form_is_that_of_multiaddresses() -> None:
    """`ip4`, `tcp` and `p2p` are 4, 6 and 421 in the table of multiaddresses, the last one in two bytes."""
    raw = address_bytes(parse_address(f"/ip4/192.0.2.8/tcp/8117/p2p/{base58(ED25519)}"))
    assert raw == b"\x04\xc0\x00\x02\x08\x06\x1f\xb5" + b"\xa5\x03" + bytes([len(ED25519)]) + ED25519


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xa5\x03\x26" + ED25519,
        b"\x04\xc0\x00\x02\x08\x06\x1f\xb5",
        b"\x04\xc0\x00\x02\x08\x06\x1f\xb5\xa5\x03\x22\x12\x20" + bytes(32),
        b"\x04\xc0\x00\x02\xa5\x03\x26" + ED25519,
        b"\x04\xc0\x00\x02\x08\x06\x1f\xb5\xa5\x03\x26" + ED25519 + b"\0",
    ],
)
def test_other_bytes_are_no_address(raw: bytes) -> None:
    with pytest.raises(MultiaddrError):
        parse_address_bytes(raw)
