"""When a peer keeps others waiting."""

from __future__ import annotations

import pytest

from ckb_node.sync.blocks import limits
from ckb_node.sync.blocks.budget import PeerBudget
from ckb_node.sync.blocks.downloaders import Downloader
from ckb_node.sync.blocks.in_flight import InFlight
from ckb_node.sync.peers import SyncPeers
from network.limits import SYNC
from tests.support.network.peers import FakePeer

HASH = bytes(32)


def answers_after(seconds: float) -> PeerBudget:
    """Of a peer whose first block came after so long."""
    budget = PeerBudget()
    budget.asked(0.0)
    budget.received(seconds)
    return budget


def waited(first: PeerBudget, other: PeerBudget) -> float:
    """Seconds until a peer that was asked for one block keeps the other one waiting."""
    downloader = Downloader(SyncPeers().add(FakePeer(1, protocols=[SYNC])), first)
    in_flight = InFlight()
    in_flight.add(downloader.session_id, 1, HASH, 0.0)
    request = in_flight.get(HASH)
    assert request is not None
    return next(at / 10 for at in range(1000) if downloader.is_overdue(request, in_flight, other, at / 10))


@pytest.mark.parametrize(
    ("round_trip", "other", "seconds"),
    [
        (0.05, 0.05, limits.HEDGE_SECONDS),
        (0.5, 0.5, 1.0),
        (2.0, 2.0, 4.0),  # all are slow, as through Tor
        (4.0, 0.05, limits.FIRST_ANSWER_SECONDS),  # it gives one block in each of its round trips: others are faster
        (4.0, 1.0, 4.0),
    ],
)
def test_a_slow_peer_is_waited_for_as_long_as_others_are_no_faster(
    round_trip: float, other: float, seconds: float
) -> None:
    assert waited(answers_after(round_trip), answers_after(other)) == pytest.approx(seconds, abs=0.1)


def test_of_peers_that_have_not_answered_nothing_is_known() -> None:
    assert waited(PeerBudget(), PeerBudget()) == limits.FIRST_ANSWER_SECONDS
    assert waited(answers_after(2.0), PeerBudget()) == pytest.approx(4.0, abs=0.1)
