"""What sync knows of a peer."""

from __future__ import annotations

from ckb_node.sync.peers import MAX_PROTECTED, SyncPeer, SyncPeers
from network.limits import SYNC
from network.peer import Direction
from tests.support.network.peers import FakePeer


def test_the_first_outbound_peers_are_protected() -> None:
    peers = SyncPeers()
    peers.add(FakePeer(0))
    peers.add(FakePeer(1, direction=Direction.OUTBOUND, is_whitelisted=True))
    made = [peers.add(FakePeer(seed, direction=Direction.OUTBOUND)) for seed in range(2, 4 + MAX_PROTECTED)]
    assert [each.is_protected for each in made] == [True] * MAX_PROTECTED + [False] * 2
    assert [each.is_trusted for each in peers] == [False, True] + [True] * MAX_PROTECTED + [False] * 2
    peers.remove(made[0].session_id)
    assert peers.add(FakePeer(99, direction=Direction.OUTBOUND)).is_protected


def test_a_peer_is_read_when_nobody_holds_it() -> None:
    fake = FakePeer(1)
    peer = SyncPeer(fake, is_protected=False)
    peer.hold("one")
    peer.hold("one")
    peer.hold("other")
    peer.release("one")
    assert fake.held == {SYNC}
    assert peer.is_held
    peer.release("somebody")
    peer.release("other")
    assert fake.held == set()
    assert not peer.is_held
