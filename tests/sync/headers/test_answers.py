"""What peers get who ask for headers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from structlog.testing import capture_logs

from ckb_node.sync.headers.answers import headers_after, pack_headers
from ckb_node.sync.headers.limits import MAX_ANSWER_QUEUE, MAX_LOCATOR
from ckb_node.sync.peers import SyncPeer
from consensus.types.blockchain import Header
from network.limits import SYNC
from network.messages.protocols import SYNC_MESSAGE, InIBD, SendHeaders
from network.peer import Direction
from storage.chain_store import ChainView
from tests.support.network.clock import WALL_MS
from tests.sync.headers.kit_headers import DAY_MS, GENESIS, INTERVAL_MS, Case, branch, fake, sent

FIRST_MS = WALL_MS - 10_000 * INTERVAL_MS
MAIN = branch(GENESIS, 2100, first_ms=FIRST_MS)
SIDE = branch(MAIN[19], 5, salt=1)


@pytest.fixture(scope="module")
def grown() -> Case:
    """A node with a main chain and a side branch; no test changes its chain."""
    case = Case()
    case.ibd.end()
    case.chain.grow([*MAIN, *SIDE])
    return case


def asker(case: Case, direction: Direction = Direction.INBOUND) -> SyncPeer:
    peer = case.connect(7, direction)
    sent(peer)
    return peer


def answers(peer: SyncPeer) -> list[Sequence[Header]]:
    return [list(each.headers) for each in sent(peer) if isinstance(each, SendHeaders)]


@pytest.mark.parametrize(
    ("locator", "expected"),
    [
        ([MAIN[-1].hash, GENESIS.hash], []),
        ([MAIN[-2].hash, GENESIS.hash], MAIN[-1:]),
        ([GENESIS.hash], MAIN[:2000]),
        ([bytes(32), MAIN[1000].hash, MAIN[10].hash, GENESIS.hash], MAIN[1001:]),
        ([SIDE[-1].hash, GENESIS.hash], MAIN[20:2020]),  # down the side branch to where it leaves the main chain
        ([bytes(32), SIDE[2].hash, MAIN[5].hash, GENESIS.hash], MAIN[20:2020]),
        ([bytes(32), GENESIS.hash], MAIN[:2000]),
    ],
)
def test_headers_after_the_latest_common_block(grown: Case, locator: list[bytes], expected: list[Header]) -> None:
    peer = asker(grown)
    grown.get(peer, locator)
    assert answers(peer) == [expected]
    grown.leave(peer)


@pytest.mark.parametrize(("at", "count"), [(0, 0), (1, 1), (1999, 1999), (2050, 2000)])
def test_headers_end_before_the_stop(grown: Case, at: int, count: int) -> None:
    peer = asker(grown)
    grown.get(peer, [GENESIS.hash], MAIN[at].hash)
    assert answers(peer) == [MAIN[:count]]
    grown.leave(peer)


def test_packed_as_the_schema_says(grown: Case) -> None:
    for count in (0, 1, 3):
        expected = SYNC_MESSAGE.pack(SendHeaders(headers=MAIN[:count]))
        assert pack_headers([each.raw for each in MAIN[:count]]) == expected
    assert pack_headers([]).hex() == "010000000c0000000800000000000000"


@pytest.mark.parametrize(
    ("locator", "seconds", "code"),
    [
        ([], 600, "414"),
        ([MAIN[3].hash], 600, "414"),
        ([GENESIS.hash, MAIN[3].hash], 600, "414"),
        ([GENESIS.hash] * (MAX_LOCATOR + 1), 300, "400"),
    ],
)
def test_a_locator_that_breaks_a_rule(grown: Case, locator: list[bytes], seconds: int, code: str) -> None:
    peer = asker(grown)
    grown.get(peer, locator)
    banned = fake(peer).banned
    assert banned is not None
    assert banned[0] == seconds
    assert banned[1].startswith(code)
    grown.leave(peer)


def test_the_longest_locator_is_answered(grown: Case) -> None:
    peer = asker(grown)
    grown.get(peer, [bytes(32)] * (MAX_LOCATOR - 1) + [GENESIS.hash])
    assert len(answers(peer)) == 1
    grown.leave(peer)


def test_a_peer_is_not_read_until_it_has_its_answer(grown: Case) -> None:
    peer, other = asker(grown), asker(grown)
    grown.chain.is_paused = True
    grown.get(peer, [GENESIS.hash])
    grown.get(other, [GENESIS.hash])
    assert fake(peer).held == fake(other).held == {SYNC}
    grown.chain.work(1)
    assert fake(peer).held == set()
    assert len(answers(peer)) == 1
    assert answers(other) == []
    grown.chain.is_paused = False
    grown.chain.work()
    grown.settle()
    assert len(answers(other)) == 1
    assert fake(other).held == set()
    grown.leave(peer)
    grown.leave(other)


def test_who_does_not_read_waits_and_keeps_nobody(grown: Case) -> None:
    slow, other = asker(grown), asker(grown)
    fake(slow).queued_bytes = MAX_ANSWER_QUEUE + 1
    grown.get(slow, [GENESIS.hash])
    grown.get(other, [GENESIS.hash])
    assert answers(slow) == []
    assert len(answers(other)) == 1
    fake(slow).queued_bytes = MAX_ANSWER_QUEUE
    grown.advance(1.0)
    grown.settle()
    assert len(answers(slow)) == 1
    grown.leave(slow)
    grown.leave(other)


def test_what_cannot_be_read_is_nobodys_fault(grown: Case) -> None:
    peer = asker(grown)
    grown.chain.fault = OSError("the disk")
    with capture_logs() as logs:
        grown.get(peer, [GENESIS.hash])
    assert [entry["reason"] for entry in logs if entry["log_level"] == "error"] == ["the disk"]
    assert not fake(peer).has_ended
    assert fake(peer).held == set()
    grown.get(peer, [GENESIS.hash])
    assert len(answers(peer)) == 1
    grown.leave(peer)


def test_who_left_gets_nothing(grown: Case) -> None:
    slow = asker(grown)
    fake(slow).queued_bytes = MAX_ANSWER_QUEUE + 1
    grown.get(slow, [GENESIS.hash])
    grown.leave(slow)
    fake(slow).queued_bytes = 0
    grown.advance(1.0)
    assert answers(slow) == []


# --- read ahead ---


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Heights from which on headers were read."""
    found: list[int] = []
    plain = ChainView.main_hashes

    def noted(view: ChainView, first: int) -> Iterator[tuple[int, bytes]]:
        found.append(first)
        return plain(view, first)

    monkeypatch.setattr(ChainView, "main_hashes", noted)
    return found


@pytest.fixture
def short_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages of 20 headers, so that a chain is some of them."""
    monkeypatch.setattr("ckb_node.sync.headers.answers.MAX_HEADERS", 20)
    monkeypatch.setattr("ckb_node.sync.headers.ahead.FULL", len(pack_headers([GENESIS.raw] * 20)))


@pytest.mark.usefixtures("short_messages")
def test_what_a_peer_will_ask_for_next_is_read_before(grown: Case, reads: list[int]) -> None:
    peer, other = asker(grown), asker(grown)
    grown.get(peer, [MAIN[-62].hash, GENESIS.hash])
    grown.get(peer, [MAIN[-42].hash, GENESIS.hash])
    assert answers(peer) == [MAIN[-61:-41], MAIN[-41:-21]]
    assert reads == [2040, 2060, 2080]
    for each in (peer, other):
        grown.get(each, [MAIN[-22].hash, GENESIS.hash])
        assert answers(each) == [MAIN[-21:-1]]
    assert reads == [2040, 2060, 2080, 2100]
    grown.get(peer, [MAIN[-22].hash, GENESIS.hash], MAIN[-11].hash)  # another question
    assert answers(peer) == [MAIN[-21:-11]]
    grown.get(peer, [MAIN[-2].hash, GENESIS.hash])  # not a full message: soon there will be more
    assert answers(peer) == [MAIN[-1:]]
    assert reads == [2040, 2060, 2080, 2100, 2080, 2100]
    grown.leave(peer)
    grown.leave(other)


@pytest.mark.usefixtures("short_messages")
def test_who_waits_comes_before_what_is_read_ahead(grown: Case, reads: list[int]) -> None:
    peer, other = asker(grown), asker(grown)
    grown.get(peer, [MAIN[9].hash, GENESIS.hash])
    grown.chain.is_paused = True
    grown.get(peer, [MAIN[29].hash, GENESIS.hash])
    grown.get(other, [MAIN[-2].hash, GENESIS.hash])
    grown.chain.is_paused = False
    grown.chain.work()
    grown.settle()
    assert answers(other) == [MAIN[-1:]]
    assert reads == [11, 31, 2100]
    grown.leave(peer)
    grown.leave(other)


def test_what_was_read_is_no_answer_when_it_is_not_on_the_main_chain(grown: Case) -> None:
    stale = pack_headers([each.raw for each in branch(MAIN[19], 2000, salt=1)])
    with grown.chain.view() as view:
        locator = [MAIN[19].hash, GENESIS.hash]
        expected = headers_after(view, locator=locator, stop=bytes(32))
        assert headers_after(view, locator=locator, stop=bytes(32), ready=stale) == expected != stale
        fresh = pack_headers([each.raw for each in MAIN[20:2020]])
        assert headers_after(view, locator=locator, stop=bytes(32), ready=fresh) is fresh


# --- in the initial download ---


def young() -> Case:
    """A node whose tip is old: it is in its initial download."""
    case = Case(WALL_MS)
    case.chain.grow(branch(GENESIS, 30, first_ms=WALL_MS - 2 * DAY_MS))
    return case


def test_in_the_initial_download_it_is_said_so() -> None:
    case = young()
    peer = asker(case)
    with capture_logs() as logs:
        for _ in range(3):
            case.get(peer, [])  # whatever the locator is
    assert [type(each) for each in sent(peer)] == [InIBD] * 3
    assert len([entry for entry in logs if "still downloads" in entry["event"]]) == 1  # ckb fills its log with it
    assert not fake(peer).has_ended


def test_in_the_initial_download_a_locator_tells_what_an_outbound_peer_has() -> None:
    case = young()
    peer = asker(case, Direction.OUTBOUND)
    tip = case.chain.tip()
    unknown = [bytes([number]) * 32 for number in (1, 2)]
    case.get(peer, [*unknown, tip.hash, GENESIS.hash])
    assert peer.hints == tuple(unknown)
    assert peer.best_known == tip
    case.advance(60.0)
    case.get(peer, [bytes([3]) * 32, tip.hash, GENESIS.hash])
    assert peer.hints == tuple(unknown)  # what it said first


def test_in_the_initial_download_nothing_is_kept_of_what_an_inbound_peer_has() -> None:
    case = young()
    peer = asker(case)
    case.get(peer, [bytes([1]) * 32, case.chain.tip().hash, GENESIS.hash])
    assert list(peer.hints) == []
    assert peer.best_known is None


def test_hints_are_gone_with_the_initial_download() -> None:
    case = young()
    peer = asker(case, Direction.OUTBOUND)
    case.get(peer, [bytes([1]) * 32, GENESIS.hash])
    case.ibd.end()
    case.advance(1.0)
    assert list(peer.hints) == []
