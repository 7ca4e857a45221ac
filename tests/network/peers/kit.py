"""Addresses and stores for the tests of this room."""

from __future__ import annotations

from hashlib import sha256
from ipaddress import ip_address
from random import Random

from network.identity import SHA256_MULTIHASH_PREFIX, peer_id_from_bytes
from network.multiaddr import Multiaddr
from network.peers.bans import BanList
from network.peers.store import MAX_ADDRESSES, PeerStore

NOW = 1_800_000_000_000
"""Milliseconds since 1970: some day in 2027."""
SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
ALL_FLAGS = 0x3F


def peer(name: object) -> str:
    """A peer id, the same for the same name."""
    return peer_id_from_bytes(SHA256_MULTIHASH_PREFIX + sha256(str(name).encode()).digest())


def address(ip: str, port: int = 8115, name: object = None) -> Multiaddr:
    """A dialable address; its peer is named after the IP address and the port unless it has a name."""
    return Multiaddr.of_socket(ip_address(ip), port, peer(f"{ip}:{port}" if name is None else name))


def in_group(group: int, number: int) -> Multiaddr:
    """Address `number` (below 65,536) of the global IPv4 network group `group` (below 15,000)."""
    first, second = 11 + group // 256, group % 256
    return address(f"{first}.{second}.{number // 256}.{number % 256}")


def new_store(seed: int = 1, limit: int = MAX_ADDRESSES, bans: BanList | None = None) -> PeerStore:
    return PeerStore(Random(seed), BanList() if bans is None else bans, limit)
