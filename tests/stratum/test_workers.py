"""Statistics of workers, and what became of their blocks."""

from __future__ import annotations

import pytest

from ckb_node.stratum import found, workers
from ckb_node.stratum.found import FoundBlock, FoundBlocks, Outcome
from ckb_node.stratum.shares import Verdict
from ckb_node.stratum.workers import RATE_SECONDS, Rate, Workers
from consensus.types.blockchain import Header
from tests.support.builders.blocks import a_header


def test_a_steady_rate_is_told_from_the_first_minutes_on() -> None:
    rate = Rate()
    for second in range(0, 3600, 10):
        rate.add(1000, float(second))
        if second >= 300:
            assert rate.at(float(second)) == pytest.approx(100, rel=0.05)


def test_a_miner_that_stops_fades_away() -> None:
    rate = Rate()
    assert rate.at(5.0) == 0.0
    for second in range(0, 3600, 10):
        rate.add(1000, float(second))
    assert rate.at(3600 + RATE_SECONDS) < 45
    assert rate.at(3600 + 20 * RATE_SECONDS) < 1e-3


def test_shares_are_counted_by_worker_and_in_all() -> None:
    all_ = Workers()
    first, second = all_.of("a"), all_.of("b")
    all_.note(first, Verdict.ACCEPTED, 10, 1.0, 7)
    all_.note(first, Verdict.LOW, 10, 2.0, 8)
    all_.note(second, Verdict.BLOCK, 30, 3.0, 9)
    assert (first.hashes, second.hashes) == (10, 30)
    assert (first.last_share_ms, second.last_share_ms) == (7, 9)
    assert all_.counts == {Verdict.ACCEPTED: 1, Verdict.LOW: 1, Verdict.BLOCK: 1}
    assert [each.name for each in all_.newest_first()] == ["b", "a"]
    all_.note(first, Verdict.LOW, 10, 4.0, 10)
    assert [each.name for each in all_.newest_first()] == ["a", "b"]


def test_the_one_that_was_quiet_longest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "WORKERS", 2)
    all_ = Workers()
    for name in ("a", "b", "a", "c"):
        all_.of(name)
    assert {each.name for each in all_.newest_first()} == {"a", "c"}


def test_who_works_is_not_forgotten_for_names_that_only_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "WORKERS", 2)
    all_ = Workers()
    busy = all_.of("busy")
    for name in ("a", "b", "c"):
        all_.of(name)
        all_.note(busy, Verdict.ACCEPTED, 1, 1.0, 1)
    assert [each.name for each in all_.newest_first()] == ["busy", "c"]
    assert all_.of("busy") is busy


def test_a_name_that_was_forgotten_while_connected_has_one_worker_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two would take each other's row with each share."""
    monkeypatch.setattr(workers, "WORKERS", 2)
    all_ = Workers()
    quiet = all_.of("quiet")
    all_.note(quiet, Verdict.ACCEPTED, 5, 1.0, 1)
    all_.of("a"), all_.of("b")
    again = all_.of("quiet")  # a second connection
    all_.note(again, Verdict.ACCEPTED, 1, 2.0, 2)
    all_.note(quiet, Verdict.ACCEPTED, 1, 3.0, 3)
    assert [(each.name, each.hashes) for each in all_.newest_first()] == [("quiet", 7), ("b", 0)]


def test_a_worker_without_connections_is_forgotten_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "WORKERS", 1)
    all_ = Workers()
    all_.note(all_.of("a"), Verdict.ACCEPTED, 5, 1.0, 1)
    all_.of("b")
    assert all_.of("a").hashes == 0


class Chain:
    def is_main(self, block_hash: bytes) -> bool:
        return block_hash == b"main"

    def uncle(self, uncle_hash: bytes) -> Header | None:
        return a_header() if uncle_hash == b"uncle" else None


def test_what_became_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = FoundBlocks()
    for name in (b"main", b"uncle", b"lost"):
        blocks.add(FoundBlock(1, name, "worker", 0, is_taken=True))
    blocks.add(FoundBlock(1, b"new", "worker", 0))
    blocks.add(FoundBlock(1, b"bad", "worker", 0, error="a rule"))
    assert blocks.outcomes(Chain()) == dict.fromkeys(Outcome, 1)
    assert blocks.total == 5
    monkeypatch.setattr(found, "FOUND_BLOCKS", 2)
    few = FoundBlocks()
    for number in range(3):
        few.add(FoundBlock(number, b"", "worker", 0))
    assert ([each.number for each in few.newest_first()], few.total) == ([2, 1], 3)
