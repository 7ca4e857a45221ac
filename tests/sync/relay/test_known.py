"""The known filter: 50,000 hashes, four hours."""

from __future__ import annotations

from ckb_node.sync.relay.known import KNOWN_LIFE, MAX_KNOWN, KnownTransactions
from tests.support.network.clock import FakeScheduler


def test_it_forgets_after_four_hours() -> None:
    clock = FakeScheduler()
    known = KnownTransactions(clock)
    known.add(bytes(32))
    clock.advance(KNOWN_LIFE - 1)
    assert bytes(32) in known
    clock.advance(2)
    assert bytes(32) not in known


def test_seen_again_it_lives_longer() -> None:
    clock = FakeScheduler()
    known = KnownTransactions(clock)
    known.add(bytes(32))
    clock.advance(KNOWN_LIFE - 1)
    known.add(bytes(32))
    clock.advance(KNOWN_LIFE - 1)
    assert bytes(32) in known
    known.discard(bytes(32))
    assert bytes(32) not in known


def test_the_oldest_leave() -> None:
    known = KnownTransactions(FakeScheduler())
    hashes = [serial.to_bytes(32, "big") for serial in range(MAX_KNOWN + 10)]
    for each in hashes:
        known.add(each)
    assert len(known) == MAX_KNOWN == 50_000
    assert hashes[9] not in known
    assert hashes[10] in known
