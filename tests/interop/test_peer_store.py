"""Files of the peer store pass from one program to the other: the reference acts on ours, and we read what it makes."""

from __future__ import annotations

import time
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from random import Random
from typing import Any

import pytest

from network.identity import peer_id_from_bytes
from network.multiaddr import Multiaddr
from network.peers.anchors import Anchors
from network.peers.bans import Ban, BanList
from network.peers.known import KnownAddress
from network.peers.store import PeerStore
from network.peers.store_files import Snapshot, StoreFiles
from storage.files import set_aside, write_whole
from tests.support.nodes.reference import CELLS, REFERENCE, ReferenceNode, spec_text

WAIT_S = 60.0
HOUR_MS = 3_600_000
FLAGS = 0x3F


class Content:
    """What a node has in memory, and its files."""

    def __init__(self, directory: Path) -> None:
        self.bans, self.anchors = BanList(), Anchors()
        self.store = PeerStore(Random(1), self.bans)
        self.files = StoreFiles(directory, write_whole=write_whole, set_aside=set_aside)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def loopback(port: int, peer_id: str) -> Multiaddr:
    """Nothing else is told to the reference, so that it dials nothing else."""
    return Multiaddr.parse(f"/ip4/127.0.0.1/tcp/{port}/p2p/{peer_id}")


def listening(node: ReferenceNode) -> Multiaddr:
    """Where a running reference listens for TCP."""
    addresses = [Multiaddr.parse(one["address"]) for one in node.rpc.call("local_node_info")["addresses"]]
    port = next(one.port for one in addresses if one.port and one.stored == one)
    return loopback(port, node.rpc.call("local_node_info")["node_id"])


def identified(node: ReferenceNode) -> list[str]:
    """Peers that have more than Identify open, which follows on what Identify says."""
    return [one["node_id"] for one in node.rpc.call("get_peers") if len(one["protocols"]) > 1]


def wait_for(found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + WAIT_S
    while not (value := found()):
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.2)
    return value


@pytest.fixture
def two_references(tmp_path: Path) -> Any:
    spec = tmp_path / "spec.toml"
    spec.write_text(spec_text(Path(CELLS)))
    nodes = [ReferenceNode(Path(REFERENCE), tmp_path / name, spec) for name in ("first", "second")]
    yield nodes
    for node in nodes:
        node.stop()


def test_either_program_goes_on_with_the_files_of_the_other(two_references: list[ReferenceNode]) -> None:
    first, second = two_references
    second.start()
    alive, dead = listening(second), loopback(9, peer_id_from_bytes(b"\x12\x20" + bytes(32)))
    now = now_ms()

    # ours: an address that answers, one that does not, a ban, an anchor
    directory = first.directory / "data" / "network" / "peer_store"
    ours = Content(directory)
    ours.store.restore(KnownAddress(alive, FLAGS, "", now - HOUR_MS, now - HOUR_MS, 1), now)
    ours.store.restore(KnownAddress(dead, 1, "11.7", 0, now, 2), now)
    ours.bans.add(Ban(ip_network("192.0.2.0/24"), now + HOUR_MS, "by hand", now - 5, is_manual=True), now)
    ours.anchors.add(loopback(10, dead.peer_id or ""))
    ours.files.save(Snapshot.of(ours.store, ours.bans, ours.anchors, now))

    # the reference dials what it read, and has the ban
    first.start()
    assert wait_for(lambda: identified(first)) == [alive.peer_id]
    [ban] = first.rpc.call("get_banned_addresses")
    assert (ban["address"], ban["ban_reason"], int(ban["ban_until"], 16)) == ("192.0.2.0/24", "by hand", now + HOUR_MS)
    first.rpc.call("set_ban", "2001:db8::7", "insert", hex(HOUR_MS), False, "from RPC")
    first.stop()

    # what it saved is read: nothing passed over, nothing set aside
    theirs = Content(directory)
    assert theirs.files.load(theirs.store, theirs.bans, theirs.anchors, now_ms()) == []
    connected, untried = theirs.store.get(alive), theirs.store.get(dead)
    assert connected is not None
    assert untried is not None
    assert connected.last_connected_ms >= now
    assert connected.flags & 0x0E == 0x0E
    assert not untried.was_connected
    assert {str(one.network): one.reason for one in theirs.bans.current(now_ms())} == {
        "192.0.2.0/24": "by hand",
        "2001:db8::7/128": "from RPC",
    }
    assert list(theirs.anchors) == [], "it has dialled its anchors"
    theirs.files.save(Snapshot.of(theirs.store, theirs.bans, theirs.anchors, now_ms()))
    first.start()
    assert wait_for(lambda: identified(first)) == [alive.peer_id]
